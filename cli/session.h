/* SPDX-License-Identifier: MIT
 * What most commands open first. */
#ifndef PMET_CLI_SESSION_H
#define PMET_CLI_SESSION_H

#include "cli/command.h"
#include "ref/job/session.h"

/* The model in dir, on the threads and the device of the command line; --device cuda without
 * one is refused, and the message says what is missing. */
enum pmet_status session_open(const struct cli *c, const char *dir, struct pmet_session **s,
                              struct pmet_error *err);

#endif

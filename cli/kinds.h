/* SPDX-License-Identifier: MIT
 * Which command takes what: files given to the wrong option. */
#ifndef PMET_CLI_KINDS_H
#define PMET_CLI_KINDS_H

#include "cli/command.h"
#include "tensors/kind.h"

enum role {
    ROLE_MODEL,
    ROLE_FACTS,
    ROLE_HPARAMS,
    ROLE_CONTEXTS,
    ROLE_STATS,
    ROLE_PROMPTS,
    ROLE_SNIPPETS,
    ROLE_TEXT,
    ROLE_TENSORS
};

/* Refuses a file (or NULL) that is known to be of another kind than its option takes: it says what
 * the file is, and who takes it. What is not known, or not there, is left to its reader. */
enum pmet_status check_kind(const struct cli *c, enum role role, const char *path, struct pmet_error *err);
/* "pmet edit --facts and pmet eval --facts take it", or NULL. */
const char *who_takes(enum pmet_kind kind);

#endif

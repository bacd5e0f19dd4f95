/* SPDX-License-Identifier: MIT
 * The `pmet` command as a function, so that tests can run it in their own process with a table of
 * system calls that fails on demand. */
#ifndef PMET_CLI_CLI_H
#define PMET_CLI_CLI_H

#include "tensors/io.h"

struct pmet_method;

/* Runs one command line. Results go to standard output, everything else to standard error. Returns
 * the exit status: 0 done, 1 failed, 2 wrong usage, 3 a comparison that failed, 128+n after signal
 * n. `edit` edits by `method`.      SPEC §9.8 */
int pmet_cli(int argc, char **argv, const struct pmet_io *io, const struct pmet_method *const *methods);

#endif

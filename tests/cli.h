/* SPDX-License-Identifier: MIT
 * The pmet command run inside a test program, with its outputs kept:
 *
 *     CHECK(cli(NULL, "edit --model %s --facts 'my facts.json'", dir) == 1);
 *     CHECK_STR(cli_err(), "pmet edit: ...\n");
 */
#ifndef PMET_TESTS_CLI_H
#define PMET_TESTS_CLI_H

#include "tests/test.h"

struct pmet_method;
extern const struct pmet_method *const
    *cli_methods; /* of --method; the library's unless a test sets others */

/* Runs "pmet" with the words of the formatted line ('...' holds blanks) on the given table of
 * system calls, NULL for the system's own. Returns the exit status. */
extern const char *cli_stdout; /* a device that takes the standard output instead; "" for a closed one */
int cli(const struct pmet_io *io, const char *fmt, ...) PMET_PRINTF(2, 3);
/* What the last run printed; the path of test_tmpdir() reads "T" in it. */
const char *cli_out(void);
const char *cli_err(void);

/* A shell command; ends the program if it fails. */
void cli_shell(const char *fmt, ...) PMET_PRINTF(1, 2);

/* A workbench T/NAME for one claim: m (a copy of golden/MODEL/model), facts.json, hparams.json (two
 * passes at most), contexts.json, text.jsonl, prompts.json and s (statistics of it). Returns its
 * path below test_tmpdir(). */
const char *cli_bench(struct test *t, const char *name, const char *model);

/* The same, and works in it until cli_leave or the claim's end. cli_start: the folder before. */
void cli_enter(struct test *t, const char *name, const char *model);
void cli_leave(void);
extern char cli_start[4096];

/* The whole file, NUL-terminated; free() releases it. Ends the program if it cannot be read. */
char *cli_slurp(const char *path, size_t *n);

#endif

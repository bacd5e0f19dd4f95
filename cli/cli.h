/* SPDX-License-Identifier: MIT
 * The pmet command. */
#ifndef PMET_CLI_CLI_H
#define PMET_CLI_CLI_H

#include "ref/model/model.h"
#include "tensors/io.h"
#include "tokenizer/tokenizer.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_WRONG_USAGE = 2 };

/* The whole program but for main: runs one command, returns the exit status. */
int pmet_cli(int argc, char **argv, const struct pmet_io *io);

/* An option of a command: takes a value unless `flag` is set. Values repeat where `list` is given. */
struct cli_option {
    const char *name; /* without the dashes */
    const char **value;
    bool *flag;
    const char ***list;
    size_t *n_list;
    bool required;
    const char *help;
};
/* Parses argv[2..]; 0, or EXIT_WRONG_USAGE after a line on stderr, or -1 when --help was answered. Operands
 * (no dashes) go to the list option called "", if there is one. */
int cli_parse(int argc, char **argv, const struct cli_option *options, size_t n, const char *usage);
bool cli_number(const char *command, const char *name, const char *text,
                size_t *out);               /* false after a line on stderr */
int cli_fail(const struct pmet_error *err); /* prints the line; EXIT_FAILED, or 130 when interrupted */

/* A model opened for a command. */
struct cli_session {
    struct pmet_ops *op;
    struct pmet_checkpoint *ck;
    struct pmet_model *model;
    struct pmet_tokenizer *tk;
};
enum pmet_status cli_open(const struct pmet_io *io, const char *dir, size_t n_threads, struct cli_session *s,
                          struct pmet_error *err);
void cli_close(struct cli_session *s);

/* Progress on stderr: a line that is rewritten on a terminal, one now and then in a log. Nonzero once the
 * user has asked to stop. */
int cli_progress(const char *what, size_t done, size_t total);
void cli_catch_signals(void);
extern bool cli_quiet;

int cli_edit(int argc, char **argv, const struct pmet_io *io);
int cli_stats(int argc, char **argv, const struct pmet_io *io);
int cli_generate(int argc, char **argv, const struct pmet_io *io);
int cli_tokenize(int argc, char **argv, const struct pmet_io *io);

#endif

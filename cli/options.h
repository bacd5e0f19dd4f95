/* SPDX-License-Identifier: MIT
 * Options: one table a command drives getopt_long, the checks of the values and the help text. */
#ifndef PMET_CLI_OPTIONS_H
#define PMET_CLI_OPTIONS_H

#include "cli/command.h"

enum option_kind {
    OPTION_FLAG,   /* bool */
    OPTION_TEXT,   /* const char * */
    OPTION_TEXTS,  /* struct texts; may be repeated */
    OPTION_COUNT,  /* size_t */
    OPTION_NUMBER, /* double, finite and not below 0 */
    OPTION_BYTES,  /* size_t, "8G" */
    OPTION_CHOICE, /* int: index into arg, "auto|cholesky|cg" */
    OPTION_KIND = 15,
    SHORT = 16,   /* beside the kind: -o for --out */
    REQUIRED = 32 /* beside the kind */
};

struct texts {
    const char **item;
    size_t n;
};

struct option_row {
    const char *name;
    int kind;        /* enum option_kind */
    void *out;       /* holds the default beforehand */
    const char *arg; /* "FILE"; NULL for a flag */
    const char *help;
};
/* The row's letter, or 0. */
char option_letter(const struct option_row *row);

/* Parses argv (argv[0] is the command) into rows and the common options of c; operands end up in
 * *operands, whose item points into argv. Returns -1 to go on, else the exit status: 0 after
 * --help, 2 after a usage error. */
int options_parse(struct cli *c, const struct command *self, const struct option_row *rows, size_t n_row,
                  int argc, char **argv, struct texts *operands);
void texts_free(struct texts *t);
bool texts_add(struct texts *t, const char *item);

/* --help of a command, and of all, on standard output. */
void help_command(const struct command *self, const struct option_row *rows, size_t n_row,
                  const struct option_row *common, size_t n_common);
void help_all(const struct command *commands, size_t n);

#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

#endif

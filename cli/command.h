/* SPDX-License-Identifier: MIT
 * What the commands share: their context, their messages, and the table of them. */
#ifndef PMET_CLI_COMMAND_H
#define PMET_CLI_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <jansson.h>
#include "cli/signals.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_WRONG_USAGE = 2, EXIT_DIFFERENT = 3 };

enum color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

struct pmet_method;

/* One command line in progress: its command, the options all commands have, the table of system
 * calls. */
struct cli {
    const char *command;                      /* "edit" */
    const struct pmet_io *io;                 /* writes through it fail once a signal has come */
    const struct pmet_method *const *methods; /* that --method names, the default first; NULL ends them */
    char method_names[64];                    /* "pmet|memit" */
    size_t threads;
    size_t seed;
    int device; /* enum pmet_device */
    bool half_activations, tf32;
    int color;
    bool quiet, verbose;
    char kept[512]; /* what an unfinished command can go on from: "w keeps 3 of 10 facts: ..." */
};

/* Which common options a command takes: all; all but --seed; none of those that say how to
 * compute. */
enum uses { USES_SEED, USES_DEVICE, USES_NEITHER };

struct command {
    const char *name, *summary;
    const char *usage;   /* what follows "pmet NAME " */
    const char *about;   /* a paragraph for --help */
    const char *example; /* a line or more */
    int (*run)(struct cli *c, const struct command *self, int argc, char **argv);
    enum uses uses;
};

int run_edit(struct cli *c, const struct command *self, int argc, char **argv);
int run_stats(struct cli *c, const struct command *self, int argc, char **argv);
int run_eval(struct cli *c, const struct command *self, int argc, char **argv);
int run_generate(struct cli *c, const struct command *self, int argc, char **argv);
int run_tokenize(struct cli *c, const struct command *self, int argc, char **argv);
int run_trace(struct cli *c, const struct command *self, int argc, char **argv);
int run_hparams(struct cli *c, const struct command *self, int argc, char **argv);
int run_inspect(struct cli *c, const struct command *self, int argc, char **argv);
int run_diff(struct cli *c, const struct command *self, int argc, char **argv);

/* The command's one line of failure on standard error: "pmet edit: MESSAGE". Returns the exit
 * status: 128+n if a signal is why, else 1. Silent once standard output has failed: the command's
 * end says so. */
int say_failed(const struct cli *c, const struct pmet_error *err);
/* "pmet edit: MESSAGE (pmet edit --help)"; returns EXIT_WRONG_USAGE. */
int say_usage(const struct cli *c, const char *fmt, ...) PMET_PRINTF(2, 3);
/* A line on standard error: a warning always, a note unless --quiet, detail only with --verbose. */
enum level { WARNING, NOTE, DETAIL };
void say(const struct cli *c, enum level level, const char *fmt, ...) PMET_PRINTF(3, 4);
bool stderr_is_plain(void); /* no terminal, a dumb one, or NO_COLOR */
/* Draws a line on a terminal in the place of the one drawn before; any message wipes it off
 * first. */
void say_progress(const char *line);
void say_no_progress(void);

size_t peak_memory(void); /* bytes of this process so far */
/* A value as text, to be printed at once: format_bytes(n).text. */
struct formatted {
    char text[192];
};
struct formatted format_bytes(double n_bytes);                    /* "1.4 GiB" */
struct formatted format_shape(const size_t *shape, size_t n_dim); /* "[3,4]" */
struct formatted format_seconds(double s);                        /* "1:02:03", "2:03" or "4.1 s" */
/* A line on standard output as pmet_escape shows it, newline added: names, paths and subjects of
 * files must not break it, or command the terminal. And a part of a line. */
void print_line(const char *fmt, ...) PMET_PRINTF(1, 2);
void print_plain(const char *text, size_t n);
/* A result as it is; but on a terminal its controls are shown, newline and tab excepted: tokens may
 * be any bytes, and what a model writes is no command to the reader's terminal. */
void print_exact(const char *text, size_t n);
/* One JSON value and a newline on standard output; takes over the reference. */
void print_json(json_t *value);

#endif

/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool cli_quiet;
static volatile sig_atomic_t stop_signal;

static const struct {
    const char *name;
    int (*run)(int argc, char **argv, const struct pmet_io *io);
    const char *help;
} commands[] = {{"edit", cli_edit, "change facts in a checkpoint"},
                {"stats", cli_stats, "second moments of the keys over text, which edit needs"},
                {"generate", cli_generate, "continue a prompt"},
                {"tokenize", cli_tokenize, "text to token ids, and back"}};

static void usage(FILE *out)
{
    fprintf(out, "usage: pmet COMMAND [options]\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\npmet COMMAND --help tells a command's options; pmet --version the version.\n");
}

int pmet_cli(int argc, char **argv, const struct pmet_io *io)
{
    const char *name = argc > 1 ? argv[1] : "";
    int status = EXIT_WRONG_USAGE;
    if (strcmp(name, "--version") == 0) {
        printf("pmet %s (%s)\n", PMET_VERSION, PMET_REAL == PMET_F64 ? "double" : "float");
        status = EXIT_OK;
    } else if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        usage(stdout);
        status = EXIT_OK;
    } else {
        size_t i = 0;
        const size_t n = sizeof commands / sizeof *commands;
        while (i < n && strcmp(name, commands[i].name) != 0)
            i++;
        if (i < n) {
            status = commands[i].run(argc, argv, io);
        } else {
            if (*name)
                fprintf(stderr, "pmet: unknown command \"%s\"; pmet help lists them\n", name);
            else
                usage(stderr);
        }
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "pmet: standard output: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    return stop_signal ? 128 + stop_signal : status;
}

static void print_help(const struct cli_option *o, size_t n, const char *use)
{
    printf("usage: %s\n\n", use);
    for (size_t i = 0; i < n; i++)
        if (*o[i].name)
            printf("  --%-14s %s%s\n", o[i].name, o[i].help, o[i].required ? " (needed)" : "");
    printf("  --%-14s %s\n", "help", "this text");
}

static const struct cli_option *find(const struct cli_option *o, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(o[i].name, name) == 0)
            return &o[i];
    return NULL;
}

static void take_value(const struct cli_option *o, const char *value)
{
    if (o->list) {
        const char **grown = realloc(*o->list, (*o->n_list + 1) * sizeof *grown);
        if (grown) {
            grown[(*o->n_list)++] = value;
            *o->list = grown;
        }
    } else {
        *o->value = value;
    }
}

int cli_parse(int argc, char **argv, const struct cli_option *o, size_t n, const char *use)
{
    const struct cli_option *last = NULL; /* a list takes the operands that follow it */
    for (int i = 2; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
            print_help(o, n, use);
            return -1;
        }
        const struct cli_option *found;
        if (strcmp(name, "-o") == 0)
            found = find(o, n, "out");
        else if (strcmp(name, "-q") == 0)
            found = find(o, n, "quiet");
        else if (strncmp(name, "--", 2) == 0)
            found = find(o, n, name + 2);
        else
            found = last && last->list ? last : find(o, n, "");
        if (!found) {
            fprintf(stderr, "pmet %s: unknown option or argument \"%s\"; pmet %s --help lists them\n",
                    argv[1], name, argv[1]);
            return EXIT_WRONG_USAGE;
        }
        if (*name != '-' || strcmp(name, "-") == 0) {
            take_value(found, name);
            continue;
        }
        last = found;
        if (found->flag) {
            *found->flag = true;
        } else if (i + 1 == argc) {
            fprintf(stderr, "pmet %s: --%s needs a value\n", argv[1], found->name);
            return EXIT_WRONG_USAGE;
        } else {
            take_value(found, argv[++i]);
        }
    }
    for (size_t i = 0; i < n; i++)
        if (o[i].required && !(o[i].list ? *o[i].n_list > 0 : *o[i].value != NULL)) {
            fprintf(stderr, "pmet %s: --%s is needed; pmet %s --help tells more\n", argv[1], o[i].name,
                    argv[1]);
            return EXIT_WRONG_USAGE;
        }
    return 0;
}

bool cli_number(const char *command, const char *name, const char *text, size_t *out)
{
    char *end;
    if (!text)
        return true;
    errno = 0;
    const unsigned long long v = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || v > 1000000000000u) {
        fprintf(stderr, "pmet %s: --%s: found \"%s\"; expected a whole number\n", command, name, text);
        return false;
    }
    *out = (size_t)v;
    return true;
}

int cli_fail(const struct pmet_error *err)
{
    fprintf(stderr, "pmet: %s\n", err->message);
    return EXIT_FAILED;
}

enum pmet_status cli_open(const struct pmet_io *io, const char *dir, size_t n_threads, struct cli_session *s,
                          struct pmet_error *err)
{
    PMET_TRY(pmet_ops_cpu(n_threads, &s->op, err));
    PMET_TRY(pmet_checkpoint_open(io, dir, &s->ck, err));
    PMET_TRY(pmet_model_open(s->ck, s->op, &s->model, err));
    return pmet_tokenizer_open(io, dir, &s->tk, err);
}

void cli_close(struct cli_session *s)
{
    pmet_tokenizer_close(s->tk);
    pmet_model_close(s->model);
    pmet_checkpoint_close(s->ck);
    pmet_ops_free(s->op);
    memset(s, 0, sizeof *s);
}

static void on_signal(int number)
{
    stop_signal = number;
}

void cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int cli_progress(const char *what, size_t done, size_t total)
{
    static const char *current;
    static double started, told;
    const bool terminal = isatty(2);
    const double t = now();
    if (current != what) {
        current = what;
        started = told = t;
    }
    if (!cli_quiet && (done == total ? terminal || t - started > 30 : t - told >= (terminal ? 0.1 : 30))) {
        const double left = done > 0 ? (t - started) / (double)done * (double)(total - done) : 0;
        fprintf(stderr, terminal ? "\r%s %zu of %zu, %.0f s left   %s" : "%s %zu of %zu, %.0f s left%s", what,
                done, total, left, terminal ? done == total ? "\n" : "" : "\n");
        told = t;
    }
    return stop_signal;
}

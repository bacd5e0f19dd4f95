/* SPDX-License-Identifier: MIT
 * Every command with call k of the system failing, for every k; and stopped by a signal at call k.
 * It fails in one line and leaves nothing behind, or the call did not matter and the output is
 * whole. PMET_LONG=1: in smaller strides. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>
#include "ref/real.h"
#include "tests/blow.h"
#include "tests/cli.h"
#include "tests/fault.h"

#define EDIT                                                                                                 \
    "edit -q --threads 1 --model m --facts facts.json --hparams hparams.json --contexts contexts.json "      \
    "--stats s "                                                                                             \
    "--limit 1 --out out"

static const struct command {
    const char *name, *model, *line;
    bool makes; /* out */
} commands[] = {
    {"edit", "gptj-A", EDIT " --trace trace", true},
    {"edit of shards", "gptj-C", EDIT, true},
    {"edit that replaces", "gptj-A", EDIT " --force", true},
    {"edit with contexts of its own", "gptj-C",
     "edit -q --threads 1 --model m --facts facts.json --hparams hparams.json --stats s --limit 1 --out out",
     true},
    {"stats", "gptj-A",
     "stats -q --threads 1 --model m --text text.jsonl --hparams hparams.json --samples 2 --out out --trace "
     "trace",
     true},
    {"trace", "gptj-C", "trace -q --threads 1 --model m --prompts prompts.json --out out", true},
    {"generate", "gptj-A", "generate -q --threads 1 --model m --prompt Egypt --max-tokens 1", false},
    {"tokenize", "gptj-A", "tokenize --model m text.jsonl", false},
    {"inspect", "gptj-C", "inspect --check m", false},
    {"inspect statistics", "gptj-A", "inspect --check s", false},
    {"diff", "gptj-A", "diff m/model.safetensors m/model.safetensors", false},
};
enum { N_COMMAND = sizeof commands / sizeof *commands };

static bool is_long(void)
{
    const char *v = getenv("PMET_LONG");
    return v && *v && strcmp(v, "0") != 0;
}

static char start[4096];

static void enter(const char *dir)
{
    if ((!start[0] && !getcwd(start, sizeof start)) || chdir(dir) != 0)
        exit(1);
}

static void leave(void)
{
    if (chdir(start) != 0)
        exit(1);
}

static bool is_one_line(const char *text)
{
    const char *newline = strchr(text, '\n');
    return newline && newline > text && newline[1] == '\0';
}

static bool replaces(const struct command *c)
{
    return strstr(c->line, "--force") != NULL;
}

/* After a run: whole and like the reference, or as before. */
static bool is_whole(void)
{
    return system(
               "diff -r out reference > /dev/null && { test ! -e want_trace || cmp -s trace want_trace; }") ==
           0;
}

static void prepare(struct test *t, const struct command *c, const char *name)
{
    enter(cli_bench(t, name, c->model));
    if (!c->makes) {
        CHECK(cli(NULL, "%s", c->line) == 0);
        return;
    }
    if (!CHECK(cli(NULL, "%s", c->line) == 0))
        test_fail(t, "%s", cli_err());
    cli_shell("mv out reference && { test ! -e trace || mv trace want_trace; }");
    if (replaces(c))
        cli_shell("cp -r reference out && echo mine > out/pmet_facts.jsonl");
}

static void check_after(struct test *t, const struct command *c, int status, int wanted, size_t before,
                        const char *what, size_t k)
{
    t->n_check++;
    const size_t now = test_count_files(".");
    if (status == 0) {
        if (c->makes && !is_whole())
            test_fail(t, "%s: %s at call %zu: exit 0 without the whole output", c->name, what, k);
        cli_shell("rm -rf out trace");
        if (replaces(c))
            cli_shell("cp -r reference out && echo mine > out/pmet_facts.jsonl");
        return;
    }
    const bool kept = !replaces(c) || system("test \"$(cat out/pmet_facts.jsonl)\" = mine") == 0;
    const bool traced = access("want_trace", F_OK) == 0;
    if (traced && now > before && is_whole() == false && system("diff -r out reference > /dev/null") == 0) {
        cli_shell("rm -r out"); /* the folder was done; its trace was not, and says so */
        if (status != wanted || !is_one_line(cli_err()) || !cli_out()[0] || test_count_files(".") != before)
            test_fail(t, "%s: %s at call %zu: exit %d: %s", c->name, what, k, status, cli_err());
        return;
    }
    if (status != wanted || !is_one_line(cli_err()) || now != before || !kept)
        test_fail(t, "%s: %s at call %zu: exit %d, %zu files, %zu before%s: %s", c->name, what, k, status,
                  now, before, kept ? "" : ", the old output is gone", cli_err());
}

static void sweep(struct test *t, const struct command *c, size_t number)
{
    static const int errors[] = {ENOSPC, EIO, EROFS};
    char name[32];
#ifdef __SANITIZE_ADDRESS__
    const bool is_every = is_long();
#else
    const bool is_every = is_long() || sizeof(real) == 4;
#endif
    snprintf(name, sizeof name, "fault%zu", number);
    prepare(t, c, name);
    const size_t before = test_count_files(".");
    size_t n_call = 0;
    for (size_t e = 0; e < 3; e++) {
        struct fault f;
        const size_t step = e == 0 && is_every ? 1 : is_long() ? 5 : 13;
        for (size_t k = 0;; k += step) {
            fault_begin(&f, k, errors[e]);
            const int status = cli(&f.io, "%s", c->line);
            if (!f.fired)
                break;
            check_after(t, c, status, 1, before, f.call, k);
            n_call = k > n_call ? k : n_call;
        }
        CHECK(cli_err()[0] == '\0');
        if (c->makes) {
            CHECK(is_whole());
            cli_shell("rm -rf out trace");
            if (replaces(c))
                cli_shell("cp -r reference out && echo mine > out/pmet_facts.jsonl");
        }
    }
    printf("     %s: %zu calls\n", c->name, n_call + 1);
    leave();
}

TEST(a_call_that_fails_fails_the_command_in_one_line)
{
    for (size_t i = 0; i < N_COMMAND; i++)
        sweep(t, &commands[i], i);
}

/* ---- signals ---- */

TEST(a_signal_stops_the_command_and_nothing_is_left)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM};
    for (size_t i = 0; i < N_COMMAND; i++) {
        const struct command *c = &commands[i];
        size_t n_stopped = 0, n_written = 0;
        if (!c->makes)
            continue;
        prepare(t, c, test_text(t, "signal%zu", i));
        const size_t before = test_count_files(".");
        for (size_t k = 0;; k += is_long() ? 2 : strstr(c->line, "--trace") ? 37 : 7) {
            const int sig = signals[k % 3], status = cli(blow_at(sig, k), "%s", c->line);
            if (!blow_raised()) {
                CHECK(status == 0);
                break;
            }
            const bool written = system("diff -r out reference > /dev/null 2>&1") == 0;
            check_after(t, c, status, 128 + sig, before, "signal", k);
            if (status == 0)
                continue;
            n_stopped++;
            n_written += written;
            if (!CHECK(strstr(cli_err(), test_text(t, "stopped by signal %d; %s\n", sig,
                                                   written ? "out is written, trace is not"
                                                           : "nothing was left behind"))))
                test_fail(t, "%s: signal at call %zu: %s", c->name, k, cli_err());
        }
        printf("     %s: stopped %zu times, %zu of them when it was written\n", c->name, n_stopped,
               n_written);
        CHECK(n_stopped > 3 && (n_written > 0 || !strstr(c->line, "--trace")));
        leave();
    }
}

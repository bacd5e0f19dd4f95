/* SPDX-License-Identifier: MIT
 * kill -9 at any call: the output is whole or absent, and the same command then does its work. PMET_LONG=1: every call. */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"
#include "tests/cli.h"

#define FILES "--threads 1 -q --model m --hparams hparams.json --out out"

static size_t n_before;
static struct pmet_io killing;

static void tick(void)
{
    if (n_before-- == 0)
        raise(SIGKILL);
}

static int killing_open(void *user, const char *path, int flags, unsigned mode)
{
    tick();
    return pmet_io_system()->open(user, path, flags, mode);
}

static ssize_t killing_write(void *user, int fd, const void *buf, size_t n)
{
    tick(); /* also half way through */
    return pmet_io_system()->write(user, fd, buf, n > 1 ? n / 2 : n);
}

static ssize_t killing_copy(void *user, int in, int out, size_t n)
{
    tick();
    return pmet_io_system()->copy_range(user, in, out, n);
}

static int killing_fsync(void *user, int fd)
{
    tick();
    return pmet_io_system()->fsync(user, fd);
}

static int killing_rename(void *user, const char *from, const char *to)
{
    tick();
    return pmet_io_system()->rename(user, from, to);
}

static int killing_mkdir(void *user, const char *path, unsigned mode)
{
    tick();
    return pmet_io_system()->mkdir(user, path, mode);
}

static int killing_unlink(void *user, const char *path)
{
    tick();
    return pmet_io_system()->unlink(user, path);
}

/* Runs the line in a child that dies at call k; false if it lived to the end. */
static bool killed_at(struct test *t, size_t k, const char *line)
{
    char copy[1024], name[] = "pmet", *word[40] = {name};
    int n = 1, status = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *save, *w = strtok_r(copy, " ", &save); w && n < 39; w = strtok_r(NULL, " ", &save))
        word[n++] = w;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        const int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        n_before = k;
        _exit(pmet_cli(n, word, &killing));
    }
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

static void sweep(struct test *t, const char *name, const char *line)
{
    const char *all = getenv("PMET_LONG");
    const size_t step = all && *all && strcmp(all, "0") != 0 ? 1 : 9;
    char here[4096];
    size_t n_killed = 0, n_whole = 0;
    killing = *pmet_io_system();
    killing.open = killing_open;
    killing.write = killing_write;
    killing.copy_range = killing_copy;
    killing.fsync = killing_fsync;
    killing.rename = killing_rename;
    killing.mkdir = killing_mkdir;
    killing.unlink = killing_unlink;
    const char *dir = cli_bench(t, name, "gptj-C");
    if (!getcwd(here, sizeof here) || chdir(dir) != 0)
        exit(1);
    CHECK(cli(NULL, "%s", line) == 0);
    cli_shell("mv out reference");
    for (size_t k = 0; killed_at(t, k, line); k += step) {
        n_killed++;
        if (access("out", F_OK) == 0) {
            n_whole++;
            CHECK(system("diff -r out reference > /dev/null") == 0);
        }
        cli_shell("rm -rf out"); /* what was left under temporary names stays in the way, if it can */
        if (!CHECK(cli(NULL, "%s", line) == 0))
            test_fail(t, "after call %zu: %s", k, cli_err());
        CHECK(system("diff -r out reference > /dev/null") == 0);
        cli_shell("rm -r out");
    }
    printf("     %s: killed %zu times, the output was whole %zu times\n", name, n_killed, n_whole);
    CHECK(n_killed > 5);
    if (chdir(here) != 0)
        exit(1);
}

TEST(an_edit_that_is_killed_leaves_a_whole_folder_or_none)
{
    sweep(t, "edit", "edit " FILES " --facts facts.json --contexts contexts.json --stats s --limit 1");
}

TEST(statistics_that_are_killed_leave_a_whole_folder_or_none)
{
    sweep(t, "stats", "stats " FILES " --text text.jsonl --samples 2");
}

TEST_MAIN(CASE(an_edit_that_is_killed_leaves_a_whole_folder_or_none),
          CASE(statistics_that_are_killed_leave_a_whole_folder_or_none))

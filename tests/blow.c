/* SPDX-License-Identifier: MIT */
#include "tests/blow.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"
#include "tests/cli.h"

static size_t n_before;
static int signal_at;
static bool raised;
static struct pmet_io io;

static void tick(void)
{
    if (n_before-- == 0) {
        raised = true;
        raise(signal_at);
    }
}

static int blow_open(void *user, const char *path, int flags, unsigned mode)
{
    tick();
    return pmet_io_system()->open(user, path, flags, mode);
}

static ssize_t blow_write(void *user, int fd, const void *buf, size_t n)
{
    tick();
    return pmet_io_system()->write(user, fd, buf, n > 1 ? n / 2 : n);
}

static ssize_t blow_copy(void *user, int in, int out, size_t n)
{
    tick();
    return pmet_io_system()->copy_range(user, in, out, n);
}

static int blow_fsync(void *user, int fd)
{
    tick();
    return pmet_io_system()->fsync(user, fd);
}

static int blow_rename(void *user, const char *from, const char *to)
{
    tick();
    return pmet_io_system()->rename(user, from, to);
}

static int blow_exchange(void *user, const char *a, const char *b)
{
    tick();
    return pmet_io_system()->exchange(user, a, b);
}

static int blow_mkdir(void *user, const char *path, unsigned mode)
{
    tick();
    return pmet_io_system()->mkdir(user, path, mode);
}

static int blow_unlink(void *user, const char *path)
{
    tick();
    return pmet_io_system()->unlink(user, path);
}

const struct pmet_io *blow_at(int sig, size_t k)
{
    n_before = k;
    signal_at = sig;
    raised = false;
    signal(sig, SIG_DFL); /* a background job of a shell inherits SIGINT ignored */
    io = *pmet_io_system();
    io.open = blow_open;
    io.write = blow_write;
    io.copy_range = blow_copy;
    io.fsync = blow_fsync;
    io.rename = blow_rename;
    io.exchange = blow_exchange;
    io.mkdir = blow_mkdir;
    io.unlink = blow_unlink;
    return &io;
}

bool blow_raised(void)
{
    return raised;
}

bool blow_kills(struct test *t, const char *line, size_t k)
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
        _exit(pmet_cli(n, word, blow_at(SIGKILL, k), cli_methods));
    }
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

/* SPDX-License-Identifier: MIT */
#include "cli/signals.h"

#include <errno.h>
#include <stdio.h>

static const int handled[N_SIGNAL] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGXFSZ};
enum { N_STOP = 3 }; /* the first of these ask to stop; the others are ignored */

static volatile sig_atomic_t stopped_by;
static const struct pmet_io *unguarded;
static void (*on_call)(void *user);
static void *on_call_user;

void signals_tick(void (*tick)(void *user), void *user)
{
    if (!tick && on_call_user != user)
        return;
    on_call = tick;
    on_call_user = user;
}

int signals_ask(void)
{
    if (on_call)
        on_call(on_call_user);
    return stopped_by;
}

static void on_signal(int sig)
{
    stopped_by = sig;
}

int stop_signal(void)
{
    return stopped_by;
}

enum pmet_status check_stop(struct pmet_error *err)
{
    if (stopped_by)
        return pmet_fail(err, PMET_INTERRUPTED, "stopped by a signal");
    return ferror(stdout) ? pmet_fail(err, PMET_IO, "standard output takes no more") : PMET_OK;
}

/* After a signal nothing more is read or written; the caller's cleaning up goes on. */
static bool stopped(void)
{
    const bool stop = signals_ask() != 0;
    if (stop)
        errno = ECANCELED;
    return stop;
}

static ssize_t guarded_read(void *user, int fd, void *buf, size_t n)
{
    return stopped() ? -1 : unguarded->read(user, fd, buf, n);
}

static ssize_t guarded_write(void *user, int fd, const void *buf, size_t n)
{
    return stopped() ? -1 : unguarded->write(user, fd, buf, n);
}

static ssize_t guarded_copy_range(void *user, int in, int out, size_t n)
{
    return stopped() ? -1 : unguarded->copy_range(user, in, out, n);
}

const struct pmet_io *signals_begin(struct signals *s, const struct pmet_io *io)
{
    struct sigaction stop = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND}, /* a second one kills */
        ignore = {.sa_handler =
                      SIG_IGN}; /* hours of work do not end with the reader of their log, and a limit of
                                             file sizes is an error of a write, as a full disk is */
    sigemptyset(&stop.sa_mask);
    stopped_by = 0;
    unguarded = io;
    on_call = NULL;
    s->io = *io;
    s->io.read = guarded_read;
    s->io.write = guarded_write;
    s->io.copy_range = guarded_copy_range;
    for (size_t i = 0; i < N_SIGNAL; i++) {
        sigaction(handled[i], NULL, &s->was[i]);
        if (i >= N_STOP)
            sigaction(handled[i], &ignore, NULL);
        else if (s->was[i].sa_handler != SIG_IGN) /* nohup, or a job in the background */
            sigaction(handled[i], &stop, NULL);
    }
    return &s->io;
}

void signals_end(struct signals *s)
{
    for (size_t i = 0; i < N_SIGNAL; i++)
        sigaction(handled[i], &s->was[i], NULL);
}

/* SPDX-License-Identifier: MIT
 * Signals that ask to stop: the first one is noted and ends the work in an orderly way, a second
 * one ends the program. */
#ifndef PMET_CLI_SIGNALS_H
#define PMET_CLI_SIGNALS_H

#include <signal.h>
#include "tensors/io.h"

enum { N_SIGNAL = 5 };

/* While a command runs: the system's calls, with writes that fail once a signal has come, and the
 * actions before. */
struct signals {
    struct pmet_io io;
    struct sigaction was[N_SIGNAL];
};

/* Sets the handlers and returns the calls that the command is to use. */
const struct pmet_io *signals_begin(struct signals *s, const struct pmet_io *io);
void signals_end(struct signals *s); /* the handlers as they were */

/* The signal that asked to stop, or 0. */
int stop_signal(void);
/* As a status: PMET_INTERRUPTED once a signal has come, PMET_IO once standard output has failed. */
enum pmet_status check_stop(struct pmet_error *err);

/* Whom each call that reads or writes, and signals_ask, calls first, to show that time goes on; with
 * tick NULL nobody, if it was `user`. */
void signals_tick(void (*tick)(void *user), void *user);
int signals_ask(void); /* stop_signal after a tick */

#endif

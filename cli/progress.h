/* SPDX-License-Identifier: MIT
 * How far a long job is: a bar on a terminal, a line now and then in a log. On standard error. */
#ifndef PMET_CLI_PROGRESS_H
#define PMET_CLI_PROGRESS_H

#include "cli/command.h"

struct progress {
    const struct cli *c;
    const char *what, *unit; /* "optimising", "facts" */
    bool bar;
    double started, shown;
    size_t done, total, first; /* first: what a run before had done; no part of the rate */
    bool running, seen;        /* begun; heard of once at least */
    bool brief;                /* says nothing at its end if that comes within a second */
    char note[48];             /* behind the bar */
};

void progress_begin(struct progress *p, const struct cli *c, const char *what, const char *unit);
/* total 0: not known. Returns nonzero once a signal has asked to stop, as the library's callbacks want it. */
int progress_update(struct progress *p, size_t done, size_t total);
/* The same for what has not moved: the bar or the line shows that time goes on. */
int progress_tick(struct progress *p);
/* What a command's listener does with notes and with progress, which begins at the first of it. */
enum pmet_status progress_event(struct progress *p, const struct cli *c, const char *what, const char *unit,
                                const struct pmet_event *event);
/* Takes the bar away and says in one line what was done; once. */
void progress_end(struct progress *p);
void progress_drop(struct progress *p); /* the same, without the line */

#endif

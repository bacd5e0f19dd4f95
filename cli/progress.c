/* SPDX-License-Identifier: MIT */
#include "cli/progress.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BAR_WIDTH = 24 };
static const double bar_every_s = 0.1, line_every_s = 30;

void progress_begin(struct progress *p, const struct cli *c, const char *what, const char *unit)
{
    const char *term = getenv("TERM"), *no = getenv("NO_COLOR");
    const double now = pmet_seconds();
    *p = (struct progress){.c = c, .what = what, .unit = unit, .started = now, .shown = now, .running = true};
    p->bar = !c->quiet && isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0 && !(no && *no);
}

static void rate_and_left(const struct progress *p, char *text, size_t size)
{
    const double spent = pmet_seconds() - p->started;
    char left[32];
    if (p->done <= p->first || spent <= 0) {
        text[0] = '\0';
        return;
    }
    const double rate = (double)(p->done - p->first) / spent;
    format_seconds(left, sizeof left, (double)(p->total - p->done) / rate);
    if (rate >= 1)
        snprintf(text, size, "  %.1f/s  %s left", rate, left);
    else
        snprintf(text, size, "  %.1f s each  %s left", 1 / rate, left);
}

static void draw(const struct progress *p)
{
    char rate[96], bar[BAR_WIDTH + 1];
    const size_t full = p->total > 0 ? (size_t)((double)p->done / (double)p->total * BAR_WIDTH) : 0;
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', full < BAR_WIDTH ? full : BAR_WIDTH);
    bar[BAR_WIDTH] = '\0';
    rate_and_left(p, rate, sizeof rate);
    fprintf(stderr, "\r%s [%s] %zu/%zu %s%s%s\033[K", p->what, bar, p->done, p->total, p->unit, rate,
            p->note);
    fflush(stderr);
}

int progress_update(struct progress *p, size_t done, size_t total)
{
    const double now = pmet_seconds();
    if (p->total == 0)
        p->first = done;
    p->done = done;
    p->total = total;
    if (p->running && p->bar && (now - p->shown >= bar_every_s || done == 0)) {
        p->shown = now;
        draw(p);
    } else if (p->running && !p->bar && !p->c->quiet && now - p->shown >= line_every_s) {
        char rate[96];
        p->shown = now;
        rate_and_left(p, rate, sizeof rate);
        say_note(p->c, "%s: %zu of %zu %s%s%s", p->what, done, total, p->unit, rate, p->note);
    }
    return stop_signal();
}

void progress_end(struct progress *p)
{
    char took[32];
    if (!p->running)
        return;
    p->running = false;
    if (p->bar)
        fprintf(stderr, "\r\033[K");
    if (p->total > 0)
        say_note(p->c, "%s: %zu of %zu %s in %s", p->what, p->done, p->total, p->unit,
                 format_seconds(took, sizeof took, pmet_seconds() - p->started));
}

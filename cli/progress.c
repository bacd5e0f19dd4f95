/* SPDX-License-Identifier: MIT */
#include "cli/progress.h"

#include <string.h>

enum { BAR_WIDTH = 24 };
static const double bar_every_s = 0.1, line_every_s = 30, first_line_s = 1;

static void tick(void *p)
{
    progress_tick(p);
}

void progress_begin(struct progress *p, const struct cli *c, const char *what, const char *unit)
{
    const double now = pmet_seconds();
    const bool bar = !c->quiet && !stderr_is_plain();
    *p = (struct progress){.c = c,
                           .what = what,
                           .unit = unit,
                           .bar = bar,
                           .started = now,
                           .shown = bar ? now : now - line_every_s + first_line_s,
                           .running = true};
    signals_tick(tick, p);
}

static void rate_and_left(const struct progress *p, char *text, size_t size)
{
    const double spent = pmet_seconds() - p->started;
    if (p->done <= p->first || spent <= 0) {
        text[0] = '\0';
        return;
    }
    const double rate = (double)(p->done - p->first) / spent;
    const size_t n_left = p->total > p->done ? p->total - p->done : 0;
    const struct formatted left = format_seconds((double)n_left / rate);
    if (p->total == 0)
        snprintf(text, size, "  %.1f/s", rate);
    else if (rate >= 1)
        snprintf(text, size, "  %.1f/s  %.31s left", rate, left.text);
    else
        snprintf(text, size, "  %.1f s each  %.31s left", 1 / rate, left.text);
}

static void draw(const struct progress *p)
{
    char rate[96], bar[BAR_WIDTH + 1], line[256];
    const size_t full = p->total > 0 ? (size_t)((double)p->done / (double)p->total * BAR_WIDTH) : 0;
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', full < BAR_WIDTH ? full : BAR_WIDTH);
    bar[BAR_WIDTH] = '\0';
    rate_and_left(p, rate, sizeof rate);
    if (p->total == 0)
        snprintf(line, sizeof line, "%s: %zu %s%s%s", p->what, p->done, p->unit, rate, p->note);
    else
        snprintf(line, sizeof line, "%s [%s] %zu/%zu %s%s%s", p->what, bar, p->done, p->total, p->unit, rate,
                 p->note);
    say_progress(line);
}

int progress_update(struct progress *p, size_t done, size_t total)
{
    const double now = pmet_seconds();
    const bool is_first = !p->seen;
    if (is_first)
        p->first = done;
    p->seen = true;
    p->done = done;
    p->total = total;
    if (p->running && p->bar && (now - p->shown >= bar_every_s || is_first)) {
        p->shown = now;
        draw(p);
    } else if (p->running && !p->bar && !p->c->quiet && now - p->shown >= line_every_s) {
        char rate[96];
        p->shown = now;
        rate_and_left(p, rate, sizeof rate);
        if (total == 0)
            say(p->c, NOTE, "%s: %zu %s%s%s", p->what, done, p->unit, rate, p->note);
        else
            say(p->c, NOTE, "%s: %zu of %zu %s%s%s", p->what, done, total, p->unit, rate, p->note);
    }
    return stop_signal();
}

int progress_tick(struct progress *p)
{
    return p->running && p->seen ? progress_update(p, p->done, p->total) : stop_signal();
}

enum pmet_status progress_event(struct progress *p, const struct cli *c, const char *what, const char *unit,
                                const struct pmet_event *event)
{
    if (event->kind == PMET_EVENT_NOTE)
        say(c, event->warning ? WARNING : NOTE, "%s", event->text);
    if (event->kind == PMET_EVENT_POLL)
        return progress_tick(p) ? PMET_INTERRUPTED : PMET_OK;
    if (event->kind != PMET_EVENT_PROGRESS)
        return PMET_OK;
    if (!p->running)
        progress_begin(p, c, what, unit);
    return progress_update(p, event->done, event->total) ? PMET_INTERRUPTED : PMET_OK;
}

void progress_drop(struct progress *p)
{
    if (p->running)
        say_no_progress();
    p->running = false;
    signals_tick(NULL, p);
}

void progress_end(struct progress *p)
{
    if (!p->running)
        return;
    progress_drop(p);
    if (p->total > 0 && (!p->brief || pmet_seconds() - p->started >= 1))
        say(p->c, NOTE, "%s: %zu of %zu %s in %s", p->what, p->done, p->total, p->unit,
            format_seconds(pmet_seconds() - p->started).text);
}

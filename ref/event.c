/* SPDX-License-Identifier: MIT */
#include "ref/event.h"

#include <stdarg.h>
#include <stdio.h>

enum pmet_status pmet_raise(const struct pmet_listener *listener, const struct pmet_event *event,
                            struct pmet_error *err)
{
    if (!listener || !listener->on_event)
        return PMET_OK;
    const enum pmet_status status = listener->on_event(listener->user, event, err);
    if (status == PMET_INTERRUPTED && err->status == PMET_OK)
        return pmet_fail(err, status, "interrupted; nothing is written");
    return status;
}

enum pmet_status pmet_raise_progress(const struct pmet_listener *listener, enum pmet_phase phase, size_t done,
                                     size_t total, struct pmet_error *err)
{
    return pmet_raise(
        listener,
        &(struct pmet_event){.kind = PMET_EVENT_PROGRESS, .phase = phase, .done = done, .total = total}, err);
}

enum pmet_status pmet_raise_poll(const struct pmet_listener *listener, struct pmet_error *err)
{
    return pmet_raise(listener, &(struct pmet_event){.kind = PMET_EVENT_POLL}, err);
}

bool pmet_listener_stops(const void *listener)
{
    struct pmet_error ignored = {PMET_OK, ""};
    return pmet_raise_poll(listener, &ignored) != PMET_OK;
}

void pmet_raise_note(const struct pmet_listener *listener, bool warning, const char *fmt, ...)
{
    char line[1024];
    struct pmet_error ignored = {PMET_OK, ""};
    va_list args;
    va_start(args, fmt);
    pmet_line(line, sizeof line, fmt, args);
    va_end(args);
    pmet_raise(listener, &(struct pmet_event){.kind = PMET_EVENT_NOTE, .warning = warning, .text = line},
               &ignored);
}

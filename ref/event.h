/* SPDX-License-Identifier: MIT
 * The one stream of events that progress, trace, report and --json listen to: struct pmet_event of
 * pmet.h, raised with these functions. `detail` points to
 *     PMET_EVENT_PASS, PMET_EVENT_FACT   struct pmet_fact_event (ref/method/editor.h)
 *     PMET_EVENT_LAYER                   struct pmet_layer_event (ref/method/editor.h)
 *     PMET_EVENT_DONE                    the job (ref/job/), finished
 * A NULL listener, or one without a function, hears nothing. */
#ifndef PMET_REF_EVENT_H
#define PMET_REF_EVENT_H

#include "tensors/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* PMET_INTERRUPTED of a listener that left *err empty becomes "interrupted; nothing is written". */
enum pmet_status pmet_raise(const struct pmet_listener *listener, const struct pmet_event *event,
                            struct pmet_error *err);
enum pmet_status pmet_raise_progress(const struct pmet_listener *listener, enum pmet_phase phase, size_t done,
                                     size_t total, struct pmet_error *err);
enum pmet_status pmet_raise_poll(const struct pmet_listener *listener, struct pmet_error *err);
/* struct pmet_ops' `stopped` for a listener: raises PMET_EVENT_POLL. */
bool pmet_listener_stops(const void *listener);
/* A line for whoever listens, made printable; what the listener returns is ignored. */
void pmet_raise_note(const struct pmet_listener *listener, bool warning, const char *fmt, ...)
    PMET_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif

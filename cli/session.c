/* SPDX-License-Identifier: MIT */
#include "cli/session.h"
#include "cli/signals.h"

static bool is_stopped(const void *unused)
{
    (void)unused;
    return signals_ask() != 0;
}

static enum pmet_status on_note(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    (void)err;
    say(user, event->warning ? WARNING : NOTE, "%s", event->text);
    return PMET_OK;
}

enum pmet_status session_open(const struct cli *c, const char *dir, struct pmet_session **s,
                              struct pmet_error *err)
{
    const struct pmet_listener listener = {(void *)(uintptr_t)c, on_note};
    PMET_TRY(pmet_session_open_io(c->io, dir, (enum pmet_device)c->device, c->threads, s, err));
    (*s)->op->stopped = is_stopped;
    const struct pmet_shape shape = pmet_session_shape(*s);
    say(c, c->half_activations || c->tf32 ? NOTE : DETAIL, "%s: %s, %zu layers of width %zu, on %s", dir,
        shape.family, shape.n_layer, shape.d_model, (*s)->op->name);
    pmet_session_notes(*s, &listener);
    return PMET_OK;
}

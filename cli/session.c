/* SPDX-License-Identifier: MIT */
#include "cli/session.h"

enum pmet_status session_open(const struct cli *c, const char *dir, struct pmet_session **s,
                              struct pmet_error *err)
{
    PMET_TRY(pmet_session_open_io(c->io, dir, (enum pmet_device)c->device, c->threads, s, err));
    const struct pmet_shape shape = pmet_session_shape(*s);
    say(c, c->half_activations || c->tf32 ? NOTE : DETAIL, "%s: %s, %zu layers of width %zu, on %s", dir,
        shape.family, shape.n_layer, shape.d_model, (*s)->op->name);
    return PMET_OK;
}

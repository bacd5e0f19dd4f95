/* SPDX-License-Identifier: MIT */
#include "tensors/weights.h"

enum pmet_form pmet_form_of(const char *path)
{
    return pmet_ends_with(path, ".bin") ? PMET_TORCH_BIN : PMET_SAFETENSORS;
}

enum pmet_status pmet_weights_open(const struct pmet_io *io, const char *path, enum pmet_form form,
                                   struct pmet_weights *out, struct pmet_error *err)
{
    *out = (struct pmet_weights){NULL, NULL, NULL};
    if (form == PMET_TORCH_BIN)
        PMET_TRY(pmet_torch_bin_open(io, path, &out->bin, err));
    else
        PMET_TRY(pmet_safetensors_open(io, path, &out->st, err));
    out->all = out->bin ? pmet_torch_bin_all(out->bin) : &out->st->all;
    return PMET_OK;
}

void pmet_weights_close(struct pmet_weights *w)
{
    pmet_torch_bin_close(w->bin);
    pmet_safetensors_close(w->st);
    *w = (struct pmet_weights){NULL, NULL, NULL};
}

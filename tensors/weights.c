/* SPDX-License-Identifier: MIT */
#include "tensors/weights.h"

#include <string.h>

enum pmet_form pmet_form_of(const char *path)
{
    const size_t n = strlen(path);
    return n >= 4 && strcmp(path + n - 4, ".bin") == 0 ? PMET_TORCH_BIN : PMET_SAFETENSORS;
}

enum pmet_status pmet_weights_open(const struct pmet_io *io, const char *path, enum pmet_form form,
                                   struct pmet_weights *out, struct pmet_error *err)
{
    *out = (struct pmet_weights){NULL, NULL};
    return form == PMET_TORCH_BIN ? pmet_torch_bin_open(io, path, &out->bin, err)
                                  : pmet_safetensors_open(io, path, &out->st, err);
}

void pmet_weights_close(struct pmet_weights *w)
{
    pmet_torch_bin_close(w->bin);
    pmet_safetensors_close(w->st);
    *w = (struct pmet_weights){NULL, NULL};
}

const char *pmet_weights_path(const struct pmet_weights *w)
{
    return w->bin ? pmet_torch_bin_path(w->bin) : pmet_safetensors_path(w->st);
}

size_t pmet_weights_count(const struct pmet_weights *w)
{
    return w->bin ? pmet_torch_bin_count(w->bin) : pmet_safetensors_count(w->st);
}

const struct pmet_tensor *pmet_weights_at(const struct pmet_weights *w, size_t i)
{
    return w->bin ? pmet_torch_bin_at(w->bin, i) : pmet_safetensors_at(w->st, i);
}

const struct pmet_tensor *pmet_weights_find(const struct pmet_weights *w, const char *name)
{
    return w->bin ? pmet_torch_bin_find(w->bin, name) : pmet_safetensors_find(w->st, name);
}

/* SPDX-License-Identifier: MIT
 * A file of named tensors in either form that checkpoints have. */
#ifndef PMET_TENSORS_WEIGHTS_H
#define PMET_TENSORS_WEIGHTS_H

#include "tensors/safetensors.h"
#include "tensors/torch_bin.h"

enum pmet_form { PMET_SAFETENSORS, PMET_TORCH_BIN };

struct pmet_weights {
    struct pmet_safetensors *st; /* one of the two; NULL both before open and after close */
    struct pmet_torch_bin *bin;
    const struct pmet_tensors *all; /* of either */
};

enum pmet_form pmet_form_of(const char *path); /* PMET_TORCH_BIN if its name ends in .bin */

enum pmet_status pmet_weights_open(const struct pmet_io *io, const char *path, enum pmet_form form,
                                   struct pmet_weights *out, struct pmet_error *err);
void pmet_weights_close(struct pmet_weights *w);

#endif

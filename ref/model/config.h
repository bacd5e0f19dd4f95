/* SPDX-License-Identifier: MIT
 * What config.json says of a model.      SPEC §3.7 */
#ifndef PMET_REF_MODEL_CONFIG_H
#define PMET_REF_MODEL_CONFIG_H

#include <jansson.h>
#include "ref/model/family.h"

struct pmet_config {
    const struct pmet_family *family;
    size_t n_layer, d_model, n_head, d_head, d_ff;
    size_t n_vocab; /* rows of embedding and head, padding rows included */
    size_t n_ctx;   /* longest sequence */
    size_t rotary_dim;
    enum pmet_rope rope;
    double rope_base, ln_eps;
    enum pmet_act act;
    bool parallel;  /* attention and FFN read the same hidden state */
    bool tied_head; /* the head may be the embedding, where the checkpoint has no head of its own */
};

/* Reads and checks the object of a config.json by the row of its model_type among `families` (a
 * list that NULL ends); `path` serves messages. Unknown model types and activations are refused. */
enum pmet_status pmet_config_read(const json_t *json, const char *path,
                                  const struct pmet_family *const *families, struct pmet_config *out,
                                  struct pmet_error *err);

#endif

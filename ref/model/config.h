/* SPDX-License-Identifier: MIT
 * What config.json says of a model.      SPEC §3.7 */
#ifndef PMET_REF_MODEL_CONFIG_H
#define PMET_REF_MODEL_CONFIG_H

#include <jansson.h>
#include "ref/model/family.h"
#include "ref/model/notes.h"

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
    bool attn_bias; /* q, k, v and the output of attention have the biases of the family */
    bool tied_head; /* head and embedding stand in for each other where the checkpoint has one */
};

/* Reads and checks the object of a config.json by the row of its model_type among `families` (a
 * list that NULL ends); `path` serves messages. Unknown model types, activations and kinds of
 * positions are refused, and so is every key that changes the arithmetic otherwise; what was passed
 * over and may have been meant is noted. */
enum pmet_status pmet_config_read(json_t *json, const char *path, const struct pmet_family *const *families,
                                  struct pmet_config *out, struct pmet_notes *notes, struct pmet_error *err);

#endif

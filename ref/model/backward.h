/* SPDX-License-Identifier: MIT
 * Gradients of activations through a block and the head. Weights get none.      SPEC §3.5, §3.6 */
#ifndef PMET_REF_MODEL_BACKWARD_H
#define PMET_REF_MODEL_BACKWARD_H

#include "ref/model/batch.h"

/* E33, E34: g_x = gradient at the input of block l, given g_out at its output; saved from the
 * forward. g_x may not be g_out. */
enum pmet_status pmet_block_dx(const struct pmet_model *model, size_t l, real *g_x, const real *g_out,
                               const struct pmet_saved *saved, const struct pmet_batch *batch,
                               const struct pmet_kv *kv, struct pmet_scratch *s, struct pmet_error *err);
/* E31: g_u = gradient at the FFN's normalised input, given g_m at its output; f the pre-activation,
 * g_f scratch [n_tok, d_ff]. */
enum pmet_status pmet_ffn_dx(const struct pmet_model *model, size_t l, real *g_u, real *g_f, const real *g_m,
                             const real *f, size_t n_tok, struct pmet_error *err);
/* E38: g_x [n_tok, d_model] = gradient at the hidden states, given g_logits; g_u scratch [n_tok,
 * d_model]. */
enum pmet_status pmet_head_dx(const struct pmet_model *model, real *g_x, real *g_u, const real *g_logits,
                              const real *x, size_t n_tok, struct pmet_error *err);

#endif

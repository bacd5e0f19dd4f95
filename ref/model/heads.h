/* SPDX-License-Identifier: MIT
 * Where q, k and v of a token stand in its row of 3 d_model, by the family's layout (E25). */
#ifndef PMET_REF_MODEL_HEADS_H
#define PMET_REF_MODEL_HEADS_H

#include "ref/model/batch.h"

/* part: 0 q, 1 k, 2 v. */
static inline struct pmet_heads pmet_heads_of(const struct pmet_config *c, real *qkv, size_t part)
{
    const struct pmet_qkv_layout *layout = &c->family->qkv;
    const size_t place = layout->place[part];
    return layout->by_head ? (struct pmet_heads){qkv + place * c->d_head, 3 * c->d_model, 3 * c->d_head}
                           : (struct pmet_heads){qkv + place * c->d_model, 3 * c->d_model, c->d_head};
}

/* What attention of block l reads, given q, k and v of the batch; kv may be NULL. */
static inline struct pmet_attention pmet_attention_of(const struct pmet_model *model, size_t l, real *qkv,
                                                      const struct pmet_batch *batch,
                                                      const struct pmet_kv *kv)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_cache *past = kv ? kv->past : NULL;
    return (struct pmet_attention){.q = pmet_heads_of(c, qkv, 0),
                                   .k = pmet_heads_of(c, qkv, 1),
                                   .v = pmet_heads_of(c, qkv, 2),
                                   .past_k = past ? past->k[l] : NULL,
                                   .past_v = past ? past->v[l] : NULL,
                                   .batch = batch,
                                   .n_head = c->n_head,
                                   .d_head = c->d_head};
}

#endif

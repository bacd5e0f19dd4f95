/* SPDX-License-Identifier: MIT
 * Where q, k and v of a token stand in its row of 3 d_model, by the family's layout (E25). */
#ifndef PMET_REF_MODEL_HEADS_H
#define PMET_REF_MODEL_HEADS_H

#include "ref/model/config.h"

/* part: 0 q, 1 k, 2 v. */
static inline struct pmet_heads pmet_heads_of(const struct pmet_config *c, real *qkv, size_t part)
{
    const struct pmet_qkv_layout *layout = &c->family->qkv;
    const size_t place = layout->place[part];
    return layout->by_head ? (struct pmet_heads){qkv + place * c->d_head, 3 * c->d_model, 3 * c->d_head}
                           : (struct pmet_heads){qkv + place * c->d_model, 3 * c->d_model, c->d_head};
}

#endif

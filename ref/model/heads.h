/* SPDX-License-Identifier: MIT
 * Where q, k and v of a token stand in its row of 3 d_model: GPT-J has three blocks of d_model, NeoX [q|k|v]
 * for each head (E25). */
#ifndef PMET_REF_MODEL_HEADS_H
#define PMET_REF_MODEL_HEADS_H

#include "ref/model/model.h"

/* part: 0 q, 1 k, 2 v. */
static inline struct pmet_heads pmet_heads_of(const struct pmet_config *c, real *qkv, size_t part)
{
    return c->family == PMET_GPTJ
               ? (struct pmet_heads){qkv + part * c->d_model, 3 * c->d_model, c->d_head}
               : (struct pmet_heads){qkv + part * c->d_head, 3 * c->d_model, 3 * c->d_head};
}

#endif

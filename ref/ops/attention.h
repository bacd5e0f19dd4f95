/* SPDX-License-Identifier: MIT
 * Where the queries, keys and values of a batch lie.      SPEC E8 */
#ifndef PMET_REF_OPS_ATTENTION_H
#define PMET_REF_OPS_ATTENTION_H

#include "ref/ops/ops.h"

/* Features of head e of token t. */
static inline real *pmet_head_at(struct pmet_heads x, size_t t, size_t e)
{
    return x.data + t * x.row_stride + e * x.head_stride;
}

/* Keys and values that one head of one row attends to, by position: n_past cached ones, then the
 * row's tokens. */
struct pmet_attended {
    struct pmet_heads k, v;
    const real *past_k, *past_v; /* the head's features at the first cached position, or NULL */
    size_t first, head;          /* the row's first token */
    size_t n_past, n_own, width; /* width: of a cache row, n_head*d_head */
};

static inline struct pmet_attended pmet_attended(struct pmet_heads k, struct pmet_heads v, const real *past_k,
                                                 const real *past_v, const struct pmet_batch *batch, size_t b,
                                                 size_t e, size_t n_head, size_t d_head)
{
    const size_t at = (batch->past_start[b] * n_head + e) * d_head;
    return (struct pmet_attended){.k = k,
                                  .v = v,
                                  .past_k = past_k ? past_k + at : NULL,
                                  .past_v = past_v ? past_v + at : NULL,
                                  .first = batch->row_start[b],
                                  .head = e,
                                  .n_past = batch->n_past[b],
                                  .n_own = batch->row_start[b + 1] - batch->row_start[b],
                                  .width = n_head * d_head};
}

static inline const real *pmet_key_at(const struct pmet_attended *a, size_t s)
{
    return s < a->n_past ? a->past_k + s * a->width : pmet_head_at(a->k, a->first + s - a->n_past, a->head);
}

static inline const real *pmet_value_at(const struct pmet_attended *a, size_t s)
{
    return s < a->n_past ? a->past_v + s * a->width : pmet_head_at(a->v, a->first + s - a->n_past, a->head);
}

/* Positions of the longest row, cached ones included. */
static inline size_t pmet_longest(const struct pmet_batch *batch)
{
    size_t longest = 0;
    for (size_t b = 0; b < batch->n_row; b++) {
        const size_t n = batch->n_past[b] + batch->row_start[b + 1] - batch->row_start[b];
        longest = n > longest ? n : longest;
    }
    return longest;
}

#endif

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

/* What one head of one row attends to: keys and values by position, n_past cached ones, then those
 * of the row's tokens. */
struct pmet_attended {
    struct pmet_heads q, k, v;
    const real *past_k, *past_v;         /* the head's features at the first cached position, or NULL */
    size_t first, head;                  /* the row's first token */
    size_t n_past, n_own, d_head, width; /* width: of a cache row, n_head*d_head */
};

static inline struct pmet_attended pmet_attended(const struct pmet_attention *a, size_t b, size_t e)
{
    const struct pmet_batch *batch = a->batch;
    const size_t at = (batch->past_start[b] * a->n_head + e) * a->d_head;
    return (struct pmet_attended){.q = a->q,
                                  .k = a->k,
                                  .v = a->v,
                                  .past_k = a->past_k ? a->past_k + at : NULL,
                                  .past_v = a->past_v ? a->past_v + at : NULL,
                                  .first = batch->row_start[b],
                                  .head = e,
                                  .n_past = batch->n_past[b],
                                  .n_own = batch->row_start[b + 1] - batch->row_start[b],
                                  .d_head = a->d_head,
                                  .width = a->n_head * a->d_head};
}

/* Features of the row's query t. */
static inline const real *pmet_query_at(const struct pmet_attended *a, size_t t)
{
    return pmet_head_at(a->q, a->first + t, a->head);
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

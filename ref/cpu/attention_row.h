/* SPDX-License-Identifier: MIT
 * One query's attention weights, for the forward and the backward.      SPEC §3.3 */
#ifndef PMET_REF_CPU_ATTENTION_ROW_H
#define PMET_REF_CPU_ATTENTION_ROW_H

#include <math.h>
#include "ref/cpu/cpu.h"
#include "ref/cpu/exponential.h"

/* A row of the batch seen by one head: keys and values by absolute position, cached ones first. */
struct pmet_keys_view {
    struct pmet_heads k, v;
    const real *past_k, *past_v; /* of the row's first cached position and the head */
    size_t first, n_past, width; /* first token; cached positions; width of a cache row */
    size_t head;
};

static inline struct pmet_keys_view pmet_view(struct pmet_heads k, struct pmet_heads v, const real *past_k,
                                              const real *past_v, const struct pmet_batch *batch, size_t b,
                                              size_t e, size_t n_head, size_t d_head)
{
    const size_t at = batch->past_start[b] * n_head * d_head + e * d_head;
    return (struct pmet_keys_view){.k = k,
                                   .v = v,
                                   .past_k = past_k ? past_k + at : NULL,
                                   .past_v = past_v ? past_v + at : NULL,
                                   .first = batch->row_start[b],
                                   .n_past = batch->n_past[b],
                                   .width = n_head * d_head,
                                   .head = e};
}

static inline real *pmet_head_at(struct pmet_heads x, size_t t, size_t e)
{
    return x.data + t * x.row_stride + e * x.head_stride;
}

static inline const real *pmet_key_at(const struct pmet_keys_view *w, size_t s)
{
    return s < w->n_past ? w->past_k + s * w->width : pmet_head_at(w->k, w->first + s - w->n_past, w->head);
}

static inline const real *pmet_value_at(const struct pmet_keys_view *w, size_t s)
{
    return s < w->n_past ? w->past_v + s * w->width : pmet_head_at(w->v, w->first + s - w->n_past, w->head);
}

/* E14: p[s] = softmax over s < n of q.k[s] / sqrt(d_head). */
static inline void pmet_weights(double *p, const real *q, const struct pmet_keys_view *w, size_t n,
                                size_t d_head)
{
    const double scale = 1 / sqrt((double)d_head);
    double top = -HUGE_VAL, sum = 0;
    for (size_t s = 0; s < n; s++) {
        p[s] = pmet_dot(q, pmet_key_at(w, s), d_head) * scale;
        top = p[s] > top ? p[s] : top;
    }
    for (size_t s = 0; s < n; s++)
        sum += p[s] = pmet_exp(p[s] - top);
    for (size_t s = 0; s < n; s++)
        p[s] /= sum;
}

/* Longest past + own tokens of any row. */
static inline size_t pmet_longest(const struct pmet_batch *batch)
{
    size_t n = 0;
    for (size_t b = 0; b < batch->n_row; b++) {
        const size_t len = batch->n_past[b] + batch->row_start[b + 1] - batch->row_start[b];
        n = len > n ? len : n;
    }
    return n;
}

#endif

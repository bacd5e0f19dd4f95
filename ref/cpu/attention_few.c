/* SPDX-License-Identifier: MIT
 * Attention of a few queries behind a long past (E14). It gives the bits of attention.c: the same
 * sums in the same order. */
#include "ref/cpu/attention.h"

enum {
    STEP = PMET_ATTENTION_STEP,
    CHAINS = 8
}; /* CHAINS: sums side by side, to hide a multiply-add's latency */

/* A thread's buffers for one query of some heads. */
struct buffers {
    size_t n_pos, d;       /* positions; features of these heads */
    double *query, *score; /* [d], [heads][n_pos] */
    real *p, *sum, *acc;   /* [heads][n_pos], [d], [d] */
};

size_t pmet_attend_few_size(size_t n_pos, size_t n_head, size_t d_head)
{
    const size_t d = n_head * d_head;
    return (d + n_head * n_pos) * (sizeof(double) / sizeof(real)) + n_head * n_pos + 2 * d;
}

static struct buffers buffers_in(real *scratch, size_t n_pos, size_t n_head, size_t d)
{
    struct buffers k = {.n_pos = n_pos, .d = d, .query = (double *)(void *)scratch};
    k.score = k.query + d;
    k.p = (real *)(void *)(k.score + n_head * n_pos);
    k.sum = k.p + n_head * n_pos;
    k.acc = k.sum + d;
    return k;
}

/* Up to CHAINS positions, all cached or all the row's own: features of the j-th for head e
 * at x + j*stride + e*head. */
struct run {
    const real *x;
    size_t n, stride, head;
};

/* The run that begins at position s; it ends before n and at a multiple of STEP. */
static struct run run_at(const struct pmet_attended *a, struct pmet_heads own, const real *past, size_t s,
                         size_t n, size_t d_head)
{
    const bool cached = s < a->n_past;
    const size_t end = cached && a->n_past < n ? a->n_past : n, border = s / STEP * STEP + STEP,
                 m = (end < border ? end : border) - s;
    return (struct run){.x = cached ? past + s * a->width
                                    : pmet_head_at(own, a->first + s - a->n_past, a->head),
                        .n = m < CHAINS ? m : CHAINS,
                        .stride = cached ? a->width : own.row_stride,
                        .head = cached ? d_head : own.head_stride};
}

/* score[j] = q . x[j] of the n positions, side by side. */
static void score_run(double *restrict score, const double *restrict q, const real *restrict x, size_t n,
                      size_t stride, size_t d_head)
{
    double sum[CHAINS] = {0};
    if (n == CHAINS)
        for (size_t i = 0; i < d_head; i++)
            for (size_t j = 0; j < CHAINS; j++)
                sum[j] = pmet_multiply_add64(q[i], (double)x[j * stride + i], sum[j]);
    else
        for (size_t i = 0; i < d_head; i++)
            for (size_t j = 0; j < n; j++)
                sum[j] = pmet_multiply_add64(q[i], (double)x[j * stride + i], sum[j]);
    memcpy(score, sum, n * sizeof *sum);
}

/* sum += p[j] x[j] of the n positions in turn. */
static void add_run(real *restrict sum, const real *restrict p, const real *restrict x, size_t n,
                    size_t stride, size_t d_head)
{
    if (n < CHAINS) {
        for (size_t j = 0; j < n; j++)
            for (size_t i = 0; i < d_head; i++)
                sum[i] = pmet_multiply_add(p[j], x[j * stride + i], sum[i]);
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < d_head; i++) {
        real s = sum[i];
        for (size_t j = 0; j < CHAINS; j++)
            s = pmet_multiply_add(p[j], x[j * stride + i], s);
        sum[i] = s;
    }
}

/* Query t of the row. Positions are the outer loops: a cached position's heads are neighbours, so
 * the past is read once from end to end. */
static void attend_one(const struct buffers *k, real *out, const struct pmet_attended *a, size_t t,
                       size_t n_head)
{
    const size_t d_head = a->d_head, n = a->n_past + t + 1;
    struct run x;
    for (size_t e = 0; e < n_head; e++)
        for (size_t i = 0; i < d_head; i++)
            k->query[e * d_head + i] = (double)pmet_head_at(a->q, a->first + t, a->head + e)[i];
    for (size_t s = 0; s < n; s += x.n) {
        x = run_at(a, a->k, a->past_k, s, n, d_head);
        for (size_t e = 0; e < n_head; e++)
            score_run(k->score + e * k->n_pos + s, k->query + e * d_head, x.x + e * x.head, x.n, x.stride,
                      d_head);
    }
    for (size_t e = 0; e < n_head; e++)
        pmet_attention_softmax(k->p + e * k->n_pos, k->score + e * k->n_pos, n, n, 1 / sqrt((double)d_head));
    memset(k->acc, 0, k->d * sizeof *k->acc);
    memset(k->sum, 0, k->d * sizeof *k->sum);
    for (size_t s = 0; s < n; s += x.n) {
        x = run_at(a, a->v, a->past_v, s, n, d_head);
        for (size_t e = 0; e < n_head; e++)
            add_run(k->sum + e * d_head, k->p + e * k->n_pos + s, x.x + e * x.head, x.n, x.stride, d_head);
        if ((s + x.n) % STEP != 0 && s + x.n < n)
            continue;
        for (size_t i = 0; i < k->d; i++)
            k->acc[i] += k->sum[i];
        memset(k->sum, 0, k->d * sizeof *k->sum);
    }
    memcpy(out + (a->first + t) * a->width + a->head * d_head, k->acc, k->d * sizeof *out);
}

void pmet_attend_few(real *out, const struct pmet_attended *a, size_t n_head, size_t n_pos, real *scratch)
{
    const struct buffers k = buffers_in(scratch, n_pos, n_head, n_head * a->d_head);
    for (size_t t = 0; t < a->n_own; t++)
        attend_one(&k, out, a, t, n_head);
}

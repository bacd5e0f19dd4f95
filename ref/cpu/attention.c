/* SPDX-License-Identifier: MIT
 * Causal attention over packed rows behind a cached past (E14).      SPEC §3.3
 *
 * One head of a row at a time: its keys and values are packed into panels of BLOCK positions, and
 * BLOCK queries go through them together. Scores are sums in double, because the softmax turns
 * their absolute error into a relative one; values are weighed by the blocks of panel.h, with
 * weight 0 past the query's own position. The steps of a sum depend neither on the row's length nor
 * on how much of it is cached. For a few queries behind a long past packing does not pay:
 * attention_few.c takes the same sums over keys and values in place. */
#include "ref/cpu/attention.h"

#include <stdlib.h>
#include <string.h>
#include "ref/cpu/table.h"
#include "ref/cpu/threads.h"

enum { BLOCK = PMET_BLOCK, FEW = 4 }; /* FEW: queries of a row that go without panels */

typedef real block[BLOCK][BLOCK];

/* A thread's buffers for one head of the longest row; n_pos and d in whole blocks. */
struct panels {
    size_t n_pos, d;      /* positions; features */
    double *keys, *query; /* [n_pos/BLOCK][d][BLOCK], [BLOCK][d] */
    double *score;        /* [BLOCK][n_pos] */
    real *values, *p;     /* [d/BLOCK][n_pos][BLOCK], [BLOCK][n_pos] */
};

static size_t whole(size_t n)
{
    return (n + BLOCK - 1) / BLOCK * BLOCK;
}

static size_t panels_size(size_t n_pos, size_t d)
{
    return (n_pos * d + BLOCK * d + BLOCK * n_pos) * (sizeof(double) / sizeof(real)) + n_pos * d +
           BLOCK * n_pos;
}

static struct panels panels_in(real *scratch, size_t n_pos, size_t d)
{
    struct panels k = {.n_pos = n_pos, .d = d, .keys = (double *)(void *)scratch};
    k.query = k.keys + n_pos * d;
    k.score = k.query + BLOCK * d;
    k.values = (real *)(void *)(k.score + BLOCK * n_pos);
    k.p = k.values + n_pos * d;
    return k;
}

/* The head's first n keys and values; zeros after them. */
static void pack(struct panels *k, const struct pmet_attended *a, size_t n)
{
    const size_t d_head = a->d_head;
    memset(k->keys, 0, k->n_pos * k->d * sizeof *k->keys);
    memset(k->values, 0, k->n_pos * k->d * sizeof *k->values);
    for (size_t s = 0; s < n; s++) {
        const real *key = pmet_key_at(a, s), *value = pmet_value_at(a, s);
        for (size_t i = 0; i < d_head; i++)
            k->keys[(s / BLOCK * k->d + i) * BLOCK + s % BLOCK] = (double)key[i];
        for (size_t i = 0; i < d_head; i += BLOCK)
            memcpy(k->values + (i / BLOCK * k->n_pos + s) * BLOCK, value + i,
                   pmet_smaller(BLOCK, d_head - i) * sizeof *value);
    }
}

/* PMET_BLOCK_ROWS queries by BLOCK keys, terms ascending. */
static PMET_UNCHECKED void score_rows(double *restrict score, size_t stride, const double *restrict q,
                                      const double *restrict keys, size_t d)
{
    double s[PMET_BLOCK_ROWS][BLOCK];
    for (size_t r = 0; r < PMET_BLOCK_ROWS; r++)
        for (size_t j = 0; j < BLOCK; j++)
            s[r][j] = 0;
    for (size_t i = 0; i < d; i++)
        for (size_t r = 0; r < PMET_BLOCK_ROWS; r++)
#pragma omp simd
            for (size_t j = 0; j < BLOCK; j++)
                s[r][j] = pmet_multiply_add64(q[r * d + i], keys[i * BLOCK + j], s[r][j]);
    for (size_t r = 0; r < PMET_BLOCK_ROWS; r++)
        memcpy(score + r * stride, s[r], sizeof s[r]);
}

/* score[.][s] = query . key s, of the first m queries and of s below n_all, whole blocks */
static void scores(const struct panels *k, size_t m, size_t n_all)
{
    for (size_t s = 0; s < n_all; s += BLOCK)
        for (size_t r = 0; r < m; r += PMET_BLOCK_ROWS)
            score_rows(k->score + r * k->n_pos + s, k->n_pos, k->query + r * k->d, k->keys + s * k->d, k->d);
}

/* The queries [t, t + m) of the row, m <= BLOCK; probs are the head's, or NULL. */
static void attend_block(const struct panels *k, real *out, const struct pmet_attended *a, size_t t, size_t m,
                         real *probs)
{
    const size_t d_head = a->d_head, n_all = whole(a->n_past + t + m), n_last = a->n_past + a->n_own;
    memset(k->query, 0, BLOCK * k->d * sizeof *k->query);
    for (size_t r = 0; r < m; r++)
        for (size_t i = 0; i < d_head; i++)
            k->query[r * k->d + i] = (double)pmet_query_at(a, t + r)[i];
    scores(k, m, n_all);
    for (size_t r = 0; r < m; r++)
        pmet_attention_softmax(k->p + r * k->n_pos, k->score + r * k->n_pos, a->n_past + t + r + 1, n_all,
                               1 / sqrt((double)d_head));
    memset(k->p + m * k->n_pos, 0, (BLOCK - m) * k->n_pos * sizeof *k->p);
    for (size_t i = 0; i < d_head; i += BLOCK) {
        block acc = {{0}};
        pmet_block(acc, k->p, k->n_pos, 1, k->values + i * k->n_pos, n_all, PMET_ATTENTION_STEP);
        for (size_t r = 0; r < m; r++)
            memcpy(out + (a->first + t + r) * a->width + a->head * d_head + i, acc[r],
                   pmet_smaller(BLOCK, d_head - i) * sizeof acc[r][0]);
    }
    for (size_t r = 0; probs && r < m; r++) {
        real *row = probs + (t + r) * n_last;
        const size_t n = a->n_past + t + r + 1;
        memcpy(row, k->p + r * k->n_pos, n * sizeof *row);
        memset(row + n, 0, (n_last - n) * sizeof *row);
    }
}

/* Heads [e, e + n_e) of row b; probs are the row's, or NULL. */
static void attend_row(real *out, const struct pmet_attention *in, size_t b, size_t e, size_t n_e,
                       real *scratch, real *probs)
{
    struct pmet_attended a = pmet_attended(in, b, e);
    const size_t n_pos = whole(a.n_past + a.n_own);
    if (a.n_own <= FEW && !probs) {
        pmet_attend_few(out, &a, n_e, n_pos, scratch);
        return;
    }
    for (size_t i = e; i < e + n_e; i++) {
        struct panels panels = panels_in(scratch, n_pos, whole(a.d_head));
        a = pmet_attended(in, b, i);
        pack(&panels, &a, a.n_past + a.n_own);
        for (size_t t = 0; t < a.n_own; t += BLOCK)
            attend_block(&panels, out, &a, t, pmet_smaller(BLOCK, a.n_own - t),
                         probs ? probs + i * a.n_own * (a.n_past + a.n_own) : NULL);
    }
}

/* All heads of a row where there are rows enough to keep every thread busy. */
static size_t heads_at_a_time(size_t n_row, size_t n_head, size_t n_thread)
{
    const size_t n = n_row * n_head / (4 * n_thread);
    return n < 1 ? 1 : pmet_smaller(n, n_head);
}

static enum pmet_status attention(const struct pmet_ops *op, real *out, const struct pmet_attention *a,
                                  real *probs, struct pmet_error *err)
{
    const struct pmet_batch *batch = a->batch;
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    size_t *probs_at = NULL; /* of each row */
    const size_t n_pos = whole(pmet_longest(batch)), n_head = a->n_head,
                 n_e = heads_at_a_time(batch->n_row, n_head, cpu->n_thread),
                 n_part = (n_head + n_e - 1) / n_e, for_panels = panels_size(n_pos, whole(a->d_head)),
                 for_few = pmet_attend_few_size(n_pos, n_e, a->d_head);
    PMET_TRY(pmet_calloc(&probs_at, batch->n_row, sizeof *probs_at, "attention", err));
    for (size_t b = 0, at = 0; b < batch->n_row; b++) {
        const size_t n = batch->row_start[b + 1] - batch->row_start[b];
        probs_at[b] = at;
        at += n_head * n * (batch->n_past[b] + n);
    }
    const enum pmet_status status =
        pmet_cpu_scratch(cpu, for_panels > for_few ? for_panels : for_few, 0, err);
    if (status == PMET_OK) {
#pragma omp parallel for num_threads((int)cpu->n_thread) schedule(dynamic)
        for (size_t i = 0; i < batch->n_row * n_part; i++) {
            const size_t b = i / n_part, e = i % n_part * n_e;
            if (!pmet_cpu_stopped(op))
                attend_row(out, a, b, e, pmet_smaller(n_e, n_head - e), cpu->scratch[pmet_thread()],
                           probs ? probs + probs_at[b] : NULL);
        }
    }
    free(probs_at);
    return status ? status : pmet_cpu_finish(op, err);
}

void pmet_cpu_attention(struct pmet_ops *op)
{
    op->attention = attention;
}

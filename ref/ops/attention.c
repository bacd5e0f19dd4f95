/* SPDX-License-Identifier: MIT
 * Causal attention over packed rows with a cached past.      SPEC §3.3
 *
 * A head of a row at a time: its keys and values are laid out in panels of BLOCK, and BLOCK queries go through them
 * together. Scores are sums in double, since the softmax makes their absolute error a relative one; values are weighed by
 * the blocks of sums of panel.h, a weight past the query's own position being 0. Terms are summed by steps that depend
 * neither on the row's length nor on what of it is cached. */
#include <string.h>
#include "ref/ops/attention_row.h"
#include "ref/ops/panel.h"

enum { BLOCK = PMET_BLOCK, STEP = 64 /* positions in one running sum of values */ };

typedef real block[BLOCK][BLOCK];

/* What a thread needs for the longest row; widths in whole blocks. */
struct desk {
    size_t n_pos, d;      /* positions; features */
    double *keys, *query; /* [n_pos/BLOCK][d][BLOCK], [BLOCK][d] */
    double *score;        /* [BLOCK][n_pos] */
    real *values, *p;     /* [d/BLOCK][n_pos][BLOCK], [BLOCK][n_pos] */
};

static size_t whole(size_t n)
{
    return (n + BLOCK - 1) / BLOCK * BLOCK;
}

static size_t desk_reals(size_t n_pos, size_t d)
{
    return (n_pos * d + BLOCK * d + BLOCK * n_pos) * (sizeof(double) / sizeof(real)) + n_pos * d +
           BLOCK * n_pos;
}

static struct desk lay_desk(real *scratch, size_t n_pos, size_t d)
{
    struct desk k = {.n_pos = n_pos, .d = d, .keys = (double *)(void *)scratch};
    k.query = k.keys + n_pos * d;
    k.score = k.query + BLOCK * d;
    k.values = (real *)(void *)(k.score + BLOCK * n_pos);
    k.p = k.values + n_pos * d;
    return k;
}

/* Panels of the head's first n keys and values; zeros after them. */
static void lay_panels(struct desk *k, const struct pmet_keys_view *w, size_t n, size_t d_head)
{
    memset(k->keys, 0, k->n_pos * k->d * sizeof *k->keys);
    memset(k->values, 0, k->n_pos * k->d * sizeof *k->values);
    for (size_t s = 0; s < n; s++) {
        const real *key = pmet_key_at(w, s), *value = pmet_value_at(w, s);
        for (size_t i = 0; i < d_head; i++)
            k->keys[(s / BLOCK * k->d + i) * BLOCK + s % BLOCK] = (double)key[i];
        for (size_t i = 0; i < d_head; i += BLOCK)
            memcpy(k->values + (i / BLOCK * k->n_pos + s) * BLOCK, value + i,
                   (d_head - i < BLOCK ? d_head - i : BLOCK) * sizeof *value);
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
static void scores(const struct desk *k, size_t m, size_t n_all)
{
    for (size_t s = 0; s < n_all; s += BLOCK)
        for (size_t r = 0; r < m; r += PMET_BLOCK_ROWS)
            score_rows(k->score + r * k->n_pos + s, k->n_pos, k->query + r * k->d, k->keys + s * k->d, k->d);
}

/* E14: weights p of the first n scores; those up to n_all are zero. */
static void weigh(real *p, double *score, size_t n, size_t n_all, double scale)
{
    double top = score[0], part[8] = {0}; /* eight interleaved sums, in a fixed order */
    for (size_t s = 1; s < n; s++)
        top = score[s] > top ? score[s] : top;
    for (size_t s = 0; s < n; s++)
        score[s] = pmet_exp((score[s] - top) * scale);
    size_t s = 0;
    for (; s + 8 <= n; s += 8)
        for (size_t i = 0; i < 8; i++)
            part[i] += score[s + i];
    for (; s < n; s++)
        part[s % 8] += score[s];
    const double sum =
        ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
    for (s = 0; s < n; s++)
        p[s] = (real)(score[s] / sum);
    memset(p + n, 0, (n_all - n) * sizeof *p);
}

/* The queries [t, t + m) of the row, m <= BLOCK. */
static void attend(const struct desk *k, real *out, struct pmet_heads q, const struct pmet_keys_view *w,
                   size_t t, size_t m, size_t n_row, size_t d_head, real *probs)
{
    const size_t n_all = whole(w->n_past + t + m), n_last = w->n_past + n_row;
    memset(k->query, 0, BLOCK * k->d * sizeof *k->query);
    for (size_t r = 0; r < m; r++)
        for (size_t i = 0; i < d_head; i++)
            k->query[r * k->d + i] = (double)pmet_head_at(q, w->first + t + r, w->head)[i];
    scores(k, m, n_all);
    for (size_t r = 0; r < m; r++)
        weigh(k->p + r * k->n_pos, k->score + r * k->n_pos, w->n_past + t + r + 1, n_all,
              1 / sqrt((double)d_head));
    memset(k->p + m * k->n_pos, 0, (BLOCK - m) * k->n_pos * sizeof *k->p);
    for (size_t i = 0; i < d_head; i += BLOCK) {
        block acc = {{0}};
        const size_t n_i = d_head - i < BLOCK ? d_head - i : BLOCK;
        pmet_block(acc, k->p, k->n_pos, 1, k->values + i * k->n_pos, n_all, STEP);
        for (size_t r = 0; r < m; r++)
            memcpy(out + (w->first + t + r) * w->width + w->head * d_head + i, acc[r],
                   n_i * sizeof acc[r][0]);
    }
    for (size_t r = 0; probs && r < m; r++) {
        real *row = probs + (t + r) * n_last;
        const size_t n = w->n_past + t + r + 1;
        memcpy(row, k->p + r * k->n_pos, n * sizeof *row);
        memset(row + n, 0, (n_last - n) * sizeof *row);
    }
}

static enum pmet_status attention(const struct pmet_ops *op, real *out, struct pmet_heads q,
                                  struct pmet_heads k, struct pmet_heads v, const real *past_k,
                                  const real *past_v, const struct pmet_batch *batch, size_t n_head,
                                  size_t d_head, real *probs, struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    size_t *probs_at = NULL; /* of each row */
    const size_t n_pos = whole(pmet_longest(batch)), d = whole(d_head);
    PMET_TRY(pmet_calloc(&probs_at, batch->n_row, sizeof *probs_at, "attention", err));
    for (size_t b = 0, at = 0; b < batch->n_row; b++) {
        const size_t n = batch->row_start[b + 1] - batch->row_start[b];
        probs_at[b] = at;
        at += n_head * n * (batch->n_past[b] + n);
    }
    const enum pmet_status status = pmet_cpu_scratch(cpu, desk_reals(n_pos, d), 0, err);
    if (status == PMET_OK) {
#pragma omp parallel for num_threads((int)cpu->n_thread) schedule(dynamic)
        for (size_t be = 0; be < batch->n_row * n_head; be++) {
            const size_t b = be / n_head, e = be % n_head, n = batch->row_start[b + 1] - batch->row_start[b];
            const struct pmet_keys_view w = pmet_view(k, v, past_k, past_v, batch, b, e, n_head, d_head);
            struct desk desk = lay_desk(cpu->scratch[pmet_thread()], whole(w.n_past + n), d);
            if (n > 0)
                lay_panels(&desk, &w, w.n_past + n, d_head);
            for (size_t t = 0; t < n; t += BLOCK)
                attend(&desk, out, q, &w, t, n - t < BLOCK ? n - t : BLOCK, n, d_head,
                       probs ? probs + probs_at[b] + e * n * (w.n_past + n) : NULL);
        }
    }
    free(probs_at);
    return status;
}

void pmet_cpu_attention(struct pmet_ops *op)
{
    op->attention = attention;
}

/* SPDX-License-Identifier: MIT
 * Causal attention over packed rows with a cached past.      SPEC §3.3
 *
 * A head of a row at a time: its keys and values are laid out in panels of BLOCK, and BLOCK queries go through them
 * together. Scores are sums in double, since the softmax makes their absolute error a relative one; values are weighed by
 * the blocks of sums of panel.h, a weight past the query's own position being 0. Terms are summed by steps that depend
 * neither on the row's length nor on what of it is cached. A few queries behind a long past are not worth panels: the
 * same sums are taken over keys and values where they lie. */
#include <string.h>
#include "ref/cpu/attention_row.h"
#include "ref/cpu/panel.h"

enum {
    BLOCK = PMET_BLOCK,
    STEP = 64, /* positions in one running sum of values */
    FEW = 4,   /* queries of a row that go without panels */
    CHAINS = 8 /* sums of single numbers side by side, as many as hide the latency of a multiply-add */
};

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

/* ---- a few queries, without panels ---- */

/* What a thread needs for one query of some heads. */
struct table {
    size_t n_pos, d;       /* positions; features of these heads */
    double *query, *score; /* [d], [heads][n_pos] */
    real *p, *sum, *acc;   /* [heads][n_pos], [d], [d] */
};

static size_t table_reals(size_t n_pos, size_t n_head, size_t d)
{
    return (d + n_head * n_pos) * (sizeof(double) / sizeof(real)) + n_head * n_pos + 2 * d;
}

static struct table lay_table(real *scratch, size_t n_pos, size_t n_head, size_t d)
{
    struct table k = {.n_pos = n_pos, .d = d, .query = (double *)(void *)scratch};
    k.score = k.query + d;
    k.p = (real *)(void *)(k.score + n_head * n_pos);
    k.sum = k.p + n_head * n_pos;
    k.acc = k.sum + d;
    return k;
}

/* Up to CHAINS positions of the past, or of the row's own: features of the j-th for head e at x + j*stride + e*head. */
struct piece {
    const real *x;
    size_t n, stride, head;
};

/* From position s on, none past n and no border of STEP within. */
static struct piece piece_at(const struct pmet_keys_view *w, struct pmet_heads own, const real *past,
                             size_t s, size_t n, size_t d_head)
{
    const bool old = s < w->n_past;
    const size_t end = old && w->n_past < n ? w->n_past : n, border = s / STEP * STEP + STEP,
                 m = (end < border ? end : border) - s;
    return (struct piece){.x = old ? past + s * w->width
                                   : pmet_head_at(own, w->first + s - w->n_past, w->head),
                          .n = m < CHAINS ? m : CHAINS,
                          .stride = old ? w->width : own.row_stride,
                          .head = old ? d_head : own.head_stride};
}

/* score[j] = q . x[j] of the n positions, side by side. */
static void score_piece(double *restrict score, const double *restrict q, const real *restrict x, size_t n,
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
static void add_piece(real *restrict sum, const real *restrict p, const real *restrict x, size_t n,
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

/* Query t of the row for n_head heads from w->head on. Positions are the outer loops, so that the past, where the
 * heads of a position lie side by side, is read once from end to end. */
static void attend_one(const struct table *k, real *out, struct pmet_heads q, const struct pmet_keys_view *w,
                       size_t t, size_t n_head, size_t d_head)
{
    const size_t n = w->n_past + t + 1;
    struct piece x;
    for (size_t e = 0; e < n_head; e++)
        for (size_t i = 0; i < d_head; i++)
            k->query[e * d_head + i] = (double)pmet_head_at(q, w->first + t, w->head + e)[i];
    for (size_t s = 0; s < n; s += x.n) {
        x = piece_at(w, w->k, w->past_k, s, n, d_head);
        for (size_t e = 0; e < n_head; e++)
            score_piece(k->score + e * k->n_pos + s, k->query + e * d_head, x.x + e * x.head, x.n, x.stride,
                        d_head);
    }
    for (size_t e = 0; e < n_head; e++)
        weigh(k->p + e * k->n_pos, k->score + e * k->n_pos, n, n, 1 / sqrt((double)d_head));
    memset(k->acc, 0, k->d * sizeof *k->acc);
    memset(k->sum, 0, k->d * sizeof *k->sum);
    for (size_t s = 0; s < n; s += x.n) {
        x = piece_at(w, w->v, w->past_v, s, n, d_head);
        for (size_t e = 0; e < n_head; e++)
            add_piece(k->sum + e * d_head, k->p + e * k->n_pos + s, x.x + e * x.head, x.n, x.stride, d_head);
        if ((s + x.n) % STEP != 0 && s + x.n < n)
            continue;
        for (size_t i = 0; i < k->d; i++)
            k->acc[i] += k->sum[i];
        memset(k->sum, 0, k->d * sizeof *k->sum);
    }
    memcpy(out + (w->first + t) * w->width + w->head * d_head, k->acc, k->d * sizeof *out);
}

/* ---- rows and heads ---- */

struct course {
    real *out;
    struct pmet_heads q, k, v;
    const real *past_k, *past_v;
    const struct pmet_batch *batch;
    size_t n_head, d_head;
};

/* Heads [e, e + n_e) of row b; probs are the row's, or NULL: panels have the weights in the form that is wanted. */
static void attend_row(const struct course *c, size_t b, size_t e, size_t n_e, real *scratch, real *probs)
{
    const size_t n = c->batch->row_start[b + 1] - c->batch->row_start[b], d_head = c->d_head;
    struct pmet_keys_view w = pmet_view(c->k, c->v, c->past_k, c->past_v, c->batch, b, e, c->n_head, d_head);
    const size_t n_pos = whole(w.n_past + n);
    if (n <= FEW && !probs) {
        const struct table table = lay_table(scratch, n_pos, n_e, n_e * d_head);
        for (size_t t = 0; t < n; t++)
            attend_one(&table, c->out, c->q, &w, t, n_e, d_head);
        return;
    }
    for (size_t i = e; i < e + n_e; i++) {
        struct desk desk = lay_desk(scratch, n_pos, whole(d_head));
        w = pmet_view(c->k, c->v, c->past_k, c->past_v, c->batch, b, i, c->n_head, d_head);
        lay_panels(&desk, &w, w.n_past + n, d_head);
        for (size_t t = 0; t < n; t += BLOCK)
            attend(&desk, c->out, c->q, &w, t, n - t < BLOCK ? n - t : BLOCK, n, d_head,
                   probs ? probs + i * n * (w.n_past + n) : NULL);
    }
}

/* All heads of a row where there are rows enough to keep every thread busy. */
static size_t heads_at_a_time(size_t n_row, size_t n_head, size_t n_thread)
{
    const size_t n = n_row * n_head / (4 * n_thread);
    return n < 1 ? 1 : n < n_head ? n : n_head;
}

static enum pmet_status attention(const struct pmet_ops *op, real *out, struct pmet_heads q,
                                  struct pmet_heads k, struct pmet_heads v, const real *past_k,
                                  const real *past_v, const struct pmet_batch *batch, size_t n_head,
                                  size_t d_head, real *probs, struct pmet_error *err)
{
    const struct course c = {out, q, k, v, past_k, past_v, batch, n_head, d_head};
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    size_t *probs_at = NULL; /* of each row */
    const size_t n_pos = whole(pmet_longest(batch)),
                 n_e = heads_at_a_time(batch->n_row, n_head, cpu->n_thread),
                 n_part = (n_head + n_e - 1) / n_e, for_panels = desk_reals(n_pos, whole(d_head)),
                 for_table = table_reals(n_pos, n_e, n_e * d_head);
    PMET_TRY(pmet_calloc(&probs_at, batch->n_row, sizeof *probs_at, "attention", err));
    for (size_t b = 0, at = 0; b < batch->n_row; b++) {
        const size_t n = batch->row_start[b + 1] - batch->row_start[b];
        probs_at[b] = at;
        at += n_head * n * (batch->n_past[b] + n);
    }
    const enum pmet_status status =
        pmet_cpu_scratch(cpu, for_panels > for_table ? for_panels : for_table, 0, err);
    if (status == PMET_OK) {
#pragma omp parallel for num_threads((int)cpu->n_thread) schedule(dynamic)
        for (size_t i = 0; i < batch->n_row * n_part; i++) {
            const size_t b = i / n_part, e = i % n_part * n_e;
            attend_row(&c, b, e, n_head - e < n_e ? n_head - e : n_e, cpu->scratch[pmet_thread()],
                       probs ? probs + probs_at[b] : NULL);
        }
    }
    free(probs_at);
    return status;
}

void pmet_cpu_attention(struct pmet_ops *op)
{
    op->attention = attention;
}

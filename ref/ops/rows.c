/* SPDX-License-Identifier: MIT
 * Rows read, written and added to.      SPEC §3.5, §5.1 */
#include <string.h>
#include "ref/ops/plain.h"
#include "ref/ops/weight.h"

/* E23  x[t] = row ids[t] of the embedding */
static enum pmet_status embed(const struct pmet_ops *op, real *y, struct pmet_weight w, const int32_t *ids,
                              size_t n_tok, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t t = 0; t < n_tok; t++)
        for (size_t i = 0; i < w.n_in; i++)
            y[t * w.n_in + i] = pmet_weight_at(w, (size_t)ids[t], i);
    return PMET_OK;
}

static enum pmet_status gather(const struct pmet_ops *op, real *y, const real *x, const size_t *idx,
                               size_t n_idx, size_t width, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t j = 0; j < n_idx; j++)
        memcpy(y + j * width, x + idx[j] * width, width * sizeof *y);
    return PMET_OK;
}

static enum pmet_status scatter(const struct pmet_ops *op, real *y, const real *x, const size_t *idx,
                                size_t n_idx, size_t width, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t j = 0; j < n_idx; j++)
        memcpy(y + idx[j] * width, x + j * width, width * sizeof *y);
    return PMET_OK;
}

/* The deltas of E46. */
static enum pmet_status add_at(const struct pmet_ops *op, real *x, const size_t *idx, const real *delta,
                               const size_t *which, size_t n_idx, size_t width, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t j = 0; j < n_idx; j++)
        for (size_t i = 0; i < width; i++)
            x[idx[j] * width + i] += delta[which[j] * width + i];
    return PMET_OK;
}

/* The sums of E59 and E61. */
static enum pmet_status add_at_grad(const struct pmet_ops *op, real *g_delta, const real *g_x,
                                    const size_t *idx, const size_t *which, size_t n_idx, size_t width,
                                    struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t j = 0; j < n_idx; j++)
        for (size_t i = 0; i < width; i++)
            g_delta[which[j] * width + i] += g_x[idx[j] * width + i];
    return PMET_OK;
}

/* The cached past of E35. */
static enum pmet_status store_heads(const struct pmet_ops *op, real *cache, const size_t *idx,
                                    struct pmet_heads x, size_t n_tok, size_t n_head, size_t d_head,
                                    struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t t = 0; t < n_tok; t++)
        for (size_t e = 0; e < n_head; e++)
            memcpy(cache + (idx[t] * n_head + e) * d_head, x.data + t * x.row_stride + e * x.head_stride,
                   d_head * sizeof(real));
    return PMET_OK;
}

/* The sum of E27 and E28, in this order. */
static enum pmet_status residual(const struct pmet_ops *op, real *y, const real *a, const real *m,
                                 const real *x, size_t n, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t i = 0; i < n; i++)
        y[i] = (a[i] + m[i]) + x[i];
    return PMET_OK;
}

/* The sums of E29. */
static enum pmet_status add(const struct pmet_ops *op, real *y, const real *a, const real *b, size_t n,
                            struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
    return PMET_OK;
}

void pmet_plain_rows(struct pmet_ops *op)
{
    op->embed = embed;
    op->gather = gather;
    op->scatter = scatter;
    op->add_at = add_at;
    op->add_at_grad = add_at_grad;
    op->store_heads = store_heads;
    op->residual = residual;
    op->add = add;
}

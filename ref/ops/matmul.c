/* SPDX-License-Identifier: MIT
 * Products with stored weights, and sums of outer products of keys.      SPEC §3.5, §7.2
 * Each result is one sum in double, terms ascending, rounded once. */
#include "ref/ops/plain.h"
#include "ref/ops/weight.h"

/* E24  y[t,o] = sum_i x[t,i] W[o,i] + b[o] */
static enum pmet_status matmul(const struct pmet_ops *op, real *y, size_t y_stride, const real *x,
                               struct pmet_weight w, const real *bias, size_t n_tok, struct pmet_error *err)
{
    for (size_t t = 0; t < n_tok; t++) {
        PMET_TRY(pmet_ops_ask(op, err));
        for (size_t o = 0; o < w.n_out; o++) {
            double sum = 0;
            for (size_t i = 0; i < w.n_in; i++)
                sum += (double)x[t * w.n_in + i] * (double)pmet_weight_at(w, o, i);
            y[t * y_stride + o] = (real)(bias ? sum + (double)bias[o] : sum);
        }
    }
    return PMET_OK;
}

/* E30  g_x[t,i] = sum_o g_y[t,o] W[o,i] */
static enum pmet_status matmul_dx(const struct pmet_ops *op, real *g_x, const real *g_y, size_t g_stride,
                                  struct pmet_weight w, bool add, size_t n_tok, struct pmet_error *err)
{
    for (size_t t = 0; t < n_tok; t++) {
        PMET_TRY(pmet_ops_ask(op, err));
        for (size_t i = 0; i < w.n_in; i++) {
            real *g = &g_x[t * w.n_in + i];
            double sum = 0;
            for (size_t o = 0; o < w.n_out; o++)
                sum += (double)g_y[t * g_stride + o] * (double)pmet_weight_at(w, o, i);
            *g = (real)(add ? (double)*g + sum : sum);
        }
    }
    return PMET_OK;
}

/* E130  g_W[o,i] += sum_t g_y[t,o] x[t,i] */
static enum pmet_status matmul_dw(const struct pmet_ops *op, real *g_w, const real *g_y, size_t g_stride,
                                  const real *x, size_t n_tok, size_t n_out, size_t n_in,
                                  struct pmet_error *err)
{
    for (size_t o = 0; o < n_out; o++) {
        PMET_TRY(pmet_ops_ask(op, err));
        for (size_t i = 0; i < n_in; i++) {
            double sum = 0;
            for (size_t t = 0; t < n_tok; t++)
                sum += (double)g_y[t * g_stride + o] * (double)x[t * n_in + i];
            g_w[o * n_in + i] += (real)sum;
        }
    }
    return PMET_OK;
}

/* E66  c[i,j] += sum_t x[t,i] x[t,j],  j <= i;  the sum is one of double, c is `real` */
static enum pmet_status gram(const struct pmet_ops *op, real *c, const real *x, size_t n, size_t width,
                             struct pmet_error *err)
{
    for (size_t i = 0; i < width; i++) {
        PMET_TRY(pmet_ops_ask(op, err));
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t t = 0; t < n; t++)
                sum += (double)x[t * width + i] * (double)x[t * width + j];
            c[i * width + j] += (real)sum;
        }
    }
    return PMET_OK;
}

void pmet_plain_matmul(struct pmet_ops *op)
{
    op->matmul = matmul;
    op->matmul_dx = matmul_dx;
    op->matmul_dw = matmul_dw;
    op->gram = gram;
}

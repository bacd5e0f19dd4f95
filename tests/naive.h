/* SPDX-License-Identifier: MIT
 * The operators' equations again, as plainly as they can be written, in double on the host: what every table is
 * held to. Arrays are dense: heads are [n_tok, n_head, d_head].      SPEC §3 */
#ifndef PMET_TESTS_NAIVE_H
#define PMET_TESTS_NAIVE_H

#include "ref/ops/ops.h"

/* y = (x - mean)/sqrt(var + eps) gain + bias */
void naive_layernorm(double *y, const double *x, const double *gain, const double *bias, double eps,
                     size_t n_tok, size_t d);
/* y[t,o] = sum_i x[t,i] w[o,i] + bias[o]; size[t,o] = sum of the terms' absolute values, if not NULL */
void naive_matmul(double *y, double *size, const double *x, const double *w, const double *bias, size_t n_tok,
                  size_t n_in, size_t n_out);
/* The transpose of w [n_out, n_in]. */
void naive_transpose(double *out, const double *w, size_t n_out, size_t n_in);
/* Turns one head [d_head] that stands at `position`. */
void naive_rope(double *x, enum pmet_rope style, bool inverse, double base, size_t rotary_dim,
                double position);
/* One row: own tokens n, past n_past (past_k, past_v [n_past, n_head*d_head]); probs [n_head, n, n_past + n]
 * or NULL. */
void naive_attention(double *out, double *probs, const double *q, const double *k, const double *v,
                     const double *past_k, const double *past_v, size_t n, size_t n_past, size_t n_head,
                     size_t d_head);
double naive_act(double x, enum pmet_act kind);
/* lp = log softmax of x [n]; lp may be x. */
void naive_log_softmax(double *lp, const double *x, size_t n);
double naive_kl(const double *lp, const double *lp0, size_t n);
/* c = beta c + alpha op(a) op(b) as the table's gemm64; size as in naive_matmul, [m, n] dense */
void naive_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                const double *b, size_t ldb, double beta, double *c, size_t ldc, double *size);

/* g[i] = df/dx[i] by central differences of fourth order with step h: for smooth f of size 1 and h = 1e-3
 * good to 1e-11. x is restored. */
void naive_gradient(double *g, double *x, size_t n, double h, double (*f)(const void *user),
                    const void *user);

#endif

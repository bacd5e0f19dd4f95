/* SPDX-License-Identifier: MIT
 * The plain table (ref/ops/plain.h) on arrays of doubles, which hold numbers of `real`: what every
 * other table is held to. Arrays are dense: heads are [n_tok, n_head, d_head]. Results are rounded
 * to `real` where the table rounds. */
#ifndef PMET_TESTS_PLAIN_H
#define PMET_TESTS_PLAIN_H

#include "ref/ops/ops.h"

void plain_layernorm(double *y, const double *x, const double *gain, const double *bias, double eps,
                     size_t n_tok, size_t d);
/* g_x is added to. */
void plain_layernorm_dx(double *g_x, const double *g_y, const double *x, const double *gain, double eps,
                        size_t n_tok, size_t d);
/* y[t,o] = sum_i x[t,i] w[o,i] + bias[o]; size[t,o] = sum of the terms' absolute values; bias, size
 * may be NULL. */
void plain_matmul(double *y, double *size, const double *x, const double *w, const double *bias, size_t n_tok,
                  size_t n_in, size_t n_out);
/* g_x[t,i] = sum_o g_y[t,o] w[o,i]; size as above */
void plain_matmul_dx(double *g_x, double *size, const double *g_y, const double *w, size_t n_tok, size_t n_in,
                     size_t n_out);
/* The lower triangle of c [width, width] += x^T x; that of size += |x|^T |x|. */
void plain_matmul_dw(double *g_w, double *size, const double *g_y, const double *x, size_t n_tok,
                     size_t n_out, size_t n_in);
void plain_gram(double *c, double *size, const double *x, size_t n, size_t width);
/* Rotates one head [d_head] at `position`. */
void plain_rope(double *x, enum pmet_rope style, bool inverse, double base, size_t rotary_dim, size_t d_head,
                size_t position);
/* One row: own tokens n, past n_past (past_k, past_v [n_past, n_head*d_head]); probs [n_head, n,
 * n_past + n] or NULL. */
void plain_attention(double *out, double *probs, const double *q, const double *k, const double *v,
                     const double *past_k, const double *past_v, size_t n, size_t n_past, size_t n_head,
                     size_t d_head);
void plain_attention_dx(double *g[3], const double *g_out, const double *q, const double *k, const double *v,
                        const double *past_k, const double *past_v, size_t n, size_t n_past, size_t n_head,
                        size_t d_head);
void plain_act(double *y, const double *x, enum pmet_act kind, size_t n);
void plain_act_dx(double *g_x, const double *g_y, const double *x, enum pmet_act kind, size_t n);
/* lp = log softmax of x [n]; lp may be x. */
void plain_log_softmax(double *lp, const double *x, size_t n);
/* Of one row of logits; not rounded to `real`. */
double plain_logp(const double *x, int32_t label, size_t n);
double plain_kl(const double *x, const double *lp0, size_t n);
void plain_xent_dx(double *g, const double *x, int32_t label, double scale, size_t n);
void plain_kl_dx(double *g, const double *x, const double *lp0, double scale, size_t n);
/* The table's gemm64; size [m, n], if not NULL, as in plain_matmul. */
void plain_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                const double *b, size_t ldb, double beta, double *c, size_t ldc, double *size);

/* g[i] = df/dx[i] by central differences of fourth order with step h: for smooth f of size 1 and h
 * = 1e-3 good to 1e-11, in double. x is restored. */
void difference_gradient(double *g, double *x, size_t n, double h, double (*f)(const void *user),
                         const void *user);

#endif

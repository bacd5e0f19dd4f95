/* SPDX-License-Identifier: MIT
 * The operator table: everything that models and methods compute goes through it. ref/ops/ fills it
 * with one plain loop an equation (plain.h), and that is the definition; ref/cpu/ replaces the
 * entries that gain on a CPU, kernels/ fills the table for a GPU. No method asks which one it runs
 * on.
 *
 * Pointers marked (dev) come from alloc or weight_map and are only touched by entries of the table;
 * all others are host memory. Activations are row-major [n_tok, width]. Unless an entry says
 * otherwise outputs are set, not added to, and must not overlap inputs; any size may be 0. A row's
 * result never depends on the other rows of its batch, and the same inputs give the same bits for
 * any number of threads. Shapes are the caller's to get right. */
#ifndef PMET_REF_OPS_H
#define PMET_REF_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ref/real.h"
#include "tensors/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A linear layer's matrix [n_out, n_in] as in the file: y = x W^T. dtype F64, F32, F16 or BF16;
 * data (dev) aligned. */
struct pmet_weight {
    const void *data;
    enum pmet_dtype dtype;
    size_t n_out, n_in;
};

/* E8: rows of tokens, packed end to end. Row b owns tokens row_start[b] .. row_start[b+1]-1; its
 * token t stands at position n_past[b] + t - row_start[b], after n_past[b] positions whose keys and
 * values are cached, in the cache's rows past_start[b] .. past_start[b] + n_past[b] - 1. */
struct pmet_batch {
    size_t n_row, n_tok;
    const size_t *row_start;  /* [n_row + 1], row_start[n_row] == n_tok */
    const size_t *n_past;     /* [n_row] */
    const size_t *past_start; /* [n_row] */
};

/* Vectors of heads inside wider rows: element i of head e of token t is data[t*row_stride +
 * e*head_stride + i]. */
struct pmet_heads {
    real *data; /* (dev) */
    size_t row_stride, head_stride;
};

/* What attention reads: queries, keys and values of the rows' tokens, and the cache that holds the
 * keys and values of their past. */
struct pmet_attention {
    struct pmet_heads q, k, v;
    const real *past_k, *past_v; /* (dev) [.., n_head*d_head]; NULL if no row has a past */
    const struct pmet_batch *batch;
    size_t n_head, d_head;
};

enum pmet_rope { PMET_ROPE_INTERLEAVED, PMET_ROPE_HALF };

enum pmet_act {
    PMET_GELU_NEW,  /* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); also gelu_pytorch_tanh */
    PMET_GELU,      /* x Phi(x), by erf */
    PMET_GELU_FAST, /* 0.5 x (1 + tanh(0.7978845608 x (1 + 0.044715 x^2))) */
    PMET_RELU,
    PMET_SILU
};

/* What a device can do at most in a second, by its data: bytes to and from its memory, operations
 * of its fastest units for that type. 0: not known. */
struct pmet_peak {
    double bytes, f32, f64, f16;
};

struct pmet_ops {
    const char *name; /* "cpu (OpenBLAS, 2 threads)" */
    const char
        *kind; /* "plain", "cpu", "cuda", "cuda, TF32": what results depend on, down to their rounding */
    void *state;
    struct pmet_peak peak;
    /* Does the caller want to stop? Asked between the blocks of long entries, always on the thread
     * that called: true ends the entry with PMET_INTERRUPTED and its outputs undefined. NULL:
     * nobody is asked. */
    bool (*stopped)(const void *user);
    const void *stopped_user;
    void (*close)(struct pmet_ops *op); /* frees the table: pmet_ops_free */

    /* ---- memory ---- */
    bool own_memory; /* (dev) memory is apart from the host's: weights are copied there, and need a plan */
    /* Bytes of (dev) memory that can be had now, and that there are in all. */
    enum pmet_status (*memory)(const struct pmet_ops *op, size_t *n_free, size_t *n_all,
                               struct pmet_error *err);
    enum pmet_status (*alloc)(
        const struct pmet_ops *op, size_t n_bytes, void *p /* void ** (dev) */,
        struct pmet_error *err); /* 64-byte aligned, contents undefined, n_bytes may be 0 */
    void (*release)(const struct pmet_ops *op, void *p); /* accepts NULL */
    enum pmet_status (*upload)(const struct pmet_ops *op, void *dst, const void *src, size_t n_bytes,
                               struct pmet_error *err);
    enum pmet_status (*download)(const struct pmet_ops *op, void *dst, const void *src, size_t n_bytes,
                                 struct pmet_error *err);
    enum pmet_status (*copy)(const struct pmet_ops *op, void *dst, const void *src, size_t n_bytes,
                             struct pmet_error *err); /* dev to dev, no overlap */
    enum pmet_status (*zero)(const struct pmet_ops *op, void *dst, size_t n_bytes, struct pmet_error *err);
    /* Makes n_bytes of read-only host memory (a mapped file) readable by the entries below; a CPU
     * returns src. */
    enum pmet_status (*weight_map)(const struct pmet_ops *op, const void *src, size_t n_bytes,
                                   const void **dev, struct pmet_error *err);
    void (*weight_unmap)(const struct pmet_ops *op, const void *dev);

    /* ---- rows ---- */
    /* y[t] = row ids[t] of w; ids in [0, w.n_out). */
    enum pmet_status (*embed)(const struct pmet_ops *op, real *y, struct pmet_weight w, const int32_t *ids,
                              size_t n_tok, struct pmet_error *err);
    /* y[j] = x[idx[j]]. */
    enum pmet_status (*gather)(const struct pmet_ops *op, real *y, const real *x, const size_t *idx,
                               size_t n_idx, size_t width, struct pmet_error *err);
    /* y[idx[j]] = x[j]; idx without repetition. */
    enum pmet_status (*scatter)(const struct pmet_ops *op, real *y, const real *x, const size_t *idx,
                                size_t n_idx, size_t width, struct pmet_error *err);
    /* x[idx[j]] += delta[which[j]]: what the method adds at the lookup index; idx without
     * repetition. */
    enum pmet_status (*add_at)(const struct pmet_ops *op, real *x, const size_t *idx, const real *delta,
                               const size_t *which, size_t n_idx, size_t width, struct pmet_error *err);
    /* g_delta[which[j]] += g_x[idx[j]], j ascending: the gradient of add_at. */
    enum pmet_status (*add_at_grad)(const struct pmet_ops *op, real *g_delta, const real *g_x,
                                    const size_t *idx, const size_t *which, size_t n_idx, size_t width,
                                    struct pmet_error *err);

    /* ---- blocks ---- */
    /* y = (x - mean) / sqrt(var + eps) * gain + bias, mean and biased var over d_model. */
    enum pmet_status (*layernorm)(const struct pmet_ops *op, real *y, const real *x, const real *gain,
                                  const real *bias, double eps, size_t n_tok, size_t d_model,
                                  struct pmet_error *err);
    /* g_x += its gradient, given g_y; x the input. */
    enum pmet_status (*layernorm_dx)(const struct pmet_ops *op, real *g_x, const real *g_y, const real *x,
                                     const real *gain, double eps, size_t n_tok, size_t d_model,
                                     struct pmet_error *err);
    /* y[t*y_stride + o] = sum_i x[t*n_in + i] W[o,i] + bias[o]; bias (dev) may be NULL. */
    enum pmet_status (*matmul)(const struct pmet_ops *op, real *y, size_t y_stride, const real *x,
                               struct pmet_weight w, const real *bias, size_t n_tok, struct pmet_error *err);
    /* g_x[t*n_in + i] = sum_o g_y[t*g_stride + o] W[o,i], added to g_x if `add`. */
    enum pmet_status (*matmul_dx)(const struct pmet_ops *op, real *g_x, const real *g_y, size_t g_stride,
                                  struct pmet_weight w, bool add, size_t n_tok, struct pmet_error *err);
    /* g_w[o*n_in + i] += sum_t g_y[t*g_stride + o] x[t*n_in + i]: the gradient of W in matmul; one
     * token adds an outer product. */
    enum pmet_status (*matmul_dw)(const struct pmet_ops *op, real *g_w, const real *g_y, size_t g_stride,
                                  const real *x, size_t n_tok, size_t n_out, size_t n_in,
                                  struct pmet_error *err);
    /* Rotates in place the first rotary_dim features of each head by position *
     * base^(-2i/rotary_dim), i < rotary_dim/2; pairs (2i, 2i+1) or (i, i + rotary_dim/2). inverse:
     * by the opposite angle, which is also the gradient. */
    enum pmet_status (*rope)(const struct pmet_ops *op, struct pmet_heads x, enum pmet_rope style,
                             bool inverse, double base, size_t rotary_dim, const struct pmet_batch *batch,
                             size_t n_head, struct pmet_error *err);
    /* out[t] (heads merged, [n_tok, n_head*d_head]) = sum_s p[t,s] v[s], p = softmax over s <= t of
     * q[t].k[s]/sqrt(d_head); s runs over the row's cached past, then its own tokens. probs, if
     * not NULL: for each row in turn [n_head, n_tok of the row, n_past + n_tok of the row], 0 for
     * s > t. */
    enum pmet_status (*attention)(const struct pmet_ops *op, real *out, const struct pmet_attention *a,
                                  real *probs, struct pmet_error *err);
    /* cache[idx[t], e*d_head + i] = x(t, e, i): keys or values put where a later pass finds them as
     * its past. */
    enum pmet_status (*store_heads)(const struct pmet_ops *op, real *cache, const size_t *idx,
                                    struct pmet_heads x, size_t n_tok, size_t n_head, size_t d_head,
                                    struct pmet_error *err);
    /* Gradients g to q, k, v of the row's own tokens (the past is constant), given g_out; p is
     * computed again. */
    enum pmet_status (*attention_dx)(const struct pmet_ops *op, const struct pmet_heads g[3],
                                     const real *g_out, const struct pmet_attention *a,
                                     struct pmet_error *err);
    enum pmet_status (*act)(const struct pmet_ops *op, real *y, const real *x, enum pmet_act kind, size_t n,
                            struct pmet_error *err); /* y may be x */
    enum pmet_status (*act_dx)(const struct pmet_ops *op, real *g_x, const real *g_y, const real *x,
                               enum pmet_act kind, size_t n, struct pmet_error *err); /* g_x may be g_y */
    /* y = (a + m) + x, in this order; y may be any of them. */
    enum pmet_status (*residual)(const struct pmet_ops *op, real *y, const real *a, const real *m,
                                 const real *x, size_t n, struct pmet_error *err);
    /* y = a + b; y may be either. */
    enum pmet_status (*add)(const struct pmet_ops *op, real *y, const real *a, const real *b, size_t n,
                            struct pmet_error *err);

    /* ---- losses; lp = log_softmax of a row of logits, over all n_vocab of them ---- */
    /* For each row r: logp[r] = lp[labels[r]], best_logp[r] = max lp (the same arithmetic, so that
     * they are equal when the label is the best), best[r] = first argmax. Results on the host;
     * labels in [0, n_vocab). */
    enum pmet_status (*xent)(const struct pmet_ops *op, double *logp, double *best_logp, int32_t *best,
                             const real *logits, const int32_t *labels, size_t n, size_t n_vocab,
                             struct pmet_error *err);
    /* g_logits[r] = scale[r] (softmax - onehot(labels[r])): the gradient of -scale*logp. */
    enum pmet_status (*xent_dx)(const struct pmet_ops *op, real *g_logits, const real *logits,
                                const int32_t *labels, const double *scale, size_t n, size_t n_vocab,
                                struct pmet_error *err);
    enum pmet_status (*log_softmax)(const struct pmet_ops *op, real *lp, const real *logits, size_t n,
                                    size_t n_vocab, struct pmet_error *err);
    /* kl[r] = sum_v exp(lp[v]) (lp[v] - lp0[which[r], v]), on the host. */
    enum pmet_status (*kl)(const struct pmet_ops *op, double *kl, const real *logits, const real *lp0,
                           const size_t *which, size_t n, size_t n_vocab, struct pmet_error *err);
    /* g_logits[r] = scale[r] exp(lp) ((lp - lp0) - kl). */
    enum pmet_status (*kl_dx)(const struct pmet_ops *op, real *g_logits, const real *logits, const real *lp0,
                              const size_t *which, const double *scale, size_t n, size_t n_vocab,
                              struct pmet_error *err);

    /* ---- optimisation: row r of [n_row, width] is a vector of its own ---- */
    enum pmet_status (*norm)(const struct pmet_ops *op, double *norm, const real *x, size_t n_row,
                             size_t width, struct pmet_error *err); /* Euclidean, [n_row] on the host */
    /* y[r] += s[r] x[r]; a row whose s is 0 keeps its bits. */
    enum pmet_status (*axpy)(const struct pmet_ops *op, real *y, const double *s, const real *x, size_t n_row,
                             size_t width, struct pmet_error *err);
    /* x[r] *= s[r]; a row whose s is 1 keeps its bits. */
    enum pmet_status (*scale)(const struct pmet_ops *op, real *x, const double *s, size_t n_row, size_t width,
                              struct pmet_error *err);
    /* One Adam step, of row r the k[r]-th, k from 1: m, v the moments, beta 0.9, 0.999, eps 1e-8,
     * torch's form. */
    enum pmet_status (*adam)(const struct pmet_ops *op, real *p, const real *g, real *m, real *v, double lr,
                             const size_t *k, size_t n_row, size_t width, struct pmet_error *err);

    /* ---- sums and solves ---- */
    /* The lower triangle of c [width, width] += x^T x, x [n, width]. */
    enum pmet_status (*gram)(const struct pmet_ops *op, real *c, const real *x, size_t n, size_t width,
                             struct pmet_error *err);
    /* (dev) c[m,n] = beta c + alpha op(a) op(b), row-major doubles with row strides lda, ldb, ldc;
     * op = transpose if ta/tb. With beta 0 c is not read. */
    enum pmet_status (*gemm64)(const struct pmet_ops *op, bool ta, bool tb, size_t m, size_t n, size_t k,
                               double alpha, const double *a, size_t lda, const double *b, size_t ldb,
                               double beta, double *c, size_t ldc, struct pmet_error *err);
    /* (dev) a [n, n] (lower triangle read) becomes its Cholesky factor L (lower triangle; the
     * strict upper is left alone). A pivot that is not > 0 gives PMET_NUMERIC with *pivot its index
     * and *value it; the message is the caller's. */
    enum pmet_status (*cholesky)(const struct pmet_ops *op, double *a, size_t n, size_t *pivot, double *value,
                                 struct pmet_error *err);
    /* (dev) b [n, n_rhs] (row stride n_rhs) becomes (L L^T)^-1 b. */
    enum pmet_status (*cholesky_solve)(const struct pmet_ops *op, const double *l, double *b, size_t n,
                                       size_t n_rhs, struct pmet_error *err);
};

void pmet_ops_free(struct pmet_ops *op); /* accepts NULL */

/* Asks: PMET_INTERRUPTED where the caller wants to stop. */
enum pmet_status pmet_ops_ask(const struct pmet_ops *op, struct pmet_error *err);

/* The host's memory, whatever the table: bytes that can be had without swapping, caches of files
 * counted as free (half of all if the system does not say), and bytes in all (4 GiB if it does not
 * say). */
void pmet_host_memory(size_t *n_free, size_t *n_all);
/* Bytes that batches and caches may take: on_host, but half of what is free on a device with
 * own_memory. */
enum pmet_status pmet_capacity(const struct pmet_ops *op, size_t on_host, size_t *out,
                               struct pmet_error *err);
/* PMET_MEMORY with what is needed and what is free, unless a device with own_memory can take
 * n_bytes more, and beside them what its kernels need for themselves. `what` begins the line. */
enum pmet_status pmet_capacity_check(const struct pmet_ops *op, const char *what, double n_bytes,
                                     struct pmet_error *err);

#ifdef __cplusplus
}
#endif
#endif

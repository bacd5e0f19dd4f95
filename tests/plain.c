/* SPDX-License-Identifier: MIT */
#include "tests/plain.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "ref/ops/plain.h"

static struct pmet_error err = {PMET_OK, ""};

static void ok(enum pmet_status status)
{
    if (status == PMET_OK)
        return;
    fprintf(stderr, "plain table: %s\n", err.message);
    exit(1);
}

static const struct pmet_ops *plain(void)
{
    static struct pmet_ops op;
    if (!op.matmul)
        pmet_plain_fill(&op);
    return &op;
}

static real *reals(const double *x, size_t n)
{
    real *y = malloc((n + 1) * sizeof *y);
    for (size_t i = 0; i < n; i++)
        y[i] = x ? (real)x[i] : 0;
    return y;
}

/* Frees what it widens. */
static void widen(double *y, real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (double)x[i];
    free(x);
}

static double *absolute(const double *x, size_t n)
{
    double *y = malloc((n + 1) * sizeof *y);
    for (size_t i = 0; i < n; i++)
        y[i] = fabs(x[i]);
    return y;
}

void plain_layernorm(double *y, const double *x, const double *gain, const double *bias, double eps,
                     size_t n_tok, size_t d)
{
    real *in = reals(x, n_tok * d), *g = reals(gain, d), *b = reals(bias, d), *out = reals(NULL, n_tok * d);
    ok(plain()->layernorm(plain(), out, in, g, b, eps, n_tok, d, &err));
    widen(y, out, n_tok * d);
    free(in);
    free(g);
    free(b);
}

void plain_layernorm_dx(double *g_x, const double *g_y, const double *x, const double *gain, double eps,
                        size_t n_tok, size_t d)
{
    real *in = reals(x, n_tok * d), *g = reals(gain, d), *y = reals(g_y, n_tok * d),
         *out = reals(g_x, n_tok * d);
    ok(plain()->layernorm_dx(plain(), out, y, in, g, eps, n_tok, d, &err));
    widen(g_x, out, n_tok * d);
    free(in);
    free(g);
    free(y);
}

/* y [n, width] = x W^T (+ bias) or, backward, x W; W [n_out, n_in] */
static void product(double *y, const double *x, const double *w, const double *bias, bool backward, size_t n,
                    size_t n_in, size_t n_out)
{
    const size_t width = backward ? n_in : n_out;
    real *in = reals(x, n * (backward ? n_out : n_in)), *m = reals(w, n_out * n_in), *b = reals(bias, n_out),
         *out = reals(NULL, n * width);
    const struct pmet_weight weight = {m, PMET_REAL, n_out, n_in};
    ok(backward ? plain()->matmul_dx(plain(), out, in, n_out, weight, false, n, &err)
                : plain()->matmul(plain(), out, n_out, in, weight, bias ? b : NULL, n, &err));
    widen(y, out, n * width);
    free(in);
    free(m);
    free(b);
}

static void product_and_size(double *y, double *size, const double *x, const double *w, const double *bias,
                             bool backward, size_t n, size_t n_in, size_t n_out)
{
    product(y, x, w, bias, backward, n, n_in, n_out);
    if (!size)
        return;
    double *a = absolute(x, n * (backward ? n_out : n_in)), *m = absolute(w, n_out * n_in),
           *b = bias ? absolute(bias, n_out) : NULL;
    product(size, a, m, b, backward, n, n_in, n_out);
    free(a);
    free(m);
    free(b);
}

void plain_matmul(double *y, double *size, const double *x, const double *w, const double *bias, size_t n_tok,
                  size_t n_in, size_t n_out)
{
    product_and_size(y, size, x, w, bias, false, n_tok, n_in, n_out);
}

void plain_matmul_dx(double *g_x, double *size, const double *g_y, const double *w, size_t n_tok, size_t n_in,
                     size_t n_out)
{
    product_and_size(g_x, size, g_y, w, NULL, true, n_tok, n_in, n_out);
}

void plain_matmul_dw(double *g_w, double *size, const double *g_y, const double *x, size_t n_tok,
                     size_t n_out, size_t n_in)
{
    double *g = absolute(g_y, n_tok * n_out), *a = absolute(x, n_tok * n_in);
    for (int k = 0; k < 2; k++) {
        real *left = reals(k ? g : g_y, n_tok * n_out), *right = reals(k ? a : x, n_tok * n_in),
             *out = reals(k ? size : g_w, n_out * n_in);
        ok(plain()->matmul_dw(plain(), out, left, n_out, right, n_tok, n_out, n_in, &err));
        widen(k ? size : g_w, out, n_out * n_in);
        free(left);
        free(right);
    }
    free(g);
    free(a);
}

void plain_gram(double *c, double *size, const double *x, size_t n, size_t width)
{
    double *a = absolute(x, n * width);
    for (int k = 0; k < 2; k++) {
        real *in = reals(k ? a : x, n * width), *out = reals(k ? size : c, width * width);
        ok(plain()->gram(plain(), out, in, n, width, &err));
        widen(k ? size : c, out, width * width);
        free(in);
    }
    free(a);
}

void plain_rope(double *x, enum pmet_rope style, bool inverse, double base, size_t rotary_dim, size_t d_head,
                size_t position)
{
    static const size_t start[2] = {0, 1}, none[1] = {0};
    const struct pmet_batch batch = {1, 1, start, &position, none};
    real *y = reals(x, d_head);
    const struct pmet_heads head = {y, d_head, d_head};
    ok(plain()->rope(plain(), head, style, inverse, base, rotary_dim, &batch, 1, &err));
    widen(x, y, d_head);
}

void plain_attention(double *out, double *probs, const double *q, const double *k, const double *v,
                     const double *past_k, const double *past_v, size_t n, size_t n_past, size_t n_head,
                     size_t d_head)
{
    const size_t width = n_head * d_head, start[2] = {0, n}, none[1] = {0},
                 n_prob = n_head * n * (n_past + n);
    const struct pmet_batch batch = {1, n, start, &n_past, none};
    real *in[3] = {reals(q, n * width), reals(k, n * width), reals(v, n * width)},
         *past[2] = {reals(past_k, n_past * width), reals(past_v, n_past * width)},
         *y = reals(NULL, n * width), *p = reals(NULL, n_prob);
    struct pmet_heads h[3];
    for (int i = 0; i < 3; i++)
        h[i] = (struct pmet_heads){in[i], width, d_head};
    const struct pmet_attention a = {h[0], h[1], h[2], past[0], past[1], &batch, n_head, d_head};
    ok(plain()->attention(plain(), y, &a, p, &err));
    widen(out, y, n * width);
    widen(probs ? probs : out, p, probs ? n_prob : 0);
    for (int i = 0; i < 3; i++)
        free(in[i]);
    free(past[0]);
    free(past[1]);
}

void plain_attention_dx(double *g[3], const double *g_out, const double *q, const double *k, const double *v,
                        const double *past_k, const double *past_v, size_t n, size_t n_past, size_t n_head,
                        size_t d_head)
{
    const size_t width = n_head * d_head, start[2] = {0, n}, none[1] = {0};
    const struct pmet_batch batch = {1, n, start, &n_past, none};
    real *in[4] = {reals(q, n * width), reals(k, n * width), reals(v, n * width), reals(g_out, n * width)},
         *past[2] = {reals(past_k, n_past * width), reals(past_v, n_past * width)}, *out[3];
    struct pmet_heads h[3], y[3];
    for (int i = 0; i < 3; i++) {
        out[i] = reals(NULL, n * width);
        h[i] = (struct pmet_heads){in[i], width, d_head};
        y[i] = (struct pmet_heads){out[i], width, d_head};
    }
    const struct pmet_attention a = {h[0], h[1], h[2], past[0], past[1], &batch, n_head, d_head};
    ok(plain()->attention_dx(plain(), y, in[3], &a, &err));
    for (int i = 0; i < 3; i++)
        widen(g[i], out[i], n * width);
    for (int i = 0; i < 4; i++)
        free(in[i]);
    free(past[0]);
    free(past[1]);
}

void plain_act(double *y, const double *x, enum pmet_act kind, size_t n)
{
    real *in = reals(x, n);
    ok(plain()->act(plain(), in, in, kind, n, &err));
    widen(y, in, n);
}

void plain_act_dx(double *g_x, const double *g_y, const double *x, enum pmet_act kind, size_t n)
{
    real *in = reals(x, n), *g = reals(g_y, n);
    ok(plain()->act_dx(plain(), g, g, in, kind, n, &err));
    widen(g_x, g, n);
    free(in);
}

void plain_log_softmax(double *lp, const double *x, size_t n)
{
    real *in = reals(x, n), *out = reals(NULL, n);
    ok(plain()->log_softmax(plain(), out, in, 1, n, &err));
    widen(lp, out, n);
    free(in);
}

double plain_logp(const double *x, int32_t label, size_t n)
{
    double logp, best_logp;
    int32_t best;
    real *in = reals(x, n);
    ok(plain()->xent(plain(), &logp, &best_logp, &best, in, &label, 1, n, &err));
    free(in);
    return logp;
}

double plain_kl(const double *x, const double *lp0, size_t n)
{
    static const size_t first = 0;
    double kl;
    real *in = reals(x, n), *ref = reals(lp0, n);
    ok(plain()->kl(plain(), &kl, in, ref, &first, 1, n, &err));
    free(in);
    free(ref);
    return kl;
}

void plain_xent_dx(double *g, const double *x, int32_t label, double scale, size_t n)
{
    real *in = reals(x, n), *out = reals(NULL, n);
    ok(plain()->xent_dx(plain(), out, in, &label, &scale, 1, n, &err));
    widen(g, out, n);
    free(in);
}

void plain_kl_dx(double *g, const double *x, const double *lp0, double scale, size_t n)
{
    static const size_t first = 0;
    real *in = reals(x, n), *ref = reals(lp0, n), *out = reals(NULL, n);
    ok(plain()->kl_dx(plain(), out, in, ref, &first, &scale, 1, n, &err));
    widen(g, out, n);
    free(in);
    free(ref);
}

void plain_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                const double *b, size_t ldb, double beta, double *c, size_t ldc, double *size)
{
    if (size) {
        double *pa = absolute(a, (ta ? k : m) * lda), *pb = absolute(b, (tb ? n : k) * ldb);
        for (size_t i = 0; i < m * n; i++)
            size[i] = fabs(c[i / n * ldc + i % n]);
        ok(plain()->gemm64(plain(), ta, tb, m, n, k, fabs(alpha), pa, lda, pb, ldb, fabs(beta), size, n,
                           &err));
        free(pa);
        free(pb);
    }
    ok(plain()->gemm64(plain(), ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, &err));
}

void difference_gradient(double *g, double *x, size_t n, double h, double (*f)(const void *user),
                         const void *user)
{
    static const double step[4] = {1, -1, 2, -2}, weight[4] = {8, -8, -1, 1};
    for (size_t i = 0; i < n; i++) {
        const double was = x[i];
        g[i] = 0;
        for (int k = 0; k < 4; k++) {
            x[i] = was + step[k] * h;
            g[i] += weight[k] * f(user) / (12 * h);
        }
        x[i] = was;
    }
}

/* SPDX-License-Identifier: MIT */
#include "tests/naive.h"

#include <math.h>
#include <stdlib.h>

void naive_layernorm(double *y, const double *x, const double *gain, const double *bias, double eps,
                     size_t n_tok, size_t d)
{
    for (size_t t = 0; t < n_tok; t++) {
        double mean = 0, var = 0;
        for (size_t i = 0; i < d; i++)
            mean += x[t * d + i] / (double)d;
        for (size_t i = 0; i < d; i++)
            var += (x[t * d + i] - mean) * (x[t * d + i] - mean) / (double)d;
        for (size_t i = 0; i < d; i++)
            y[t * d + i] = (x[t * d + i] - mean) / sqrt(var + eps) * gain[i] + bias[i];
    }
}

void naive_matmul(double *y, double *size, const double *x, const double *w, const double *bias, size_t n_tok,
                  size_t n_in, size_t n_out)
{
    for (size_t t = 0; t < n_tok; t++)
        for (size_t o = 0; o < n_out; o++) {
            double sum = bias ? bias[o] : 0, all = fabs(sum);
            for (size_t i = 0; i < n_in; i++) {
                sum += x[t * n_in + i] * w[o * n_in + i];
                all += fabs(x[t * n_in + i] * w[o * n_in + i]);
            }
            y[t * n_out + o] = sum;
            if (size)
                size[t * n_out + o] = all;
        }
}

void naive_transpose(double *out, const double *w, size_t n_out, size_t n_in)
{
    for (size_t o = 0; o < n_out; o++)
        for (size_t i = 0; i < n_in; i++)
            out[i * n_out + o] = w[o * n_in + i];
}

void naive_rope(double *x, enum pmet_rope style, bool inverse, double base, size_t rotary_dim,
                double position)
{
    for (size_t i = 0; i < rotary_dim / 2; i++) {
        const size_t p = style == PMET_ROPE_INTERLEAVED ? 2 * i : i,
                     q = style == PMET_ROPE_INTERLEAVED ? 2 * i + 1 : i + rotary_dim / 2;
        const double phi = position * pow(base, -2.0 * (double)i / (double)rotary_dim) * (inverse ? -1 : 1);
        const double a = x[p], b = x[q];
        x[p] = a * cos(phi) - b * sin(phi);
        x[q] = b * cos(phi) + a * sin(phi);
    }
}

/* Element i of head e at absolute position s. */
static double at(const double *own, const double *past, size_t s, size_t n_past, size_t width, size_t i)
{
    return s < n_past ? past[s * width + i] : own[(s - n_past) * width + i];
}

void naive_attention(double *out, double *probs, const double *q, const double *k, const double *v,
                     const double *past_k, const double *past_v, size_t n, size_t n_past, size_t n_head,
                     size_t d_head)
{
    const size_t width = n_head * d_head, n_all = n_past + n;
    double *p = calloc(n_all + 1, sizeof *p);
    for (size_t e = 0; e < n_head; e++)
        for (size_t t = 0; t < n; t++) {
            double sum = 0, top = -HUGE_VAL;
            for (size_t s = 0; s <= n_past + t; s++) {
                p[s] = 0;
                for (size_t i = e * d_head; i < (e + 1) * d_head; i++)
                    p[s] += q[t * width + i] * at(k, past_k, s, n_past, width, i) / sqrt((double)d_head);
                top = fmax(top, p[s]);
            }
            for (size_t s = 0; s <= n_past + t; s++)
                sum += exp(p[s] - top);
            for (size_t s = 0; s < n_all; s++) {
                p[s] = s <= n_past + t ? exp(p[s] - top) / sum : 0;
                if (probs)
                    probs[(e * n + t) * n_all + s] = p[s];
            }
            for (size_t i = e * d_head; i < (e + 1) * d_head; i++) {
                out[t * width + i] = 0;
                for (size_t s = 0; s <= n_past + t; s++)
                    out[t * width + i] += p[s] * at(v, past_v, s, n_past, width, i);
            }
        }
    free(p);
}

/* 1 / (1 + e^-x) = (1 + tanh(x/2)) / 2, without cancellation where x is very negative. */
static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

double naive_act(double x, enum pmet_act kind)
{
    switch (kind) {
    case PMET_GELU_NEW:
        return x * sigmoid(2 * sqrt(2 / acos(-1)) * (x + 0.044715 * pow(x, 3)));
    case PMET_GELU:
        return x * 0.5 * erfc(-x / sqrt(2));
    case PMET_GELU_FAST:
        return x * sigmoid(2 * 0.7978845608 * x * (1 + 0.044715 * pow(x, 2)));
    case PMET_RELU:
        return fmax(x, 0);
    case PMET_SILU:
        break;
    }
    return x * sigmoid(x);
}

void naive_log_softmax(double *lp, const double *x, size_t n)
{
    double sum = 0, top = -HUGE_VAL;
    for (size_t v = 0; v < n; v++)
        top = fmax(top, x[v]);
    for (size_t v = 0; v < n; v++)
        sum += exp(x[v] - top);
    for (size_t v = 0; v < n; v++)
        lp[v] = x[v] - (top + log(sum));
}

double naive_kl(const double *lp, const double *lp0, size_t n)
{
    double kl = 0;
    for (size_t v = 0; v < n; v++)
        kl += exp(lp[v]) * (lp[v] - lp0[v]);
    return kl;
}

void naive_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a, size_t lda,
                const double *b, size_t ldb, double beta, double *c, size_t ldc, double *size)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            const double was = beta == 0 ? 0 : beta * c[i * ldc + j];
            double sum = 0, all = fabs(was);
            for (size_t r = 0; r < k; r++) {
                const double term =
                    (ta ? a[r * lda + i] : a[i * lda + r]) * (tb ? b[j * ldb + r] : b[r * ldb + j]);
                sum += term;
                all += fabs(alpha * term);
            }
            c[i * ldc + j] = was + alpha * sum;
            size[i * n + j] = all;
        }
}

void naive_gradient(double *g, double *x, size_t n, double h, double (*f)(const void *user), const void *user)
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

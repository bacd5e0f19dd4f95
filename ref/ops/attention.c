/* SPDX-License-Identifier: MIT
 * Causal attention over packed rows behind a cached past, and its gradients.      SPEC §3.3
 * Sums are double and rounded once; so are the weights p before they weigh the values. */
#include "ref/ops/attention.h"

#include <math.h>
#include <stdlib.h>
#include "ref/ops/plain.h"

static double dot(const real *a, const real *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* E14  p[s] = softmax_{s < n} (c q[t].k[s]),  c = 1/sqrt(d_head),  n = n_past + t + 1 */
static void weights(double *p, const struct pmet_attended *a, size_t t)
{
    const double c = 1 / sqrt((double)a->d_head);
    const size_t n = a->n_past + t + 1;
    double top = -HUGE_VAL, sum = 0;
    for (size_t s = 0; s < n; s++) {
        p[s] = c * dot(pmet_query_at(a, t), pmet_key_at(a, s), a->d_head);
        top = p[s] > top ? p[s] : top;
    }
    for (size_t s = 0; s < n; s++)
        sum += p[s] = exp(p[s] - top);
    for (size_t s = 0; s < n; s++)
        p[s] /= sum;
}

/* E14  o[t] = sum_{s <= t} p[t,s] v[s] */
static enum pmet_status attention(const struct pmet_ops *op, real *out, const struct pmet_attention *in,
                                  real *probs, struct pmet_error *err)
{
    double *p;
    (void)op;
    PMET_TRY(pmet_calloc(&p, pmet_longest(in->batch), sizeof *p, "attention", err));
    for (size_t b = 0; b < in->batch->n_row; b++)
        for (size_t e = 0; e < in->n_head; e++) {
            const struct pmet_attended a = pmet_attended(in, b, e);
            for (size_t t = 0; t < a.n_own; t++) {
                const size_t n = a.n_past + t + 1;
                weights(p, &a, t);
                for (size_t s = 0; s < n; s++)
                    p[s] = (double)(real)p[s];
                for (size_t i = 0; i < a.d_head; i++) {
                    double sum = 0;
                    for (size_t s = 0; s < n; s++)
                        sum += p[s] * (double)pmet_value_at(&a, s)[i];
                    out[(a.first + t) * a.width + e * a.d_head + i] = (real)sum;
                }
                for (size_t s = 0; probs && s < a.n_past + a.n_own; s++)
                    *probs++ = s < n ? (real)p[s] : 0;
            }
        }
    free(p);
    return PMET_OK;
}

/* p[t,s] and g_w[t,s], [n_own, n_past + n_own] with zeros for s > t:
 * E16  g_p[t,s] = g_o[t].v[s],   g_w[t,s] = p[t,s] (g_p[t,s] - sum_r p[t,r] g_p[t,r]) */
static void weight_gradients(double *p, double *g_w, const struct pmet_attended *a, const real *g_out)
{
    const size_t n_all = a->n_past + a->n_own;
    for (size_t t = 0; t < a->n_own; t++, p += n_all, g_w += n_all) {
        const size_t n = a->n_past + t + 1;
        double sum = 0;
        weights(p, a, t);
        for (size_t s = 0; s < n; s++) {
            g_w[s] =
                dot(g_out + (a->first + t) * a->width + a->head * a->d_head, pmet_value_at(a, s), a->d_head);
            sum += p[s] * g_w[s];
        }
        for (size_t s = 0; s < n_all; s++) {
            g_w[s] = s < n ? p[s] * (g_w[s] - sum) : 0;
            p[s] = s < n ? p[s] : 0;
        }
    }
}

/* E15  g_v[s] = sum_{t >= s} p[t,s] g_o[t]
 * E17  g_q[t] = c sum_{s <= t} g_w[t,s] k[s],   g_k[s] = c sum_{t >= s} g_w[t,s] q[t]
 * of one head of a row; g_out [n_tok, width]. */
static void head_gradients(const struct pmet_heads g[3], const real *g_out, const struct pmet_attended *a,
                           const double *p, const double *g_w)
{
    const double c = 1 / sqrt((double)a->d_head);
    const size_t n_all = a->n_past + a->n_own, e = a->head;
    for (size_t r = 0; r < a->n_own; r++)
        for (size_t i = 0; i < a->d_head; i++) {
            double sum_q = 0, sum_k = 0, sum_v = 0;
            for (size_t s = 0; s <= a->n_past + r; s++)
                sum_q += g_w[r * n_all + s] * (double)pmet_key_at(a, s)[i];
            for (size_t t = r; t < a->n_own; t++) {
                const size_t at = t * n_all + a->n_past + r;
                sum_k += g_w[at] * (double)pmet_query_at(a, t)[i];
                sum_v += p[at] * (double)g_out[(a->first + t) * a->width + e * a->d_head + i];
            }
            pmet_head_at(g[0], a->first + r, e)[i] = (real)(c * sum_q);
            pmet_head_at(g[1], a->first + r, e)[i] = (real)(c * sum_k);
            pmet_head_at(g[2], a->first + r, e)[i] = (real)sum_v;
        }
}

static enum pmet_status attention_dx(const struct pmet_ops *op, const struct pmet_heads g[3],
                                     const real *g_out, const struct pmet_attention *in,
                                     struct pmet_error *err)
{
    (void)op;
    for (size_t b = 0; b < in->batch->n_row; b++)
        for (size_t e = 0; e < in->n_head; e++) {
            const struct pmet_attended a = pmet_attended(in, b, e);
            const size_t n = a.n_own * (a.n_past + a.n_own);
            double *p;
            PMET_TRY(pmet_calloc(&p, 2 * n, sizeof *p, "attention's gradients", err));
            weight_gradients(p, p + n, &a, g_out);
            head_gradients(g, g_out, &a, p, p + n);
            free(p);
        }
    return PMET_OK;
}

void pmet_plain_attention(struct pmet_ops *op)
{
    op->attention = attention;
    op->attention_dx = attention_dx;
}

/* SPDX-License-Identifier: MIT
 * Gradients of attention (E15-E17): a head of a row on a thread, query by query.      SPEC §3.3 */
#include <math.h>
#include "ref/cpu/dot.h"
#include "ref/cpu/table.h"
#include "ref/cpu/exponential.h"
#include "ref/cpu/threads.h"
#include "ref/ops/attention.h"

/* Sums in double of one head of one row: g_q [d_head], g_k and g_v [n_own, d_head], p and g_p
 * [n_past + n_own]. */
struct sums {
    double *g_q, *g_k, *g_v, *p, *g_p;
};

/* E14 */
static void weights(double *p, const real *q, const struct pmet_attended *a, size_t n)
{
    const size_t d_head = a->d_head;
    const double scale = 1 / sqrt((double)d_head);
    double top = -HUGE_VAL, sum = 0;
    for (size_t s = 0; s < n; s++) {
        p[s] = pmet_dot(q, pmet_key_at(a, s), d_head) * scale;
        top = p[s] > top ? p[s] : top;
    }
    for (size_t s = 0; s < n; s++)
        sum += p[s] = pmet_exp(p[s] - top);
    for (size_t s = 0; s < n; s++)
        p[s] /= sum;
}

/* Adds one query's part of E15-E17. */
static void one_query(const struct sums *z, const real *q, const real *g_out, const struct pmet_attended *a,
                      size_t n)
{
    const size_t d_head = a->d_head;
    const double c = 1 / sqrt((double)d_head);
    double mean = 0;
    weights(z->p, q, a, n);
    for (size_t s = 0; s < n; s++) {
        z->g_p[s] = pmet_dot(g_out, pmet_value_at(a, s), d_head);
        mean += z->p[s] * z->g_p[s];
    }
    for (size_t i = 0; i < d_head; i++)
        z->g_q[i] = 0;
    for (size_t s = 0; s < n; s++) {
        const double g_w = c * z->p[s] * (z->g_p[s] - mean);
        const real *k = pmet_key_at(a, s);
        for (size_t i = 0; i < d_head; i++)
            z->g_q[i] += g_w * (double)k[i];
        if (s < a->n_past)
            continue; /* the past is constant */
        double *g_k = z->g_k + (s - a->n_past) * d_head, *g_v = z->g_v + (s - a->n_past) * d_head;
        for (size_t i = 0; i < d_head; i++) {
            g_k[i] += g_w * (double)q[i];
            g_v[i] += z->p[s] * (double)g_out[i];
        }
    }
}

static void store(struct pmet_heads x, size_t t, size_t e, const double *sum, size_t d_head)
{
    for (size_t i = 0; i < d_head; i++)
        pmet_head_at(x, t, e)[i] = (real)sum[i];
}

static enum pmet_status attention_dx(const struct pmet_ops *op, const struct pmet_heads g[3],
                                     const real *g_out, const struct pmet_attention *in,
                                     struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    const size_t d_head = in->d_head, n_head = in->n_head, longest = pmet_longest(in->batch),
                 n_sum = d_head + 2 * longest * (d_head + 1);
    PMET_TRY(pmet_cpu_scratch(cpu, n_sum * sizeof(double) / sizeof(real), 0, err));
#pragma omp parallel for num_threads((int)cpu->n_thread) schedule(dynamic)
    for (size_t be = 0; be < in->batch->n_row * n_head; be++) {
        const size_t b = be / n_head, e = be % n_head;
        if (pmet_cpu_stopped(op))
            continue;
        const struct pmet_attended a = pmet_attended(in, b, e);
        double *own = (double *)(void *)cpu->scratch[pmet_thread()];
        const struct sums z = {own, own + d_head, own + d_head * (1 + a.n_own),
                               own + d_head * (1 + 2 * a.n_own), own + d_head * (1 + 2 * a.n_own) + longest};
        for (size_t i = 0; i < 2 * a.n_own * d_head; i++)
            z.g_k[i] = 0; /* and g_v, which follows */
        for (size_t t = 0; t < a.n_own; t++) {
            one_query(&z, pmet_query_at(&a, t), g_out + (a.first + t) * a.width + e * d_head, &a,
                      a.n_past + t + 1);
            store(g[0], a.first + t, e, z.g_q, d_head);
        }
        for (size_t t = 0; t < a.n_own; t++) {
            store(g[1], a.first + t, e, z.g_k + t * d_head, d_head);
            store(g[2], a.first + t, e, z.g_v + t * d_head, d_head);
        }
    }
    return pmet_cpu_finish(op, err);
}

void pmet_cpu_attention_dx(struct pmet_ops *op)
{
    op->attention_dx = attention_dx;
}

/* SPDX-License-Identifier: MIT
 * Gradients of attention to the row's own queries, keys and values.      SPEC §3.3, §5.6
 *   E15  g_v[s]   = sum_{t>=s} p[t,s] g_out[t]
 *   E16  g_p[t,s] = g_out[t] . v[s]
 *        g_w[t,s] = p[t,s] (g_p[t,s] - sum_r p[t,r] g_p[t,r])
 *   E17  g_q[t]   = c sum_s g_w[t,s] k[s],   g_k[s] = c sum_{t>=s} g_w[t,s] q[t],   c = 1/sqrt(d_head) */
#include "ref/cpu/attention_row.h"

/* Sums in double for one head of one row: g_q [d_head], g_k and g_v [own, d_head], p and g_p [past + own]. */
struct sums {
    double *g_q, *g_k, *g_v, *p, *g_p;
};

static void one_query(const struct sums *z, const real *q, const real *g_out, const struct pmet_keys_view *w,
                      size_t n, size_t d_head)
{
    const double c = 1 / sqrt((double)d_head);
    double mean = 0;
    pmet_weights(z->p, q, w, n, d_head);
    for (size_t s = 0; s < n; s++) {
        z->g_p[s] = pmet_dot(g_out, pmet_value_at(w, s), d_head);
        mean += z->p[s] * z->g_p[s];
    }
    for (size_t i = 0; i < d_head; i++)
        z->g_q[i] = 0;
    for (size_t s = 0; s < n; s++) {
        const double g_w = c * z->p[s] * (z->g_p[s] - mean);
        const real *k = pmet_key_at(w, s);
        for (size_t i = 0; i < d_head; i++)
            z->g_q[i] += g_w * (double)k[i];
        if (s < w->n_past)
            continue; /* the past is constant */
        double *g_k = z->g_k + (s - w->n_past) * d_head, *g_v = z->g_v + (s - w->n_past) * d_head;
        for (size_t i = 0; i < d_head; i++) {
            g_k[i] += g_w * (double)q[i];
            g_v[i] += z->p[s] * (double)g_out[i];
        }
    }
}

static enum pmet_status attention_dx(const struct pmet_ops *op, struct pmet_heads g_q, struct pmet_heads g_k,
                                     struct pmet_heads g_v, const real *g_out, struct pmet_heads q,
                                     struct pmet_heads k, struct pmet_heads v, const real *past_k,
                                     const real *past_v, const struct pmet_batch *batch, size_t n_head,
                                     size_t d_head, struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    size_t own = 0;
    for (size_t b = 0; b < batch->n_row; b++) {
        const size_t n = batch->row_start[b + 1] - batch->row_start[b];
        own = n > own ? n : own;
    }
    const size_t longest = pmet_longest(batch), n_line = d_head + 2 * own * d_head + 2 * longest;
    PMET_TRY(pmet_cpu_scratch(cpu, n_line * sizeof(double) / sizeof(real), 0, err));
#pragma omp parallel for num_threads((int)cpu->n_thread) schedule(dynamic)
    for (size_t be = 0; be < batch->n_row * n_head; be++) {
        const size_t b = be / n_head, e = be % n_head, n = batch->row_start[b + 1] - batch->row_start[b];
        const struct pmet_keys_view w = pmet_view(k, v, past_k, past_v, batch, b, e, n_head, d_head);
        double *line = (double *)(void *)cpu->scratch[pmet_thread()];
        const struct sums z = {line, line + d_head, line + d_head + own * d_head,
                               line + d_head + 2 * own * d_head, line + d_head + 2 * own * d_head + longest};
        for (size_t i = 0; i < 2 * own * d_head; i++)
            z.g_k[i] = 0; /* and g_v, which follows */
        for (size_t t = 0; t < n; t++) {
            one_query(&z, pmet_head_at(q, w.first + t, e), g_out + (w.first + t) * w.width + e * d_head, &w,
                      w.n_past + t + 1, d_head);
            for (size_t i = 0; i < d_head; i++)
                pmet_head_at(g_q, w.first + t, e)[i] = (real)z.g_q[i];
        }
        for (size_t t = 0; t < n; t++)
            for (size_t i = 0; i < d_head; i++) {
                pmet_head_at(g_k, w.first + t, e)[i] = (real)z.g_k[t * d_head + i];
                pmet_head_at(g_v, w.first + t, e)[i] = (real)z.g_v[t * d_head + i];
            }
    }
    return PMET_OK;
}

void pmet_cpu_attention_dx(struct pmet_ops *op)
{
    op->attention_dx = attention_dx;
}

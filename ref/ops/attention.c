/* SPDX-License-Identifier: MIT
 * Causal attention over packed rows with a cached past.      SPEC §3.3 */
#include "ref/ops/attention_row.h"

/* E14, one head of one row: every query, its weights in p [n_past + own], its output summed in o [d_head]. */
static void attend(real *out, struct pmet_heads q, const struct pmet_keys_view *w, size_t n_own,
                   size_t d_head, double *p, double *o, real *probs)
{
    for (size_t t = 0; t < n_own; t++) {
        const size_t n = w->n_past + t + 1, n_all = w->n_past + n_own;
        pmet_weights(p, pmet_head_at(q, w->first + t, w->head), w, n, d_head);
        for (size_t i = 0; i < d_head; i++)
            o[i] = 0;
        for (size_t s = 0; s < n; s++) {
            const real *v = pmet_value_at(w, s);
            for (size_t i = 0; i < d_head; i++)
                o[i] += p[s] * (double)v[i];
        }
        for (size_t i = 0; i < d_head; i++)
            out[(w->first + t) * w->width + w->head * d_head + i] = (real)o[i];
        for (size_t s = 0; probs && s < n_all; s++)
            probs[t * n_all + s] = s < n ? (real)p[s] : 0;
    }
}

static enum pmet_status attention(const struct pmet_ops *op, real *out, struct pmet_heads q,
                                  struct pmet_heads k, struct pmet_heads v, const real *past_k,
                                  const real *past_v, const struct pmet_batch *batch, size_t n_head,
                                  size_t d_head, real *probs, struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    size_t *probs_at = NULL; /* of each row */
    const size_t n_line = pmet_longest(batch) + d_head;
    PMET_TRY(pmet_calloc(&probs_at, batch->n_row, sizeof *probs_at, "attention", err));
    for (size_t b = 0, at = 0; b < batch->n_row; b++) {
        const size_t n = batch->row_start[b + 1] - batch->row_start[b];
        probs_at[b] = at;
        at += n_head * n * (batch->n_past[b] + n);
    }
    const enum pmet_status status = pmet_cpu_scratch(cpu, n_line * sizeof(double) / sizeof(real), 0, err);
    if (status == PMET_OK) {
#pragma omp parallel for num_threads((int)cpu->n_thread) schedule(dynamic)
        for (size_t be = 0; be < batch->n_row * n_head; be++) {
            const size_t b = be / n_head, e = be % n_head, n = batch->row_start[b + 1] - batch->row_start[b];
            const struct pmet_keys_view w = pmet_view(k, v, past_k, past_v, batch, b, e, n_head, d_head);
            double *line = (double *)(void *)cpu->scratch[pmet_thread()];
            attend(out, q, &w, n, d_head, line + d_head, line,
                   probs ? probs + probs_at[b] + e * n * (w.n_past + n) : NULL);
        }
    }
    free(probs_at);
    return status;
}

void pmet_cpu_attention(struct pmet_ops *op)
{
    op->attention = attention;
}

/* SPDX-License-Identifier: MIT
 * Log-probabilities, cross entropy and KL over rows of logits, with their gradients.
 * SPEC §3.6, §5.2 */
#include <math.h>
#include "ref/cpu/table.h"
#include "ref/cpu/exponential.h"
#include "ref/cpu/threads.h"

/* log sum_v exp(x[v]), and the first argmax. */
static double log_sum(const real *x, size_t n, size_t *best)
{
    size_t top = 0;
    double sum = 0;
    *best = 0;
    if (n == 0)
        return 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[top])
            top = i;
    for (size_t i = 0; i < n; i++)
        sum += pmet_exp((double)x[i] - (double)x[top]);
    *best = top;
    return (double)x[top] + log(sum);
}

/* E37 at the labels and at the best token: what E48 and E52 sum. */
static enum pmet_status xent(const struct pmet_ops *op, double *logp, double *best_logp, int32_t *best,
                             const real *logits, const int32_t *labels, size_t n, size_t n_vocab,
                             struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n > 1)
    for (size_t r = 0; r < n; r++) {
        const real *x = logits + r * n_vocab;
        size_t top;
        const double z = log_sum(x, n_vocab, &top);
        logp[r] = (double)x[labels[r]] - z;
        best_logp[r] = (double)x[top] - z;
        best[r] = (int32_t)top;
    }
    return PMET_OK;
}

/* E57 */
static enum pmet_status xent_dx(const struct pmet_ops *op, real *g_logits, const real *logits,
                                const int32_t *labels, const double *scale, size_t n, size_t n_vocab,
                                struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n > 1)
    for (size_t r = 0; r < n; r++) {
        const real *x = logits + r * n_vocab;
        size_t top;
        const double z = log_sum(x, n_vocab, &top);
        for (size_t v = 0; v < n_vocab; v++)
            g_logits[r * n_vocab + v] =
                (real)(scale[r] * (pmet_exp((double)x[v] - z) - (v == (size_t)labels[r] ? 1 : 0)));
    }
    return PMET_OK;
}

/* E37 */
static enum pmet_status log_softmax(const struct pmet_ops *op, real *lp, const real *logits, size_t n,
                                    size_t n_vocab, struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n > 1)
    for (size_t r = 0; r < n; r++) {
        size_t top;
        const double z = log_sum(logits + r * n_vocab, n_vocab, &top);
        for (size_t v = 0; v < n_vocab; v++)
            lp[r * n_vocab + v] = (real)((double)logits[r * n_vocab + v] - z);
    }
    return PMET_OK;
}

/* E49: sum_v exp(lp) (lp - lp0) of one row of logits x */
static double kl_row(const real *x, const real *lp0, double z, size_t n_vocab)
{
    double kl = 0;
    for (size_t v = 0; v < n_vocab; v++) {
        const double lp = (double)x[v] - z;
        kl += pmet_exp(lp) * (lp - (double)lp0[v]);
    }
    return kl;
}

static enum pmet_status kl(const struct pmet_ops *op, double *out, const real *logits, const real *lp0,
                           const size_t *which, size_t n, size_t n_vocab, struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n > 1)
    for (size_t r = 0; r < n; r++) {
        size_t top;
        const real *x = logits + r * n_vocab;
        out[r] = kl_row(x, lp0 + which[r] * n_vocab, log_sum(x, n_vocab, &top), n_vocab);
    }
    return PMET_OK;
}

/* E58 */
static enum pmet_status kl_dx(const struct pmet_ops *op, real *g_logits, const real *logits, const real *lp0,
                              const size_t *which, const double *scale, size_t n, size_t n_vocab,
                              struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n > 1)
    for (size_t r = 0; r < n; r++) {
        const real *x = logits + r * n_vocab, *ref = lp0 + which[r] * n_vocab;
        size_t top;
        const double z = log_sum(x, n_vocab, &top), total = kl_row(x, ref, z, n_vocab);
        for (size_t v = 0; v < n_vocab; v++) {
            const double lp = (double)x[v] - z;
            g_logits[r * n_vocab + v] = (real)(scale[r] * pmet_exp(lp) * ((lp - (double)ref[v]) - total));
        }
    }
    return PMET_OK;
}

void pmet_cpu_loss(struct pmet_ops *op)
{
    op->xent = xent;
    op->xent_dx = xent_dx;
    op->log_softmax = log_softmax;
    op->kl = kl;
    op->kl_dx = kl_dx;
}

/* SPDX-License-Identifier: MIT
 * Log-probabilities, cross entropy and KL over rows of logits, with their gradients.
 * SPEC §3.6, §5.2, §5.6 */
#include <math.h>
#include "ref/ops/plain.h"

/* The first index of the largest logit. */
static size_t first_best(const real *z, size_t n)
{
    size_t best = 0;
    for (size_t v = 1; v < n; v++)
        if (z[v] > z[best])
            best = v;
    return best;
}

/* log sum_w exp(logits_w), after subtracting the largest logit. */
static double log_sum(const real *z, size_t n)
{
    double sum = 0;
    if (n == 0)
        return 0;
    const double top = (double)z[first_best(z, n)];
    for (size_t w = 0; w < n; w++)
        sum += exp((double)z[w] - top);
    return top + log(sum);
}

/* E37  lp_v = logits_v - log sum_w exp(logits_w) */
static enum pmet_status log_softmax(const struct pmet_ops *op, real *lp, const real *logits, size_t n,
                                    size_t n_vocab, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t r = 0; r < n; r++) {
        const real *z = logits + r * n_vocab;
        const double log_z = log_sum(z, n_vocab);
        for (size_t v = 0; v < n_vocab; v++)
            lp[r * n_vocab + v] = (real)((double)z[v] - log_z);
    }
    return PMET_OK;
}

/* E37 at the labels and at the best token: what E48 and E52 sum. */
static enum pmet_status xent(const struct pmet_ops *op, double *logp, double *best_logp, int32_t *best,
                             const real *logits, const int32_t *labels, size_t n, size_t n_vocab,
                             struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t r = 0; r < n; r++) {
        const real *z = logits + r * n_vocab;
        const double log_z = log_sum(z, n_vocab);
        best[r] = (int32_t)first_best(z, n_vocab);
        logp[r] = (double)z[labels[r]] - log_z;
        best_logp[r] = (double)z[best[r]] - log_z;
    }
    return PMET_OK;
}

/* E57  g_v = scale (exp(lp_v) - [v = label]) */
static enum pmet_status xent_dx(const struct pmet_ops *op, real *g_logits, const real *logits,
                                const int32_t *labels, const double *scale, size_t n, size_t n_vocab,
                                struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t r = 0; r < n; r++) {
        const real *z = logits + r * n_vocab;
        const double log_z = log_sum(z, n_vocab);
        for (size_t v = 0; v < n_vocab; v++) {
            const double p = exp((double)z[v] - log_z);
            g_logits[r * n_vocab + v] = (real)(scale[r] * (v == (size_t)labels[r] ? p - 1 : p));
        }
    }
    return PMET_OK;
}

/* E49  sum_v exp(lp_v) (lp_v - lp0_v) of one row of logits */
static double kl_row(const real *z, const real *lp0, double log_z, size_t n_vocab)
{
    double sum = 0;
    for (size_t v = 0; v < n_vocab; v++) {
        const double lp = (double)z[v] - log_z;
        sum += exp(lp) * (lp - (double)lp0[v]);
    }
    return sum;
}

static enum pmet_status kl(const struct pmet_ops *op, double *out, const real *logits, const real *lp0,
                           const size_t *which, size_t n, size_t n_vocab, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t r = 0; r < n; r++) {
        const real *z = logits + r * n_vocab;
        out[r] = kl_row(z, lp0 + which[r] * n_vocab, log_sum(z, n_vocab), n_vocab);
    }
    return PMET_OK;
}

/* E58  g_v = scale exp(lp_v) ((lp_v - lp0_v) - kl) */
static enum pmet_status kl_dx(const struct pmet_ops *op, real *g_logits, const real *logits, const real *lp0,
                              const size_t *which, const double *scale, size_t n, size_t n_vocab,
                              struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t r = 0; r < n; r++) {
        const real *z = logits + r * n_vocab, *ref = lp0 + which[r] * n_vocab;
        const double log_z = log_sum(z, n_vocab), kl_r = kl_row(z, ref, log_z, n_vocab);
        for (size_t v = 0; v < n_vocab; v++) {
            const double lp = (double)z[v] - log_z;
            g_logits[r * n_vocab + v] = (real)(scale[r] * exp(lp) * ((lp - (double)ref[v]) - kl_r));
        }
    }
    return PMET_OK;
}

void pmet_plain_loss(struct pmet_ops *op)
{
    op->xent = xent;
    op->xent_dx = xent_dx;
    op->log_softmax = log_softmax;
    op->kl = kl;
    op->kl_dx = kl_dx;
}

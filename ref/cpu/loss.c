/* SPDX-License-Identifier: MIT
 * Log-probabilities, cross entropy and KL over rows of logits, with their gradients.
 * SPEC §3.6, §5.2 */
#include <math.h>
#include "ref/cpu/table.h"
#include "ref/cpu/exponential.h"
#include "ref/cpu/threads.h"

/* A row of logits. */
struct row {
    const real *x; /* [n_vocab] */
    size_t best;   /* the first argmax */
    double log_z;  /* log sum_v exp(x[v]) */
};

static struct row row_of(const real *x, size_t n)
{
    size_t best = 0;
    double sum = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    for (size_t i = 0; i < n; i++)
        sum += pmet_exp((double)x[i] - (double)x[best]);
    return (struct row){x, best, n > 0 ? (double)x[best] + log(sum) : 0};
}

/* E37 at the labels and at the best token: what E48 and E52 sum. */
static enum pmet_status xent(const struct pmet_ops *op, double *logp, double *best_logp, int32_t *best,
                             const real *logits, const int32_t *labels, size_t n, size_t n_vocab,
                             struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n > 1)
    for (size_t i = 0; i < n; i++) {
        const struct row r = row_of(logits + i * n_vocab, n_vocab);
        logp[i] = (double)r.x[labels[i]] - r.log_z;
        best_logp[i] = (double)r.x[r.best] - r.log_z;
        best[i] = (int32_t)r.best;
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
    for (size_t i = 0; i < n; i++) {
        const struct row r = row_of(logits + i * n_vocab, n_vocab);
        for (size_t v = 0; v < n_vocab; v++)
            g_logits[i * n_vocab + v] =
                (real)(scale[i] * (pmet_exp((double)r.x[v] - r.log_z) - (v == (size_t)labels[i] ? 1 : 0)));
    }
    return PMET_OK;
}

/* E37 */
static enum pmet_status log_softmax(const struct pmet_ops *op, real *lp, const real *logits, size_t n,
                                    size_t n_vocab, struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n > 1)
    for (size_t i = 0; i < n; i++) {
        const struct row r = row_of(logits + i * n_vocab, n_vocab);
        for (size_t v = 0; v < n_vocab; v++)
            lp[i * n_vocab + v] = (real)((double)r.x[v] - r.log_z);
    }
    return PMET_OK;
}

/* E49: sum_v exp(lp) (lp - lp0) */
static double kl_row(struct row r, const real *lp0, size_t n_vocab)
{
    double kl = 0;
    for (size_t v = 0; v < n_vocab; v++) {
        const double lp = (double)r.x[v] - r.log_z;
        kl += pmet_exp(lp) * (lp - (double)lp0[v]);
    }
    return kl;
}

static enum pmet_status kl(const struct pmet_ops *op, double *out, const real *logits, const real *lp0,
                           const size_t *which, size_t n, size_t n_vocab, struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n > 1)
    for (size_t i = 0; i < n; i++)
        out[i] = kl_row(row_of(logits + i * n_vocab, n_vocab), lp0 + which[i] * n_vocab, n_vocab);
    return PMET_OK;
}

/* E58 */
static enum pmet_status kl_dx(const struct pmet_ops *op, real *g_logits, const real *logits, const real *lp0,
                              const size_t *which, const double *scale, size_t n, size_t n_vocab,
                              struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n > 1)
    for (size_t i = 0; i < n; i++) {
        const struct row r = row_of(logits + i * n_vocab, n_vocab);
        const real *ref = lp0 + which[i] * n_vocab;
        const double total = kl_row(r, ref, n_vocab);
        for (size_t v = 0; v < n_vocab; v++) {
            const double lp = (double)r.x[v] - r.log_z;
            g_logits[i * n_vocab + v] = (real)(scale[i] * pmet_exp(lp) * ((lp - (double)ref[v]) - total));
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

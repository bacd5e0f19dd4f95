/* SPDX-License-Identifier: MIT
 * Conjugate gradients for all right-hand sides at once, each with its own coefficients.
 * SPEC §8.3, E73 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "ref/method/solve.h"

#define ENOUGH 1e-13

struct cg {
    const struct pmet_ops *op;
    const double *cov, *keys;
    double lambda, ridge;
    size_t f, n;
    bool alone;                     /* A = lambda C + ridge I */
    const void *dev_cov, *dev_keys; /* (dev) the same */
    double *dev_ap, *small;         /* (dev) [f, n], [n, n] */
    double *r, *p, *ap;             /* [f, n]; r owns these and the next */
    double *scale;                  /* [f]: 1 / diagonal of A */
    double *rz, *pap, *rr, *bb;     /* [n] */
    bool *done;                     /* [n]: converged; its column of p is 0 */
};

/* A's name, for messages. */
static const char *matrix(const struct cg *s)
{
    return s->alone ? "the second moment" : "lambda*cov + K K^T";
}

/* (dev) ap = A p without the ridge */
static enum pmet_status multiply(struct cg *s, const double *p, struct pmet_error *err)
{
    const struct pmet_ops *op = s->op;
    const size_t f = s->f, n = s->n;
    const double *cov = s->dev_cov, *keys = s->dev_keys;
    PMET_TRY(op->gemm64(op, false, false, f, n, f, s->lambda, cov, f, p, n, 0, s->dev_ap, n, err));
    if (s->alone)
        return PMET_OK;
    PMET_TRY(op->gemm64(op, true, false, n, n, f, 1, keys, n, p, n, 0, s->small, n, err));
    return op->gemm64(op, false, false, f, n, n, 1, keys, n, s->small, n, 1, s->dev_ap, n, err);
}

/* ap = A p */
static enum pmet_status apply(struct cg *s, struct pmet_error *err)
{
    const struct pmet_ops *op = s->op;
    const size_t f = s->f, n = s->n;
    const void *p;
    PMET_TRY(op->weight_map(op, s->p, f * n * sizeof *s->p, &p, err));
    const enum pmet_status status = multiply(s, p, err);
    op->weight_unmap(op, p);
    PMET_TRY(status);
    PMET_TRY(op->download(op, s->ap, s->dev_ap, f * n * sizeof *s->ap, err));
    for (size_t i = 0; s->ridge != 0 && i < f * n; i++)
        s->ap[i] += s->ridge * s->p[i];
    return PMET_OK;
}

/* out[j] = sum_i a[i,j] b[i,j] */
static void dots(double *out, const double *a, const double *b, size_t f, size_t n)
{
    memset(out, 0, n * sizeof *out);
    for (size_t i = 0; i < f; i++)
        for (size_t j = 0; j < n; j++)
            out[j] += a[i * n + j] * b[i * n + j];
}

/* out[j] = sum_i r[i,j] z[i,j],  z = r scaled by A's diagonal */
static void scaled_dots(double *out, const struct cg *s)
{
    memset(out, 0, s->n * sizeof *out);
    for (size_t i = 0; i < s->f; i++)
        for (size_t j = 0; j < s->n; j++)
            out[j] += s->r[i * s->n + j] * (s->scale[i] * s->r[i * s->n + j]);
}

static enum pmet_status reserve(struct cg *s, struct pmet_error *err)
{
    const struct pmet_ops *op = s->op;
    const size_t f = s->f, n = s->n;
    PMET_TRY(pmet_calloc(&s->r, 3 * f * n + f + 4 * n, sizeof(double), "conjugate gradients", err));
    s->p = s->r + f * n;
    s->ap = s->p + f * n;
    s->scale = s->ap + f * n;
    s->rz = s->scale + f;
    s->pap = s->rz + n;
    s->rr = s->pap + n;
    s->bb = s->rr + n;
    PMET_TRY(pmet_calloc(&s->done, n, sizeof *s->done, "conjugate gradients", err));
    PMET_TRY(op->weight_map(op, s->cov, f * f * sizeof(double), &s->dev_cov, err));
    PMET_TRY(op->weight_map(op, s->keys, f * n * sizeof(double), &s->dev_keys, err));
    PMET_TRY(op->alloc(op, f * n * sizeof(double), &s->dev_ap, err));
    return op->alloc(op, n * n * sizeof(double), &s->small, err);
}

static enum pmet_status start(struct cg *s, double *x, struct pmet_error *err)
{
    const size_t f = s->f, n = s->n;
    PMET_TRY(reserve(s, err));
    for (size_t i = 0; i < f; i++) {
        double d = s->lambda * s->cov[i * f + i] + s->ridge;
        for (size_t j = 0; j < n && !s->alone; j++)
            d += s->keys[i * n + j] * s->keys[i * n + j];
        if (!(d > 0))
            return pmet_fail(err, PMET_NUMERIC,
                             "%s is not positive definite: diagonal element %zu of %zu is %g", matrix(s), i,
                             f, d);
        s->scale[i] = 1 / d;
    }
    memset(x, 0, f * n * sizeof *x);
    memcpy(s->r, s->keys, f * n * sizeof *s->r);
    for (size_t i = 0; i < f; i++)
        for (size_t j = 0; j < n; j++)
            s->p[i * n + j] = s->scale[i] * s->r[i * n + j];
    dots(s->bb, s->r, s->r, f, n);
    scaled_dots(s->rz, s);
    for (size_t j = 0; j < n; j++)
        s->done[j] = s->bb[j] == 0;
    return PMET_OK;
}

/* The largest |r| / |k| of any column, as the recurrence has it. */
static double worst(const struct cg *s)
{
    double most = 0;
    for (size_t j = 0; j < s->n; j++)
        if (s->bb[j] > 0 && s->rr[j] / s->bb[j] > most)
            most = s->rr[j] / s->bb[j];
    return sqrt(most);
}

static bool all_done(const struct cg *s)
{
    for (size_t j = 0; j < s->n; j++)
        if (!s->done[j])
            return false;
    return true;
}

/* One step of every column that has not converged. p.Ap that is not > 0, NaN included, has no next
 * one. */
static enum pmet_status step(struct cg *s, double *x, size_t number, struct pmet_error *err)
{
    const size_t f = s->f, n = s->n;
    PMET_TRY(apply(s, err));
    dots(s->pap, s->p, s->ap, f, n);
    for (size_t j = 0; j < n; j++) {
        if (!s->done[j] && !(s->pap[j] > 0 && isfinite(s->pap[j])))
            return pmet_fail(
                err, PMET_NUMERIC,
                "%s is not positive definite: p.Ap is %g in column %zu of %zu at step %zu of conjugate "
                "gradients (more text for the statistics, or --ridge, makes it so)",
                matrix(s), s->pap[j], j, n, number);
        s->pap[j] = s->done[j] ? 0 : s->rz[j] / s->pap[j]; /* alpha */
    }
    for (size_t i = 0; i < f; i++)
        for (size_t j = 0; j < n; j++) {
            x[i * n + j] += s->pap[j] * s->p[i * n + j];
            s->r[i * n + j] -= s->pap[j] * s->ap[i * n + j];
        }
    dots(s->rr, s->r, s->r, f, n);
    scaled_dots(s->pap, s);
    for (size_t j = 0; j < n; j++) {
        s->done[j] = s->done[j] || s->rr[j] <= ENOUGH * ENOUGH * s->bb[j];
        const double beta = s->done[j] ? 0 : s->pap[j] / s->rz[j];
        s->rz[j] = s->pap[j];
        s->pap[j] = beta;
    }
    for (size_t i = 0; i < f; i++)
        for (size_t j = 0; j < n; j++)
            s->p[i * n + j] = s->done[j] ? 0 : s->scale[i] * s->r[i * n + j] + s->pap[j] * s->p[i * n + j];
    return PMET_OK;
}

enum pmet_status pmet_solve_cg(const struct pmet_ops *op, const double *cov, double lambda, double ridge,
                               const double *keys, bool alone, size_t f, size_t n, double *x,
                               struct pmet_solve_report *report, struct pmet_error *err)
{
    struct cg s = {
        .op = op, .cov = cov, .keys = keys, .lambda = lambda, .ridge = ridge, .f = f, .n = n, .alone = alone};
    const size_t most = 20 * f + 200;
    enum pmet_status status;
    PMET_GO(start(&s, x, err));
    report->used = PMET_SOLVER_CG;
    for (report->iterations = 0; !all_done(&s); report->iterations++) {
        if (report->iterations == most)
            PMET_GO(
                pmet_fail(err, PMET_NUMERIC,
                          "conjugate gradients: the residual is %g of the right-hand side after %zu steps, "
                          "expected %g; use --solver cholesky, or --ridge",
                          worst(&s), most, ENOUGH));
        PMET_GO(step(&s, x, report->iterations, err));
    }
done:
    if (s.dev_cov)
        op->weight_unmap(op, s.dev_cov);
    if (s.dev_keys)
        op->weight_unmap(op, s.dev_keys);
    op->release(op, s.dev_ap);
    op->release(op, s.small);
    free(s.r);
    free(s.done);
    return status;
}

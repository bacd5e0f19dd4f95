/* SPDX-License-Identifier: MIT */
#include "ref/edit/solve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *pmet_solver_name(enum pmet_solver solver)
{
    static const char *const name[] = {"auto", "cholesky", "cg", "factored"};
    return name[solver];
}

static bool all_zero(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0)
            return false;
    return true;
}

/* max over columns of |K - (lambda C + K K^T + ridge I) X| / |K| */
static enum pmet_status residual(const struct pmet_ops *op, const double *cov, double lambda, double ridge,
                                 const double *keys, const double *x, size_t f, size_t n, double *out,
                                 struct pmet_error *err)
{
    double *ax = NULL, *small = NULL;
    enum pmet_status status;
    *out = 0;
    PMET_GO(pmet_calloc(&ax, f * n, sizeof *ax, "the residual", err));
    PMET_GO(pmet_calloc(&small, n * n, sizeof *small, "the residual", err));
    PMET_GO(op->gemm64(op, false, false, f, n, f, lambda, cov, f, x, n, 0, ax, n, err));
    PMET_GO(op->gemm64(op, true, false, n, n, f, 1, keys, n, x, n, 0, small, n, err));
    PMET_GO(op->gemm64(op, false, false, f, n, n, 1, keys, n, small, n, 1, ax, n, err));
    for (size_t j = 0; j < n; j++) {
        double r = 0, k = 0;
        for (size_t i = 0; i < f; i++) {
            const double e = keys[i * n + j] - ax[i * n + j] - ridge * x[i * n + j];
            r += e * e;
            k += keys[i * n + j] * keys[i * n + j];
        }
        *out = k > 0 && sqrt(r / k) > *out ? sqrt(r / k) : *out;
    }
done:
    free(ax);
    free(small);
    return status;
}

static enum pmet_status solve_cholesky(const struct pmet_ops *op, const double *cov, double lambda,
                                       double ridge, const double *keys, size_t f, size_t n, double *x,
                                       struct pmet_error *err)
{
    double *a = NULL, value;
    size_t pivot, n_all;
    struct pmet_error failure = {PMET_OK, ""};
    if (!pmet_mul_size(f, f, &n_all))
        return pmet_fail_memory(err, "lambda C + K K^T", SIZE_MAX);
    PMET_TRY(pmet_calloc(&a, n_all, sizeof *a, "lambda C + K K^T", err));
    for (size_t i = 0; i < n_all; i++)
        a[i] = lambda * cov[i];
    for (size_t i = 0; i < f; i++)
        a[i * f + i] += ridge;
    enum pmet_status status = op->gemm64(op, false, true, f, f, n, 1, keys, n, keys, n, 1, a, f, err);
    if (status == PMET_OK) {
        status = op->cholesky(op, a, f, &pivot, &value, &failure);
        if (status == PMET_NUMERIC)
            pmet_fail(err, status,
                      "lambda C + K K^T is not positive definite: pivot %zu of %zu is %g (more text for the "
                      "statistics, or "
                      "--ridge, makes it so)",
                      pivot, f, value);
        else if (status != PMET_OK)
            *err = failure;
    }
    if (status == PMET_OK) {
        memcpy(x, keys, f * n * sizeof *x);
        status = op->cholesky_solve(op, a, x, f, n, err);
    }
    free(a);
    return status;
}

enum pmet_status pmet_solve_update(const struct pmet_ops *op, enum pmet_solver solver, size_t max_bytes,
                                   const double *cov, double lambda, double ridge, const double *keys,
                                   const double *resid, size_t f, size_t d, size_t n, double *upd,
                                   struct pmet_solve_report *report, struct pmet_error *err)
{
    double *x;
    if (solver == PMET_SOLVER_AUTO)
        solver = f > 0 && max_bytes / f / sizeof(double) < f ? PMET_SOLVER_CG : PMET_SOLVER_CHOLESKY;
    *report = (struct pmet_solve_report){.used = solver};
    memset(upd, 0, d * f * sizeof *upd);
    if (all_zero(resid, d * n))
        return PMET_OK;
    PMET_TRY(pmet_calloc(&x, f * n, sizeof *x, "the solve", err));
    enum pmet_status status = solver == PMET_SOLVER_CG
                                  ? pmet_solve_cg(op, cov, lambda, ridge, keys, f, n, x, report, err)
                                  : solve_cholesky(op, cov, lambda, ridge, keys, f, n, x, err);
    if (status == PMET_OK)
        status = residual(op, cov, lambda, ridge, keys, x, f, n, &report->residual, err);
    if (status == PMET_OK)
        status = op->gemm64(op, false, true, d, f, n, 1, resid, n, x, n, 0, upd, f, err);
    free(x);
    return status;
}

enum pmet_status pmet_solve_factored(const struct pmet_ops *op, const double *factor, double lambda,
                                     const double *keys, const double *resid, size_t f, size_t d, size_t n,
                                     double *upd, struct pmet_error *err)
{
    double *x = NULL, *small = NULL, *right = NULL, value;
    size_t pivot;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&x, f * n, sizeof *x, "the solve", err));
    PMET_GO(pmet_calloc(&small, n * n, sizeof *small, "the solve", err));
    PMET_GO(pmet_calloc(&right, n * d, sizeof *right, "the solve", err));
    for (size_t i = 0; i < f * n; i++)
        x[i] = keys[i] / lambda;
    PMET_GO(op->cholesky_solve(op, factor, x, f, n, err)); /* = (lambda C)^-1 K */
    for (size_t i = 0; i < n; i++)
        small[i * n + i] = 1;
    PMET_GO(op->gemm64(op, true, false, n, n, f, 1, keys, n, x, n, 1, small, n, err));
    PMET_GO(op->cholesky(op, small, n, &pivot, &value, err));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            right[i * d + j] = resid[j * n + i];
    PMET_GO(op->cholesky_solve(op, small, right, n, d, err)); /* = (I + K^T (lambda C)^-1 K)^-1 R^T */
    PMET_GO(op->gemm64(op, true, true, d, f, n, 1, right, d, x, n, 0, upd, f, err));
done:
    free(x);
    free(small);
    free(right);
    return status;
}

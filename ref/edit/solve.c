/* SPDX-License-Identifier: MIT
 * The update of one matrix, by a Cholesky factor of the sum or of C alone.      SPEC §8.2 */
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

static enum pmet_status check_finite(const double *upd, size_t n, struct pmet_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(upd[i]))
            return pmet_fail(err, PMET_NUMERIC,
                             "the update holds %g: so do the keys, the residuals or the second moments",
                             upd[i]);
    return PMET_OK;
}

/* E74: max over columns of |K - (lambda C + K K^T + ridge I) X| / |K|; NaN if any is. */
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
        const double ratio = r == 0 ? 0 : sqrt(r / k);
        *out = isnan(*out) || ratio <= *out ? *out : ratio;
    }
done:
    free(ax);
    free(small);
    return status;
}

/* E69: the lower triangle of a [f, f], all zeros before, := lambda C + K K^T + ridge I, in bands of rows up to their
 * last diagonal element: little more than half of the whole product. */
static enum pmet_status form_sum(const struct pmet_ops *op, const double *cov, double lambda, double ridge,
                                 const double *keys, size_t f, size_t n, double *a, struct pmet_error *err)
{
    const size_t band = 256;
    for (size_t i = 0; i < f; i += band) {
        const size_t end = f - i < band ? f : i + band;
        for (size_t r = i; r < end; r++)
            memcpy(a + r * f, cov + r * f, (r + 1) * sizeof *a);
        PMET_TRY(op->gemm64(op, false, true, end - i, end, n, 1, keys + i * n, n, keys, n, lambda, a + i * f,
                            f, err));
    }
    for (size_t i = 0; i < f; i++)
        a[i * f + i] += ridge;
    return PMET_OK;
}

/* E69, E71: X = A^-1 K by A's factor */
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
    enum pmet_status status = form_sum(op, cov, lambda, ridge, keys, f, n, a, err);
    if (status == PMET_OK) {
        status = op->cholesky(op, a, f, &pivot, &value, &failure);
        if (status == PMET_NUMERIC)
            pmet_fail(err, status,
                      "lambda*cov + K K^T is not positive definite: pivot %zu of %zu is %g (more text for "
                      "the statistics, or --ridge, makes it so)",
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

/* E72, by X^T = (I + K^T Y)^-1 Y^T: the matrix is symmetric. */
enum pmet_status pmet_solve_factored(const struct pmet_ops *op, const double *factor, double lambda,
                                     const double *keys, size_t f, size_t n, double *x,
                                     struct pmet_error *err)
{
    double *small = NULL, *turned = NULL, value;
    size_t pivot;
    struct pmet_error failure = {PMET_OK, ""};
    enum pmet_status status;
    PMET_GO(pmet_calloc(&small, n * n, sizeof *small, "the solve", err));
    PMET_GO(pmet_calloc(&turned, n * f, sizeof *turned, "the solve", err));
    for (size_t i = 0; i < f * n; i++)
        x[i] = keys[i] / lambda;
    PMET_GO(op->cholesky_solve(op, factor, x, f, n, err)); /* = Y */
    for (size_t i = 0; i < n; i++)
        small[i * n + i] = 1;
    PMET_GO(op->gemm64(op, true, false, n, n, f, 1, keys, n, x, n, 1, small, n, err));
    status = op->cholesky(op, small, n, &pivot, &value, &failure);
    if (status != PMET_OK) {
        if (status == PMET_NUMERIC)
            pmet_fail(err, status,
                      "I + K^T (lambda*cov)^-1 K is not positive definite: pivot %zu of %zu is %g", pivot, n,
                      value);
        else
            *err = failure;
        goto done;
    }
    for (size_t i = 0; i < f; i++)
        for (size_t j = 0; j < n; j++)
            turned[j * f + i] = x[i * n + j];
    PMET_GO(op->cholesky_solve(op, small, turned, n, f, err)); /* = X^T */
    for (size_t i = 0; i < f; i++)
        for (size_t j = 0; j < n; j++)
            x[i * n + j] = turned[j * f + i];
done:
    free(small);
    free(turned);
    return status;
}

static bool second_fits(size_t max_bytes, size_t f)
{
    return f == 0 || max_bytes / f / sizeof(double) >= f;
}

bool pmet_solver_takes_factor(enum pmet_solver solver, double ridge, size_t max_bytes, size_t f, size_t n)
{
    return solver == PMET_SOLVER_AUTO && ridge == 0 && second_fits(max_bytes, f) && n <= f / 4;
}

/* E69: upd = R X^T. */
enum pmet_status pmet_solve_update(const struct pmet_ops *op, enum pmet_solver solver, size_t max_bytes,
                                   const double *cov, const double *factor, double lambda, double ridge,
                                   const double *keys, const double *resid, size_t f, size_t d, size_t n,
                                   double *upd, struct pmet_solve_report *report, struct pmet_error *err)
{
    double *x = NULL;
    enum pmet_status status;
    if (factor && pmet_solver_takes_factor(solver, ridge, max_bytes, f, n))
        solver = PMET_SOLVER_FACTORED;
    if (solver == PMET_SOLVER_AUTO)
        solver = second_fits(max_bytes, f) ? PMET_SOLVER_CHOLESKY : PMET_SOLVER_CG;
    *report = (struct pmet_solve_report){.used = solver};
    memset(upd, 0, d * f * sizeof *upd);
    if (all_zero(resid, d * n))
        return PMET_OK;
    PMET_GO(pmet_calloc(&x, f * n, sizeof *x, "the solve", err));
    if (solver == PMET_SOLVER_FACTORED)
        status = pmet_solve_factored(op, factor, lambda, keys, f, n, x, err);
    else if (solver == PMET_SOLVER_CG)
        status = pmet_solve_cg(op, cov, lambda, ridge, keys, f, n, x, report, err);
    else
        status = solve_cholesky(op, cov, lambda, ridge, keys, f, n, x, err);
    if (status != PMET_OK)
        goto done;
    PMET_GO(residual(op, cov, lambda, ridge, keys, x, f, n, &report->residual, err));
    PMET_GO(op->gemm64(op, false, true, d, f, n, 1, resid, n, x, n, 0, upd, f, err));
    status = check_finite(upd, d * f, err);
done:
    free(x);
    return status;
}

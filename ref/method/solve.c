/* SPDX-License-Identifier: MIT
 * The update of one matrix, by a Cholesky factor of the sum or of C alone.      SPEC §8.2 */
#include "ref/method/solve.h"

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

/* Rows that are multiplied at a time (a multiple of the plain table's tiles, so that no bit depends
 * on it), and rows that are measured at a time. */
enum { BAND = 1024, FEW = 32 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

double pmet_solve_device_bytes(size_t f, size_t d, size_t n)
{
    const double x = (double)f * (double)n; /* A or C; K, X and A X; R and a band of the update; K^T X */
    return sizeof(double) * ((double)f * (double)f + 3 * x + (double)d * (double)n +
                             (double)(smaller(BAND, d) * f) + (double)n * (double)n);
}

/* (dev) A host array's copy, or itself; weight_unmap releases it. */
static enum pmet_status map_array(const struct pmet_ops *op, const double *host, size_t n_row, size_t n_col,
                                  const double **dev, struct pmet_error *err)
{
    const void *p;
    PMET_TRY(op->weight_map(op, host, n_row * n_col * sizeof *host, &p, err));
    *dev = p;
    return PMET_OK;
}

static void unmap_array(const struct pmet_ops *op, const double *dev)
{
    if (dev)
        op->weight_unmap(op, dev);
}

/* One system while it is solved. */
struct system {
    const struct pmet_ops *op;
    const double *cov, *keys; /* host */
    const double *dev_keys;   /* (dev) */
    double lambda, ridge;
    size_t f, n;
    bool alone;      /* A = lambda C + ridge I */
    const double *x; /* (dev) [f, n] */
};

/* r[j] += |e|^2, k[j] += |K|^2 over a band of rows that begins at row `at`; e = K - ax - ridge
 * x. */
static void add_squares(const struct system *s, size_t at, size_t n_row, const double *ax, const double *x,
                        double *r, double *k)
{
    for (size_t i = 0; i < n_row; i++)
        for (size_t j = 0; j < s->n; j++) {
            const double key = s->keys[(at + i) * s->n + j],
                         e = key - ax[i * s->n + j] - s->ridge * x[i * s->n + j];
            r[j] += e * e;
            k[j] += key * key;
        }
}

/* E74: max over columns of |K - (lambda C + K K^T + ridge I) X| / |K|; NaN if any is. */
static enum pmet_status residual(const struct system *s, double *out, struct pmet_error *err)
{
    const struct pmet_ops *op = s->op;
    const size_t f = s->f, n = s->n, n_bytes = sizeof(double) * n;
    const double *cov = NULL;
    double *ax = NULL, *small = NULL, *band = NULL, *sum = NULL;
    enum pmet_status status;
    *out = 0;
    PMET_GO(pmet_calloc(&band, 2 * smaller(FEW, f) * n, sizeof *band, "the residual", err));
    PMET_GO(pmet_calloc(&sum, 2 * n, sizeof *sum, "the residual", err));
    PMET_GO(op->alloc(op, f * n_bytes, &ax, err));
    PMET_GO(op->alloc(op, n * n_bytes, &small, err));
    PMET_GO(map_array(op, s->cov, f, f, &cov, err));
    PMET_GO(op->gemm64(op, false, false, f, n, f, s->lambda, cov, f, s->x, n, 0, ax, n, err));
    if (!s->alone) {
        PMET_GO(op->gemm64(op, true, false, n, n, f, 1, s->dev_keys, n, s->x, n, 0, small, n, err));
        PMET_GO(op->gemm64(op, false, false, f, n, n, 1, s->dev_keys, n, small, n, 1, ax, n, err));
    }
    for (size_t i = 0; i < f; i += FEW) {
        const size_t n_row = smaller(FEW, f - i);
        double *x = band + n_row * n;
        PMET_GO(op->download(op, band, ax + i * n, n_row * n_bytes, err));
        PMET_GO(op->download(op, x, s->x + i * n, n_row * n_bytes, err));
        add_squares(s, i, n_row, band, x, sum, sum + n);
    }
    for (size_t j = 0; j < n; j++) {
        const double ratio = sum[j] == 0 ? 0 : sqrt(sum[j] / sum[n + j]);
        *out = isnan(*out) || ratio <= *out ? *out : ratio;
    }
done:
    unmap_array(op, cov);
    op->release(op, ax);
    op->release(op, small);
    free(band);
    free(sum);
    return status;
}

/* a[i,i] += ridge */
static enum pmet_status add_ridge(const struct system *s, double *a, struct pmet_error *err)
{
    const struct pmet_ops *op = s->op;
    for (size_t i = 0; s->ridge != 0 && i < s->f; i++) {
        double at;
        PMET_TRY(op->download(op, &at, a + i * s->f + i, sizeof at, err));
        at += s->ridge;
        PMET_TRY(op->upload(op, a + i * s->f + i, &at, sizeof at, err));
    }
    return PMET_OK;
}

/* E69: the lower triangle of (dev) a [f, f] := lambda C + K K^T + ridge I, in bands of rows up to
 * their last diagonal element: little more than half of the whole product. What lies above the
 * diagonal is never read. */
static enum pmet_status form_sum(const struct system *s, double *a, struct pmet_error *err)
{
    const struct pmet_ops *op = s->op;
    const size_t f = s->f, n = s->n, band = 256;
    for (size_t i = 0; i < f; i += band) {
        const size_t end = f - i < band ? f : i + band;
        for (size_t r = i; r < end; r++)
            PMET_TRY(op->upload(op, a + r * f, s->cov + r * f, (r + 1) * sizeof *a, err));
        PMET_TRY(op->gemm64(op, false, true, end - i, end, n, 1, s->dev_keys + i * n, n, s->dev_keys, n,
                            s->lambda, a + i * f, f, err));
    }
    return add_ridge(s, a, err);
}

/* (dev) a [n, n] becomes its factor; the message names the matrix and the first pivot that is not
 * positive. */
static enum pmet_status factorise(const struct pmet_ops *op, double *a, size_t n, const char *matrix,
                                  const char *advice, struct pmet_error *err)
{
    struct pmet_error failure = {PMET_OK, ""};
    double value;
    size_t pivot;
    const enum pmet_status status = op->cholesky(op, a, n, &pivot, &value, &failure);
    if (status == PMET_NUMERIC)
        return pmet_fail(err, status, "%s is not positive definite: pivot %zu of %zu is %g%s", matrix, pivot,
                         n, value, advice);
    return status == PMET_OK ? PMET_OK : pmet_fail(err, status, "%s", failure.message);
}

/* E69, E71: (dev) x = A^-1 K by A's factor */
static enum pmet_status solve_cholesky(const struct system *s, double *x, struct pmet_error *err)
{
    const struct pmet_ops *op = s->op;
    const size_t f = s->f;
    double *a = NULL;
    size_t n_all;
    enum pmet_status status;
    if (!pmet_mul_size(f, f, &n_all) || !pmet_mul_size(n_all, sizeof *a, &n_all))
        return pmet_fail_memory(err, "lambda C + K K^T", SIZE_MAX);
    PMET_TRY(op->alloc(op, n_all, &a, err));
    PMET_GO(form_sum(s, a, err));
    PMET_GO(factorise(op, a, f, "lambda*cov + K K^T",
                      " (more text for the statistics, or --ridge, makes it so)", err));
    PMET_GO(op->copy(op, x, s->dev_keys, f * s->n * sizeof *a, err));
    status = op->cholesky_solve(op, a, x, f, s->n, err);
done:
    op->release(op, a);
    return status;
}

/* out [n_col, n_row] = in [n_row, n_col] transposed */
static void transpose(double *out, const double *in, size_t n_row, size_t n_col)
{
    for (size_t i = 0; i < n_row; i++)
        for (size_t j = 0; j < n_col; j++)
            out[j * n_row + i] = in[i * n_col + j];
}

/* (dev) y = (lambda C)^-1 K, small = the factor of I + K^T Y */
static enum pmet_status factor_small(const struct pmet_ops *op, const double *factor, const double *keys,
                                     size_t f, size_t n, double *y, double *small, struct pmet_error *err)
{
    const double *l = NULL, *k = NULL;
    enum pmet_status status;
    PMET_GO(map_array(op, factor, f, f, &l, err));
    PMET_GO(op->cholesky_solve(op, l, y, f, n, err));
    PMET_GO(map_array(op, keys, f, n, &k, err));
    PMET_GO(op->gemm64(op, true, false, n, n, f, 1, k, n, y, n, 1, small, n, err));
    status = factorise(op, small, n, "I + K^T (lambda*cov)^-1 K", "", err);
done:
    unmap_array(op, l);
    unmap_array(op, k);
    return status;
}

/* E72, by X^T = (I + K^T Y)^-1 Y^T: the matrix is symmetric. */
enum pmet_status pmet_solve_factored(const struct pmet_ops *op, const double *factor, double lambda,
                                     const double *keys, size_t f, size_t n, double *x,
                                     struct pmet_error *err)
{
    const size_t x_bytes = f * n * sizeof *x, small_bytes = n * n * sizeof *x;
    double *transposed = NULL, *y = NULL, *small = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&transposed, n * (f > n ? f : n), sizeof *transposed, "the solve", err));
    PMET_GO(op->alloc(op, x_bytes, &y, err));
    PMET_GO(op->alloc(op, small_bytes, &small, err));
    for (size_t i = 0; i < f * n; i++)
        x[i] = keys[i] / lambda;
    for (size_t i = 0; i < n; i++)
        transposed[i * n + i] = 1;
    PMET_GO(op->upload(op, y, x, x_bytes, err));
    PMET_GO(op->upload(op, small, transposed, small_bytes, err));
    PMET_GO(factor_small(op, factor, keys, f, n, y, small, err));
    PMET_GO(op->download(op, x, y, x_bytes, err));
    transpose(transposed, x, f, n);
    PMET_GO(op->upload(op, y, transposed, x_bytes, err));
    PMET_GO(op->cholesky_solve(op, small, y, n, f, err)); /* = X^T */
    PMET_GO(op->download(op, transposed, y, x_bytes, err));
    transpose(x, transposed, n, f);
done:
    op->release(op, y);
    op->release(op, small);
    free(transposed);
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

/* Host upd [d, f] = R X^T, a band of rows at a time. */
static enum pmet_status multiply_out(const struct system *s, const double *resid, size_t d, double *upd,
                                     struct pmet_error *err)
{
    const struct pmet_ops *op = s->op;
    const size_t f = s->f, n = s->n;
    const double *r = NULL;
    double *band = NULL;
    enum pmet_status status;
    PMET_GO(map_array(op, resid, d, n, &r, err));
    PMET_GO(op->alloc(op, smaller(BAND, d) * f * sizeof *band, &band, err));
    for (size_t i = 0; i < d; i += BAND) {
        const size_t n_row = smaller(BAND, d - i);
        PMET_GO(op->gemm64(op, false, true, n_row, f, n, 1, r + i * n, n, s->x, n, 0, band, f, err));
        PMET_GO(op->download(op, upd + i * f, band, n_row * f * sizeof *band, err));
    }
    status = check_finite(upd, d * f, err);
done:
    unmap_array(op, r);
    op->release(op, band);
    return status;
}

/* Cholesky's solution is made where the table computes, in *x; others' on the host. */
static enum pmet_status find_x(struct system *s, enum pmet_solver solver, const double *factor, double **x,
                               double **host, struct pmet_solve_report *report, struct pmet_error *err)
{
    const struct pmet_ops *op = s->op;
    const size_t f = s->f, n = s->n;
    if (solver == PMET_SOLVER_CHOLESKY) {
        PMET_TRY(map_array(op, s->keys, f, n, &s->dev_keys, err));
        PMET_TRY(op->alloc(op, f * n * sizeof **x, x, err));
        s->x = *x;
        return solve_cholesky(s, *x, err);
    }
    PMET_TRY(pmet_calloc(host, f * n, sizeof **host, "the solve", err));
    if (solver == PMET_SOLVER_FACTORED)
        PMET_TRY(pmet_solve_factored(op, factor, s->lambda, s->keys, f, n, *host, err));
    else
        PMET_TRY(pmet_solve_cg(op, s->cov, s->lambda, s->ridge, s->keys, false, f, n, *host, report, err));
    PMET_TRY(map_array(op, s->keys, f, n, &s->dev_keys, err));
    return map_array(op, *host, f, n, &s->x, err);
}

/* E69: upd = R X^T. */
enum pmet_status pmet_solve_update(const struct pmet_ops *op, enum pmet_solver solver, size_t max_bytes,
                                   const double *cov, const double *factor, double lambda, double ridge,
                                   const double *keys, const double *resid, size_t f, size_t d, size_t n,
                                   double *upd, struct pmet_solve_report *report, struct pmet_error *err)
{
    struct system s = {.op = op, .cov = cov, .keys = keys, .lambda = lambda, .ridge = ridge, .f = f, .n = n};
    double *x = NULL, *host = NULL;
    enum pmet_status status;
    if (factor && pmet_solver_takes_factor(solver, ridge, max_bytes, f, n))
        solver = PMET_SOLVER_FACTORED;
    if (solver == PMET_SOLVER_AUTO)
        solver = second_fits(max_bytes, f) ? PMET_SOLVER_CHOLESKY : PMET_SOLVER_CG;
    *report = (struct pmet_solve_report){.used = solver};
    memset(upd, 0, d * f * sizeof *upd);
    if (all_zero(resid, d * n))
        return PMET_OK;
    PMET_GO(find_x(&s, solver, factor, &x, &host, report, err));
    PMET_GO(residual(&s, &report->residual, err));
    status = multiply_out(&s, resid, d, upd, err);
done:
    unmap_array(op, s.dev_keys);
    if (!x)
        unmap_array(op, s.x);
    op->release(op, x);
    free(host);
    return status;
}

/* ---- directions ---- */

enum { COLUMNS = 256 };

/* (dev) The factor of C + ridge I: `factor` where there is one, else made in *own. */
static enum pmet_status factor_moment(const struct system *s, const double *factor, double **own,
                                      const double **l, struct pmet_error *err)
{
    const struct pmet_ops *op = s->op;
    const size_t f = s->f;
    size_t n_bytes;
    if (factor)
        return map_array(op, factor, f, f, l, err);
    if (!pmet_mul_size(f, f, &n_bytes) || !pmet_mul_size(n_bytes, sizeof **own, &n_bytes))
        return pmet_fail_memory(err, "the second moment's factor", SIZE_MAX);
    PMET_TRY(op->alloc(op, n_bytes, own, err));
    for (size_t r = 0; r < f; r++)
        PMET_TRY(op->upload(op, *own + r * f, s->cov + r * f, (r + 1) * sizeof **own, err));
    PMET_TRY(add_ridge(s, *own, err));
    *l = *own;
    return factorise(op, *own, f, "the second moment",
                     " (more text for the statistics, or --ridge, makes it so)", err);
}

/* x [f, n] = A^-1 K of s->keys by the factor l, or without one by conjugate gradients. */
static enum pmet_status apply_inverse(struct system *s, const double *l, double *x,
                                      struct pmet_solve_report *report, struct pmet_error *err)
{
    const struct pmet_ops *op = s->op;
    const size_t n_bytes = s->f * s->n * sizeof *x;
    struct pmet_solve_report own = {.used = report->used};
    double *dev = NULL;
    enum pmet_status status;
    PMET_GO(op->alloc(op, n_bytes, &dev, err));
    if (!l)
        PMET_GO(pmet_solve_cg(op, s->cov, 1, s->ridge, s->keys, true, s->f, s->n, x, &own, err));
    PMET_GO(op->upload(op, dev, l ? s->keys : x, n_bytes, err));
    if (l)
        PMET_GO(op->cholesky_solve(op, l, dev, s->f, s->n, err));
    s->x = dev;
    PMET_GO(residual(s, &own.residual, err));
    report->residual = isnan(own.residual) ? own.residual : fmax(report->residual, own.residual);
    report->iterations = own.iterations > report->iterations ? own.iterations : report->iterations;
    status = op->download(op, x, dev, n_bytes, err);
done:
    op->release(op, dev);
    return status;
}

/* U rows [first, first + n) from x's columns: each of length 1. */
static void normalise(real *U, size_t first, const double *x, size_t f, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        double sum = 0;
        for (size_t i = 0; i < f; i++)
            sum += x[i * n + j] * x[i * n + j];
        for (size_t i = 0; i < f; i++)
            U[(first + j) * f + i] = (real)(x[i * n + j] / sqrt(sum));
    }
}

enum pmet_status pmet_solve_directions(const struct pmet_ops *op, enum pmet_solver solver, size_t max_bytes,
                                       const double *cov, const double *factor, double ridge, const real *K,
                                       size_t f, size_t n, real *U, struct pmet_solve_report *report,
                                       struct pmet_error *err)
{
    struct system s = {.op = op, .cov = cov, .lambda = 1, .ridge = ridge, .f = f, .alone = true};
    const size_t most = smaller(n, COLUMNS);
    double *keys = NULL, *x = NULL, *own = NULL;
    const double *l = NULL;
    enum pmet_status status;
    if (solver != PMET_SOLVER_AUTO || ridge != 0 || !second_fits(max_bytes, f))
        factor = NULL;
    if (solver == PMET_SOLVER_AUTO)
        solver = factor                      ? PMET_SOLVER_FACTORED
                 : second_fits(max_bytes, f) ? PMET_SOLVER_CHOLESKY
                                             : PMET_SOLVER_CG;
    *report = (struct pmet_solve_report){.used = solver};
    PMET_GO(pmet_calloc(&keys, 2 * f * most, sizeof *keys, "keys", err));
    x = keys + f * most;
    if (cov && solver != PMET_SOLVER_CG)
        PMET_GO(factor_moment(&s, factor, &own, &l, err));
    s.keys = keys;
    for (size_t first = 0; first < n; first += most) {
        s.n = smaller(most, n - first);
        for (size_t j = 0; j < s.n; j++)
            for (size_t i = 0; i < f; i++)
                keys[i * s.n + j] = (double)K[(first + j) * f + i];
        if (cov)
            PMET_GO(apply_inverse(&s, l, x, report, err));
        normalise(U, first, cov ? x : keys, f, s.n);
    }
done:
    if (factor)
        unmap_array(op, l);
    op->release(op, own);
    free(keys);
    return status;
}

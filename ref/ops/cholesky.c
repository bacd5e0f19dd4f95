/* SPDX-License-Identifier: MIT
 * Cholesky factors and solves in double, by blocks of BLOCK columns.      SPEC §8.2 */
#include <math.h>
#include "ref/ops/algebra.h"

#define BLOCK 96

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The diagonal block: plain, column by column. False with the pivot that failed. */
static bool factor_block(double *a, size_t lda, size_t n, size_t *pivot, double *value)
{
    for (size_t j = 0; j < n; j++) {
        double d = a[j * lda + j];
        for (size_t k = 0; k < j; k++)
            d -= a[j * lda + k] * a[j * lda + k];
        if (!(d > 0) || isinf(d)) {
            *pivot = j;
            *value = d;
            return false;
        }
        a[j * lda + j] = d = sqrt(d);
        for (size_t i = j + 1; i < n; i++) {
            double s = a[i * lda + j];
            for (size_t k = 0; k < j; k++)
                s -= a[i * lda + k] * a[j * lda + k];
            a[i * lda + j] = s / d;
        }
    }
    return true;
}

/* Row x := x L^-T for the block's factor L [n, n]. */
static void solve_row(double *x, const double *l, size_t lda, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        double s = x[j];
        for (size_t k = 0; k < j; k++)
            s -= x[k] * l[j * lda + k];
        x[j] = s / l[j * lda + j];
    }
}

static enum pmet_status cholesky(const struct pmet_ops *op, double *a, size_t n, size_t *pivot, double *value,
                                 struct pmet_error *err)
{
    const int n_thread = (int)pmet_cpu_of(op)->n_thread;
    for (size_t j = 0; j < n; j += BLOCK) {
        const size_t nb = smaller(BLOCK, n - j), below = j + nb;
        if (!factor_block(a + j * n + j, n, nb, pivot, value)) {
            *pivot += j;
            return pmet_fail(err, PMET_NUMERIC, "not positive definite: pivot %zu of %zu is %g", *pivot, n,
                             *value);
        }
#pragma omp parallel for num_threads(n_thread)
        for (size_t i = below; i < n; i++)
            solve_row(a + i * n + j, a + j * n + j, n, nb);
        const size_t n_tile = (n - below + BLOCK - 1) / BLOCK;
#pragma omp parallel for num_threads(n_thread) schedule(dynamic)
        for (size_t pair = 0; pair < n_tile * (n_tile + 1) / 2; pair++) {
            size_t row = 0, rest = pair;
            while (rest > row)
                rest -= ++row;
            const size_t r = below + row * BLOCK, c = below + rest * BLOCK;
            pmet_gemm64_tile(false, true, smaller(BLOCK, n - r), smaller(BLOCK, n - c), nb, -1, a + r * n + j,
                             n, a + c * n + j, n, 1, a + r * n + c, n);
        }
    }
    return PMET_OK;
}

/* b[j..j+nb) := L_jj^-1 b, then b below -= L b; columns are split among threads in blocks. */
static void forward_columns(const double *l, double *b, size_t n, size_t n_rhs, size_t c, size_t nc)
{
    for (size_t j = 0; j < n; j += BLOCK) {
        const size_t nb = smaller(BLOCK, n - j);
        for (size_t i = j; i < j + nb; i++) {
            for (size_t k = j; k < i; k++)
                for (size_t r = c; r < c + nc; r++)
                    b[i * n_rhs + r] -= l[i * n + k] * b[k * n_rhs + r];
            for (size_t r = c; r < c + nc; r++)
                b[i * n_rhs + r] /= l[i * n + i];
        }
        if (j + nb < n)
            pmet_gemm64_tile(false, false, n - j - nb, nc, nb, -1, l + (j + nb) * n + j, n, b + j * n_rhs + c,
                             n_rhs, 1, b + (j + nb) * n_rhs + c, n_rhs);
    }
}

static void backward_columns(const double *l, double *b, size_t n, size_t n_rhs, size_t c, size_t nc)
{
    for (size_t j = (n - 1) / BLOCK * BLOCK;; j -= BLOCK) {
        const size_t nb = smaller(BLOCK, n - j);
        if (j + nb < n)
            pmet_gemm64_tile(true, false, nb, nc, n - j - nb, -1, l + (j + nb) * n + j, n,
                             b + (j + nb) * n_rhs + c, n_rhs, 1, b + j * n_rhs + c, n_rhs);
        for (size_t i = j + nb; i-- > j;) {
            for (size_t k = i + 1; k < j + nb; k++)
                for (size_t r = c; r < c + nc; r++)
                    b[i * n_rhs + r] -= l[k * n + i] * b[k * n_rhs + r];
            for (size_t r = c; r < c + nc; r++)
                b[i * n_rhs + r] /= l[i * n + i];
        }
        if (j == 0)
            break;
    }
}

static enum pmet_status cholesky_solve(const struct pmet_ops *op, const double *l, double *b, size_t n,
                                       size_t n_rhs, struct pmet_error *err)
{
    const size_t step = 64, n_part = (n_rhs + step - 1) / step;
    (void)err;
    if (n == 0)
        return PMET_OK;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) schedule(dynamic)
    for (size_t part = 0; part < n_part; part++) {
        const size_t c = part * step, nc = smaller(step, n_rhs - c);
        forward_columns(l, b, n, n_rhs, c, nc);
        backward_columns(l, b, n, n_rhs, c, nc);
    }
    return PMET_OK;
}

void pmet_cpu_cholesky(struct pmet_ops *op)
{
    op->cholesky = cholesky;
    op->cholesky_solve = cholesky_solve;
}

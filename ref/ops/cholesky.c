/* SPDX-License-Identifier: MIT
 * Cholesky factors and solves in double, by blocks of BLOCK columns.      SPEC §8.2
 *   E70  L_jj = sqrt(A_jj - sum_{k<j} L_jk^2),   L_ij = (A_ij - sum_{k<j} L_ik L_jk) / L_jj   (i > j)
 *   E71  L Y = B,   L^T X = Y
 * Tiles are fixed and each is one thread's, so that the number of threads changes no bit. */
#include <math.h>
#include <string.h>
#include "ref/ops/algebra.h"

#define BLOCK 128 /* columns factored at a time */
#define STRIP 16  /* of them, solved by hand; the rest is products */
#define ROWS 256  /* of a tile below */
#define RHS 64    /* right-hand sides of a tile */

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

/* Rows x [m, n] := x L^-T for the block's factor L [n, n], both with row stride lda. */
static void solve_rows(double *x, const double *l, size_t lda, size_t m, size_t n)
{
    for (size_t j = 0; j < n; j += STRIP) {
        const size_t end = j + smaller(STRIP, n - j);
        if (j > 0)
            pmet_gemm64_tile(false, true, m, end - j, j, -1, x, lda, l + j * lda, lda, 1, x + j, lda);
        for (size_t i = 0; i < m; i++)
            for (size_t c = j; c < end; c++) {
                double s = x[i * lda + c];
                for (size_t k = j; k < c; k++)
                    s -= x[i * lda + k] * l[c * lda + k];
                x[i * lda + c] = s / l[c * lda + c];
            }
    }
}

/* a[r.., c..] -= a[r.., j..j+nb) a[c.., j..j+nb)^T, a tile of the trailing lower triangle. On the diagonal in
 * strips of columns, each from its first row on; the corner above the diagonal that a strip's product writes
 * is put back: the strict upper triangle is the caller's. */
static void update_tile(double *a, size_t n, size_t r, size_t c, size_t j, size_t nb)
{
    const size_t m = smaller(ROWS, n - r), nc = smaller(ROWS, n - c);
    double keep[STRIP * STRIP];
    if (r > c) {
        pmet_gemm64_tile(false, true, m, nc, nb, -1, a + r * n + j, n, a + c * n + j, n, 1, a + r * n + c, n);
        return;
    }
    for (size_t s = 0; s < nc; s += STRIP) {
        const size_t w = smaller(STRIP, nc - s);
        double *corner = a + (r + s) * n + c + s;
        for (size_t i = 0; i < w; i++)
            memcpy(keep + i * STRIP, corner + i * n, w * sizeof *keep);
        pmet_gemm64_tile(false, true, m - s, w, nb, -1, a + (r + s) * n + j, n, a + (c + s) * n + j, n, 1,
                         corner, n);
        for (size_t i = 0; i + 1 < w; i++)
            memcpy(corner + i * n + i + 1, keep + i * STRIP + i + 1, (w - i - 1) * sizeof *keep);
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
        const size_t n_tile = (n - below + ROWS - 1) / ROWS;
#pragma omp parallel for num_threads(n_thread) schedule(dynamic) if (n_tile > 1)
        for (size_t tile = 0; tile < n_tile; tile++) {
            const size_t r = below + tile * ROWS;
            solve_rows(a + r * n + j, a + j * n + j, n, smaller(ROWS, n - r), nb);
        }
#pragma omp parallel for num_threads(n_thread) schedule(dynamic) if (n_tile > 1)
        for (size_t pair = 0; pair < n_tile * (n_tile + 1) / 2; pair++) {
            size_t row = 0, rest = pair;
            while (rest > row)
                rest -= ++row;
            update_tile(a, n, below + row * ROWS, below + rest * ROWS, j, nb);
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
    const size_t n_part = (n_rhs + RHS - 1) / RHS;
    (void)err;
    if (n == 0)
        return PMET_OK;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) schedule(dynamic)
    for (size_t part = 0; part < n_part; part++) {
        const size_t c = part * RHS, nc = smaller(RHS, n_rhs - c);
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

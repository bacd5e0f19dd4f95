/* SPDX-License-Identifier: MIT
 * Cholesky factors and solves in double, by blocks of BLOCK columns.      SPEC §8.2
 *   E70  L_jj = sqrt(A_jj - sum_{k<j} L_jk^2),   L_ij = (A_ij - sum_{k<j} L_ik L_jk) / L_jj   (i > j)
 *   E71  L Y = B,   L^T X = Y
 * A block of columns is factored on the diagonal, solved below it, and taken off what lies to its right. Tiles are
 * fixed and each is one thread's, so that the number of threads changes no bit. bench/bench_solve.c gives the rate
 * beside that of one large dgemm. */
#include <math.h>
#include <string.h>
#include "ref/ops/algebra.h"

enum {
    BLOCK = 128, /* columns factored at a time */
    STRIP = 16,  /* of them, solved by hand; the rest is products */
    LANES = 16,  /* rows solved together */
    ROWS = 512,  /* of a tile below; half of them in a small matrix, which has too few tiles otherwise */
    SMALL = 2048,
    CORNER = 32, /* columns of a diagonal tile's strip */
    RHS = 32,    /* right-hand sides substituted together */
    WIDEST = 256 /* of a part */
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* x [m, n], n <= STRIP, := x L^-T, L [n, n] with the same row stride. LANES rows go together, column by column, so
 * that each step is one on vectors; rows past the last are zeros. */
static void solve_strip(double *x, const double *l, size_t stride, size_t m, size_t n)
{
    double lane[STRIP][LANES];
    for (size_t i = 0; i < m; i += LANES) {
        const size_t n_row = smaller(LANES, m - i);
        memset(lane, 0, sizeof lane);
        for (size_t r = 0; r < n_row; r++)
            for (size_t c = 0; c < n; c++)
                lane[c][r] = x[(i + r) * stride + c];
        for (size_t c = 0; c < n; c++) {
            double done[LANES];
            for (size_t r = 0; r < LANES; r++)
                lane[c][r] = done[r] = lane[c][r] / l[c * stride + c];
            for (size_t k = c + 1; k < n; k++)
                for (size_t r = 0; r < LANES; r++)
                    lane[k][r] -= done[r] * l[k * stride + c];
        }
        for (size_t r = 0; r < n_row; r++)
            for (size_t c = 0; c < n; c++)
                x[(i + r) * stride + c] = lane[c][r];
    }
}

/* Rows x [m, n] := x L^-T for the block's factor L [n, n], all with one row stride. */
static void solve_rows(double *x, const double *l, size_t stride, size_t m, size_t n)
{
    for (size_t j = 0; j < n; j += STRIP) {
        const size_t w = smaller(STRIP, n - j);
        if (j > 0)
            pmet_gemm64_tile(false, true, m, w, j, -1, x, stride, l + j * stride, stride, 1, x + j, stride);
        solve_strip(x + j, l + j * stride + j, stride, m, w);
    }
}

/* A few columns on the diagonal, one by one. False with the pivot that failed. */
static bool factor_strip(double *a, size_t lda, size_t n, size_t *pivot, double *value)
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

/* The lower triangle of c [n, n] -= x x^T, x [n, k], in strips of w <= CORNER columns, each from its first row on.
 * The corner above the diagonal that a strip's product writes is put back: the strict upper triangle is the
 * caller's. */
static void update_triangle(double *c, const double *x, size_t stride, size_t n, size_t k, size_t w)
{
    double keep[CORNER * CORNER];
    for (size_t s = 0; s < n; s += w) {
        const size_t n_c = smaller(w, n - s);
        double *corner = c + s * stride + s;
        for (size_t i = 0; i < n_c; i++)
            memcpy(keep + i * CORNER, corner + i * stride, n_c * sizeof *keep);
        pmet_gemm64_tile(false, true, n - s, n_c, k, -1, x + s * stride, stride, x + s * stride, stride, 1,
                         corner, stride);
        for (size_t i = 0; i + 1 < n_c; i++)
            memcpy(corner + i * stride + i + 1, keep + i * CORNER + i + 1, (n_c - i - 1) * sizeof *keep);
    }
}

/* The diagonal block, by strips: factor, solve below, take off the rest. */
static bool factor_block(double *a, size_t lda, size_t n, size_t *pivot, double *value)
{
    for (size_t j = 0; j < n; j += STRIP) {
        const size_t w = smaller(STRIP, n - j), below = j + w;
        double *diagonal = a + j * lda + j;
        if (!factor_strip(diagonal, lda, w, pivot, value)) {
            *pivot += j;
            return false;
        }
        solve_strip(a + below * lda + j, diagonal, lda, n - below, w);
        update_triangle(a + below * lda + below, a + below * lda + j, lda, n - below, w, STRIP);
    }
    return true;
}

/* a[r.., c..] -= a[r.., j..j+nb) a[c.., j..j+nb)^T, a tile of the trailing lower triangle. */
static void update_tile(double *a, size_t n, size_t r, size_t c, size_t j, size_t nb, size_t rows)
{
    const size_t m = smaller(rows, n - r), nc = smaller(rows, n - c);
    if (r == c)
        update_triangle(a + r * n + r, a + r * n + j, n, m, nb, CORNER);
    else
        pmet_gemm64_tile(false, true, m, nc, nb, -1, a + r * n + j, n, a + c * n + j, n, 1, a + r * n + c, n);
}

static enum pmet_status cholesky(const struct pmet_ops *op, double *a, size_t n, size_t *pivot, double *value,
                                 struct pmet_error *err)
{
    const int n_thread = (int)pmet_cpu_of(op)->n_thread;
    const size_t rows = n < SMALL ? ROWS / 2 : ROWS;
    for (size_t j = 0; j < n; j += BLOCK) {
        const size_t nb = smaller(BLOCK, n - j), below = j + nb;
        if (!factor_block(a + j * n + j, n, nb, pivot, value)) {
            *pivot += j;
            return pmet_fail(err, PMET_NUMERIC, "not positive definite: pivot %zu of %zu is %g", *pivot, n,
                             *value);
        }
        const size_t n_tile = (n - below + rows - 1) / rows;
#pragma omp parallel for num_threads(n_thread) schedule(dynamic) if (n_tile > 1)
        for (size_t tile = 0; tile < n_tile; tile++) {
            const size_t r = below + tile * rows;
            solve_rows(a + r * n + j, a + j * n + j, n, smaller(rows, n - r), nb);
        }
#pragma omp parallel for num_threads(n_thread) schedule(dynamic) if (n_tile > 1)
        for (size_t pair = 0; pair < n_tile * (n_tile + 1) / 2; pair++) {
            size_t row = 0, rest = pair;
            while (rest > row)
                rest -= ++row;
            update_tile(a, n, below + row * rows, below + rest * rows, j, nb, rows);
        }
    }
    return PMET_OK;
}

/* RHS columns of y [nb, width] := L^-1 y for the diagonal block's L. */
static void substitute(const double *l, size_t stride, double *y, size_t width, size_t nb)
{
    for (size_t i = 0; i < nb; i++) {
        double s[RHS];
        memcpy(s, y + i * width, sizeof s);
        for (size_t k = 0; k < i; k++)
            for (size_t r = 0; r < RHS; r++)
                s[r] -= l[i * stride + k] * y[k * width + r];
        for (size_t r = 0; r < RHS; r++)
            y[i * width + r] = s[r] / l[i * stride + i];
    }
}

/* y := L^-T y: each row, once found, is taken off those above, so that L is read along its rows here, too. */
static void substitute_back(const double *l, size_t stride, double *y, size_t width, size_t nb)
{
    for (size_t i = nb; i-- > 0;) {
        double s[RHS];
        for (size_t r = 0; r < RHS; r++)
            y[i * width + r] = s[r] = y[i * width + r] / l[i * stride + i];
        for (size_t k = 0; k < i; k++)
            for (size_t r = 0; r < RHS; r++)
                y[k * width + r] -= l[i * stride + k] * s[r];
    }
}

/* E71 for a part y [n, width]: L Y = B from the first block down, then L^T X = Y from the last block up. */
static void solve_part(const double *l, double *y, size_t n, size_t width)
{
    for (size_t j = 0; j < n; j += BLOCK) {
        const size_t nb = smaller(BLOCK, n - j), below = j + nb;
        for (size_t c = 0; c < width; c += RHS)
            substitute(l + j * n + j, n, y + j * width + c, width, nb);
        if (below < n)
            pmet_gemm64_tile(false, false, n - below, width, nb, -1, l + below * n + j, n, y + j * width,
                             width, 1, y + below * width, width);
    }
    for (size_t j = (n - 1) / BLOCK * BLOCK;; j -= BLOCK) {
        const size_t nb = smaller(BLOCK, n - j), below = j + nb;
        if (below < n)
            pmet_gemm64_tile(true, false, nb, width, n - below, -1, l + below * n + j, n, y + below * width,
                             width, 1, y + j * width, width);
        for (size_t c = 0; c < width; c += RHS)
            substitute_back(l + j * n + j, n, y + j * width + c, width, nb);
        if (j == 0)
            break;
    }
}

/* Columns of a part: wide parts read L less often, sixteen of them keep the threads busy. */
static size_t part_width(size_t n_rhs)
{
    return smaller((n_rhs / 16 / RHS + 1) * RHS, WIDEST);
}

/* Columns in parts, each laid out closely, the last one filled with zeros. */
static enum pmet_status cholesky_solve(const struct pmet_ops *op, const double *l, double *b, size_t n,
                                       size_t n_rhs, struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    const size_t width = part_width(n_rhs), n_part = (n_rhs + width - 1) / width;
    if (n == 0 || n_rhs == 0)
        return PMET_OK;
    PMET_TRY(pmet_cpu_scratch(cpu, n * width * (sizeof(double) / sizeof(real)), 0, err));
#pragma omp parallel for num_threads((int)cpu->n_thread) schedule(dynamic)
    for (size_t part = 0; part < n_part; part++) {
        const size_t c = part * width, nc = smaller(width, n_rhs - c);
        double *y = (double *)(void *)cpu->scratch[pmet_thread()];
        memset(y, 0, n * width * sizeof *y);
        for (size_t i = 0; i < n; i++)
            memcpy(y + i * width, b + i * n_rhs + c, nc * sizeof *b);
        solve_part(l, y, n, width);
        for (size_t i = 0; i < n; i++)
            memcpy(b + i * n_rhs + c, y + i * width, nc * sizeof *b);
    }
    return PMET_OK;
}

void pmet_cpu_cholesky(struct pmet_ops *op)
{
    op->cholesky = cholesky;
    op->cholesky_solve = cholesky_solve;
}

/* SPDX-License-Identifier: MIT
 * Cholesky factors and solves in double.      SPEC §8.2
 *   E70  F_jj = sqrt(A_jj - sum_{s<j} F_js^2),   F_ij = (A_ij - sum_{s<j} F_is F_js) / F_jj   (i > j)
 *   E71  F Y = B,   F^T X = Y
 * The factor goes by square tiles: one on the diagonal is factored, those below it are solved,
 * their products are subtracted from the tiles to their right, each as soon as what it reads is
 * ready. Inside a tile each of the three is a recursion by halves, down to strips of a few columns,
 * so that nearly all of the work is products. Tiles and halves depend on n alone and a tile takes
 * its products in order, so that the number of threads changes no bit. bench/bench_solve.c gives
 * the rate beside that of one large dgemm. */
#include <math.h>
#include <string.h>
#include "ref/cpu/table.h"
#include "ref/cpu/panel.h"
#include "ref/cpu/threads.h"

enum {
    TILE = 384, /* its half in a small matrix, which has too few tiles otherwise */
    SMALL = 2048,
    STRIP = 16,  /* columns factored and solved one by one */
    LANES = 16,  /* rows solved together */
    CORNER = 32, /* of a triangle, computed as a square */
    BLOCK = 128, /* rows substituted at a time, and subtracted from GROUP rows */
    GROUP = 64,
    R = PMET_BLOCK_ROWS, /* of them in registers, for C right-hand sides */
    C = 2 * R,
    WIDEST = 16 /* times C columns: a part */
};

/* Half of n columns, in whole strips. */
static size_t half(size_t n)
{
    return (n / 2 + STRIP - 1) / STRIP * STRIP;
}

/* x [m, n], n <= STRIP, := x F^-T, F [n, n] with the same row stride. LANES rows go together,
 * column by column, so that each step is one on vectors; rows past the last are zeros. */
static void solve_strip(double *x, const double *l, size_t stride, size_t m, size_t n)
{
    double lane[STRIP][LANES];
    for (size_t i = 0; i < m; i += LANES) {
        const size_t n_row = pmet_smaller(LANES, m - i);
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

/* c [m, n] -= a [m, k] b [n, k]^T, all with one row stride. */
static void subtract_tile(double *c, const double *a, const double *b, size_t stride, size_t m, size_t n,
                          size_t k)
{
    pmet_gemm64_tile(false, true, m, n, k, -1, a, stride, b, stride, 1, c, stride);
}

/* Rows x [m, n] := x F^-T, F [n, n]. */
static void solve_tile(double *x, const double *l, size_t stride, size_t m, size_t n)
{
    if (n <= STRIP) {
        solve_strip(x, l, stride, m, n);
        return;
    }
    const size_t h = half(n);
    solve_tile(x, l, stride, m, h);
    subtract_tile(x + h, x, l + h * stride, stride, m, n - h, h);
    solve_tile(x + h, l + h * stride + h, stride, m, n - h);
}

/* The lower triangle of c [n, n] -= x x^T, x [n, k]. What a corner's product writes above the
 * diagonal is put back: the strict upper triangle is the caller's. */
static void update_triangle(double *c, const double *x, size_t stride, size_t n, size_t k)
{
    if (n > CORNER) {
        const size_t h = half(n);
        update_triangle(c, x, stride, h, k);
        subtract_tile(c + h * stride, x + h * stride, x, stride, n - h, h, k);
        update_triangle(c + h * stride + h, x + h * stride, stride, n - h, k);
        return;
    }
    double keep[CORNER * CORNER];
    for (size_t i = 0; i < n; i++)
        memcpy(keep + i * CORNER, c + i * stride, n * sizeof *keep);
    subtract_tile(c, x, x, stride, n, n, k);
    for (size_t i = 0; i + 1 < n; i++)
        memcpy(c + i * stride + i + 1, keep + i * CORNER + i + 1, (n - i - 1) * sizeof *keep);
}

/* A few columns on the diagonal, one by one. False with the pivot that failed. */
static bool factor_strip(double *a, size_t stride, size_t n, size_t *pivot, double *value)
{
    for (size_t j = 0; j < n; j++) {
        double d = a[j * stride + j];
        for (size_t k = 0; k < j; k++)
            d -= a[j * stride + k] * a[j * stride + k];
        if (!(d > 0) || isinf(d)) {
            *pivot = j;
            *value = d;
            return false;
        }
        a[j * stride + j] = d = sqrt(d);
        for (size_t i = j + 1; i < n; i++) {
            double s = a[i * stride + j];
            for (size_t k = 0; k < j; k++)
                s -= a[i * stride + k] * a[j * stride + k];
            a[i * stride + j] = s / d;
        }
    }
    return true;
}

static bool factor_tile(double *a, size_t stride, size_t n, size_t *pivot, double *value)
{
    if (n <= STRIP)
        return factor_strip(a, stride, n, pivot, value);
    const size_t h = half(n);
    double *below = a + h * stride, *rest = below + h;
    if (!factor_tile(a, stride, h, pivot, value))
        return false;
    solve_tile(below, a, stride, n - h, h);
    update_triangle(rest, below, stride, n - h, h);
    if (factor_tile(rest, stride, n - h, pivot, value))
        return true;
    *pivot += h;
    return false;
}

/* A matrix in tiles; failed: at a pivot, or the caller wants to stop; then nothing more is done. */
struct tiles {
    const struct pmet_ops *op;
    double *a, *value;
    size_t n, side, *pivot;
    bool failed;
};

static double *tile_at(const struct tiles *t, size_t i, size_t j)
{
    return t->a + i * t->side * t->n + j * t->side;
}

static size_t tile_size(const struct tiles *t, size_t i)
{
    return pmet_smaller(t->side, t->n - i * t->side);
}

static bool tiles_failed(const struct tiles *t)
{
    bool failed;
#pragma omp atomic read seq_cst
    failed = t->failed;
    return failed || pmet_cpu_stopped(t->op);
}

static void diagonal_step(struct tiles *t, double *jj, size_t j)
{
    if (tiles_failed(t) || factor_tile(jj, t->n, tile_size(t, j), t->pivot, t->value))
        return;
    *t->pivot += j * t->side;
#pragma omp atomic write seq_cst
    t->failed = true;
}

static void solve_step(const struct tiles *t, double *ij, const double *jj, size_t i, size_t j)
{
    if (!tiles_failed(t))
        solve_tile(ij, jj, t->n, tile_size(t, i), tile_size(t, j));
}

static void update_step(const struct tiles *t, double *ik, const double *ij, const double *kj, size_t i,
                        size_t k, size_t j)
{
    if (tiles_failed(t))
        return;
    if (i == k)
        update_triangle(ik, ij, t->n, tile_size(t, i), tile_size(t, j));
    else
        subtract_tile(ik, ij, kj, t->n, tile_size(t, i), tile_size(t, k), tile_size(t, j));
}

/* Every step as a task, with the tiles that it reads and writes; a tile's first element stands for
 * it. */
static void factor_by_tasks(struct tiles *t)
{
    const size_t n_tile = (t->n + t->side - 1) / t->side;
    for (size_t j = 0; j < n_tile; j++) {
        double *jj = tile_at(t, j, j);
#pragma omp task depend(inout : jj[0])
        diagonal_step(t, jj, j);
        for (size_t i = j + 1; i < n_tile; i++) {
            double *ij = tile_at(t, i, j);
#pragma omp task depend(in : jj[0]) depend(inout : ij[0])
            solve_step(t, ij, jj, i, j);
        }
        for (size_t i = j + 1; i < n_tile; i++)
            for (size_t k = j + 1; k <= i; k++) {
                double *ij = tile_at(t, i, j), *kj = tile_at(t, k, j), *ik = tile_at(t, i, k);
#pragma omp task depend(in : ij[0], kj[0]) depend(inout : ik[0])
                update_step(t, ik, ij, kj, i, k, j);
            }
    }
}

static enum pmet_status cholesky(const struct pmet_ops *op, double *a, size_t n, size_t *pivot, double *value,
                                 struct pmet_error *err)
{
    struct tiles t = {op, a, value, n, n < SMALL ? TILE / 2 : TILE, pivot, false};
    PMET_TRY(pmet_ops_ask(op, err));
#pragma omp parallel num_threads((int)pmet_cpu_of(op)->n_thread) if (n > t.side)
#pragma omp master /* libgomp does not free what any other thread keeps of its tasks' dependences */
    factor_by_tasks(&t);
    PMET_TRY(pmet_cpu_finish(op, err));
    return t.failed ? pmet_fail(err, PMET_NUMERIC, "not positive definite: pivot %zu of %zu is %g", *pivot, n,
                                *value)
                    : PMET_OK;
}

/* C columns of y [n_row, C] -= a x: a(i, k) = a[i*a_row + k*a_term], x [n_k, C]. With R rows the
 * sums stay in registers. Nothing is packed first: for few right-hand sides that costs more than it
 * saves. */
static PMET_UNCHECKED void subtract_rows(double *y, size_t n_row, const double *a, size_t a_row,
                                         size_t a_term, const double *x, size_t n_k)
{
    double s[R][C] = {{0}};
    for (size_t k = 0; k < n_k; k++)
        for (size_t i = 0; i < n_row; i++)
#pragma omp simd
            for (size_t c = 0; c < C; c++)
                s[i][c] = pmet_multiply_add64(a[i * a_row + k * a_term], x[k * C + c], s[i][c]);
    for (size_t i = 0; i < n_row; i++)
        for (size_t c = 0; c < C; c++)
            y[i * C + c] -= s[i][c];
}

/* The same for any number of rows. */
static void subtract_product(double *y, size_t n_row, const double *a, size_t a_row, size_t a_term,
                             const double *x, size_t n_k)
{
    size_t i = 0;
    for (; i + R <= n_row; i += R)
        subtract_rows(y + i * C, R, a + i * a_row, a_row, a_term, x, n_k);
    subtract_rows(y + i * C, n_row - i, a + i * a_row, a_row, a_term, x, n_k);
}

/* y [nb, C] := F^-1 y for the diagonal block's F, R rows at a time. */
static void substitute(const double *l, size_t stride, double *y, size_t nb)
{
    for (size_t i = 0; i < nb; i++) {
        const size_t done = i / R * R;
        if (i == done)
            subtract_product(y + i * C, pmet_smaller(R, nb - i), l + i * stride, stride, 1, y, i);
        for (size_t k = done; k < i; k++)
            for (size_t c = 0; c < C; c++)
                y[i * C + c] -= l[i * stride + k] * y[k * C + c];
        for (size_t c = 0; c < C; c++)
            y[i * C + c] /= l[i * stride + i];
    }
}

/* y := F^-T y, from the last R rows up. */
static void substitute_back(const double *l, size_t stride, double *y, size_t nb)
{
    for (size_t i = nb; i-- > 0;) {
        const size_t first = i / R * R, end = pmet_smaller(first + R, nb);
        if (i + 1 == end)
            subtract_product(y + first * C, end - first, l + end * stride + first, 1, stride, y + end * C,
                             nb - end);
        for (size_t k = i + 1; k < end; k++)
            for (size_t c = 0; c < C; c++)
                y[i * C + c] -= l[k * stride + i] * y[k * C + c];
        for (size_t c = 0; c < C; c++)
            y[i * C + c] /= l[i * stride + i];
    }
}

/* E71 for n_y times C columns, each y [n, C]: F Y = B from the first block down, then F^T X = Y
 * from the last block up. A block is subtracted from a few rows of all of them while those rows of
 * L are in cache. */
static void solve_part(const struct pmet_ops *op, const double *l, double *y, size_t n, size_t n_y)
{
    for (size_t j = 0; j < n && !pmet_cpu_stopped(op); j += BLOCK) {
        const size_t nb = pmet_smaller(BLOCK, n - j);
        for (size_t c = 0; c < n_y; c++)
            substitute(l + j * n + j, n, y + (c * n + j) * C, nb);
        for (size_t i = j + nb; i < n; i += GROUP)
            for (size_t c = 0; c < n_y; c++)
                subtract_product(y + (c * n + i) * C, pmet_smaller(GROUP, n - i), l + i * n + j, n, 1,
                                 y + (c * n + j) * C, nb);
    }
    for (size_t j = (n - 1) / BLOCK * BLOCK; !pmet_cpu_stopped(op); j -= BLOCK) {
        const size_t nb = pmet_smaller(BLOCK, n - j);
        for (size_t c = 0; c < n_y; c++)
            substitute_back(l + j * n + j, n, y + (c * n + j) * C, nb);
        for (size_t i = 0; i < j; i += GROUP) {
            double part[BLOCK][GROUP]; /* of F, since rows of a power of two would meet in the cache */
            for (size_t k = 0; k < nb; k++)
                memcpy(part[k], l + (j + k) * n + i, sizeof part[k]);
            for (size_t c = 0; c < n_y; c++)
                subtract_product(y + (c * n + i) * C, GROUP, part[0], 1, GROUP, y + (c * n + j) * C, nb);
        }
        if (j == 0)
            break;
    }
}

/* Columns in parts of n_y times C, the last one filled with zeros: wide parts read F less often,
 * sixteen of them keep the threads busy. */
static enum pmet_status cholesky_solve(const struct pmet_ops *op, const double *l, double *b, size_t n,
                                       size_t n_rhs, struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    const size_t n_y = pmet_smaller(n_rhs / 16 / C + 2, WIDEST), width = n_y * C,
                 n_part = (n_rhs + width - 1) / width;
    if (n == 0 || n_rhs == 0)
        return PMET_OK;
    PMET_TRY(pmet_ops_ask(op, err));
    PMET_TRY(pmet_cpu_scratch(cpu, n * width * (sizeof(double) / sizeof(real)), 0, err));
#pragma omp parallel for num_threads((int)cpu->n_thread) schedule(dynamic)
    for (size_t part = 0; part < n_part; part++) {
        const size_t c0 = part * width;
        double *y = (double *)(void *)cpu->scratch[pmet_thread()];
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < width; c++)
                y[(c / C * n + i) * C + c % C] = c0 + c < n_rhs ? b[i * n_rhs + c0 + c] : 0;
        solve_part(op, l, y, n, n_y);
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < width && c0 + c < n_rhs; c++)
                b[i * n_rhs + c0 + c] = y[(c / C * n + i) * C + c % C];
    }
    return pmet_cpu_finish(op, err);
}

void pmet_cpu_cholesky(struct pmet_ops *op)
{
    op->cholesky = cholesky;
    op->cholesky_solve = cholesky_solve;
}

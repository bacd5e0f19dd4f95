/* SPDX-License-Identifier: MIT
 * Products with stored weights, and sums of outer products.      SPEC §3.5, §7.2
 *
 * Everything is blocks of BLOCK x BLOCK sums (panel.h): BLOCK rows, the last ones padded with
 * zeros, by BLOCK outputs, over steps of terms that depend on their number alone. So a row's bits
 * depend neither on the rows beside it nor on the number of threads. Rows are packed by BLOCK, term
 * by term, GROUP at a time; a thread takes a tile of TILE outputs, widens SPAN terms of its weights
 * into its scratch, and runs them over all rows. bench/bench_matmul.c gives the rate beside that of
 * one large sgemm. */
#include <string.h>
#include "ref/cpu/table.h"
#include "ref/cpu/panel.h"
#include "ref/cpu/threads.h"
#include "ref/cpu/widen.h"

enum { BLOCK = PMET_BLOCK, TILE = 4 * BLOCK, SPAN = 512, GROUP = 512, GRAM_TILE = 8 * BLOCK };

typedef real block[BLOCK][BLOCK];

static size_t blocks(size_t n)
{
    return (n + BLOCK - 1) / BLOCK;
}

/* Terms of k widened at a time: whole steps, about SPAN. */
static size_t span(size_t k)
{
    const size_t step = pmet_block_step(k);
    return step < SPAN ? SPAN / step * step : step;
}

static int team(const struct pmet_cpu *cpu, size_t n_tile)
{
    return (int)pmet_smaller(cpu->n_thread, n_tile > 0 ? n_tile : 1);
}

/* One product's operands. E24, forward: c(t, j) = sum_k a(t, k) W[j, k]. E30, backward: W[k, j]. */
struct product {
    real *c;
    const real *a;
    const real *bias; /* forward, or NULL */
    struct pmet_weight w;
    size_t c_stride, a_stride, n_tok, n_k, n_out;
    bool forward, add;
};

/* pack[k][r] = a(r, k) for n <= BLOCK rows, zero for the others. */
static void pack_rows(real *restrict pack, const real *restrict a, size_t a_stride, size_t n, size_t n_k)
{
    if (n < BLOCK && n_k > 0)
        memset(pack, 0, n_k * BLOCK * sizeof *pack);
    for (size_t k = 0; k < n_k; k += BLOCK) { /* squares, so that both sides stay in cache */
        const size_t end = pmet_smaller(k + BLOCK, n_k);
        for (size_t r = 0; r < n; r++)
            for (size_t q = k; q < end; q++)
                pack[q * BLOCK + r] = a[r * a_stride + q];
    }
}

/* pack[k][i] = x[k*stride + i] for n <= BLOCK columns, zero for the others. */
static void pack_columns(real *restrict pack, const real *restrict x, size_t stride, size_t n, size_t n_k)
{
    for (size_t k = 0; k < n_k; k++)
        for (size_t i = 0; i < BLOCK; i++)
            pack[k * BLOCK + i] = i < n ? x[k * stride + i] : 0;
}

/* Terms [k, k+n_k) of the outputs [j, j+n_j), n_j <= TILE, as reals, in blocks of BLOCK outputs;
 * those past the last are zero. Forward a block is [output][k] with row stride n_k + BLOCK (rows of
 * a power of two would meet in the cache), backward [k][output]. */
static void widen_tile(const struct product *p, size_t j, size_t n_j, size_t k, size_t n_k,
                       real *restrict wide)
{
    const size_t n_in = p->w.n_in, n_all = blocks(n_j) * BLOCK, stride = n_k + BLOCK;
    real row[TILE] = {0};
    if (p->forward) {
        for (size_t r = 0; r < n_j; r++)
            pmet_widen(wide + r * stride, p->w.data, p->w.dtype, (j + r) * n_in + k, n_k);
        memset(wide + n_j * stride, 0, (n_all - n_j) * stride * sizeof *wide);
        return;
    }
    for (size_t r = 0; r < n_k; r++) {
        pmet_widen(row, p->w.data, p->w.dtype, (k + r) * n_in + j, n_j);
        for (size_t i = 0; i < n_all; i += BLOCK)
            memcpy(wide + i * n_k + r * BLOCK, row + i, BLOCK * sizeof *wide);
    }
}

/* acc[i][b][.] = outputs [j + i*BLOCK, ..) for the block b of rows; forward transposed:
 * [output][row]. */
static void sum_tile(const struct product *p, size_t j, size_t n_j, const real *pack, size_t n_block,
                     block *acc, real *wide)
{
    const size_t step = pmet_block_step(p->n_k), all = span(p->n_k);
    memset(acc, 0, blocks(n_j) * n_block * sizeof *acc);
    for (size_t k = 0; k < p->n_k; k += all) {
        const size_t n_k = pmet_smaller(all, p->n_k - k);
        widen_tile(p, j, n_j, k, n_k, wide);
        for (size_t i = 0; i < blocks(n_j); i++)
            for (size_t b = 0; b < n_block; b++) {
                const real *rows = pack + (b * p->n_k + k) * BLOCK;
                if (p->forward)
                    pmet_block(acc[i * n_block + b], wide + i * BLOCK * (n_k + BLOCK), n_k + BLOCK, 1, rows,
                               n_k, step);
                else
                    pmet_block(acc[i * n_block + b], rows, 1, BLOCK, wide + i * BLOCK * n_k, n_k, step);
            }
    }
}

/* Outputs [j, j+n_j) of the n <= BLOCK rows from t on, to where they belong. */
static void store_block(const struct product *p, size_t t, size_t n, size_t j, size_t n_j, block acc)
{
    for (size_t r = 0; r < n; r++) {
        real *c = p->c + (t + r) * p->c_stride + j;
        for (size_t i = 0; i < n_j; i++) {
            const real sum = p->forward ? acc[i][r] : acc[r][i];
            c[i] = p->add ? c[i] + sum : p->bias ? sum + p->bias[j + i] : sum;
        }
    }
}

static void multiply_tile(const struct product *p, size_t first, size_t n_tok, size_t j, const real *pack,
                          block *acc, real *wide)
{
    const size_t n_j = pmet_smaller(TILE, p->n_out - j), n_block = blocks(n_tok);
    sum_tile(p, j, n_j, pack, n_block, acc, wide);
    for (size_t i = 0; i < n_j; i += BLOCK)
        for (size_t b = 0; b < n_block; b++)
            store_block(p, first + b * BLOCK, pmet_smaller(BLOCK, n_tok - b * BLOCK), j + i,
                        pmet_smaller(BLOCK, n_j - i), acc[i / BLOCK * n_block + b]);
}

static enum pmet_status multiply(const struct pmet_ops *op, const struct product *p, struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    const size_t n_tile = (p->n_out + TILE - 1) / TILE, most = blocks(pmet_smaller(p->n_tok, GROUP)),
                 n_acc = most * BLOCK * TILE;
    if (p->n_tok == 0 || p->n_out == 0)
        return PMET_OK;
    PMET_TRY(pmet_ops_ask(op, err));
    PMET_TRY(pmet_cpu_scratch(cpu, n_acc + TILE * (span(p->n_k) + BLOCK), most * BLOCK * p->n_k, err));
    real *pack = cpu->scratch[cpu->n_thread];
    for (size_t t = 0; t < p->n_tok; t += GROUP) {
        const size_t n = pmet_smaller(GROUP, p->n_tok - t);
#pragma omp parallel num_threads(team(cpu, n_tile))
        {
            real *own = cpu->scratch[pmet_thread()];
#pragma omp for schedule(static)
            for (size_t r = 0; r < n; r += BLOCK)
                pack_rows(pack + r * p->n_k, p->a + (t + r) * p->a_stride, p->a_stride,
                          pmet_smaller(BLOCK, n - r), p->n_k);
#pragma omp for schedule(dynamic)
            for (size_t tile = 0; tile < n_tile; tile++)
                if (!pmet_cpu_stopped(op))
                    multiply_tile(p, t, n, tile * TILE, pack, (block *)own, own + n_acc);
        }
    }
    return pmet_cpu_finish(op, err);
}

/* E24 */
static enum pmet_status matmul(const struct pmet_ops *op, real *y, size_t y_stride, const real *x,
                               struct pmet_weight w, const real *bias, size_t n_tok, struct pmet_error *err)
{
    const struct product p = {.c = y,
                              .a = x,
                              .bias = bias,
                              .w = w,
                              .c_stride = y_stride,
                              .a_stride = w.n_in,
                              .n_tok = n_tok,
                              .n_k = w.n_in,
                              .n_out = w.n_out,
                              .forward = true};
    return multiply(op, &p, err);
}

/* E30 */
static enum pmet_status matmul_dx(const struct pmet_ops *op, real *g_x, const real *g_y, size_t g_stride,
                                  struct pmet_weight w, bool add, size_t n_tok, struct pmet_error *err)
{
    const struct product p = {.c = g_x,
                              .a = g_y,
                              .w = w,
                              .c_stride = w.n_in,
                              .a_stride = g_stride,
                              .n_tok = n_tok,
                              .n_k = w.n_out,
                              .n_out = w.n_in,
                              .add = add};
    return multiply(op, &p, err);
}

/* A sum of outer products, added to c once: c[i, j] += sum_t a(t, i) b(t, j); `lower`: j <= i alone. */
struct outer {
    real *c;
    const real *a, *b;
    size_t a_stride, b_stride, n_tok, n_i, n_j; /* c has rows of n_j */
    bool lower;
};

/* The tile of the sum at rows i.., columns j... A c that is a sum over all of a text loses bits at every
 * rounding against it, so the tile is summed apart. On the diagonal only the lower triangle. */
static void outer_tile(const struct outer *p, size_t i, size_t j, real *own)
{
    enum { N = GRAM_TILE / BLOCK };
    const size_t m = pmet_smaller(GRAM_TILE, p->n_i - i), n = pmet_smaller(GRAM_TILE, p->n_j - j),
                 step = pmet_block_step(p->n_tok);
    const bool diagonal = p->lower && i == j;
    block *acc = (block *)own; /* [N][N] */
    real *left = own + GRAM_TILE * GRAM_TILE, *right = left + GRAM_TILE * step;
    memset(acc, 0, sizeof *acc * N * N);
    for (size_t t = 0; t < p->n_tok; t += step) {
        const size_t n_k = pmet_smaller(step, p->n_tok - t);
        for (size_t b = 0; b < m; b += BLOCK)
            pack_columns(left + b * n_k, p->a + t * p->a_stride + i + b, p->a_stride,
                         pmet_smaller(BLOCK, m - b), n_k);
        for (size_t b = 0; b < n; b += BLOCK)
            pack_columns(right + b * n_k, p->b + t * p->b_stride + j + b, p->b_stride,
                         pmet_smaller(BLOCK, n - b), n_k);
        for (size_t a = 0; a < m; a += BLOCK)
            for (size_t b = 0; b < (diagonal ? a + 1 : n); b += BLOCK)
                pmet_block(acc[a / BLOCK * N + b / BLOCK], left + a * n_k, 1, BLOCK, right + b * n_k, n_k,
                           n_k);
    }
    for (size_t r = 0; r < m; r++)
        for (size_t k = 0; k < (diagonal ? r + 1 : n); k++)
            p->c[(i + r) * p->n_j + j + k] += acc[r / BLOCK * N + k / BLOCK][r % BLOCK][k % BLOCK];
}

static enum pmet_status add_outer(const struct pmet_ops *op, const struct outer *p, struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    const size_t n_row = (p->n_i + GRAM_TILE - 1) / GRAM_TILE, n_col = (p->n_j + GRAM_TILE - 1) / GRAM_TILE,
                 n_tile = n_row * n_col;
    if (p->n_tok == 0 || n_tile == 0)
        return PMET_OK;
    PMET_TRY(pmet_ops_ask(op, err));
    PMET_TRY(pmet_cpu_scratch(cpu, GRAM_TILE * (GRAM_TILE + 2 * pmet_block_step(p->n_tok)), 0, err));
#pragma omp parallel for num_threads(team(cpu, n_tile)) schedule(dynamic)
    for (size_t tile = 0; tile < n_tile; tile++)
        if ((!p->lower || tile % n_col <= tile / n_col) && !pmet_cpu_stopped(op))
            outer_tile(p, tile / n_col * GRAM_TILE, tile % n_col * GRAM_TILE, cpu->scratch[pmet_thread()]);
    return pmet_cpu_finish(op, err);
}

/* E130 */
static enum pmet_status matmul_dw(const struct pmet_ops *op, real *g_w, const real *g_y, size_t g_stride,
                                  const real *x, size_t n_tok, size_t n_out, size_t n_in,
                                  struct pmet_error *err)
{
    const struct outer p = {g_w, g_y, x, g_stride, n_in, n_tok, n_out, n_in, false};
    return add_outer(op, &p, err);
}

/* E66 */
static enum pmet_status gram(const struct pmet_ops *op, real *c, const real *x, size_t n, size_t width,
                             struct pmet_error *err)
{
    const struct outer p = {c, x, x, width, width, n, width, width, true};
    return add_outer(op, &p, err);
}

void pmet_cpu_matmul(struct pmet_ops *op)
{
    op->matmul = matmul;
    op->matmul_dx = matmul_dx;
    op->matmul_dw = matmul_dw;
    op->gram = gram;
}

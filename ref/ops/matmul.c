/* SPDX-License-Identifier: MIT
 * Products with stored weights, and sums of outer products.      SPEC §3.5, §7.2
 *
 * Rows go through in panels of PANEL, the last padded with zeros; outputs in tiles of TILE; terms in steps
 * that depend on their number alone. Each (panel x tile x step) is one product of fixed shape on one thread,
 * so a row's bits depend neither on the rows beside it nor on the number of threads. A tile's step of weights
 * in another type is widened once, stays in cache and serves all panels.
 *
 * PANEL 16, TILE 64: what OpenBLAS multiplies without packing in both directions (bench/bench_matmul.c gives
 * the rate beside that of one large sgemm). */
#include <string.h>
#include "ref/ops/cpu.h"
#include "ref/ops/panel.h"
#include "ref/ops/widen.h"

#define PANEL 16
#define TILE 64
#define GRAM_TILE 256

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int team(const struct pmet_cpu *cpu, size_t n_tile)
{
    return (int)smaller(cpu->n_thread, n_tile > 0 ? n_tile : 1);
}

/* The incomplete last panel: row r of `n` lies at src + r*stride; padded with zero rows in the shared
 * scratch. */
static const real *padded_panel(struct pmet_cpu *cpu, const real *src, size_t stride, size_t n, size_t width)
{
    real *pad = cpu->scratch[cpu->n_thread];
    for (size_t r = 0; r < n; r++)
        memcpy(pad + r * width, src + r * stride, width * sizeof *pad);
    memset(pad + n * width, 0, (PANEL - n) * width * sizeof *pad);
    return pad;
}

/* One product's operands. E24, forward: a = x, b(k, j) = W[j, k]. E30, backward: a = g_y, b(k, j) = W[k, j].
 */
struct product {
    real *c;
    const real *a, *pad; /* pad: the last n_tok % PANEL rows of a, row stride n_k */
    const real *bias;    /* forward, or NULL */
    struct pmet_weight w;
    size_t c_stride, a_stride, n_tok, n_k;
    bool forward, add;
};

/* Terms [k, k+n_k) of the outputs [j, j+n_j): W's part as reals, widened into `wide` if need be. */
static const real *weights(const struct product *p, size_t j, size_t n_j, size_t k, size_t n_k, real *wide,
                           size_t *stride)
{
    const size_t row = p->forward ? j : k, n_row = p->forward ? n_j : n_k, col = p->forward ? k : j,
                 n_col = p->forward ? n_k : n_j;
    *stride = p->w.n_in;
    if (p->w.dtype == PMET_REAL)
        return (const real *)p->w.data + row * p->w.n_in + col;
    *stride = n_col;
    for (size_t r = 0; r < n_row; r++)
        pmet_widen(wide + r * n_col, p->w.data, p->w.dtype, (row + r) * p->w.n_in + col, n_col);
    return wide;
}

/* One tile of outputs [j, j+n_j) of all panels. `last` [PANEL, n_j] takes the padded panel's. */
static void multiply_tile(const struct product *p, size_t j, size_t n_j, real *last, real *wide)
{
    const size_t n_whole = p->n_tok / PANEL * PANEL, n_rest = p->n_tok - n_whole,
                 step = pmet_panel_step(p->n_k);
    memset(last, 0, PANEL * n_j * sizeof *last);
    for (size_t r = 0; p->add && r < n_rest; r++)
        memcpy(last + r * n_j, p->c + (n_whole + r) * p->c_stride + j, n_j * sizeof *last);
    for (size_t k = 0; k == 0 || k < p->n_k; k += step) {
        const size_t n_k = smaller(step, p->n_k - k);
        const bool onto = p->add || k > 0;
        size_t w_stride;
        const real *w = weights(p, j, n_j, k, n_k, wide, &w_stride);
        for (size_t t = 0; t < n_whole; t += PANEL)
            pmet_panel(false, p->forward, PANEL, n_j, n_k, p->a + t * p->a_stride + k, p->a_stride, w,
                       w_stride, onto, p->c + t * p->c_stride + j, p->c_stride);
        if (n_rest > 0)
            pmet_panel(false, p->forward, PANEL, n_j, n_k, p->pad + k, p->n_k, w, w_stride, onto, last, n_j);
    }
    for (size_t r = 0; r < n_rest; r++)
        memcpy(p->c + (n_whole + r) * p->c_stride + j, last + r * n_j, n_j * sizeof *last);
    for (size_t t = 0; p->bias && t < p->n_tok; t++)
        for (size_t i = j; i < j + n_j; i++)
            p->c[t * p->c_stride + i] += p->bias[i];
}

static enum pmet_status multiply(const struct pmet_ops *op, struct product *p, size_t n_out,
                                 struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    const size_t n_tile = (n_out + TILE - 1) / TILE, n_rest = p->n_tok % PANEL;
    const size_t n_wide = p->w.dtype == PMET_REAL ? 0 : TILE * pmet_panel_step(p->n_k);
    if (p->n_tok == 0 || n_out == 0)
        return PMET_OK;
    PMET_TRY(pmet_cpu_scratch(cpu, (size_t)PANEL * TILE + n_wide, n_rest ? PANEL * p->n_k : 0, err));
    if (n_rest)
        p->pad = padded_panel(cpu, p->a + (p->n_tok - n_rest) * p->a_stride, p->a_stride, n_rest, p->n_k);
#pragma omp parallel for num_threads(team(cpu, n_tile)) schedule(dynamic)
    for (size_t tile = 0; tile < n_tile; tile++) {
        real *last = cpu->scratch[pmet_thread()];
        multiply_tile(p, tile * TILE, smaller(TILE, n_out - tile * TILE), last, last + (size_t)PANEL * TILE);
    }
    return PMET_OK;
}

/* E24 */
static enum pmet_status matmul(const struct pmet_ops *op, real *y, size_t y_stride, const real *x,
                               struct pmet_weight w, const real *bias, size_t n_tok, struct pmet_error *err)
{
    struct product p = {.c = y,
                        .a = x,
                        .bias = bias,
                        .w = w,
                        .c_stride = y_stride,
                        .a_stride = w.n_in,
                        .n_tok = n_tok,
                        .n_k = w.n_in,
                        .forward = true};
    return multiply(op, &p, w.n_out, err);
}

/* E30 */
static enum pmet_status matmul_dx(const struct pmet_ops *op, real *g_x, const real *g_y, size_t g_stride,
                                  struct pmet_weight w, bool add, size_t n_tok, struct pmet_error *err)
{
    struct product p = {.c = g_x,
                        .a = g_y,
                        .w = w,
                        .c_stride = w.n_in,
                        .a_stride = g_stride,
                        .n_tok = n_tok,
                        .n_k = w.n_out,
                        .add = add};
    return multiply(op, &p, w.n_in, err);
}

/* E66: the tile of x^T x at rows i.., columns j.. in `sum` [m, n], then added to c once: c is a sum over all
 * of the text, and every rounding against it costs. On the diagonal only the lower triangle. */
static void gram_tile(real *c, const real *x, size_t n_tok, size_t width, size_t i, size_t j, real *sum)
{
    const size_t m = smaller(GRAM_TILE, width - i), n = smaller(GRAM_TILE, width - j),
                 step = pmet_panel_step(n_tok);
    for (size_t t = 0; t < n_tok; t += step)
        pmet_panel(true, false, m, n, smaller(step, n_tok - t), x + t * width + i, width, x + t * width + j,
                   width, t > 0, sum, n);
    for (size_t r = 0; r < m; r++)
        for (size_t k = 0; k < (i == j ? r + 1 : n); k++)
            c[(i + r) * width + j + k] += sum[r * n + k];
}

static enum pmet_status gram(const struct pmet_ops *op, real *c, const real *x, size_t n, size_t width,
                             struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    const size_t n_tile = (width + GRAM_TILE - 1) / GRAM_TILE, n_pair = n_tile * (n_tile + 1) / 2;
    if (n == 0)
        return PMET_OK;
    PMET_TRY(pmet_cpu_scratch(cpu, (size_t)GRAM_TILE * GRAM_TILE, 0, err));
#pragma omp parallel for num_threads(team(cpu, n_pair)) schedule(dynamic)
    for (size_t pair = 0; pair < n_pair; pair++) {
        size_t row = 0, rest = pair; /* the pair-th tile of the lower triangle */
        while (rest > row)
            rest -= ++row;
        gram_tile(c, x, n, width, row * GRAM_TILE, rest * GRAM_TILE, cpu->scratch[pmet_thread()]);
    }
    return PMET_OK;
}

void pmet_cpu_matmul(struct pmet_ops *op)
{
    op->matmul = matmul;
    op->matmul_dx = matmul_dx;
    op->gram = gram;
}

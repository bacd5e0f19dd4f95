/* SPDX-License-Identifier: MIT
 * Products with stored weights, and sums of outer products.      SPEC §3.5, §7.2
 *
 * Rows go through in panels of PANEL, the last padded with zeros; outputs in tiles of TILE. Each (panel x
 * tile) is one product of fixed shape on one thread, so a row's bits depend neither on the rows beside it nor
 * on the number of threads. A tile of weights in another type is widened once and serves all panels. */
#include <string.h>
#include "ref/ops/cpu.h"
#include "ref/ops/panel.h"
#include "ref/ops/widen.h"

#define PANEL 32
#define TILE 128

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The last, incomplete panel of x [n_tok, width] (row stride `stride`), padded, in the shared scratch. */
static const real *padded_panel(struct pmet_cpu *cpu, const real *x, size_t stride, size_t n_tok,
                                size_t width)
{
    const size_t first = n_tok / PANEL * PANEL, n = n_tok - first;
    real *pad = cpu->scratch[cpu->n_thread];
    for (size_t t = 0; t < n; t++)
        memcpy(pad + t * width, x + (first + t) * stride, width * sizeof *pad);
    memset(pad + n * width, 0, (PANEL - n) * width * sizeof *pad);
    return pad;
}

/* One tile of outputs [o, o+n_o) for all panels: y = x W^T + bias. `w` holds the tile's rows as reals. */
static void tile_forward(real *y, size_t y_stride, const real *x, const real *pad, const real *w,
                         const real *bias, size_t n_in, size_t o, size_t n_o, size_t n_tok, real *out)
{
    for (size_t t = 0; t < n_tok; t += PANEL) {
        const bool whole = t + PANEL <= n_tok;
        pmet_panel(false, true, PANEL, n_o, n_in, whole ? x + t * n_in : pad, n_in, w, n_in, false, out, n_o);
        for (size_t r = 0; r < smaller(PANEL, n_tok - t); r++)
            for (size_t j = 0; j < n_o; j++)
                y[(t + r) * y_stride + o + j] = bias ? out[r * n_o + j] + bias[o + j] : out[r * n_o + j];
    }
}

static enum pmet_status matmul(const struct pmet_ops *op, real *y, size_t y_stride, const real *x,
                               struct pmet_weight w, const real *bias, size_t n_tok, struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    const bool widen = w.dtype != PMET_REAL;
    const size_t n_in = w.n_in, n_tile = (w.n_out + TILE - 1) / TILE;
    if (n_tok == 0)
        return PMET_OK;
    PMET_TRY(
        pmet_cpu_scratch(cpu, (widen ? TILE * n_in : 0) + (size_t)PANEL * TILE, (size_t)PANEL * n_in, err));
    const real *pad = n_tok % PANEL ? padded_panel(cpu, x, n_in, n_tok, n_in) : NULL;
#pragma omp parallel num_threads((int)smaller(cpu->n_thread, n_tile))
    {
        real *out = cpu->scratch[pmet_thread()], *wide = out + (size_t)PANEL * TILE;
#pragma omp for schedule(dynamic)
        for (size_t tile = 0; tile < n_tile; tile++) {
            const size_t o = tile * TILE, n_o = smaller(TILE, w.n_out - o);
            if (widen)
                pmet_widen(wide, w.data, w.dtype, o * n_in, n_o * n_in);
            tile_forward(y, y_stride, x, pad, widen ? wide : (const real *)w.data + o * n_in, bias, n_in, o,
                         n_o, n_tok, out);
        }
    }
    return PMET_OK;
}

/* One tile of inputs [i, i+n_i) for all panels: g_x (+)= g_y W. w: [n_out, n_i] with row stride ldw. */
static void tile_backward(real *g_x, const real *g_y, size_t g_stride, const real *pad, const real *w,
                          size_t ldw, size_t n_out, size_t n_in, size_t i, size_t n_i, bool add, size_t n_tok,
                          real *out)
{
    for (size_t t = 0; t < n_tok; t += PANEL) {
        const bool whole = t + PANEL <= n_tok;
        pmet_panel(false, false, PANEL, n_i, n_out, whole ? g_y + t * g_stride : pad,
                   whole ? g_stride : n_out, w, ldw, false, out, n_i);
        for (size_t r = 0; r < smaller(PANEL, n_tok - t); r++)
            for (size_t j = 0; j < n_i; j++) {
                real *g = &g_x[(t + r) * n_in + i + j];
                *g = add ? *g + out[r * n_i + j] : out[r * n_i + j];
            }
    }
}

static enum pmet_status matmul_dx(const struct pmet_ops *op, real *g_x, const real *g_y, size_t g_stride,
                                  struct pmet_weight w, bool add, size_t n_tok, struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    const bool widen = w.dtype != PMET_REAL;
    const size_t n_in = w.n_in, n_out = w.n_out, n_tile = (n_in + TILE - 1) / TILE;
    if (n_tok == 0)
        return PMET_OK;
    PMET_TRY(
        pmet_cpu_scratch(cpu, (widen ? TILE * n_out : 0) + (size_t)PANEL * TILE, (size_t)PANEL * n_out, err));
    const real *pad = n_tok % PANEL ? padded_panel(cpu, g_y, g_stride, n_tok, n_out) : NULL;
#pragma omp parallel num_threads((int)smaller(cpu->n_thread, n_tile))
    {
        real *out = cpu->scratch[pmet_thread()], *wide = out + (size_t)PANEL * TILE;
#pragma omp for schedule(dynamic)
        for (size_t tile = 0; tile < n_tile; tile++) {
            const size_t i = tile * TILE, n_i = smaller(TILE, n_in - i);
            for (size_t o = 0; widen && o < n_out; o++)
                pmet_widen(wide + o * n_i, w.data, w.dtype, o * n_in + i, n_i);
            tile_backward(g_x, g_y, g_stride, pad, widen ? wide : (const real *)w.data + i,
                          widen ? n_i : n_in, n_out, n_in, i, n_i, add, n_tok, out);
        }
    }
    return PMET_OK;
}

static enum pmet_status gram(const struct pmet_ops *op, real *c, const real *x, size_t n, size_t width,
                             struct pmet_error *err)
{
    const size_t n_tile = (width + TILE - 1) / TILE, n_pair = n_tile * (n_tile + 1) / 2;
    (void)err;
    if (n == 0)
        return PMET_OK;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) schedule(dynamic)
    for (size_t pair = 0; pair < n_pair; pair++) {
        size_t row = 0, rest = pair; /* the pair-th tile of the lower triangle */
        while (rest > row)
            rest -= ++row;
        const size_t i = row * TILE, j = rest * TILE;
        pmet_panel(true, false, smaller(TILE, width - i), smaller(TILE, width - j), n, x + i, width, x + j,
                   width, true, c + i * width + j, width);
    }
    return PMET_OK;
}

void pmet_cpu_matmul(struct pmet_ops *op)
{
    op->matmul = matmul;
    op->matmul_dx = matmul_dx;
    op->gram = gram;
}

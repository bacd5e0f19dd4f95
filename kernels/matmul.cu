/* SPDX-License-Identifier: MIT
 * Products with stored weights, and sums of outer products, through cuBLAS.   SPEC §3.5, §7.2, §12
 *
 * cuBLAS picks a kernel by shape and alignment, and each kernel sums in its own order. A row's bits
 * must not depend on the other rows. So cuBLAS gets panels of exactly ROWS rows, the last one
 * padded with zeros, always with the same alignment; everything else that decides its choice comes
 * from the weight alone. A sum of more than `step` terms is divided: sixteen or more short sums,
 * added in order, have a smaller rounding error than one long sum.
 *
 * cuBLAS needs both operands in one type. In the float build 16-bit weights are multiplied in
 * place, by rows split into terms of the weight's type (kernels/split.cuh), stored below each
 * other. Other weights that are not `real` are widened, a tile of columns at a time, once for GROUP
 * rows. */
#include "kernels/split.cuh"

#ifndef PMET_CUDA_ROWS
#define PMET_CUDA_ROWS 256
#endif

/* SPLIT_TILE: columns of a 16-bit weight at a time, so that a panel's sums, which every step reads
 * and writes, stay in an L2 cache of 40 MB or more. LONG: steps in one sum where rounding matters
 * less: for the two lower terms, and for rows that were rounded. */
enum { ROWS = PMET_CUDA_ROWS, GROUP = 16 * ROWS, GRAM_TILE = 2048, SPLIT_TILE = 32 * ROWS, LONG = 4 };
static const size_t WIDE_BYTES = (size_t)256 << 20; /* for widened weights */

/* What cuBLAS multiplies, and how. */
struct arithmetic {
    cudaDataType_t type;
    cublasComputeType_t compute;
    size_t n_bytes; /* of an operand's element */
};

/* tf32: E98. */
static struct arithmetic of_reals(bool tf32)
{
#ifdef PMET_REAL_DOUBLE
    (void)tf32;
    return {CUDA_R_64F, CUBLAS_COMPUTE_64F, sizeof(real)};
#else
    return {CUDA_R_32F, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F_PEDANTIC, sizeof(real)};
#endif
}

/* c = op(a) op(b) + beta c, column-major; c holds `real`. */
static cublasStatus_t gemm(cublasHandle_t blas, struct arithmetic by, cublasOperation_t ta,
                           cublasOperation_t tb, size_t m, size_t n, size_t k, const void *a, size_t lda,
                           const void *b, size_t ldb, real beta, real *c, size_t ldc)
{
    const real one = 1;
    return cublasGemmEx(blas, ta, tb, (int)m, (int)n, (int)k, &one, a, by.type, (int)lda, b, by.type,
                        (int)ldb, &beta, c, of_reals(false).type, (int)ldc, by.compute, CUBLAS_GEMM_DEFAULT);
}

/* As pmet_block_step of ref/cpu/panel.h. */
static size_t terms_in_one_sum(size_t k)
{
    const size_t sixteenth = (k + 255) / 256 * 16;
    return sixteenth < 16 ? 16 : sixteenth > 256 ? 256 : sixteenth;
}

/* pack [n_all, n_k] = n rows of a, then rows of zeros. */
static __global__ void __launch_bounds__(BLOCK)
    pack_rows(real *pack, const real *a, size_t a_stride, size_t n, size_t n_all, size_t n_k)
{
    for (size_t i = pmet_first(); i < n_all * n_k; i += pmet_step())
        pack[i] = i / n_k < n ? a[i / n_k * a_stride + i % n_k] : 0;
}

/* wide [n_row, n_col] = a part of a weight, widened; it begins at `at` and has row stride n_in. */
static __global__ void __launch_bounds__(BLOCK) widen_part(real *wide, const void *w, enum pmet_dtype dtype,
                                                           size_t n_in, size_t at, size_t n_row, size_t n_col)
{
    for (size_t i = pmet_first(); i < n_row * n_col; i += pmet_step())
        wide[i] = widen(w, dtype, at + i / n_col * n_in + i % n_col);
}

/* Writes the sums [term][ROWS, n_col] of n rows to the result. */
static __global__ void __launch_bounds__(BLOCK)
    store_sums(real *c, size_t c_stride, const real *sum, struct split s, const double *back,
               const real *bias, bool add, size_t n, size_t n_col)
{
    for (size_t i = pmet_first(); i < n * n_col; i += pmet_step()) {
        real *to = &c[i / n_col * c_stride + i % n_col];
        const double y = s.n_term ? join_terms(sum + i, ROWS * n_col, back[i / n_col], s) : (double)sum[i];
        *to = (real)(add ? (double)*to + y : bias ? y + (double)bias[i % n_col] : y);
    }
}

/* A sum of outer products, added to c once: c[i, j] += sum_t a(t, i) b(t, j); `lower`: j <= i alone. */
struct outer {
    real *c;
    const real *a, *b;
    size_t a_stride, b_stride, n_tok, n_i, n_j; /* c has rows of n_j */
    bool lower;
};

/* c += sum [n_i, n_j], a tile whose corner is at (i0, j0). */
static __global__ void __launch_bounds__(BLOCK)
    add_tile(struct outer p, const real *sum, size_t i0, size_t j0, size_t n_i, size_t n_j)
{
    for (size_t k = pmet_first(); k < n_i * n_j; k += pmet_step()) {
        const size_t i = i0 + k / n_j, j = j0 + k % n_j;
        if (!p.lower || j <= i)
            p.c[i * p.n_j + j] += sum[k];
    }
}

/* One product's operands. E24, forward: c(t, j) = sum_k a(t, k) W[j, k]. E30, backward: W[k, j]. */
struct product {
    real *c;
    const real *a, *bias; /* bias: forward, or NULL */
    struct pmet_weight w;
    size_t c_stride, a_stride, n_tok, n_k, n_out;
    bool forward, add;
    struct arithmetic by;
    struct split split;
};

/* A group of rows in the form that cuBLAS gets, and their sums. */
struct packed {
    char *rows; /* [panel][term][ROWS, n_k] */
    double *back;
    real *wide, *sum; /* sum [term][ROWS, n_j] */
};

/* E95, or E97. */
static struct split split_of(enum pmet_device device, enum pmet_dtype dtype)
{
    const unsigned n_term = device == PMET_DEVICE_CUDA_HALF ? 1 : 3;
    if (sizeof(real) == sizeof(float) && dtype == PMET_F16)
        return {dtype, n_term, 11, 3, 15};
    if (sizeof(real) == sizeof(float) && dtype == PMET_BF16)
        return {dtype, n_term, 8, 6, -16};
    return {dtype, 0, 0, 0, 0};
}

static void choose(struct product *p, enum pmet_device device)
{
    p->split = split_of(device, p->w.dtype);
    if (p->split.n_term)
        p->by = {p->w.dtype == PMET_F16 ? CUDA_R_16F : CUDA_R_16BF, CUBLAS_COMPUTE_32F, sizeof(uint16_t)};
    else
        p->by = of_reals(device == PMET_DEVICE_CUDA_TF32);
}

static unsigned n_term(const struct product *p)
{
    return p->split.n_term ? p->split.n_term : 1;
}

/* sum = n_row packed rows [n_row, n_k] times the tile: [n_j, n_k] forward, [n_k, n_j] backward. */
static enum pmet_status multiply_rows(struct pmet_cuda *cuda, const struct product *p, real *sum,
                                      const char *rows, size_t n_row, size_t step, const char *tile,
                                      size_t tile_stride, size_t n_j, struct pmet_error *err)
{
    if (p->n_k == 0)
        PMET_CUDA_TRY(cudaMemsetAsync(sum, 0, n_row * n_j * sizeof *sum, cuda->stream), "matmul", err);
    for (size_t k = 0; k < p->n_k; k += step)
        PMET_BLAS_TRY(gemm(cuda->blas, p->by, p->forward ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N, n_j, n_row,
                           pmet_min(step, p->n_k - k),
                           tile + (p->forward ? k : k * tile_stride) * p->by.n_bytes, tile_stride,
                           rows + k * p->by.n_bytes, p->n_k, k > 0 ? 1 : 0, sum, n_j),
                      "matmul", err);
    return PMET_OK;
}

/* One panel: the sums of its first terms, then of the others. */
static enum pmet_status multiply_panel(struct pmet_cuda *cuda, const struct product *p, real *sum,
                                       const char *rows, const char *tile, size_t tile_stride, size_t n_j,
                                       struct pmet_error *err)
{
    const size_t step = terms_in_one_sum(p->n_k), n_low = (n_term(p) - 1) * ROWS;
    PMET_TRY(multiply_rows(cuda, p, sum, rows, ROWS, p->split.n_term == 1 ? LONG * step : step, tile,
                           tile_stride, n_j, err));
    return n_low == 0 ? PMET_OK
                      : multiply_rows(cuda, p, sum + ROWS * n_j, rows + ROWS * p->n_k * p->by.n_bytes, n_low,
                                      LONG * step, tile, tile_stride, n_j, err);
}

/* Columns [j, j+n_j) of the n packed rows, which are rows t.. of the product. */
static enum pmet_status multiply_tile(struct pmet_cuda *cuda, const struct product *p, const struct packed *x,
                                      size_t t, size_t n, size_t j, size_t n_j, struct pmet_error *err)
{
    const size_t at = p->forward ? j * p->w.n_in : j, n_row = p->forward ? n_j : p->n_k,
                 n_col = p->forward ? p->n_k : n_j;
    const bool widened = !p->split.n_term && p->w.dtype != PMET_REAL;
    const char *tile = (const char *)p->w.data + at * p->by.n_bytes;
    if (widened && p->n_k > 0) {
        PMET_LAUNCH(widen_part, pmet_cuda_grid(n_row * n_col, BLOCK), BLOCK, 0, cuda->stream, x->wide,
                    p->w.data, p->w.dtype, p->w.n_in, at, n_row, n_col);
        PMET_TRY(pmet_cuda_launched("matmul", err));
        tile = (const char *)x->wide;
    }
    for (size_t r = 0; r < n; r += ROWS) {
        const size_t n_here = pmet_min(ROWS, n - r);
        PMET_TRY(multiply_panel(cuda, p, x->sum, x->rows + r * n_term(p) * p->n_k * p->by.n_bytes, tile,
                                widened ? n_col : p->w.n_in, n_j, err));
        PMET_LAUNCH(store_sums, pmet_cuda_grid(n_here * n_j, BLOCK), BLOCK, 0, cuda->stream,
                    p->c + (t + r) * p->c_stride + j, p->c_stride, x->sum, p->split, x->back + r,
                    p->bias ? p->bias + j : NULL, p->add, n_here, n_j);
        PMET_TRY(pmet_cuda_launched("matmul", err));
    }
    return PMET_OK;
}

/* Packs rows t..t+n-1 of the product into x, with zeros up to n_all. */
static enum pmet_status pack(struct pmet_cuda *cuda, const struct product *p, const struct packed *x,
                             size_t t, size_t n, size_t n_all, struct pmet_error *err)
{
    if (p->split.n_term)
        PMET_LAUNCH(split_rows, (unsigned)((n_all + SPLIT_WARPS - 1) / SPLIT_WARPS), BLOCK, 0, cuda->stream,
                    (uint16_t *)x->rows, x->back, p->a + t * p->a_stride, p->a_stride, n, n_all, p->n_k,
                    (size_t)ROWS, p->split);
    else if (p->n_k > 0)
        PMET_LAUNCH(pack_rows, pmet_cuda_grid(n_all * p->n_k, BLOCK), BLOCK, 0, cuda->stream, (real *)x->rows,
                    p->a + t * p->a_stride, p->a_stride, n, n_all, p->n_k);
    return pmet_cuda_launched("matmul", err);
}

/* Columns at a time: the widened weights, or the sums, must fit. */
static size_t tile_of(const struct product *p)
{
    const size_t fit = p->n_k > 0 ? WIDE_BYTES / sizeof(real) / p->n_k / 64 * 64 : p->n_out;
    return pmet_min(p->split.n_term ? (size_t)SPLIT_TILE : fit < 64 ? 64 : fit, p->n_out);
}

static enum pmet_status multiply(const struct pmet_ops *op, struct product *p, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct packed x;
    choose(p, cuda->device);
    const size_t n_all = (pmet_min(GROUP, p->n_tok) + ROWS - 1) / ROWS * ROWS, tile = tile_of(p);
    if (p->n_tok == 0 || p->n_out == 0)
        return PMET_OK;
    if (p->n_k > INT32_MAX || p->n_out > INT32_MAX)
        return pmet_fail(err, PMET_UNSUPPORTED, "cuda: a weight [%zu, %zu]; at most 2^31 a side", p->w.n_out,
                         p->w.n_in);
    PMET_TRY(
        pmet_cuda_scratch(cuda, PMET_SCRATCH_ROWS, n_all * n_term(p) * p->n_k * p->by.n_bytes, &x.rows, err));
    PMET_TRY(pmet_cuda_scratch(cuda, PMET_SCRATCH_SCALE, p->split.n_term ? n_all * sizeof *x.back : 0,
                               &x.back, err));
    PMET_TRY(pmet_cuda_scratch(
        cuda, PMET_SCRATCH_WIDE,
        p->split.n_term || p->w.dtype == PMET_REAL ? 0 : tile * p->n_k * sizeof *x.wide, &x.wide, err));
    PMET_TRY(pmet_cuda_scratch(cuda, PMET_SCRATCH_SUM, n_term(p) * ROWS * tile * sizeof *x.sum, &x.sum, err));
    for (size_t t = 0; t < p->n_tok; t += GROUP) {
        const size_t n = pmet_min(GROUP, p->n_tok - t);
        PMET_TRY(pack(cuda, p, &x, t, n, (n + ROWS - 1) / ROWS * ROWS, err));
        for (size_t j = 0; j < p->n_out; j += tile)
            PMET_TRY(multiply_tile(cuda, p, &x, t, n, j, pmet_min(tile, p->n_out - j), err));
    }
    return PMET_OK;
}

/* E24 */
static enum pmet_status matmul(const struct pmet_ops *op, real *y, size_t y_stride, const real *x,
                               struct pmet_weight w, const real *bias, size_t n_tok, struct pmet_error *err)
{
    struct product p = {y, x, bias, w, y_stride, w.n_in, n_tok, w.n_in, w.n_out, true, false, {}, {}};
    return multiply(op, &p, err);
}

/* E30 */
static enum pmet_status matmul_dx(const struct pmet_ops *op, real *g_x, const real *g_y, size_t g_stride,
                                  struct pmet_weight w, bool add, size_t n_tok, struct pmet_error *err)
{
    struct product p = {g_x, g_y, NULL, w, w.n_in, g_stride, n_tok, w.n_out, w.n_in, false, add, {}, {}};
    return multiply(op, &p, err);
}

/* The tile of the sum at rows i.., columns j.., summed apart: a c that is a sum over all of a text loses
 * bits at each addition to it. */
static enum pmet_status outer_tile(struct pmet_cuda *cuda, const struct outer *p, real *sum, size_t i,
                                   size_t j, struct pmet_error *err)
{
    const size_t n_i = pmet_min(GRAM_TILE, p->n_i - i), n_j = pmet_min(GRAM_TILE, p->n_j - j),
                 step = terms_in_one_sum(p->n_tok);
    for (size_t t = 0; t < p->n_tok; t += step)
        PMET_BLAS_TRY(gemm(cuda->blas, of_reals(false), CUBLAS_OP_N, CUBLAS_OP_T, n_j, n_i,
                           pmet_min(step, p->n_tok - t), p->b + t * p->b_stride + j, p->b_stride,
                           p->a + t * p->a_stride + i, p->a_stride, t > 0 ? 1 : 0, sum, n_j),
                      "a sum of outer products", err);
    PMET_LAUNCH(add_tile, pmet_cuda_grid(n_i * n_j, BLOCK), BLOCK, 0, cuda->stream, *p, sum, i, j, n_i, n_j);
    return pmet_cuda_launched("a sum of outer products", err);
}

static enum pmet_status add_outer(const struct pmet_ops *op, const struct outer *p, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    real *sum;
    if (p->n_tok == 0 || p->n_i == 0 || p->n_j == 0)
        return PMET_OK;
    if (p->n_i > INT32_MAX || p->n_j > INT32_MAX || p->a_stride > INT32_MAX)
        return pmet_fail(err, PMET_UNSUPPORTED, "cuda: outer products [%zu, %zu]; at most 2^31 a side",
                         p->n_i, p->n_j);
    PMET_TRY(pmet_cuda_scratch(cuda, PMET_SCRATCH_SUM,
                               pmet_min(GRAM_TILE, p->n_i) * pmet_min(GRAM_TILE, p->n_j) * sizeof *sum, &sum,
                               err));
    for (size_t i = 0; i < p->n_i; i += GRAM_TILE)
        for (size_t j = 0; j < p->n_j && (!p->lower || j <= i); j += GRAM_TILE)
            PMET_TRY(outer_tile(cuda, p, sum, i, j, err));
    return PMET_OK;
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

void pmet_cuda_matmul(struct pmet_ops *op)
{
    op->matmul = matmul;
    op->matmul_dx = matmul_dx;
    op->matmul_dw = matmul_dw;
    op->gram = gram;
}

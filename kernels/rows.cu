/* SPDX-License-Identifier: MIT
 * Rows gathered, scattered and added.      SPEC §3.5, §5.1 */
#include "kernels/widen.cuh"

enum { BLOCK = 256 };

/* One thread per element, striding by the grid: `i` runs over n elements. */
#define EACH(i, n)                                                                                           \
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n);                                  \
         i += (size_t)gridDim.x * blockDim.x)

static __global__ void __launch_bounds__(BLOCK)
    embed_rows(real *y, const void *w, enum pmet_dtype dtype, const int32_t *ids, size_t n_tok, size_t width)
{
    EACH(i, n_tok * width)
    y[i] = widen(w, dtype, (size_t)ids[i / width] * width + i % width);
}

static __global__ void __launch_bounds__(BLOCK)
    gather_rows(real *y, const real *x, const size_t *idx, size_t n_idx, size_t width)
{
    EACH(i, n_idx * width)
    y[i] = x[idx[i / width] * width + i % width];
}

static __global__ void __launch_bounds__(BLOCK)
    scatter_rows(real *y, const real *x, const size_t *idx, size_t n_idx, size_t width)
{
    EACH(i, n_idx * width)
    y[idx[i / width] * width + i % width] = x[i];
}

static __global__ void __launch_bounds__(BLOCK) add_rows_at(real *x, const size_t *idx, const real *delta,
                                                            const size_t *which, size_t n_idx, size_t width)
{
    EACH(i, n_idx * width)
    x[idx[i / width] * width + i % width] += delta[which[i / width] * width + i % width];
}

/* A thread owns one feature of all deltas, so that j ascends for each of them without atomics. The
 * rows of a fact follow each other, so its sum stays in a register. n_idx > 0. */
static __global__ void __launch_bounds__(BLOCK)
    add_rows_grad(real *g_delta, const real *g_x, const size_t *idx, const size_t *which, size_t n_idx,
                  size_t width)
{
    EACH(i, width)
    {
        size_t delta = which[0];
        real sum = g_delta[delta * width + i];
        for (size_t j = 0; j < n_idx; j++) {
            if (which[j] != delta) {
                g_delta[delta * width + i] = sum;
                delta = which[j];
                sum = g_delta[delta * width + i];
            }
            sum += g_x[idx[j] * width + i];
        }
        g_delta[delta * width + i] = sum;
    }
}

static __global__ void __launch_bounds__(BLOCK)
    store_rows(real *cache, const size_t *idx, struct pmet_heads x, size_t n_tok, size_t n_head,
               size_t d_head)
{
    const size_t width = n_head * d_head;
    EACH(i, n_tok * width)
    {
        const size_t t = i / width, e = i % width / d_head, k = i % d_head;
        cache[idx[t] * width + i % width] = x.data[t * x.row_stride + e * x.head_stride + k];
    }
}

static __global__ void __launch_bounds__(BLOCK)
    add_three(real *y, const real *a, const real *m, const real *x, size_t n)
{
    EACH(i, n)
    y[i] = (a[i] + m[i]) + x[i];
}

static __global__ void __launch_bounds__(BLOCK) add_two(real *y, const real *a, const real *b, size_t n)
{
    EACH(i, n)
    y[i] = a[i] + b[i];
}

/* E23 */
static enum pmet_status embed(const struct pmet_ops *op, real *y, struct pmet_weight w, const int32_t *ids,
                              size_t n_tok, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct pmet_cuda_part part = {ids, n_tok * sizeof *ids, NULL};
    if (n_tok * w.n_in == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_stage(cuda, &part, 1, err));
    PMET_LAUNCH(embed_rows, pmet_cuda_grid(n_tok * w.n_in, BLOCK), BLOCK, 0, cuda->stream, y, w.data, w.dtype,
                (const int32_t *)part.dev, n_tok, w.n_in);
    return pmet_cuda_launched("embed", err);
}

static enum pmet_status gather(const struct pmet_ops *op, real *y, const real *x, const size_t *idx,
                               size_t n_idx, size_t width, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct pmet_cuda_part part = {idx, n_idx * sizeof *idx, NULL};
    if (n_idx * width == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_stage(cuda, &part, 1, err));
    PMET_LAUNCH(gather_rows, pmet_cuda_grid(n_idx * width, BLOCK), BLOCK, 0, cuda->stream, y, x,
                (const size_t *)part.dev, n_idx, width);
    return pmet_cuda_launched("gather", err);
}

static enum pmet_status scatter(const struct pmet_ops *op, real *y, const real *x, const size_t *idx,
                                size_t n_idx, size_t width, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct pmet_cuda_part part = {idx, n_idx * sizeof *idx, NULL};
    if (n_idx * width == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_stage(cuda, &part, 1, err));
    PMET_LAUNCH(scatter_rows, pmet_cuda_grid(n_idx * width, BLOCK), BLOCK, 0, cuda->stream, y, x,
                (const size_t *)part.dev, n_idx, width);
    return pmet_cuda_launched("scatter", err);
}

/* The deltas of E46. */
static enum pmet_status add_at(const struct pmet_ops *op, real *x, const size_t *idx, const real *delta,
                               const size_t *which, size_t n_idx, size_t width, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct pmet_cuda_part part[2] = {{idx, n_idx * sizeof *idx, NULL}, {which, n_idx * sizeof *which, NULL}};
    if (n_idx * width == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_stage(cuda, part, 2, err));
    PMET_LAUNCH(add_rows_at, pmet_cuda_grid(n_idx * width, BLOCK), BLOCK, 0, cuda->stream, x,
                (const size_t *)part[0].dev, delta, (const size_t *)part[1].dev, n_idx, width);
    return pmet_cuda_launched("add_at", err);
}

/* The sums of E59 and E61. */
static enum pmet_status add_at_grad(const struct pmet_ops *op, real *g_delta, const real *g_x,
                                    const size_t *idx, const size_t *which, size_t n_idx, size_t width,
                                    struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct pmet_cuda_part part[2] = {{idx, n_idx * sizeof *idx, NULL}, {which, n_idx * sizeof *which, NULL}};
    if (n_idx * width == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_stage(cuda, part, 2, err));
    PMET_LAUNCH(add_rows_grad, pmet_cuda_grid(width, BLOCK), BLOCK, 0, cuda->stream, g_delta, g_x,
                (const size_t *)part[0].dev, (const size_t *)part[1].dev, n_idx, width);
    return pmet_cuda_launched("add_at_grad", err);
}

/* The cached past of E35. */
static enum pmet_status store_heads(const struct pmet_ops *op, real *cache, const size_t *idx,
                                    struct pmet_heads x, size_t n_tok, size_t n_head, size_t d_head,
                                    struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct pmet_cuda_part part = {idx, n_tok * sizeof *idx, NULL};
    const size_t n = n_tok * n_head * d_head;
    if (n == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_stage(cuda, &part, 1, err));
    PMET_LAUNCH(store_rows, pmet_cuda_grid(n, BLOCK), BLOCK, 0, cuda->stream, cache, (const size_t *)part.dev,
                x, n_tok, n_head, d_head);
    return pmet_cuda_launched("store_heads", err);
}

/* The sum of E27 and E28, in this order. */
static enum pmet_status residual(const struct pmet_ops *op, real *y, const real *a, const real *m,
                                 const real *x, size_t n, struct pmet_error *err)
{
    if (n == 0)
        return PMET_OK;
    PMET_LAUNCH(add_three, pmet_cuda_grid(n, BLOCK), BLOCK, 0, pmet_cuda_of(op)->stream, y, a, m, x, n);
    return pmet_cuda_launched("residual", err);
}

/* The sums of E29. */
static enum pmet_status add(const struct pmet_ops *op, real *y, const real *a, const real *b, size_t n,
                            struct pmet_error *err)
{
    if (n == 0)
        return PMET_OK;
    PMET_LAUNCH(add_two, pmet_cuda_grid(n, BLOCK), BLOCK, 0, pmet_cuda_of(op)->stream, y, a, b, n);
    return pmet_cuda_launched("add", err);
}

void pmet_cuda_rows(struct pmet_ops *op)
{
    op->embed = embed;
    op->gather = gather;
    op->scatter = scatter;
    op->add_at = add_at;
    op->add_at_grad = add_at_grad;
    op->store_heads = store_heads;
    op->residual = residual;
    op->add = add;
}

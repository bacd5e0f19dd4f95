/* SPDX-License-Identifier: MIT
 * Rows gathered, scattered and added.      SPEC §3.5, §5.1 */
#include "kernels/widen.cuh"

static __global__ void __launch_bounds__(BLOCK)
    embed_rows(real *y, const void *w, enum pmet_dtype dtype, const int32_t *ids, size_t n_tok, size_t width)
{
    for (size_t i = pmet_first(); i < n_tok * width; i += pmet_step())
        y[i] = widen(w, dtype, (size_t)ids[i / width] * width + i % width);
}

static __global__ void __launch_bounds__(BLOCK)
    gather_rows(real *y, const real *x, const size_t *idx, size_t n_idx, size_t width)
{
    for (size_t i = pmet_first(); i < n_idx * width; i += pmet_step())
        y[i] = x[idx[i / width] * width + i % width];
}

static __global__ void __launch_bounds__(BLOCK)
    scatter_rows(real *y, const real *x, const size_t *idx, size_t n_idx, size_t width)
{
    for (size_t i = pmet_first(); i < n_idx * width; i += pmet_step())
        y[idx[i / width] * width + i % width] = x[i];
}

static __global__ void __launch_bounds__(BLOCK) add_rows_at(real *x, const size_t *idx, const real *delta,
                                                            const size_t *which, size_t n_idx, size_t width)
{
    for (size_t i = pmet_first(); i < n_idx * width; i += pmet_step())
        x[idx[i / width] * width + i % width] += delta[which[i / width] * width + i % width];
}

/* A thread owns one feature of all deltas, so that j ascends for each of them without atomics. The
 * rows of a fact follow each other, so its sum stays in a register. n_idx > 0. */
static __global__ void __launch_bounds__(BLOCK)
    add_rows_grad(real *g_delta, const real *g_x, const size_t *idx, const size_t *which, size_t n_idx,
                  size_t width)
{
    for (size_t i = pmet_first(); i < width; i += pmet_step()) {
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
    for (size_t i = pmet_first(); i < n_tok * width; i += pmet_step()) {
        const size_t t = i / width, e = i % width / d_head, k = i % d_head;
        cache[idx[t] * width + i % width] = x.data[t * x.row_stride + e * x.head_stride + k];
    }
}

static __global__ void __launch_bounds__(BLOCK)
    add_three(real *y, const real *a, const real *m, const real *x, size_t n)
{
    for (size_t i = pmet_first(); i < n; i += pmet_step())
        y[i] = (a[i] + m[i]) + x[i];
}

static __global__ void __launch_bounds__(BLOCK) add_two(real *y, const real *a, const real *b, size_t n)
{
    for (size_t i = pmet_first(); i < n; i += pmet_step())
        y[i] = a[i] + b[i];
}

/* E23 */
static enum pmet_status embed(const struct pmet_ops *op, real *y, struct pmet_weight w, const int32_t *ids,
                              size_t n_tok, struct pmet_error *err)
{
    PMET_TRY(pmet_cuda_put(op, &ids, n_tok * sizeof *ids, err));
    return PMET_LAUNCH_EACH(op, "embed", n_tok * w.n_in, err, embed_rows, y, w.data, w.dtype, ids, n_tok,
                            w.n_in);
}

static enum pmet_status gather(const struct pmet_ops *op, real *y, const real *x, const size_t *idx,
                               size_t n_idx, size_t width, struct pmet_error *err)
{
    PMET_TRY(pmet_cuda_put(op, &idx, n_idx * sizeof *idx, err));
    return PMET_LAUNCH_EACH(op, "gather", n_idx * width, err, gather_rows, y, x, idx, n_idx, width);
}

static enum pmet_status scatter(const struct pmet_ops *op, real *y, const real *x, const size_t *idx,
                                size_t n_idx, size_t width, struct pmet_error *err)
{
    PMET_TRY(pmet_cuda_put(op, &idx, n_idx * sizeof *idx, err));
    return PMET_LAUNCH_EACH(op, "scatter", n_idx * width, err, scatter_rows, y, x, idx, n_idx, width);
}

/* The deltas of E46. */
static enum pmet_status add_at(const struct pmet_ops *op, real *x, const size_t *idx, const real *delta,
                               const size_t *which, size_t n_idx, size_t width, struct pmet_error *err)
{
    struct pmet_cuda_part part[] = {{&idx, n_idx * sizeof *idx}, {&which, n_idx * sizeof *which}};
    PMET_TRY(pmet_cuda_stage(op, part, 2, err));
    return PMET_LAUNCH_EACH(op, "add_at", n_idx * width, err, add_rows_at, x, idx, delta, which, n_idx,
                            width);
}

/* The sums of E59 and E61. */
static enum pmet_status add_at_grad(const struct pmet_ops *op, real *g_delta, const real *g_x,
                                    const size_t *idx, const size_t *which, size_t n_idx, size_t width,
                                    struct pmet_error *err)
{
    struct pmet_cuda_part part[] = {{&idx, n_idx * sizeof *idx}, {&which, n_idx * sizeof *which}};
    PMET_TRY(pmet_cuda_stage(op, part, 2, err));
    return PMET_LAUNCH_EACH(op, "add_at_grad", n_idx ? width : 0, err, add_rows_grad, g_delta, g_x, idx,
                            which, n_idx, width);
}

/* The cached past of E35. */
static enum pmet_status store_heads(const struct pmet_ops *op, real *cache, const size_t *idx,
                                    struct pmet_heads x, size_t n_tok, size_t n_head, size_t d_head,
                                    struct pmet_error *err)
{
    PMET_TRY(pmet_cuda_put(op, &idx, n_tok * sizeof *idx, err));
    return PMET_LAUNCH_EACH(op, "store_heads", n_tok * n_head * d_head, err, store_rows, cache, idx, x, n_tok,
                            n_head, d_head);
}

/* The sum of E27 and E28, in this order. */
static enum pmet_status residual(const struct pmet_ops *op, real *y, const real *a, const real *m,
                                 const real *x, size_t n, struct pmet_error *err)
{
    return PMET_LAUNCH_EACH(op, "residual", n, err, add_three, y, a, m, x, n);
}

/* The sums of E29. */
static enum pmet_status add(const struct pmet_ops *op, real *y, const real *a, const real *b, size_t n,
                            struct pmet_error *err)
{
    return PMET_LAUNCH_EACH(op, "add", n, err, add_two, y, a, b, n);
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

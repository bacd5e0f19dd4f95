/* SPDX-License-Identifier: MIT
 * Vectors of the optimisation: norms, sums, Adam.      SPEC §5.4, §5.5 */
#include "kernels/reduce.cuh"

#include <stdlib.h>

enum { BLOCK = 256 };

static __global__ void __launch_bounds__(BLOCK)
    norm_rows(double *norm, const real *x, size_t n_row, size_t width)
{
    PMET_SHARED(double, part, BLOCK + 1);
    for (size_t r = blockIdx.x; r < n_row; r += gridDim.x) {
        double sum = 0;
        for (size_t i = threadIdx.x; i < width; i += BLOCK)
            sum = fma((double)x[r * width + i], (double)x[r * width + i], sum);
        sum = block_sum(sum, part);
        if (threadIdx.x == 0)
            norm[r] = sqrt(sum);
    }
}

static __global__ void __launch_bounds__(BLOCK)
    axpy_rows(real *y, const double *s, const real *x, size_t n, size_t width)
{
    for (size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += (size_t)gridDim.x * BLOCK)
        if (s[i / width] != 0)
            y[i] = (real)((double)y[i] + s[i / width] * (double)x[i]);
}

static __global__ void __launch_bounds__(BLOCK) scale_rows(real *x, const double *s, size_t n, size_t width)
{
    for (size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += (size_t)gridDim.x * BLOCK)
        if (s[i / width] != 1)
            x[i] = (real)((double)x[i] * s[i / width]);
}

/* E55: m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr/(1-b1^k) m / (sqrt(v)/sqrt(1-b2^k) + eps)
 * by_step, of each row: lr/(1-b1^k), then for all rows sqrt(1-b2^k). */
static __global__ void __launch_bounds__(BLOCK)
    adam_rows(real *p, const real *g, real *m, real *v, const double *by_step, size_t n_row, size_t width)
{
    const double b1 = 0.9, b2 = 0.999, eps = 1e-8;
    for (size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x; i < n_row * width;
         i += (size_t)gridDim.x * BLOCK) {
        const double gi = (double)g[i], step = by_step[i / width], root = by_step[n_row + i / width];
        m[i] = (real)(b1 * (double)m[i] + (1 - b1) * gi);
        v[i] = (real)(b2 * (double)v[i] + (1 - b2) * gi * gi);
        p[i] = (real)((double)p[i] - step * (double)m[i] / (sqrt((double)v[i]) / root + eps));
    }
}

/* What E50 and E56 measure. */
static enum pmet_status norm(const struct pmet_ops *op, double *out, const real *x, size_t n_row,
                             size_t width, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    double *result;
    if (n_row == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_scratch(cuda, PMET_SCRATCH_RESULT, n_row * sizeof *result, &result, err));
    PMET_LAUNCH(norm_rows, pmet_cuda_grid(n_row, 1), BLOCK, 0, cuda->stream, result, x, n_row, width);
    PMET_TRY(pmet_cuda_launched("norm", err));
    return pmet_cuda_fetch(cuda, out, result, n_row * sizeof *out, "norm", err);
}

static enum pmet_status axpy(const struct pmet_ops *op, real *y, const double *s, const real *x, size_t n_row,
                             size_t width, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct pmet_cuda_part part = {s, n_row * sizeof *s, NULL};
    const size_t n = n_row * width;
    if (n == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_stage(cuda, &part, 1, err));
    PMET_LAUNCH(axpy_rows, pmet_cuda_grid(n, BLOCK), BLOCK, 0, cuda->stream, y, (const double *)part.dev, x,
                n, width);
    return pmet_cuda_launched("axpy", err);
}

static enum pmet_status scale(const struct pmet_ops *op, real *x, const double *s, size_t n_row, size_t width,
                              struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct pmet_cuda_part part = {s, n_row * sizeof *s, NULL};
    const size_t n = n_row * width;
    if (n == 0)
        return PMET_OK;
    PMET_TRY(pmet_cuda_stage(cuda, &part, 1, err));
    PMET_LAUNCH(scale_rows, pmet_cuda_grid(n, BLOCK), BLOCK, 0, cuda->stream, x, (const double *)part.dev, n,
                width);
    return pmet_cuda_launched("scale", err);
}

static enum pmet_status adam(const struct pmet_ops *op, real *p, const real *g, real *m, real *v, double lr,
                             const size_t *k, size_t n_row, size_t width, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    double *by_step;
    if (n_row * width == 0)
        return PMET_OK;
    PMET_TRY(pmet_calloc(&by_step, 2 * n_row, sizeof *by_step, "Adam's steps", err));
    for (size_t r = 0; r < n_row; r++) {
        by_step[r] = lr / (1 - pow(0.9, (double)k[r]));
        by_step[n_row + r] = sqrt(1 - pow(0.999, (double)k[r]));
    }
    struct pmet_cuda_part part = {by_step, 2 * n_row * sizeof *by_step, NULL};
    const enum pmet_status status = pmet_cuda_stage(cuda, &part, 1, err);
    free(by_step);
    PMET_TRY(status);
    PMET_LAUNCH(adam_rows, pmet_cuda_grid(n_row * width, BLOCK), BLOCK, 0, cuda->stream, p, g, m, v,
                (const double *)part.dev, n_row, width);
    return pmet_cuda_launched("adam", err);
}

void pmet_cuda_optimise(struct pmet_ops *op)
{
    op->norm = norm;
    op->axpy = axpy;
    op->scale = scale;
    op->adam = adam;
}

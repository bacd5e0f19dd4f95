/* SPDX-License-Identifier: MIT
 * Vectors of the optimisation: norms, sums, Adam.      SPEC §5.4, §5.5 */
#include "kernels/reduce.cuh"

#include <stdlib.h>

static __global__ void __launch_bounds__(BLOCK)
    norm_rows(double *norm, const real *x, size_t n_row, size_t width)
{
    for (size_t r = blockIdx.x; r < n_row; r += gridDim.x) {
        double sum = 0;
        for (size_t i = threadIdx.x; i < width; i += BLOCK)
            sum = fma((double)x[r * width + i], (double)x[r * width + i], sum);
        sum = block_sum(sum);
        if (threadIdx.x == 0)
            norm[r] = sqrt(sum);
    }
}

static __global__ void __launch_bounds__(BLOCK)
    axpy_rows(real *y, const double *s, const real *x, size_t n, size_t width)
{
    for (size_t i = pmet_first(); i < n; i += pmet_step())
        if (s[i / width] != 0)
            y[i] = (real)((double)y[i] + s[i / width] * (double)x[i]);
}

static __global__ void __launch_bounds__(BLOCK) scale_rows(real *x, const double *s, size_t n, size_t width)
{
    for (size_t i = pmet_first(); i < n; i += pmet_step())
        if (s[i / width] != 1)
            x[i] = (real)((double)x[i] * s[i / width]);
}

/* E55: m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr/(1-b1^k) m / (sqrt(v)/sqrt(1-b2^k) + eps)
 * by_step, of each row: lr/(1-b1^k), then for all rows sqrt(1-b2^k). */
static __global__ void __launch_bounds__(BLOCK)
    adam_rows(real *p, const real *g, real *m, real *v, const double *by_step, size_t n_row, size_t width)
{
    const double b1 = 0.9, b2 = 0.999, eps = 1e-8;
    for (size_t i = pmet_first(); i < n_row * width; i += pmet_step()) {
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
    PMET_TRY(pmet_cuda_put(op, &s, n_row * sizeof *s, err));
    return PMET_LAUNCH_EACH(op, "axpy", n_row * width, err, axpy_rows, y, s, x, n_row * width, width);
}

static enum pmet_status scale(const struct pmet_ops *op, real *x, const double *s, size_t n_row, size_t width,
                              struct pmet_error *err)
{
    PMET_TRY(pmet_cuda_put(op, &s, n_row * sizeof *s, err));
    return PMET_LAUNCH_EACH(op, "scale", n_row * width, err, scale_rows, x, s, n_row * width, width);
}

static enum pmet_status adam(const struct pmet_ops *op, real *p, const real *g, real *m, real *v, double lr,
                             const size_t *k, size_t n_row, size_t width, struct pmet_error *err)
{
    double *by_step;
    if (n_row * width == 0)
        return PMET_OK;
    PMET_TRY(pmet_calloc(&by_step, 2 * n_row, sizeof *by_step, "Adam's steps", err));
    for (size_t r = 0; r < n_row; r++) {
        by_step[r] = lr / (1 - pow(0.9, (double)k[r]));
        by_step[n_row + r] = sqrt(1 - pow(0.999, (double)k[r]));
    }
    const double *dev = by_step;
    const enum pmet_status status = pmet_cuda_put(op, &dev, 2 * n_row * sizeof *dev, err);
    free(by_step);
    PMET_TRY(status);
    return PMET_LAUNCH_EACH(op, "adam", n_row * width, err, adam_rows, p, g, m, v, dev, n_row, width);
}

void pmet_cuda_optimise(struct pmet_ops *op)
{
    op->norm = norm;
    op->axpy = axpy;
    op->scale = scale;
    op->adam = adam;
}

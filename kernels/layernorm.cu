/* SPDX-License-Identifier: MIT
 * Layer normalisation and its gradient: one warp per row, lanes stride the row so that loads coalesce.  SPEC §3.1 */
#include "kernels/reduce.cuh"

enum { WARPS = BLOCK / 32 };

/* The row of this warp; it may lie past the last row. Then the whole warp returns, and no barrier
 * follows. */
static __device__ size_t warp_row(void)
{
    return (size_t)blockIdx.x * WARPS + threadIdx.x / 32;
}

/* mean and 1/sqrt(var + eps), in double. */
static __device__ void moments(const real *x, size_t n, double eps, double *mean, double *rstd)
{
    double s = 0, v = 0;
    for (size_t i = threadIdx.x % 32; i < n; i += 32)
        s += (double)x[i];
    *mean = warp_sum(s) / (double)n;
    for (size_t i = threadIdx.x % 32; i < n; i += 32)
        v = fma((double)x[i] - *mean, (double)x[i] - *mean, v);
    *rstd = 1 / sqrt(warp_sum(v) / (double)n + eps);
}

static __global__ void __launch_bounds__(BLOCK)
    normalise_rows(real *y, const real *x, const real *gain, const real *bias, double eps, size_t n_tok,
                   size_t d)
{
    const size_t t = warp_row();
    double mean, rstd;
    if (t >= n_tok)
        return;
    moments(x + t * d, d, eps, &mean, &rstd);
    for (size_t i = threadIdx.x % 32; i < d; i += 32)
        y[t * d + i] = (real)(((double)x[t * d + i] - mean) * rstd * (double)gain[i] + (double)bias[i]);
}

static __global__ void __launch_bounds__(BLOCK)
    normalise_dx_rows(real *g_x, const real *g_y, const real *x, const real *gain, double eps, size_t n_tok,
                      size_t d)
{
    const size_t t = warp_row();
    double mean, rstd, sum_g = 0, sum_gn = 0;
    if (t >= n_tok)
        return;
    moments(x + t * d, d, eps, &mean, &rstd);
    for (size_t i = threadIdx.x % 32; i < d; i += 32) {
        const double g = (double)g_y[t * d + i] * (double)gain[i];
        sum_g += g;
        sum_gn = fma(g, ((double)x[t * d + i] - mean) * rstd, sum_gn);
    }
    sum_g = warp_sum(sum_g);
    sum_gn = warp_sum(sum_gn);
    for (size_t i = threadIdx.x % 32; i < d; i += 32) {
        const double g = (double)g_y[t * d + i] * (double)gain[i], n = ((double)x[t * d + i] - mean) * rstd;
        g_x[t * d + i] += (real)(rstd * (g - sum_g / (double)d - n * sum_gn / (double)d));
    }
}

/* E9 */
static enum pmet_status layernorm(const struct pmet_ops *op, real *y, const real *x, const real *gain,
                                  const real *bias, double eps, size_t n_tok, size_t d,
                                  struct pmet_error *err)
{
    const size_t n_block = (n_tok + WARPS - 1) / WARPS;
    if (n_tok * d == 0)
        return PMET_OK;
    if (n_block > INT32_MAX)
        return pmet_fail(err, PMET_UNSUPPORTED, "cuda: layernorm: %zu rows; at most 2^34", n_tok);
    PMET_LAUNCH(normalise_rows, (unsigned)n_block, BLOCK, 0, pmet_cuda_of(op)->stream, y, x, gain, bias, eps,
                n_tok, d);
    return pmet_cuda_launched("layernorm", err);
}

/* E10: with n_i = (x_i - mean) rstd and g_n = g_y gain:  g_x = rstd (g_n - mean(g_n) - n mean(g_n n)). */
static enum pmet_status layernorm_dx(const struct pmet_ops *op, real *g_x, const real *g_y, const real *x,
                                     const real *gain, double eps, size_t n_tok, size_t d,
                                     struct pmet_error *err)
{
    const size_t n_block = (n_tok + WARPS - 1) / WARPS;
    if (n_tok * d == 0)
        return PMET_OK;
    if (n_block > INT32_MAX)
        return pmet_fail(err, PMET_UNSUPPORTED, "cuda: layernorm_dx: %zu rows; at most 2^34", n_tok);
    PMET_LAUNCH(normalise_dx_rows, (unsigned)n_block, BLOCK, 0, pmet_cuda_of(op)->stream, g_x, g_y, x, gain,
                eps, n_tok, d);
    return pmet_cuda_launched("layernorm_dx", err);
}

void pmet_cuda_layernorm(struct pmet_ops *op)
{
    op->layernorm = layernorm;
    op->layernorm_dx = layernorm_dx;
}

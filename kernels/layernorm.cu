/* SPDX-License-Identifier: MIT
 * Layer normalisation and its gradient: one warp per row, lanes stride the row so that loads
 * coalesce.      SPEC §3.1 */
#include "kernels/reduce.cuh"

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

/* One warp per row: `for (t = pmet_first() / 32; ...)` is the same for all of its lanes. */
static __global__ void __launch_bounds__(BLOCK)
    normalise_rows(real *y, const real *x, const real *gain, const real *bias, double eps, size_t n_tok,
                   size_t d)
{
    for (size_t t = pmet_first() / 32; t < n_tok; t += pmet_step() / 32) {
        double mean, rstd;
        moments(x + t * d, d, eps, &mean, &rstd);
        for (size_t i = threadIdx.x % 32; i < d; i += 32)
            y[t * d + i] = (real)(((double)x[t * d + i] - mean) * rstd * (double)gain[i] + (double)bias[i]);
    }
}

static __global__ void __launch_bounds__(BLOCK)
    normalise_dx_rows(real *g_x, const real *g_y, const real *x, const real *gain, double eps, size_t n_tok,
                      size_t d)
{
    for (size_t t = pmet_first() / 32; t < n_tok; t += pmet_step() / 32) {
        double mean, rstd, sum_g = 0, sum_gn = 0;
        moments(x + t * d, d, eps, &mean, &rstd);
        for (size_t i = threadIdx.x % 32; i < d; i += 32) {
            const double g = (double)g_y[t * d + i] * (double)gain[i];
            sum_g += g;
            sum_gn = fma(g, ((double)x[t * d + i] - mean) * rstd, sum_gn);
        }
        sum_g = warp_sum(sum_g);
        sum_gn = warp_sum(sum_gn);
        for (size_t i = threadIdx.x % 32; i < d; i += 32) {
            const double g = (double)g_y[t * d + i] * (double)gain[i],
                         n = ((double)x[t * d + i] - mean) * rstd;
            g_x[t * d + i] += (real)(rstd * (g - sum_g / (double)d - n * sum_gn / (double)d));
        }
    }
}

/* E9 */
static enum pmet_status layernorm(const struct pmet_ops *op, real *y, const real *x, const real *gain,
                                  const real *bias, double eps, size_t n_tok, size_t d,
                                  struct pmet_error *err)
{
    return PMET_LAUNCH_EACH(op, "layernorm", 32 * n_tok, err, normalise_rows, y, x, gain, bias, eps, n_tok,
                            d);
}

/* E10: with n_i = (x_i - mean) rstd and g_n = g_y gain:  g_x = rstd (g_n - mean(g_n) - n mean(g_n n)). */
static enum pmet_status layernorm_dx(const struct pmet_ops *op, real *g_x, const real *g_y, const real *x,
                                     const real *gain, double eps, size_t n_tok, size_t d,
                                     struct pmet_error *err)
{
    return PMET_LAUNCH_EACH(op, "layernorm_dx", 32 * n_tok, err, normalise_dx_rows, g_x, g_y, x, gain, eps,
                            n_tok, d);
}

void pmet_cuda_layernorm(struct pmet_ops *op)
{
    op->layernorm = layernorm;
    op->layernorm_dx = layernorm_dx;
}

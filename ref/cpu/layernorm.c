/* SPDX-License-Identifier: MIT
 * Layer normalisation and its gradient.      SPEC §3.1 */
#include <math.h>
#include "ref/cpu/cpu.h"

/* mean and 1/sqrt(var + eps) of a row, in double. */
static void moments(const real *x, size_t n, double eps, double *mean, double *rstd)
{
    double s = 0, v = 0;
    for (size_t i = 0; i < n; i++)
        s += (double)x[i];
    *mean = s / (double)n;
    for (size_t i = 0; i < n; i++)
        v += ((double)x[i] - *mean) * ((double)x[i] - *mean);
    *rstd = 1 / sqrt(v / (double)n + eps);
}

/* E9 */
static enum pmet_status layernorm(const struct pmet_ops *op, real *y, const real *x, const real *gain,
                                  const real *bias, double eps, size_t n_tok, size_t d,
                                  struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n_tok * d > 65536)
    for (size_t t = 0; t < n_tok; t++) {
        double mean, rstd;
        moments(x + t * d, d, eps, &mean, &rstd);
        for (size_t i = 0; i < d; i++)
            y[t * d + i] = (real)(((double)x[t * d + i] - mean) * rstd * (double)gain[i] + (double)bias[i]);
    }
    return PMET_OK;
}

/* E10: with n_i = (x_i - mean) rstd and g_n = g_y gain:  g_x = rstd (g_n - mean(g_n) - n mean(g_n n)). */
static enum pmet_status layernorm_dx(const struct pmet_ops *op, real *g_x, const real *g_y, const real *x,
                                     const real *gain, double eps, size_t n_tok, size_t d,
                                     struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n_tok * d > 65536)
    for (size_t t = 0; t < n_tok; t++) {
        double mean, rstd, sum_g = 0, sum_gn = 0;
        moments(x + t * d, d, eps, &mean, &rstd);
        for (size_t i = 0; i < d; i++) {
            const double g = (double)g_y[t * d + i] * (double)gain[i];
            sum_g += g;
            sum_gn += g * ((double)x[t * d + i] - mean) * rstd;
        }
        for (size_t i = 0; i < d; i++) {
            const double g = (double)g_y[t * d + i] * (double)gain[i],
                         n = ((double)x[t * d + i] - mean) * rstd;
            g_x[t * d + i] += (real)(rstd * (g - sum_g / (double)d - n * sum_gn / (double)d));
        }
    }
    return PMET_OK;
}

void pmet_cpu_layernorm(struct pmet_ops *op)
{
    op->layernorm = layernorm;
    op->layernorm_dx = layernorm_dx;
}

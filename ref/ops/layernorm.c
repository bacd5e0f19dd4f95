/* SPDX-License-Identifier: MIT
 * Layer normalisation and its gradient.      SPEC §3.1 */
#include <math.h>
#include "ref/ops/plain.h"

/* The mean of a row and 1/sqrt(var + eps). */
static void moments(const real *x, size_t d, double eps, double *mean, double *rstd)
{
    double sum = 0, var = 0;
    for (size_t i = 0; i < d; i++)
        sum += (double)x[i];
    *mean = sum / (double)d;
    for (size_t i = 0; i < d; i++)
        var += ((double)x[i] - *mean) * ((double)x[i] - *mean);
    *rstd = 1 / sqrt(var / (double)d + eps);
}

/* E9   x^_i = (x_i - mean) / sqrt(var + eps),   y_i = x^_i gain_i + bias_i */
static enum pmet_status layernorm(const struct pmet_ops *op, real *y, const real *x, const real *gain,
                                  const real *bias, double eps, size_t n_tok, size_t d,
                                  struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t t = 0; t < n_tok; t++, x += d, y += d) {
        double mean, rstd;
        moments(x, d, eps, &mean, &rstd);
        for (size_t i = 0; i < d; i++)
            y[i] = (real)(((double)x[i] - mean) * rstd * (double)gain[i] + (double)bias[i]);
    }
    return PMET_OK;
}

/* E10  u_i = g_y,i gain_i,   g_x,i += (u_i - mean(u) - x^_i mean(u x^)) / sqrt(var + eps) */
static enum pmet_status layernorm_dx(const struct pmet_ops *op, real *g_x, const real *g_y, const real *x,
                                     const real *gain, double eps, size_t n_tok, size_t d,
                                     struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t t = 0; t < n_tok; t++, x += d, g_x += d, g_y += d) {
        double mean, rstd, sum_u = 0, sum_un = 0;
        moments(x, d, eps, &mean, &rstd);
        for (size_t i = 0; i < d; i++) {
            const double u = (double)g_y[i] * (double)gain[i];
            sum_u += u;
            sum_un += u * ((double)x[i] - mean) * rstd;
        }
        for (size_t i = 0; i < d; i++) {
            const double u = (double)g_y[i] * (double)gain[i], n = ((double)x[i] - mean) * rstd;
            g_x[i] += (real)(rstd * (u - sum_u / (double)d - n * sum_un / (double)d));
        }
    }
    return PMET_OK;
}

void pmet_plain_layernorm(struct pmet_ops *op)
{
    op->layernorm = layernorm;
    op->layernorm_dx = layernorm_dx;
}

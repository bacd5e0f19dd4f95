/* SPDX-License-Identifier: MIT
 * Vectors of the optimisation: norms, sums, Adam.      SPEC §5.4, §5.5 */
#include <math.h>
#include "ref/ops/plain.h"

/* The norms of E50 and E56. */
static enum pmet_status norm(const struct pmet_ops *op, double *out, const real *x, size_t n_row,
                             size_t width, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t r = 0; r < n_row; r++, x += width) {
        double sum = 0;
        for (size_t i = 0; i < width; i++)
            sum += (double)x[i] * (double)x[i];
        out[r] = sqrt(sum);
    }
    return PMET_OK;
}

static enum pmet_status axpy(const struct pmet_ops *op, real *y, const double *s, const real *x, size_t n_row,
                             size_t width, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t r = 0; r < n_row; r++)
        for (size_t i = r * width; s[r] != 0 && i < (r + 1) * width; i++)
            y[i] = (real)((double)y[i] + s[r] * (double)x[i]);
    return PMET_OK;
}

/* E56 with s = clamp_norm_factor |m0| / |delta|, where that is below 1 */
static enum pmet_status scale(const struct pmet_ops *op, real *x, const double *s, size_t n_row, size_t width,
                              struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t r = 0; r < n_row; r++)
        for (size_t i = r * width; s[r] != 1 && i < (r + 1) * width; i++)
            x[i] = (real)((double)x[i] * s[r]);
    return PMET_OK;
}

/* E55  m = b1 m + (1-b1) g,   v = b2 v + (1-b2) g^2,
 *      p -= lr/(1-b1^k) m / (sqrt(v)/sqrt(1-b2^k) + eps) */
static enum pmet_status adam(const struct pmet_ops *op, real *p, const real *g, real *m, real *v, double lr,
                             const size_t *k, size_t n_row, size_t width, struct pmet_error *err)
{
    const double b1 = 0.9, b2 = 0.999, eps = 1e-8;
    (void)op, (void)err;
    for (size_t r = 0; r < n_row; r++) {
        const double step = lr / (1 - pow(b1, (double)k[r])), root = sqrt(1 - pow(b2, (double)k[r]));
        for (size_t i = r * width; i < (r + 1) * width; i++) {
            m[i] = (real)(b1 * (double)m[i] + (1 - b1) * (double)g[i]);
            v[i] = (real)(b2 * (double)v[i] + (1 - b2) * (double)g[i] * (double)g[i]);
            p[i] = (real)((double)p[i] - step * (double)m[i] / (sqrt((double)v[i]) / root + eps));
        }
    }
    return PMET_OK;
}

void pmet_plain_optimise(struct pmet_ops *op)
{
    op->norm = norm;
    op->axpy = axpy;
    op->scale = scale;
    op->adam = adam;
}

/* SPDX-License-Identifier: MIT
 * Vectors of the optimisation: norms, sums, Adam.      SPEC §5.4, §5.5 */
#include <math.h>
#include "ref/cpu/cpu.h"

/* What E50 and E56 measure. */
static enum pmet_status norm(const struct pmet_ops *op, double *out, const real *x, size_t n_row,
                             size_t width, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t r = 0; r < n_row; r++)
        out[r] = sqrt(pmet_dot(x + r * width, x + r * width, width));
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

static enum pmet_status scale(const struct pmet_ops *op, real *x, const double *s, size_t n_row, size_t width,
                              struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t r = 0; r < n_row; r++)
        for (size_t i = r * width; s[r] != 1 && i < (r + 1) * width; i++)
            x[i] = (real)((double)x[i] * s[r]);
    return PMET_OK;
}

/* E55: m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr/(1-b1^k) m / (sqrt(v)/sqrt(1-b2^k) + eps) */
static void adam_row(real *restrict p, const real *restrict g, real *restrict m, real *restrict v, double lr,
                     size_t k, size_t n)
{
    const double b1 = 0.9, b2 = 0.999, eps = 1e-8;
    const double step = lr / (1 - pow(b1, (double)k)), root = sqrt(1 - pow(b2, (double)k));
    for (size_t i = 0; i < n; i++) {
        const double gi = (double)g[i];
        m[i] = (real)(b1 * (double)m[i] + (1 - b1) * gi);
        v[i] = (real)(b2 * (double)v[i] + (1 - b2) * gi * gi);
        p[i] = (real)((double)p[i] - step * (double)m[i] / (sqrt((double)v[i]) / root + eps));
    }
}

static enum pmet_status adam(const struct pmet_ops *op, real *p, const real *g, real *m, real *v, double lr,
                             const size_t *k, size_t n_row, size_t width, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t r = 0, at = 0; r < n_row; r++, at += width)
        adam_row(p + at, g + at, m + at, v + at, lr, k[r], width);
    return PMET_OK;
}

void pmet_cpu_optimise(struct pmet_ops *op)
{
    op->norm = norm;
    op->axpy = axpy;
    op->scale = scale;
    op->adam = adam;
}

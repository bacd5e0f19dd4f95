/* SPDX-License-Identifier: MIT
 * The FFN's activations and their gradients (E18-E22), in double, rounded once.      SPEC §3.4
 * Loops without calls vectorise. */
#include <math.h>
#include "ref/cpu/table.h"
#include "ref/cpu/exponential.h"
#include "ref/cpu/threads.h"

#define SQRT_2_OVER_PI 0.79788456080286535588
#define FAST_CONSTANT 0.7978845608 /* ten digits of it */
#define SQRT_HALF 0.70710678118654752440
#define ONE_OVER_SQRT_2PI 0.39894228040143267794

enum { CHUNK = 1024 }; /* elements that a thread takes at a time */

/* E18, E20: 0.5 x (1 + tanh u) = x / (1 + e^(-2u)),  u = c (x + 0.044715 x^3); nothing cancels */
static inline double gelu_tanh(double x, double c)
{
    return x / (1 + pmet_exp(-2 * c * (x + 0.044715 * x * x * x)));
}

/* E22, with s = 0.5 (1 + tanh u): 0.5 (1 + tanh u) + 0.5 x (1 - tanh^2 u) u'
 *                              = s + 2 x s (1 - s) u' */
static inline double gelu_tanh_slope(double x, double c)
{
    const double e = pmet_exp(-2 * c * (x + 0.044715 * x * x * x)), s = 1 / (1 + e),
                 rest = e > 1 ? 1 - s : e * s; /* 1 - s without cancellation */
    return s + 2 * x * s * rest * c * (1 + 3 * 0.044715 * x * x);
}

/* E18-E21, n elements; a loop for each kind that has one without calls, so that it vectorises */
static void values(real *y, const real *x, enum pmet_act kind, size_t n)
{
    const double c = kind == PMET_GELU_FAST ? FAST_CONSTANT : SQRT_2_OVER_PI;
    switch (kind) {
    case PMET_GELU_NEW:
    case PMET_GELU_FAST:
        for (size_t i = 0; i < n; i++)
            y[i] = (real)gelu_tanh((double)x[i], c);
        return;
    case PMET_GELU:
        for (size_t i = 0; i < n; i++)
            y[i] = (real)(0.5 * (double)x[i] * (1 + erf((double)x[i] * SQRT_HALF)));
        return;
    case PMET_RELU:
        for (size_t i = 0; i < n; i++)
            y[i] = x[i] > 0 ? x[i] : isnan(x[i]) ? x[i] : 0;
        return;
    case PMET_SILU:
        break;
    }
    for (size_t i = 0; i < n; i++)
        y[i] = (real)((double)x[i] / (1 + pmet_exp(-(double)x[i])));
}

/* E22 */
static double slope(double x, enum pmet_act kind)
{
    if (kind == PMET_GELU)
        return 0.5 * (1 + erf(x * SQRT_HALF)) + x * ONE_OVER_SQRT_2PI * pmet_exp(-0.5 * x * x);
    if (kind == PMET_RELU)
        return x > 0;
    const double s = 1 / (1 + pmet_exp(-x));
    return s * (1 + x * (1 - s));
}

static void slopes(real *g_x, const real *g_y, const real *x, enum pmet_act kind, size_t n)
{
    const double c = kind == PMET_GELU_FAST ? FAST_CONSTANT : SQRT_2_OVER_PI;
    const bool is_tanh = kind == PMET_GELU_NEW || kind == PMET_GELU_FAST;
    for (size_t i = 0; is_tanh && i < n; i++)
        g_x[i] = (real)((double)g_y[i] * gelu_tanh_slope((double)x[i], c));
    for (size_t i = 0; !is_tanh && i < n; i++)
        g_x[i] = (real)((double)g_y[i] * slope((double)x[i], kind));
}

static enum pmet_status act(const struct pmet_ops *op, real *y, const real *x, enum pmet_act kind, size_t n,
                            struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n > 8 * CHUNK)
    for (size_t i = 0; i < n; i += CHUNK)
        values(y + i, x + i, kind, n - i < CHUNK ? n - i : CHUNK);
    return PMET_OK;
}

static enum pmet_status act_dx(const struct pmet_ops *op, real *g_x, const real *g_y, const real *x,
                               enum pmet_act kind, size_t n, struct pmet_error *err)
{
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n > 8 * CHUNK)
    for (size_t i = 0; i < n; i += CHUNK)
        slopes(g_x + i, g_y + i, x + i, kind, n - i < CHUNK ? n - i : CHUNK);
    return PMET_OK;
}

void pmet_cpu_activation(struct pmet_ops *op)
{
    op->act = act;
    op->act_dx = act_dx;
}

/* SPDX-License-Identifier: MIT
 * The FFN's activations and their gradients, computed in double and rounded once.      SPEC §3.4 */
#include "kernels/cuda.h"

#define SQRT_2_OVER_PI 0.79788456080286535588
#define FAST_CONSTANT 0.7978845608 /* gelu_fast: sqrt(2/pi) to ten digits */
#define SQRT_HALF 0.70710678118654752440
#define ONE_OVER_SQRT_2PI 0.39894228040143267794

/* tanh(c (x + 0.044715 x^3)) */
static __device__ double tanh_of(double x, double c)
{
    return tanh(c * (x + 0.044715 * x * x * x));
}

/* E18-E21 */
static __device__ double value(double x, enum pmet_act kind)
{
    switch (kind) {
    case PMET_GELU_NEW:
    case PMET_GELU_FAST:
        return 0.5 * x * (1 + tanh_of(x, kind == PMET_GELU_NEW ? SQRT_2_OVER_PI : FAST_CONSTANT));
    case PMET_GELU:
        return 0.5 * x * (1 + erf(x * SQRT_HALF));
    case PMET_RELU:
        return x > 0 ? x : isnan(x) ? x : 0;
    case PMET_SILU:
        break;
    }
    return x / (1 + exp(-x));
}

/* E22 */
static __device__ double slope(double x, enum pmet_act kind)
{
    if (kind == PMET_GELU_NEW || kind == PMET_GELU_FAST) {
        const double c = kind == PMET_GELU_NEW ? SQRT_2_OVER_PI : FAST_CONSTANT, t = tanh_of(x, c);
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
    }
    if (kind == PMET_GELU)
        return 0.5 * (1 + erf(x * SQRT_HALF)) + x * ONE_OVER_SQRT_2PI * exp(-0.5 * x * x);
    if (kind == PMET_RELU)
        return x > 0;
    const double s = 1 / (1 + exp(-x));
    return s * (1 + x * (1 - s));
}

static __global__ void __launch_bounds__(BLOCK) act_each(real *y, const real *x, enum pmet_act kind, size_t n)
{
    for (size_t i = pmet_first(); i < n; i += pmet_step())
        y[i] = (real)value((double)x[i], kind);
}

static __global__ void __launch_bounds__(BLOCK)
    act_dx_each(real *g_x, const real *g_y, const real *x, enum pmet_act kind, size_t n)
{
    for (size_t i = pmet_first(); i < n; i += pmet_step())
        g_x[i] = (real)((double)g_y[i] * slope((double)x[i], kind));
}

static enum pmet_status act(const struct pmet_ops *op, real *y, const real *x, enum pmet_act kind, size_t n,
                            struct pmet_error *err)
{
    return PMET_LAUNCH_EACH(op, "act", n, err, act_each, y, x, kind, n);
}

static enum pmet_status act_dx(const struct pmet_ops *op, real *g_x, const real *g_y, const real *x,
                               enum pmet_act kind, size_t n, struct pmet_error *err)
{
    return PMET_LAUNCH_EACH(op, "act_dx", n, err, act_dx_each, g_x, g_y, x, kind, n);
}

void pmet_cuda_activation(struct pmet_ops *op)
{
    op->act = act;
    op->act_dx = act_dx;
}

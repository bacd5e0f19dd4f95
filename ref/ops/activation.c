/* SPDX-License-Identifier: MIT
 * The FFN's activations and their gradients, computed in double and rounded once.      SPEC §3.4 */
#include <math.h>
#include "ref/ops/plain.h"

#define SQRT_2_OVER_PI 0.79788456080286535588
#define SQRT_2_OVER_PI_CUT 0.7978845608 /* gelu_fast has ten digits of it */
#define SQRT_HALF 0.70710678118654752440
#define ONE_OVER_SQRT_2PI 0.39894228040143267794

static double tanh_of(double x, double c)
{
    return tanh(c * (x + 0.044715 * x * x * x));
}

static double value(double x, enum pmet_act kind)
{
    const double c = kind == PMET_GELU_FAST ? SQRT_2_OVER_PI_CUT : SQRT_2_OVER_PI;
    switch (kind) {
    case PMET_GELU_NEW:  /* E18  0.5 x (1 + tanh(c (x + 0.044715 x^3))), c = sqrt(2/pi) */
    case PMET_GELU_FAST: /* E20  the same, c = 0.7978845608 */
        return 0.5 * x * (1 + tanh_of(x, c));
    case PMET_GELU: /* E19  0.5 x (1 + erf(x / sqrt(2))) */
        return 0.5 * x * (1 + erf(x * SQRT_HALF));
    case PMET_RELU: /* E21  max(x, 0);  NaN stays */
        return x > 0 || isnan(x) ? x : 0;
    case PMET_SILU: /* E21  x / (1 + e^-x) */
        break;
    }
    return x / (1 + exp(-x));
}

/* E22 */
static double slope(double x, enum pmet_act kind)
{
    const double c = kind == PMET_GELU_FAST ? SQRT_2_OVER_PI_CUT : SQRT_2_OVER_PI, tau = tanh_of(x, c),
                 s = 1 / (1 + exp(-x));
    switch (kind) {
    case PMET_GELU_NEW:
    case PMET_GELU_FAST: /* 0.5 (1 + tau) + 0.5 x (1 - tau^2) c (1 + 3 0.044715 x^2) */
        return 0.5 * (1 + tau) + 0.5 * x * (1 - tau * tau) * c * (1 + 3 * 0.044715 * x * x);
    case PMET_GELU: /* Phi(x) + x e^(-x^2/2) / sqrt(2 pi) */
        return 0.5 * (1 + erf(x * SQRT_HALF)) + x * exp(-0.5 * x * x) * ONE_OVER_SQRT_2PI;
    case PMET_RELU: /* [x > 0] */
        return x > 0;
    case PMET_SILU: /* s (1 + x (1 - s)),  s = 1 / (1 + e^-x) */
        break;
    }
    return s * (1 + x * (1 - s));
}

static enum pmet_status act(const struct pmet_ops *op, real *y, const real *x, enum pmet_act kind, size_t n,
                            struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t i = 0; i < n; i++)
        y[i] = (real)value((double)x[i], kind);
    return PMET_OK;
}

static enum pmet_status act_dx(const struct pmet_ops *op, real *g_x, const real *g_y, const real *x,
                               enum pmet_act kind, size_t n, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t i = 0; i < n; i++)
        g_x[i] = (real)((double)g_y[i] * slope((double)x[i], kind));
    return PMET_OK;
}

void pmet_plain_activation(struct pmet_ops *op)
{
    op->act = act;
    op->act_dx = act_dx;
}

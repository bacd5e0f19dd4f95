/* SPDX-License-Identifier: MIT
 * Layer normalisation and activations beside the plain definitions; in double their gradients
 * beside central differences, which checks the plain definitions too (PMET_TEST_DEVICE=plain). SPEC
 * E9, E10, E18-E22 */
#include "ref/cpu/exponential.h"
#include "tests/device.h"
#include "tests/plain.h"

#define LN_EPS 1e-5

/* What layernorm's error is measured by: the row's largest |x| / sqrt(var + eps), times the gain,
 * plus the bias: both tables sum in double and round once, so a few eps of double and two halves of
 * a rounding are left. */
static double *norm_size(struct lab *lab, const double *x, const double *gain, const double *bias, size_t n,
                         size_t d)
{
    double *size = lab_zeros(lab, n * d), *one = lab_zeros(lab, d + 1), *zero = lab_zeros(lab, d + 1);
    for (size_t i = 0; i < d; i++)
        one[i] = 1;
    plain_layernorm(size, x, one, zero, LN_EPS, n, d);
    for (size_t r = 0; r < n; r++) {
        double most = 1;
        for (size_t i = 0; i < d; i++)
            most = fmax(most, fabs(size[r * d + i]));
        for (size_t i = 0; i < d; i++)
            size[r * d + i] = most * fabs(gain[i]) + fabs(bias[i]);
    }
    return size;
}

TEST(layernorm_normalises_each_row)
{
    for (size_t s = 0; s < N_SIZE; s++)
        for (size_t w = 1; w < N_SIZE; w++) {
            struct lab *lab = lab_open(t);
            const size_t n = test_sizes[s], d = test_sizes[w];
            double *x = lab_random(lab, n * d, 3), *want = lab_zeros(lab, n * d);
            const double *gain = lab_random(lab, d, 1), *bias = lab_random(lab, d, 1);
            real *y = lab_out(lab, n * d);
            plain_layernorm(want, x, gain, bias, LN_EPS, n, d);
            LAB_OK(lab, lab->op->layernorm(lab->op, y, lab_in(lab, x, n * d), lab_in(lab, gain, d),
                                           lab_in(lab, bias, d), LN_EPS, n, d, &lab->err));
            lab_close_f64(lab, "layernorm", lab_get(lab, y, n * d), want, norm_size(lab, x, gain, bias, n, d),
                          n * d, ONE_ROUNDING + (d < 4 ? 64 : 8));
        }
}

/* A row of equal features has variance 0: what is left is the bias. A far mean must not cancel the
 * spread. */
TEST(layernorm_of_constant_and_of_far_rows)
{
    struct lab *lab = lab_open(t);
    const size_t d = 65;
    double *x = lab_random(lab, 2 * d, 1), *want = lab_zeros(lab, 2 * d);
    const double *gain = lab_random(lab, d, 1), *bias = lab_random(lab, d, 1);
    for (size_t i = 0; i < d; i++) {
        x[i] = 7;
        x[d + i] = (double)(real)(4096 + x[d + i]);
    }
    real *y = lab_out(lab, 2 * d);
    plain_layernorm(want, x, gain, bias, LN_EPS, 2, d);
    LAB_OK(lab, lab->op->layernorm(lab->op, y, lab_in(lab, x, 2 * d), lab_in(lab, gain, d),
                                   lab_in(lab, bias, d), LN_EPS, 2, d, &lab->err));
    const double *got = lab_get(lab, y, 2 * d);
    lab_same(lab, "constant row", got, bias, d);
    /* 4096 takes 12 bits of double's sums; float loses nothing, since sums are double */
    lab_close_f64(lab, "far row", got + d, want + d, norm_size(lab, x, gain, bias, 2, d) + d, d,
                  4 * 4096 + ONE_ROUNDING);
}

/* dot(layernorm(x), g_y) as a function of x. */
struct norm_probe {
    const double *x, *g_y, *gain, *bias;
    double *y;
    size_t n, d;
};

static double norm_projected(const void *user)
{
    const struct norm_probe *p = user;
    double sum = 0;
    plain_layernorm(p->y, p->x, p->gain, p->bias, LN_EPS, p->n, p->d);
    for (size_t i = 0; i < p->n * p->d; i++)
        sum += p->y[i] * p->g_y[i];
    return sum;
}

/* Differences err by 1e-10 of the gradient's scale, |g_y gain| sqrt(d) / sqrt(var): 4.5e5 eps of
 * double. */
TEST(layernorm_dx_adds_the_gradient)
{
    static const size_t rows[] = {0, 1, 3, 5}, widths[] = {2, 3, 5, 17, 64, 65};
    for (size_t s = 0; s < 4; s++)
        for (size_t w = 0; w < 6; w++) {
            struct lab *lab = lab_open(t);
            const size_t n = rows[s], d = widths[w];
            double *x = lab_random(lab, n * d, 2), *g = lab_zeros(lab, n * d), *size = lab_zeros(lab, n * d);
            const double *gain = lab_random(lab, d, 1), *g_y = lab_random(lab, n * d, 1),
                         *was = lab_random(lab, n * d, 1);
            if (d == 2)
                for (size_t i = 0; i < n; i++)
                    x[2 * i + 1] = x[2 * i] + 1; /* a step of h must not move the rank */
            const struct norm_probe probe = {x, g_y, gain, lab_zeros(lab, d), lab_zeros(lab, n * d), n, d};
            memcpy(g, was, n * d * sizeof *g);
            if (IN_DOUBLE)
                difference_gradient(g, x, n * d, 1e-3, norm_projected, &probe);
            else
                plain_layernorm_dx(g, g_y, x, gain, LN_EPS, n, d);
            for (size_t i = 0; i < n * d; i++) {
                g[i] += IN_DOUBLE ? was[i] : 0;
                size[i] = sqrt((double)d) * 4 + fabs(was[i]);
            }
            real *g_x = lab_inout(lab, was, n * d);
            LAB_OK(lab, lab->op->layernorm_dx(lab->op, g_x, lab_in(lab, g_y, n * d), lab_in(lab, x, n * d),
                                              lab_in(lab, gain, d), LN_EPS, n, d, &lab->err));
            lab_close_f64(lab, "layernorm_dx", lab_get(lab, g_x, n * d), g, size, n * d,
                          (IN_DOUBLE ? 4.5e5 : 64) + 2 * ONE_ROUNDING);
        }
}

static const enum pmet_act kinds[] = {PMET_GELU_NEW, PMET_GELU, PMET_GELU_FAST, PMET_RELU, PMET_SILU};
static const char *const kind_names[] = {"gelu_new", "gelu", "gelu_fast", "relu", "silu"};
#define N_KIND 5

/* 1 + tanh and 1 + erf cancel where x is very negative: absolute errors of |x| eps, as torch has
 * them. */
TEST(activations_are_their_equations_in_place_too)
{
    for (size_t k = 0; k < N_KIND; k++)
        for (size_t s = 0; s <= N_SIZE; s++) {
            struct lab *lab = lab_open(t);
            const size_t n = s < N_SIZE ? test_sizes[s] : 20011; /* the last is split among threads */
            double *x = lab_random(lab, n, 4), *want = lab_zeros(lab, n);
            plain_act(want, x, kinds[k], n);
            real *y = lab_out(lab, n), *z = lab_inout(lab, x, n);
            LAB_OK(lab, lab->op->act(lab->op, y, lab_in(lab, x, n), kinds[k], n, &lab->err));
            LAB_OK(lab, lab->op->act(lab->op, z, z, kinds[k], n, &lab->err));
            for (size_t i = 0; i < n; i++)
                x[i] = fabs(x[i]);
            lab_close_f64(lab, kind_names[k], lab_get(lab, y, n), want, x, n, ONE_ROUNDING + 16);
            lab_same(lab, "in place", lab_get(lab, z, n), lab_get(lab, y, n), n);
        }
}

/* Far out every kind is x or 0 and its slope 1 or 0; nothing overflows on the way. NaN goes
 * through. */
TEST(activations_at_the_ends)
{
    const double far[] = {40, 1e4,  1e30,       (double)FLT_MAX, -40, -1e4, -1e30, -(double)FLT_MAX,
                          0,  -0.0, (double)NAN};
    enum { N = sizeof far / sizeof *far, N_FAR = 8 };
    for (size_t k = 0; k < N_KIND; k++) {
        struct lab *lab = lab_open(t);
        double want[N_FAR], slope[N_FAR], one[N], middle[2];
        for (size_t i = 0; i < N; i++)
            one[i] = 1;
        for (size_t i = 0; i < N_FAR; i++) {
            want[i] = far[i] > 0 ? (double)(real)far[i] : 0;
            slope[i] = far[i] > 0;
        }
        middle[0] = middle[1] = kinds[k] == PMET_RELU ? 0 : 0.5;
        real *y = lab_out(lab, N), *g = lab_out(lab, N);
        LAB_OK(lab, lab->op->act(lab->op, y, lab_in(lab, far, N), kinds[k], N, &lab->err));
        LAB_OK(lab,
               lab->op->act_dx(lab->op, g, lab_in(lab, one, N), lab_in(lab, far, N), kinds[k], N, &lab->err));
        const double *got = lab_get(lab, y, N), *got_dx = lab_get(lab, g, N);
        const double small[N_FAR] = {0, 0, 0, 0, 1e-15, 1e-15, 1e-15, 1e-15}; /* silu(-40) = -1.7e-16 */
        for (size_t i = 0; i < N_FAR; i++) {
            if (!(fabs(got[i] - want[i]) <= small[i]))
                test_fail(t, "%s(%g) is %g", kind_names[k], far[i], got[i]);
            if (!(fabs(got_dx[i] - slope[i]) <= 1e-14))
                test_fail(t, "%s'(%g) is %g", kind_names[k], far[i], got_dx[i]);
        }
        CHECK(got[8] == 0 && got[9] == 0 && isnan(got[10]));
        lab_same(lab, kind_names[k], got_dx + 8, middle, 2);
        CHECK(kinds[k] == PMET_RELU || isnan(got_dx[10]));
    }
}

TEST(tiny_numbers_keep_their_half)
{
    struct lab *lab = lab_open(t);
    const double x[4] = {1e-30, -1e-30, 1e-38, -1e-38}; /* the last two subnormal after halving */
    for (size_t k = 0; k < N_KIND; k++) {
        real *y = lab_out(lab, 4);
        LAB_OK(lab, lab->op->act(lab->op, y, lab_in(lab, x, 4), kinds[k], 4, &lab->err));
        const double *got = lab_get(lab, y, 4);
        for (size_t i = 0; i < 4; i++) {
            const double want =
                kinds[k] == PMET_RELU ? fmax((double)(real)x[i], 0) : (double)(real)(0.5 * x[i]);
            if (!(fabs(got[i] - want) <= 2 * REAL_EPS * fabs(want)))
                test_fail(t, "%s(%g) is %g", kind_names[k], x[i], got[i]);
        }
        CHECK(got[0] > 0);
    }
}

struct act_probe {
    const double *x, *g_y;
    double *y;
    enum pmet_act kind;
    size_t n;
};

static double act_projected(const void *user)
{
    const struct act_probe *p = user;
    double sum = 0;
    plain_act(p->y, p->x, p->kind, p->n);
    for (size_t i = 0; i < p->n; i++)
        sum += p->g_y[i] * p->y[i];
    return sum;
}

/* Differences of a sum of size sqrt(n) at h 1e-3: 1e-11; the slope is at most 1.2. */
TEST(act_dx_is_the_slope_in_place_too)
{
    for (size_t k = 0; k < N_KIND; k++)
        for (size_t s = 0; s < N_SIZE; s++) {
            struct lab *lab = lab_open(t);
            const size_t n = test_sizes[s];
            double *x = lab_random(lab, n, 2), *want = lab_zeros(lab, n), *size = lab_zeros(lab, n);
            const double *g_y = lab_random(lab, n, 1);
            for (size_t i = 0; i < n; i++) {
                size[i] = 1 + fabs(g_y[i]);
                x[i] += fabs(x[i]) < 0.01 ? 0.1 : 0; /* relu has a corner at 0 */
                x[i] = (double)(real)x[i];
            }
            const struct act_probe probe = {x, g_y, lab_zeros(lab, n), kinds[k], n};
            if (IN_DOUBLE)
                difference_gradient(want, x, n, 1e-3, act_projected, &probe);
            else
                plain_act_dx(want, g_y, x, kinds[k], n);
            real *g = lab_out(lab, n), *same = lab_inout(lab, g_y, n);
            LAB_OK(lab, lab->op->act_dx(lab->op, g, lab_in(lab, g_y, n), lab_in(lab, x, n), kinds[k], n,
                                        &lab->err));
            LAB_OK(lab, lab->op->act_dx(lab->op, same, same, lab_in(lab, x, n), kinds[k], n, &lab->err));
            lab_close_f64(lab, kind_names[k], lab_get(lab, g, n), want, size, n,
                          (IN_DOUBLE ? 1e5 : 64) + 2 * ONE_ROUNDING);
            lab_same(lab, "in place", lab_get(lab, same, n), lab_get(lab, g, n), n);
        }
}

/* Against the C library's, which is within one unit of the exact number, so two are allowed. */
TEST(exponentials_are_within_a_unit)
{
    struct test_rng rng = {0};
    double worst = 0, ends = 0;
    for (size_t i = 0; i < 200000; i++) {
        const double x = (i % 2 ? 1 : 0.001) * (1416 * test_rng_uniform(&rng) - 707), want = exp(x);
        worst = fmax(worst, fabs(pmet_exp(x) - want) / want);
    }
    CHECK_CLOSE(&worst, &ends, 1, 2 * 0x1p-52);
    CHECK(pmet_exp(0) == 1 && pmet_exp(-0.0) == 1 && pmet_exp(-709) == 0 && pmet_exp(-HUGE_VAL) == 0);
    CHECK(isfinite(pmet_exp(709.78)) && isinf(pmet_exp(709.79)) && isinf(pmet_exp(HUGE_VAL)) &&
          isnan(pmet_exp((double)NAN)));
}

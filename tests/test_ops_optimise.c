/* SPDX-License-Identifier: MIT
 * Vectors of the optimisation against their equations.      SPEC E50, E55, E56 */
#include "tests/device.h"

enum { ROWS = 3 };

TEST(norm_is_euclidean_and_does_not_lose_small_or_large)
{
    struct lab *lab = lab_open(t);
    double got;
    for (size_t s = 0; s < N_SIZE; s++) {
        const size_t n = test_sizes[s];
        const double *x = lab_random(lab, ROWS * n, 1);
        double want[ROWS] = {0}, *norms = lab_out_f64(lab, ROWS);
        for (size_t i = 0; i < ROWS * n; i++)
            want[i / n] += x[i] * x[i];
        for (size_t r = 0; r < ROWS; r++)
            want[r] = sqrt(want[r]);
        LAB_OK(lab, lab->op->norm(lab->op, norms, lab_in(lab, x, ROWS * n), ROWS, n, &lab->err));
        lab_close_f64(lab, "norm", norms, want, NULL, ROWS, 8);
    }
    /* sums of squares are double: numbers whose squares leave float do not (X15) */
    const double ends[2][3] = {{3e30, 0, 4e30}, {3e-30, 4e-30, 0}}, norms[2] = {5e30, 5e-30};
    for (int k = 0; k < 2; k++) {
        LAB_OK(lab, lab->op->norm(lab->op, &got, lab_in(lab, ends[k], 3), 1, 3, &lab->err));
        CHECK(fabs(got - norms[k]) <= 2 * REAL_EPS * norms[k]);
    }
    const double bad[2] = {1, (double)NAN};
    LAB_OK(lab, lab->op->norm(lab->op, &got, lab_in(lab, bad, 2), 1, 2, &lab->err));
    CHECK(isnan(got));
}

/* One product and one sum in double, rounded once: the bits are known. */
TEST(axpy_and_scale_round_once)
{
    struct lab *lab = lab_open(t);
    for (size_t s = 0; s < N_SIZE; s++) {
        const size_t width = test_sizes[s], n = ROWS * width;
        const double *x = lab_random(lab, n, 1), *was = lab_random(lab, n, 1);
        const double by[ROWS] = {1.0 / 3, -7, 0.3}, *factor = lab_in_f64(lab, by, ROWS);
        double *sum = lab_zeros(lab, n), *product = lab_zeros(lab, n);
        real *y = lab_inout(lab, was, n), *z = lab_inout(lab, x, n);
        for (size_t i = 0; i < n; i++) {
            sum[i] = was[i] + by[i / width] * x[i];
            product[i] = (double)(real)(by[i / width] * x[i]);
        }
        LAB_OK(lab, lab->op->axpy(lab->op, y, factor, lab_in(lab, x, n), ROWS, width, &lab->err));
        LAB_OK(lab, lab->op->scale(lab->op, z, factor, ROWS, width, &lab->err));
        for (size_t i = 0; i < n; i++)
            sum[i] = (double)(real)sum[i];
        lab_same(lab, "axpy", lab_get(lab, y, n), sum, n);
        lab_same(lab, "scale", lab_get(lab, z, n), product, n);
    }
}

/* A vector that is inside its ball, or has no weight decay, is not touched: not even a NaN or a
 * -0. */
TEST(rows_with_nothing_to_do_keep_their_bits)
{
    struct lab *lab = lab_open(t);
    const double was[4] = {-0.0, (double)NAN, 1, 2}, factor[2] = {1, 3}, none[2] = {0, 1};
    const double x[4] = {(double)NAN, 1, 1, 1};
    real *y = lab_inout(lab, was, 4), *z = lab_inout(lab, was, 4);
    LAB_OK(lab, lab->op->scale(lab->op, y, lab_in_f64(lab, factor, 2), 2, 2, &lab->err));
    LAB_OK(lab, lab->op->axpy(lab->op, z, lab_in_f64(lab, none, 2), lab_in(lab, x, 4), 2, 2, &lab->err));
    lab_same(lab, "scale", lab_get(lab, y, 4), (const double[]){-0.0, (double)NAN, 3, 6}, 4);
    lab_same(lab, "axpy", lab_get(lab, z, 4), (const double[]){-0.0, (double)NAN, 2, 3}, 4);
}

/* torch.optim.Adam([p], lr) over five steps, in double and written as in its documentation: m_hat =
 * m/(1 - b1^k), v_hat = v/(1 - b2^k), p -= lr m_hat/(sqrt(v_hat) + eps). The moments are `real`, so
 * each step may round each of them once; their errors reach p by lr of its step. */
TEST(adam_is_its_formula_over_several_steps)
{
    for (size_t s = 0; s < N_SIZE; s++) {
        struct lab *lab = lab_open(t);
        const size_t width = test_sizes[s], n = ROWS * width;
        const double lr = 0.2;
        double *p = lab_random(lab, n, 1), *m = lab_zeros(lab, n), *v = lab_zeros(lab, n),
               *size = lab_zeros(lab, n);
        real *dev_p = lab_inout(lab, p, n), *dev_m = lab_inout(lab, m, n), *dev_v = lab_inout(lab, v, n);
        for (size_t i = 0; i < n; i++)
            size[i] = fabs(p[i]) + 5 * lr;
        for (size_t step = 1; step <= 5; step++) {
            const size_t k[ROWS] = {step, step + 4, step + 100}; /* facts that joined the batch earlier */
            const double *g = lab_random(lab, n, pow(10, (double)step - 3));
            LAB_OK(lab, lab->op->adam(lab->op, dev_p, lab_in(lab, g, n), dev_m, dev_v, lr, k, ROWS, width,
                                      &lab->err));
            for (size_t i = 0; i < n; i++) {
                const double now = (double)k[i / width];
                m[i] = 0.9 * m[i] + 0.1 * g[i];
                v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
                p[i] -= lr * (m[i] / (1 - pow(0.9, now))) / (sqrt(v[i] / (1 - pow(0.999, now))) + 1e-8);
            }
            lab_close_to(lab, "p", lab_get(lab, dev_p, n), p, size, n, 8);
        }
        double *g_size = lab_zeros(lab, n);
        for (size_t i = 0; i < n; i++)
            g_size[i] = 100;
        lab_close_to(lab, "m", lab_get(lab, dev_m, n), m, g_size, n, 4);
        lab_close_to(lab, "v", lab_get(lab, dev_v, n), v, NULL, n, 8);
    }
}

/* The first step is lr * sign(g) but for eps, whatever the size of g; a zero gradient moves
 * nothing. */
TEST(adams_first_step_is_the_learning_rate)
{
    struct lab *lab = lab_open(t);
    const double g[5] = {1e-3, -1e3, 0, 1e-20, -1e-8}, lr = 0.5;
    const double want[5] = {-lr * 1e-3 / (1e-3 + 1e-8), lr * 1e3 / (1e3 + 1e-8), 0, -lr * 1e-20 / 1e-8,
                            lr / 2};
    const size_t first = 1;
    const double *zero = lab_zeros(lab, 5);
    real *p = lab_inout(lab, zero, 5), *m = lab_inout(lab, zero, 5), *v = lab_inout(lab, zero, 5);
    LAB_OK(lab, lab->op->adam(lab->op, p, lab_in(lab, g, 5), m, v, lr, &first, 1, 5, &lab->err));
    const double *got = lab_get(lab, p, 5);
    lab_close_to(lab, "p", got, want, NULL, 3, 8);
    for (size_t i = 3; i < 5; i++) /* the square of a tiny g is subnormal or 0 as a float */
        CHECK(fabs(got[i] - want[i]) <= 1e-3 * fabs(want[i]));
}

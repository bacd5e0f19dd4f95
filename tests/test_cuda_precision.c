/* SPDX-License-Identifier: MIT
 * Products of rows split into 16-bit terms, and the two faster precisions, on the CUDA table.
 * SPEC §12 */
#include "ref/cpu/table.h"
#include "tensors/dtype.h"
#include "tests/device.h"
#include "tests/plain.h"

#ifdef PMET_REAL_DOUBLE

/* The double build proves the mathematics: it has no shorter terms to offer. */
TEST(the_double_build_has_one_precision)
{
    for (int d = PMET_DEVICE_CUDA_HALF; d <= PMET_DEVICE_CUDA_TF32; d++) {
        struct pmet_ops *op;
        CHECK_REFUSED(test_cuda((enum pmet_device)d, &op, &t->err), PMET_UNSUPPORTED,
                      "cuda: half activations and TF32 need the float build");
    }
}

#else

static const enum pmet_dtype short_types[] = {PMET_F16, PMET_BF16};

static bool open_lab(struct lab *lab, struct test *t, enum pmet_device device)
{
    *lab = (struct lab){.t = t, .rng = {0x5eed}};
    return CHECK_OK(test_cuda(device, &lab->op, &lab->err), &lab->err);
}

/* y = x w^T, as the table gives it. */
static double *product(struct lab *lab, const double *x, struct pmet_weight w, size_t n)
{
    real *y = lab_out(lab, n * w.n_out);
    LAB_OK(lab, lab->op->matmul(lab->op, y, w.n_out, lab_in(lab, x, n * w.n_in), w, NULL, n, &lab->err));
    return lab_get(lab, y, n * w.n_out);
}

/* E95, E96: a product of one term is the exact one rounded once, for floats of every size: three
 * terms are all of a float, subnormal or near the largest. */
TEST(three_terms_are_the_whole_of_a_float)
{
    enum { N = 2048, N_OUT = 8 };
    for (size_t type = 0; type < 2; type++) {
        struct lab lab;
        double *w;
        if (!open_lab(&lab, t, PMET_DEVICE_CUDA))
            return;
        const struct pmet_weight weight = lab_weight(&lab, short_types[type], N_OUT, 1, &w);
        double *x = lab_random(&lab, N, 1), *want = lab_zeros(&lab, N * N_OUT);
        for (size_t r = 0; r < N; r++) {
            x[r] = (double)(float)ldexp(x[r], (int)lab_below(&lab, 270) - 148);
            for (size_t o = 0; o < N_OUT; o++)
                want[r * N_OUT + o] = (double)(float)(x[r] * w[o]);
        }
        lab_close_to(&lab, "x w", product(&lab, x, weight, N), want, NULL, N * N_OUT, 0);
        lab_close(&lab);
    }
}

/* E95: every row has a scale of its own, and within a row what is 2^-60 of the largest is still
 * there. Sizes and the tolerance are those of tests/test_ops_matmul.c. */
TEST(rows_and_elements_of_any_magnitude)
{
    for (size_t type = 0; type < 2; type++)
        for (size_t s = 0; s < N_SIZE; s++) {
            struct lab lab;
            const size_t n = test_sizes[s], n_in = test_sizes[N_SIZE - 1 - s], n_out = 2 * n + 1;
            double *w;
            if (!open_lab(&lab, t, PMET_DEVICE_CUDA))
                return;
            const struct pmet_weight weight = lab_weight(&lab, short_types[type], n_out, n_in, &w);
            double *x = lab_random(&lab, n * n_in, 1), *g = lab_random(&lab, n * n_out, 1),
                   *want = lab_zeros(&lab, n * n_out), *size = lab_zeros(&lab, n * n_out),
                   *want_dx = lab_zeros(&lab, n * n_in), *size_dx = lab_zeros(&lab, n * n_in);
            for (size_t i = 0; i < n * n_in; i++)
                x[i] = (double)(float)ldexp(x[i], 90 - (int)(i / n_in * 40 % 160) - (int)(i % n_in));
            for (size_t i = 0; i < n * n_out; i++)
                g[i] = (double)(float)ldexp(g[i], -80 + (int)(i / n_out * 40 % 160) - (int)(i % n_out % 60));
            plain_matmul(want, size, x, w, NULL, n, n_in, n_out);
            plain_matmul_dx(want_dx, size_dx, g, w, n, n_in, n_out);
            real *g_x = lab_out(&lab, n * n_in);
            LAB_OK(&lab, lab.op->matmul_dx(lab.op, g_x, lab_in(&lab, g, n * n_out), n_out, weight, false, n,
                                           &lab.err));
            lab_close_to(&lab, "matmul", product(&lab, x, weight, n), want, size, n * n_out,
                         4 + 2 * sqrt((double)n_in));
            lab_close_to(&lab, "matmul_dx", lab_get(&lab, g_x, n * n_in), want_dx, size_dx, n * n_in,
                         4 + 2 * sqrt((double)n_out));
            lab_close(&lab);
        }
}

/* A row that is not finite gives what it gives with F32 weights, class and sign, and its neighbours
 * keep their bits; a row of zeros gives zeros. */
TEST(rows_that_are_not_finite_and_rows_of_zeros)
{
    enum { N = 40, N_IN = 33, N_OUT = 21 };
    for (size_t type = 0; type < 2; type++) {
        struct lab lab;
        double *w;
        if (!open_lab(&lab, t, PMET_DEVICE_CUDA))
            return;
        const struct pmet_weight weight = lab_weight(&lab, short_types[type], N_OUT, N_IN, &w);
        const struct pmet_weight as_f32 = {lab_in(&lab, w, N_OUT * N_IN), PMET_F32, N_OUT, N_IN};
        double *x = lab_random(&lab, N * N_IN, 1);
        for (size_t i = 0; i < N_IN; i++)
            x[5 * N_IN + i] = 0;
        const double *clean = product(&lab, x, weight, N);
        x[3 * N_IN + 7] = (double)NAN;
        x[17 * N_IN] = HUGE_VAL;
        x[35 * N_IN + 32] = -HUGE_VAL;
        const double *y = product(&lab, x, weight, N), *y32 = product(&lab, x, as_f32, N);
        for (size_t r = 0; r < N; r++)
            for (size_t o = 0; o < N_OUT; o++) {
                const double got = y[r * N_OUT + o];
                if (r == 3)
                    CHECK(isnan(got));
                else if (r == 17 || r == 35)
                    CHECK(got == y32[r * N_OUT + o] && isinf(got));
                else
                    CHECK(got == clean[r * N_OUT + o] && (r != 5 || got == 0));
            }
        lab_close(&lab);
    }
}

/* Long sums, cut as tensor cores cut them: by the rule of SPEC E1, with the CPU table on widened
 * weights for the reference. First terms of eleven bits are beyond it. */
TEST(long_sums_stay_within_the_float_rule)
{
    enum { N = 24, N_IN = 4096, N_OUT = 48 };
    for (size_t type = 0; type < 2; type++) {
        struct lab lab, plain = {.t = t};
        double *w;
        if (!open_lab(&lab, t, PMET_DEVICE_CUDA) ||
            !CHECK_OK(pmet_ops_cpu(1, &plain.op, &plain.err), &plain.err))
            return;
        const struct pmet_weight weight = lab_weight(&lab, short_types[type], N_OUT, N_IN, &w);
        const double *x = lab_random(&lab, N * N_IN, 1);
        const struct pmet_weight as_f32 = {lab_in(&plain, w, N_OUT * N_IN), PMET_F32, N_OUT, N_IN};
        double *want = lab_zeros(&lab, N * N_OUT);
        plain_matmul(want, NULL, x, w, NULL, N, N_IN, N_OUT);
        const double none = 0, ours = test_rel_l2(product(&lab, x, weight, N), want, N * N_OUT),
                     yard = test_rel_l2(product(&plain, x, as_f32, N), want, N * N_OUT);
        CHECK_CLOSE(&ours, &none, 1, 2 * yard);
        lab_close(&lab);
        lab_close(&plain);
    }
}

/* E97, E98: the error of a product of random numbers, whose rows and columns are rounded or not. */
static void check_mode(struct test *t, enum pmet_device device, enum pmet_dtype dtype, double least,
                       double most)
{
    enum { N = 19, N_IN = 300, N_OUT = 70 };
    struct lab fast, full;
    double *w;
    if (!open_lab(&fast, t, device) || !open_lab(&full, t, PMET_DEVICE_CUDA))
        return;
    const struct pmet_weight weight = lab_weight(&fast, dtype, N_OUT, N_IN, &w),
                             same = lab_weight(&full, dtype, N_OUT, N_IN, &w);
    const double *x = lab_random(&fast, N * N_IN, 1), *got = product(&fast, x, weight, N),
                 *y = product(&full, x, same, N);
    double *want = lab_zeros(&full, N * N_OUT);
    plain_matmul(want, NULL, x, w, NULL, N, N_IN, N_OUT);
    if (most == 0)
        lab_same(&fast, "the other precision's weights", got, y, N * N_OUT);
    const double error = test_rel_l2(got, want, N * N_OUT);
    if (most > 0 && !(error > least && error < most))
        test_fail(t, "%s, %s: error %.3g; expected %.3g to %.3g", fast.op->name, pmet_dtype_name(dtype),
                  error, least, most);
    t->n_check++;
    lab_close(&fast);
    lab_close(&full);
}

TEST(half_activations_round_what_enters_16_bit_weights)
{
    check_mode(t, PMET_DEVICE_CUDA_HALF, PMET_F16, 0x1p-14, 0x1p-12);
    check_mode(t, PMET_DEVICE_CUDA_HALF, PMET_BF16, 0x1p-11, 0x1p-9);
    check_mode(t, PMET_DEVICE_CUDA_HALF, PMET_F32, 0, 0);
}

TEST(tf32_rounds_both_sides_of_products_with_f32_weights)
{
    check_mode(t, PMET_DEVICE_CUDA_TF32, PMET_F32, 0x1p-13, 0x1p-10);
    check_mode(t, PMET_DEVICE_CUDA_TF32, PMET_F16, 0, 0);
    check_mode(t, PMET_DEVICE_CUDA_TF32, PMET_BF16, 0, 0);
}

/* In every precision a row alone has the bits that it has among others, whatever the size of
 * these. */
TEST(a_row_never_depends_on_the_others_in_any_precision)
{
    enum { N = 50, N_IN = 97, N_OUT = 67 };
    static const struct {
        enum pmet_device device;
        enum pmet_dtype dtype;
    } modes[] = {{PMET_DEVICE_CUDA, PMET_F16},
                 {PMET_DEVICE_CUDA, PMET_BF16},
                 {PMET_DEVICE_CUDA_HALF, PMET_F16},
                 {PMET_DEVICE_CUDA_HALF, PMET_BF16},
                 {PMET_DEVICE_CUDA_TF32, PMET_F32}};
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
        struct lab lab;
        double *w;
        if (!open_lab(&lab, t, modes[m].device))
            return;
        const struct pmet_weight weight = lab_weight(&lab, modes[m].dtype, N_OUT, N_IN, &w);
        double *x = lab_random(&lab, N * N_IN, 1);
        for (size_t i = 0; i < N * N_IN; i++)
            x[i] = ldexp(x[i], (int)(i / N_IN % 7) * 9 - 27);
        const double *all = product(&lab, x, weight, N);
        for (size_t r = 0; r < N; r += 7)
            lab_same(&lab, "alone", product(&lab, x + r * N_IN, weight, 1), all + r * N_OUT, N_OUT);
        lab_close(&lab);
    }
}

TEST(a_precision_is_named)
{
    static const char *const kind[] = {"cuda", "cuda, half activations", "cuda, TF32"};
    for (int d = 0; d < 3; d++) {
        struct lab lab;
        if (!open_lab(&lab, t, (enum pmet_device)(PMET_DEVICE_CUDA + d)))
            return;
        CHECK_STR(lab.op->kind, kind[d]);
        CHECK(d == 0 || strstr(lab.op->name, kind[d] + strlen("cuda")));
        lab_close(&lab);
    }
}

#endif

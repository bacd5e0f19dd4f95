/* SPDX-License-Identifier: MIT
 * Products, factors and solves in double.      SPEC E69-E71 */
#include "tests/device.h"
#include "tests/plain.h"

static const struct {
    size_t m, n, k;
} shapes[] = {{0, 3, 2},     {3, 0, 2},       {2, 3, 0},    {1, 1, 1},    {2, 3, 5},
              {17, 5, 3},    {64, 65, 17},    {65, 64, 2},  {130, 1, 70}, {1, 257, 129},
              {257, 300, 5}, {300, 258, 131}, {513, 3, 200}};

/* Random numbers, NaN in what lies between rows of `stride`. */
static double *strided(struct lab *lab, size_t n_row, size_t n_col, size_t stride)
{
    double *x = lab_zeros(lab, n_row * stride);
    for (size_t i = 0; i < n_row * stride; i++)
        x[i] = i % stride < n_col ? test_rng_normal(&lab->rng) : (double)NAN;
    return x;
}

/* The sums of k random terms stay below 2 sqrt(k) eps sum |terms| on both sides. */
static void check_gemm(struct lab *lab, size_t s, bool ta, bool tb, double alpha, double beta)
{
    const size_t m = shapes[s].m, n = shapes[s].n, k = shapes[s].k, lda = (ta ? m : k) + 1,
                 ldb = (tb ? k : n) + 2, ldc = n + 3;
    const double *a = strided(lab, ta ? k : m, ta ? m : k, lda),
                 *b = strided(lab, tb ? n : k, tb ? k : n, ldb);
    double *want = strided(lab, m, n, ldc), *size = lab_zeros(lab, m * n);
    if (beta == 0) /* c is not read */
        for (size_t i = 0; i < m * ldc; i++)
            want[i] = (double)NAN;
    double *c = lab_inout_f64(lab, want, m * ldc), *dense[2] = {lab_zeros(lab, m * n), lab_zeros(lab, m * n)};
    plain_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, want, ldc, size);
    LAB_OK(lab, lab->op->gemm64(lab->op, ta, tb, m, n, k, alpha, lab_in_f64(lab, a, (ta ? k : m) * lda), lda,
                                lab_in_f64(lab, b, (tb ? n : k) * ldb), ldb, beta, c, ldc, &lab->err));
    c = lab_get_f64(lab, c, m * ldc);
    for (size_t i = 0; i < m * ldc; i++)
        if (i % ldc >= n && !isnan(c[i]))
            test_fail(lab->t, "row %zu: element %zu past the row's %zu was written", i / ldc, i % ldc, n);
    for (size_t i = 0; i < m * n; i++) {
        dense[0][i] = c[i / n * ldc + i % n];
        dense[1][i] = want[i / n * ldc + i % n];
    }
    lab_close_f64(lab, "gemm64", dense[0], dense[1], size, m * n, 4 + 2 * sqrt((double)k));
}

TEST(gemm64_every_transpose_stride_alpha_and_beta)
{
    static const double scales[][2] = {{1, 0}, {1, 1}, {-0.75, 0}, {2, -0.5}, {0, 1}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int k = 0; k < 4; k++)
            for (size_t c = 0; c < 5; c++) {
                struct lab *lab = lab_open(t);
                check_gemm(lab, s, k & 1, k & 2, scales[c][0], scales[c][1]);
            }
}

/* B B^T + n I, whose condition is small; the upper triangle is NaN: it is the caller's. */
static double *definite(struct lab *lab, size_t n)
{
    double *b = lab_zeros(lab, n * n), *a = lab_zeros(lab, n * n), *size = lab_zeros(lab, n * n);
    for (size_t i = 0; i < n * n; i++)
        b[i] = test_rng_normal(&lab->rng);
    plain_gemm(false, true, n, n, n, 1, b, n, b, n, 0, a, n, size);
    for (size_t i = 0; i < n; i++)
        a[i * n + i] += (double)n;
    return a;
}

static double norm_of(const double *x, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += x[i] * x[i];
    return sqrt(s);
}

/* The lower triangle of a factor, zeros above; whether the upper still is NaN. */
static double *lower(struct lab *lab, const double *l, size_t n, bool *untouched)
{
    double *x = lab_zeros(lab, n * n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (j <= i)
                x[i * n + j] = l[i * n + j];
            else
                *untouched = *untouched && isnan(l[i * n + j]);
    return x;
}

static const size_t orders[] = {0, 1, 2, 3, 5, 17, 64, 65, 127, 128, 129, 257, 300, 520};
#define N_ORDER (sizeof orders / sizeof *orders)

/* ||A - L L^T|| / (n ||A|| eps) < 30, for well conditioned matrices and for a diagonal of 1e12 ..
 * 1e-12. */
static void check_cholesky(struct lab *lab, size_t n, bool graded)
{
    double *a = definite(lab, n), *in = lab_zeros(lab, n * n), *size = lab_zeros(lab, n * n), value = 0;
    size_t pivot = 0;
    bool untouched = true;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            if (graded)
                a[i * n + j] *= pow(10, 12 - 12 * (double)(i + j) / (double)n);
            in[i * n + j] = j <= i ? a[i * n + j] : (double)NAN;
        }
    double *l = lab_inout_f64(lab, in, n * n);
    if (!LAB_OK(lab, lab->op->cholesky(lab->op, l, n, &pivot, &value, &lab->err)))
        return;
    const double *x = lower(lab, lab_get_f64(lab, l, n * n), n, &untouched), a_norm = norm_of(a, n * n);
    for (size_t i = 0; i < n; i++)
        if (!(x[i * n + i] > 0))
            test_fail(lab->t, "order %zu: diagonal %zu of the factor is %g", n, i, x[i * n + i]);
    plain_gemm(false, true, n, n, n, -1, x, n, x, n, 1, a, n, size);
    const double ratio = n > 0 ? norm_of(a, n * n) / ((double)n * a_norm * DBL_EPSILON) : 0, zero = 0;
    test_close(lab->t, &ratio, &zero, 1, 30, __FILE__, __LINE__);
    test_check(lab->t, untouched, __FILE__, __LINE__, "the strict upper triangle is left alone");
}

TEST(cholesky_gives_the_factor_and_leaves_the_upper_triangle)
{
    for (size_t s = 0; s < N_ORDER; s++)
        for (int graded = 0; graded < 2; graded++) {
            struct lab *lab = lab_open(t);
            check_cholesky(lab, orders[s], graded);
        }
}

/* A = L L^T for a known unit triangle L and a diagonal that fails at one place: small integers, so
 * that pivots are exact. */
TEST(a_pivot_that_is_not_positive_is_named_with_its_value)
{
    static const struct {
        size_t n, at;
        double value;
    } cases[] = {{1, 0, 0},   {1, 0, -2},    {5, 0, -1},     {5, 4, 0},
                 {17, 9, -3}, {129, 127, 0}, {129, 128, -1}, {300, 200, -4}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct lab *lab = lab_open(t);
        const size_t n = cases[c].n;
        double *a = lab_zeros(lab, n * n), value = 7;
        size_t pivot = 99999;
        for (size_t i = 0; i < n; i++) /* L: ones on the diagonal and just below it */
            for (size_t j = i < 1 ? 0 : i - 1; j <= i; j++)
                a[i * n + j] = j < i ? 1 : i == 0 ? 1 : 2;
        a[cases[c].at * (n + 1)] += cases[c].value - 1;
        double *l = lab_inout_f64(lab, a, n * n);
        CHECK(lab->op->cholesky(lab->op, l, n, &pivot, &value, &lab->err) == PMET_NUMERIC);
        if (pivot != cases[c].at || value != cases[c].value)
            test_fail(t, "order %zu: pivot %zu is %g; expected pivot %zu, %g", n, pivot, value, cases[c].at,
                      cases[c].value);
        CHECK_STR(lab->err.message, test_text(t, "not positive definite: pivot %zu of %zu is %g", cases[c].at,
                                              n, cases[c].value));
    }
}

/* NaN and infinity anywhere in the lower triangle end it; in the upper they are nobody's
 * business. */
TEST(a_matrix_that_is_not_finite_has_no_factor)
{
    static const size_t n = 150, at[][2] = {{0, 0}, {3, 1}, {100, 100}, {140, 20}, {149, 149}, {149, 0}};
    for (size_t c = 0; c < 6; c++)
        for (int k = 0; k < 2; k++) {
            struct lab *lab = lab_open(t);
            size_t pivot = 99999;
            double value = 7;
            double *a = definite(lab, n);
            a[at[c][0] * n + at[c][1]] = k ? HUGE_VAL : (double)NAN;
            CHECK(lab->op->cholesky(lab->op, lab_inout_f64(lab, a, n * n), n, &pivot, &value, &lab->err) ==
                  PMET_NUMERIC);
            CHECK(pivot == at[c][0] && !(value > 0 && value < HUGE_VAL));
        }
}

/* ||B - A X|| / (n ||A|| ||X|| eps) < 30 */
TEST(cholesky_solve_solves)
{
    static const size_t rhs[] = {0, 1, 2, 17, 64, 65, 530}; /* the last in wider parts */
    for (size_t s = 0; s < N_ORDER; s++) {
        struct lab *lab = lab_open(t);
        const size_t n = orders[s], m = rhs[s % 7];
        size_t pivot;
        double value;
        double *a = definite(lab, n), *size = lab_zeros(lab, n * m), *l = lab_zeros(lab, n * n),
               *b = lab_zeros(lab, n * m);
        memcpy(l, a, n * n * sizeof *l);
        for (size_t i = 0; i < n * m; i++)
            b[i] = test_rng_normal(&lab->rng);
        double *x = lab_inout_f64(lab, b, n * m);
        double *dev_l = lab_inout_f64(lab, l, n * n);
        LAB_OK(lab, lab->op->cholesky(lab->op, dev_l, n, &pivot, &value, &lab->err));
        l = lab_get_f64(lab, dev_l, n * n);
        for (size_t i = 0; i < n; i++)
            for (size_t j = i + 1; j < n; j++)
                l[i * n + j] = (double)NAN; /* not read */
        LAB_OK(lab, lab->op->cholesky_solve(lab->op, lab_in_f64(lab, l, n * n), x, n, m, &lab->err));
        x = lab_get_f64(lab, x, n * m);
        plain_gemm(false, false, n, m, n, -1, a, n, x, m, 1, b, m, size);
        const double scale = (double)n * norm_of(a, n * n) * norm_of(x, n * m) * DBL_EPSILON, zero = 0;
        const double ratio = n * m > 0 ? norm_of(b, n * m) / scale : 0;
        CHECK_CLOSE(&ratio, &zero, 1, 30);
    }
}

/* Tiles are larger from an order of 2048 on: A x = L (L^T x), x random, within n eps of |A| |x| at
 * each element. */
TEST(a_large_matrix_has_its_factor)
{
    enum { N = 2100 };
    struct lab *lab = lab_open(t);
    size_t pivot;
    double value;
    double *a = lab_zeros(lab, N * N), *x = lab_random(lab, N, 1), *y = lab_zeros(lab, N),
           *off = lab_zeros(lab, N), *none = lab_zeros(lab, N);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            a[i * N + j] =
                (i == j) + 1 / (1 + fabs((double)i - (double)j)) / (1 + fabs((double)i - (double)j));
            off[i] += a[i * N + j] * x[j];
        }
    double *dev = lab_inout_f64(lab, a, N * N);
    LAB_OK(lab, lab->op->cholesky(lab->op, dev, N, &pivot, &value, &lab->err));
    a = lab_get_f64(lab, dev, N * N);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j <= i; j++)
            y[j] += a[i * N + j] * x[i];
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j <= i; j++)
            off[i] -= a[i * N + j] * y[j];
    CHECK_CLOSE(off, none, N, N * DBL_EPSILON);
}

static void free_table(void *op)
{
    pmet_ops_free(op);
}

static bool always(const void *user)
{
    return user == NULL;
}

/* What takes seconds in a large model does not wait for its end; all others do. */
TEST(a_signal_ends_products_factors_and_solves)
{
    struct pmet_ops *op = test_ops(t);
    double a[4] = {1, 0, 0, 1}, c[4] = {0}, value;
    real x[4] = {1, 0, 0, 1}, y[4] = {0};
    const struct pmet_weight w = {x, PMET_REAL, 2, 2};
    size_t pivot;
    static const char message[] = "interrupted; nothing is written";
    test_own(t, op, free_table);
    if (!op || strcmp(op->kind, "cpu") != 0) {
        SKIP("other tables end between two entries");
        return;
    }
    op->stopped = always;
    CHECK_REFUSED(op->matmul(op, y, 2, x, w, NULL, 2, &t->err), PMET_INTERRUPTED, message);
    CHECK_REFUSED(op->matmul_dx(op, y, x, 2, w, false, 2, &t->err), PMET_INTERRUPTED, message);
    CHECK_REFUSED(op->gram(op, y, x, 2, 2, &t->err), PMET_INTERRUPTED, message);
    CHECK_REFUSED(op->gemm64(op, false, false, 2, 2, 2, 1, a, 2, a, 2, 0, c, 2, &t->err), PMET_INTERRUPTED,
                  message);
    CHECK_REFUSED(op->cholesky(op, a, 2, &pivot, &value, &t->err), PMET_INTERRUPTED, message);
    CHECK_REFUSED(op->cholesky_solve(op, a, c, 2, 2, &t->err), PMET_INTERRUPTED, message);
    CHECK(y[0] == 0 && c[0] == 0 && a[0] == 1);
    op->stopped = NULL;
    CHECK_DONE(op->gram(op, y, x, 2, 2, &t->err));
}

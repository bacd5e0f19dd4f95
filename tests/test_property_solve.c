/* SPDX-License-Identifier: MIT
 * One update by every way to it: the factor of the sum, conjugate gradients, the factor of C alone.
 * SPEC E69-E74 */
#include "ref/cpu/table.h"
#include "ref/method/solve.h"
#include "tests/device.h"
#include "tests/edits.h"
#include "tests/plain.h"

/* f features, d outputs, n edits: fewer than features, one, none, as many, more. */
static const struct {
    size_t f, d, n;
} shapes[] = {{1, 1, 1},    {5, 3, 2},    {17, 4, 17},   {64, 8, 1},
              {65, 3, 200}, {130, 7, 64}, {257, 16, 40}, {40, 5, 0}};
#define N_SHAPE (sizeof shapes / sizeof *shapes)

struct system {
    struct lab *lab;
    size_t f, d, n;
    double lambda, *cov;
    const double *keys, *resid;
};

/* WELL: C has a condition of about f. SCALED: features of sizes 1 to 1e-5 in keys and C alike,
 * condition 1e10, which a diagonal scaling would mend. ROUGH: C's features shrink to 1/100 and the
 * keys' do not, condition f n 1e4, which it would not. */
enum kind { WELL, SCALED, ROUGH, N_KIND };
static const double decades[N_KIND] = {0, 5, 2};

static void system_open(struct test *t, struct system *s, size_t shape, enum kind kind)
{
    s->lab = lab_open(t);
    s->f = shapes[shape].f;
    s->d = shapes[shape].d;
    s->n = shapes[shape].n;
    s->lambda = 0.5 + (double)shape;
    s->cov = lab_zeros(s->lab, s->f * s->f);
    double *made = made_cov(s->f, shape + 1), *keys = lab_random(s->lab, s->f * s->n, 1);
    for (size_t i = 0; i < s->f; i++) {
        const double shrink = pow(10, -decades[kind] * (double)i / (double)s->f);
        for (size_t j = 0; j < s->f; j++)
            s->cov[i * s->f + j] =
                made[i * s->f + j] * shrink * pow(10, -decades[kind] * (double)j / (double)s->f);
        for (size_t j = 0; j < s->n; j++)
            keys[i * s->n + j] *= kind == SCALED ? shrink : 1;
    }
    free(made);
    s->keys = keys;
    s->resid = lab_random(s->lab, s->d * s->n, 1);
}

static double norm_of(const double *x, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += x[i] * x[i];
    return sqrt(s);
}

/* upd (lambda C + K K^T) = R K^T, measured against the sizes of its sides: the definition, without
 * a solve. */
static double defect(struct system *s, double ridge, const double *upd)
{
    const size_t f = s->f, d = s->d, n = s->n;
    double *a = lab_zeros(s->lab, f * f), *lhs = lab_zeros(s->lab, d * f),
           *size = lab_zeros(s->lab, (f > d ? f : d) * f);
    memcpy(a, s->cov, f * f * sizeof *a);
    plain_gemm(false, true, f, f, n, 1, s->keys, n, s->keys, n, s->lambda, a, f, size);
    for (size_t i = 0; i < f; i++)
        a[i * f + i] += ridge;
    plain_gemm(false, true, d, f, n, 1, s->resid, n, s->keys, n, 0, lhs, f, size);
    const double scale = norm_of(upd, d * f) * norm_of(a, f * f) + norm_of(lhs, d * f);
    plain_gemm(false, false, d, f, f, -1, upd, f, a, f, 1, lhs, f, size);
    return scale > 0 ? norm_of(lhs, d * f) / ((double)f * scale * DBL_EPSILON) : 0;
}

static bool solve(struct system *s, enum pmet_solver solver, double ridge, double *upd,
                  struct pmet_solve_report *report)
{
    struct lab *lab = s->lab;
    return LAB_OK(lab, pmet_solve_update(lab->op, solver, SIZE_MAX, s->cov, NULL, s->lambda, ridge, s->keys,
                                         s->resid, s->f, s->d, s->n, upd, report, &lab->err));
}

/* Backward stable: the ratio stays below 30 whatever the condition. */
TEST(cholesky_satisfies_the_definition)
{
    for (size_t k = 0; k < N_SHAPE; k++)
        for (enum kind kind = WELL; kind < N_KIND; kind++) {
            struct system s;
            struct pmet_solve_report report;
            system_open(t, &s, k, kind);
            const double ridge = k % 2 ? 0.25 : 0, zero = 0;
            double *upd = lab_out_f64(s.lab, s.d * s.f);
            if (solve(&s, PMET_SOLVER_CHOLESKY, ridge, upd, &report)) {
                const double ratio = defect(&s, ridge, upd);
                CHECK_CLOSE(&ratio, &zero, 1, 30);
                CHECK(report.used == PMET_SOLVER_CHOLESKY || s.n == 0);
                CHECK(report.residual <= 64 * DBL_EPSILON * (double)s.f);
            }
        }
}

/* Columns stop at a residual of 1e-13, and the solution is off by that times the condition that the
 * diagonal scaling leaves: 1e2 or, ROUGH, at most 1e5 in the directions that keys have. */
TEST(conjugate_gradients_equal_cholesky)
{
    for (size_t k = 0; k < N_SHAPE; k++)
        for (enum kind kind = WELL; kind < N_KIND; kind++) {
            struct system s;
            struct pmet_solve_report report;
            system_open(t, &s, k, kind);
            const double ridge = k % 2 ? 0.25 : 0;
            double *a = lab_out_f64(s.lab, s.d * s.f), *b = lab_out_f64(s.lab, s.d * s.f);
            if (solve(&s, PMET_SOLVER_CHOLESKY, ridge, a, &report) &&
                solve(&s, PMET_SOLVER_CG, ridge, b, &report)) {
                const double far = test_rel_l2(b, a, s.d * s.f), zero = 0;
                CHECK_CLOSE(&far, &zero, 1, kind == ROUGH ? 1e-8 : 2e-11);
                CHECK(report.residual <= 2e-13);
                CHECK(s.n == 0 || (report.used == PMET_SOLVER_CG && report.iterations > 0));
            }
        }
}

/* E72, and the factor serves any lambda. Each solve loses eps times its condition: 1e3 where a
 * diagonal scaling mends it, 1e7 where not. */
TEST(the_factor_of_c_alone_gives_the_same_update)
{
    for (size_t k = 0; k < N_SHAPE; k++)
        for (enum kind kind = WELL; kind < N_KIND; kind++) {
            struct system s;
            struct pmet_solve_report report;
            size_t pivot;
            double value;
            system_open(t, &s, k, kind);
            struct lab *lab = s.lab;
            double *dev = lab_inout_f64(lab, s.cov, s.f * s.f);
            LAB_OK(lab, lab->op->cholesky(lab->op, dev, s.f, &pivot, &value, &lab->err));
            const double *factor = lab_get_f64(lab, dev, s.f * s.f);
            for (int other = 0; other < 2; other++, s.lambda *= 1000) {
                double *a = lab_out_f64(lab, s.d * s.f), *b = lab_zeros(lab, s.d * s.f),
                       *x = lab_out_f64(lab, s.f * s.n), *size = lab_zeros(lab, s.d * s.f);
                LAB_OK(lab, pmet_solve_factored(lab->op, factor, s.lambda, s.keys, s.f, s.n, x, &lab->err));
                plain_gemm(false, true, s.d, s.f, s.n, 1, s.resid, s.n, x, s.n, 0, b, s.f, size);
                if (solve(&s, PMET_SOLVER_CHOLESKY, 0, a, &report)) {
                    const double far = test_rel_l2(b, a, s.d * s.f), zero = 0;
                    CHECK_CLOSE(&far, &zero, 1, kind == ROUGH ? 1e-9 : 1e-12);
                }
            }
        }
}

/* A zero residual gives zero without a solve, even where there is no solution. */
TEST(nothing_wanted_is_nothing_changed)
{
    struct system s;
    struct pmet_solve_report report;
    system_open(t, &s, 5, WELL);
    double *upd = lab_out_f64(s.lab, s.d * s.f);
    s.resid = lab_zeros(s.lab, s.d * s.n);
    s.cov[0] = -1;
    for (int k = 0; k < 2; k++)
        if (solve(&s, k ? PMET_SOLVER_CG : PMET_SOLVER_CHOLESKY, 0, upd, &report))
            lab_same(s.lab, "update", upd, s.resid, 0);
    for (size_t i = 0; i < s.d * s.f; i++)
        if (upd[i] != 0 || signbit(upd[i]))
            test_fail(t, "element %zu is %g", i, upd[i]);
}

/* Memory for the second matrix decides, to the byte. */
/* With a factor of C at hand: for few facts, without a ridge, where a second matrix fits; never
 * when another solver is asked for. What it gives is measured like any other. */
TEST(auto_takes_the_factor_for_few_facts)
{
    const size_t f = 64, need = f * f * sizeof(double);
    CHECK(pmet_solver_takes_factor(PMET_SOLVER_AUTO, 0, need, f, 16));
    CHECK(!pmet_solver_takes_factor(PMET_SOLVER_AUTO, 0, need, f, 17));
    CHECK(!pmet_solver_takes_factor(PMET_SOLVER_AUTO, 0, need - 1, f, 16));
    CHECK(!pmet_solver_takes_factor(PMET_SOLVER_AUTO, 1e-9, need, f, 16));
    CHECK(!pmet_solver_takes_factor(PMET_SOLVER_CHOLESKY, 0, need, f, 16));
    for (size_t k = 0; k < N_SHAPE; k++) {
        struct system s;
        struct pmet_solve_report report;
        size_t pivot;
        double value;
        system_open(t, &s, k, WELL);
        struct lab *lab = s.lab;
        double *dev = lab_inout_f64(lab, s.cov, s.f * s.f), *a = lab_out_f64(lab, s.d * s.f),
               *b = lab_out_f64(lab, s.d * s.f);
        LAB_OK(lab, lab->op->cholesky(lab->op, dev, s.f, &pivot, &value, &lab->err));
        const double *factor = lab_get_f64(lab, dev, s.f * s.f);
        LAB_OK(lab, pmet_solve_update(lab->op, PMET_SOLVER_AUTO, SIZE_MAX, s.cov, factor, s.lambda, 0, s.keys,
                                      s.resid, s.f, s.d, s.n, a, &report, &lab->err));
        CHECK(report.used == (s.n <= s.f / 4 ? PMET_SOLVER_FACTORED : PMET_SOLVER_CHOLESKY));
        CHECK(report.residual < 1e-12);
        if (solve(&s, PMET_SOLVER_CHOLESKY, 0, b, &report)) {
            const double far = test_rel_l2(a, b, s.d * s.f), zero = 0;
            CHECK_CLOSE(&far, &zero, 1, 1e-12);
        }
    }
    CHECK_STR(pmet_solver_name(PMET_SOLVER_FACTORED), "factored");
}

TEST(auto_takes_conjugate_gradients_where_a_second_matrix_does_not_fit)
{
    struct system s;
    struct pmet_solve_report report;
    system_open(t, &s, 4, WELL);
    struct lab *lab = s.lab;
    const size_t need = s.f * s.f * sizeof(double);
    double *upd = lab_out_f64(lab, s.d * s.f);
    for (int k = 0; k < 2; k++) {
        LAB_OK(lab, pmet_solve_update(lab->op, PMET_SOLVER_AUTO, need - (k ? 0 : 1), s.cov, NULL, s.lambda, 0,
                                      s.keys, s.resid, s.f, s.d, s.n, upd, &report, &lab->err));
        CHECK(report.used == (k ? PMET_SOLVER_CHOLESKY : PMET_SOLVER_CG));
    }
    CHECK_STR(pmet_solver_name(PMET_SOLVER_AUTO), "auto");
    CHECK_STR(pmet_solver_name(PMET_SOLVER_CG), "cg");
}

static enum pmet_status refused(struct system *s, enum pmet_solver solver, double *upd)
{
    struct pmet_solve_report report;
    s->lab->err = (struct pmet_error){PMET_OK, ""};
    return pmet_solve_update(s->lab->op, solver, SIZE_MAX, s->cov, NULL, s->lambda, 0, s->keys, s->resid,
                             s->f, s->d, s->n, upd, &report, &s->lab->err);
}

/* C = diag(1, 1, -1, 1, 1), lambda 1 and one key that does not reach the third feature: pivot 2 is
 * -1. */
/* C = H D H, H a reflection, D from 1 down to 1e-12: no scaling of features mends it, and its steps
 * run out. */
TEST(conjugate_gradients_give_up_in_the_end)
{
    enum { F = 40 };
    static double cov[F * F], keys[F], resid[1] = {1}, upd[F], v[F], size[F];
    struct pmet_solve_report report;
    struct pmet_ops *op = NULL;
    double norm = 0;
    for (size_t i = 0; i < F; i++) {
        norm += pow(v[i] = sin((double)i + 1), 2);
        size[i] = pow(10, -12.0 * (double)i / (F - 1));
        keys[i] = cos((double)i);
    }
    for (size_t i = 0; i < F; i++)
        for (size_t j = 0; j <= i; j++)
            for (size_t k = 0; k < F; k++)
                cov[j * F + i] = cov[i * F + j] +=
                    ((i == k) - 2 * v[i] * v[k] / norm) * size[k] * ((j == k) - 2 * v[j] * v[k] / norm);
    if (!CHECK_DONE(pmet_ops_cpu(1, &op, &t->err)))
        return;
    CHECK(pmet_solve_update(op, PMET_SOLVER_CG, SIZE_MAX, cov, NULL, 1e12, 0, keys, resid, F, 1, 1, upd,
                            &report, &t->err) == PMET_NUMERIC);
    CHECK(report.iterations == 20 * F + 200);
    CHECK(strncmp(t->err.message, "conjugate gradients: the residual is ", 37) == 0 &&
          strstr(t->err.message, " after 1000 steps, expected 1e-13; use --solver cholesky, or --ridge"));
    pmet_ops_free(op);
}

TEST(a_sum_that_is_not_positive_definite_is_refused_by_name)
{
    struct system s;
    size_t pivot;
    double value;
    system_open(t, &s, 1, WELL);
    double key[5 * 2] = {0}, *upd = lab_out_f64(s.lab, s.d * s.f);
    memset(s.cov, 0, 25 * sizeof *s.cov);
    for (size_t i = 0; i < 5; i++)
        s.cov[i * 6] = i == 2 ? -1 : 1;
    key[0] = key[9] = 1;
    s.keys = key;
    s.lambda = 1;
    CHECK(refused(&s, PMET_SOLVER_CHOLESKY, upd) == PMET_NUMERIC);
    CHECK_STR(s.lab->err.message,
              "lambda*cov + K K^T is not positive definite: pivot 2 of 5 is -1 (more text "
              "for the statistics, or --ridge, makes it so)");
    CHECK(refused(&s, PMET_SOLVER_CG, upd) == PMET_NUMERIC);
    CHECK_STR(s.lab->err.message,
              "lambda*cov + K K^T is not positive definite: diagonal element 2 of 5 is -1");
    s.cov[12] = (double)NAN;
    CHECK(refused(&s, PMET_SOLVER_CHOLESKY, upd) == PMET_NUMERIC);
    s.cov[12] = 1;
    key[2] = (double)NAN;
    CHECK(refused(&s, PMET_SOLVER_CHOLESKY, upd) == PMET_NUMERIC);
    CHECK(refused(&s, PMET_SOLVER_CG, upd) == PMET_NUMERIC);
    key[2] = 0;
    /* positive on the diagonal, indefinite inside: features 3 and 4 with 2 between them */
    s.cov[3 * 5 + 4] = s.cov[4 * 5 + 3] = 2;
    CHECK(refused(&s, PMET_SOLVER_CHOLESKY, upd) == PMET_NUMERIC);
    CHECK(refused(&s, PMET_SOLVER_CG, upd) == PMET_NUMERIC);
    CHECK(s.lab->op->cholesky(s.lab->op, lab_inout_f64(s.lab, s.cov, 25), 5, &pivot, &value, &s.lab->err) ==
          PMET_NUMERIC);
    CHECK(pivot == 4 && value == -3);
}

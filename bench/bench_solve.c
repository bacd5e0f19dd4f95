/* SPDX-License-Identifier: MIT
 * The update of one matrix by Cholesky, in double, beside this machine's rate of one large product;
 * and its two longest steps alone.
 *
 *     bench_solve [D_FF] [D_MODEL] [FACTS] [THREADS] */
#include <stdlib.h>
#include <string.h>
#include "bench/common.h"
#include "ref/method/needs.h"
#include "ref/cpu/table.h"
#include "ref/method/solve.h"

enum { TIMES = 3 };

struct job {
    struct pmet_ops *op;
    size_t f, d, n;
    double *cov, *keys, *resid, *upd, *a, *b;
};

static void update(void *user)
{
    const struct job *j = user;
    struct pmet_solve_report report;
    struct pmet_error err = {PMET_OK, ""};
    bench_ok(pmet_solve_update(j->op, PMET_SOLVER_CHOLESKY, SIZE_MAX, j->cov, NULL, 15000, 0, j->keys,
                               j->resid, j->f, j->d, j->n, j->upd, &report, &err),
             &err);
}

static void factor(void *user)
{
    const struct job *j = user;
    struct pmet_error err = {PMET_OK, ""};
    size_t pivot;
    double value;
    memcpy(j->a, j->cov, j->f * j->f * sizeof *j->a);
    bench_ok(j->op->cholesky(j->op, j->a, j->f, &pivot, &value, &err), &err);
}

static void substitute(void *user)
{
    const struct job *j = user;
    struct pmet_error err = {PMET_OK, ""};
    memcpy(j->b, j->keys, j->f * j->n * sizeof *j->b);
    bench_ok(j->op->cholesky_solve(j->op, j->a, j->b, j->f, j->n, &err), &err);
}

static void row(const char *what, double seconds, double flop, double ceiling)
{
    char share[32] = "";
    if (ceiling > 0)
        snprintf(share, sizeof share, "%.0f %%", 1e-7 * flop / seconds / ceiling);
    printf("%-28s %9.4f %9.2f %9.1f %9s\n", what, seconds, 1e-9 * flop, 1e-9 * flop / seconds, share);
}

int main(int argc, char **argv)
{
    struct job j = {.f = argc > 1 ? strtoul(argv[1], NULL, 10) : 3072,
                    .d = argc > 2 ? strtoul(argv[2], NULL, 10) : 768,
                    .n = argc > 3 ? strtoul(argv[3], NULL, 10) : 64};
    struct pmet_error err = {PMET_OK, ""};
    if (j.f == 0 || j.d == 0 || j.n == 0) {
        fprintf(stderr, "bench_solve: expected sizes: d_ff, d_model, facts\n");
        return 2;
    }
    bench_ok(pmet_ops_cpu(argc > 4 ? strtoul(argv[4], NULL, 10) : 0, &j.op, &err), &err);
    const double f = (double)j.f, ceiling = bench_peer_gemm(true, 2048, 2048, 2048, bench_threads(j.op));
    j.cov = bench_alloc(j.f * j.f * sizeof *j.cov);
    j.a = bench_alloc(j.f * j.f * sizeof *j.a);
    j.upd = bench_alloc(j.d * j.f * sizeof *j.upd);
    j.b = bench_alloc(j.f * j.n * sizeof *j.b);
    j.keys = bench_random_doubles(2, j.f * j.n);
    j.resid = bench_random_doubles(3, j.d * j.n);
    for (size_t i = 0; i < j.f; i++) /* positive definite: 2 on the diagonal, 1/(1 + |i - j|)^2 beside it */
        for (size_t k = 0; k < j.f; k++) {
            const double far = 1 + (i > k ? (double)(i - k) : (double)(k - i));
            j.cov[i * j.f + k] = (i == k) + 1 / (far * far);
        }
    bench_header(argc, argv);
    printf("%28s %9s %9s %9s %9s\n", "", "seconds", "GFLOP", "GFLOP/s", "of dgemm");
    if (ceiling > 0)
        row("OpenBLAS, one product", 2e-9 * 2048 * 2048 * 2048 / ceiling, 2. * 2048 * 2048 * 2048, ceiling);
    const double s_factor = bench_time(factor, &j, TIMES, NULL),
                 s_solve = bench_time(substitute, &j, TIMES, NULL), s = bench_time(update, &j, TIMES, NULL),
                 flop = pmet_solve_flop(j.f, j.d, j.n);
    row("the factor", s_factor, f * f * f / 3, ceiling);
    row("both substitutions", s_solve, 2 * f * f * (double)j.n, ceiling);
    row("the update, all of it", s, flop, ceiling);
    printf("\ndgemm GFLOP/s, seconds, GFLOP: %.3f %.6f %.6f\n", ceiling, s, 1e-9 * flop);
    double *const all[] = {j.cov, j.keys, j.resid, j.upd, j.a, j.b};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    pmet_ops_free(j.op);
    return 0;
}

/* SPDX-License-Identifier: MIT
 * y = x W^T and its dx at the shapes of these models, GFLOP/s: ours with weights of every type,
 * beside one OpenBLAS product in `real` on as many threads.
 *
 *     bench_matmul [WIDTH] [THREADS]        4096 is GPT-J-6B's */
#include <stdlib.h>
#include <string.h>
#include "bench/common.h"
#include "ref/cpu/table.h"
#include "tensors/dtype.h"

struct job {
    const struct pmet_ops *op;
    struct pmet_weight w;
    real *x, *y;
    size_t n_tok;
};

static void forward(void *user)
{
    const struct job *j = user;
    struct pmet_error err = {PMET_OK, ""};
    bench_ok(j->op->matmul(j->op, j->y, j->w.n_out, j->x, j->w, NULL, j->n_tok, &err), &err);
}

static void backward(void *user)
{
    const struct job *j = user;
    struct pmet_error err = {PMET_OK, ""};
    bench_ok(j->op->matmul_dx(j->op, j->x, j->y, j->w.n_out, j->w, false, j->n_tok, &err), &err);
}

static void shape(const struct pmet_ops *op, void *const weights[], size_t n_tok, size_t n_out, size_t n_in)
{
    static const enum pmet_dtype types[] = {PMET_F32, PMET_F16, PMET_BF16};
    const double gflop = 2e-9 * (double)n_tok * (double)n_out * (double)n_in;
    struct job j = {op,
                    {NULL, PMET_F32, n_out, n_in},
                    bench_alloc(n_tok * n_in * sizeof(real)),
                    bench_alloc(n_tok * n_out * sizeof(real)),
                    n_tok};
    const double peer = bench_peer_gemm(false, n_tok, n_out, n_in, bench_threads(op));
    bench_random(1, 1, j.x, n_tok * n_in);
    printf("%5zu x %5zu x %5zu %9.1f", n_tok, n_out, n_in, peer);
    for (int back = 0; back < 2; back++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            j.w.dtype = types[t];
            j.w.data = weights[t];
            printf(" %9.1f", gflop / bench_time(back ? backward : forward, &j, 3, NULL));
        }
    printf("\n");
    free(j.x);
    free(j.y);
}

int main(int argc, char **argv)
{
    const size_t d = argc > 1 ? strtoul(argv[1], NULL, 10) : 2048, tokens[] = {1, 8, 32, 64, 512};
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_ops *op;
    if (d == 0) {
        fprintf(stderr, "bench_matmul: expected a width\n");
        return 2;
    }
    bench_ok(pmet_ops_cpu(argc > 2 ? strtoul(argv[2], NULL, 10) : 0, &op, &err), &err);
    void *const weights[] = {bench_alloc(16 * d * d), bench_alloc(8 * d * d), bench_alloc(8 * d * d)};
    for (size_t t = 0; t < 3; t++)
        memset(weights[t], 0, (t ? 8 : 16) * d * d);
    bench_header(argc, argv);
    printf("GFLOP/s of %s; tokens x outputs x inputs\n\n", op->name);
    printf("%21s %9s %29s %29s\n%21s %9s %9s %9s %9s %9s %9s %9s\n", "", "OpenBLAS", "ours, y = x W^T",
           "ours, dx", "", "", "F32", "F16", "BF16", "F32", "F16", "BF16");
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        shape(op, weights, tokens[i], d, d);
        shape(op, weights, tokens[i], 4 * d, d);
        shape(op, weights, tokens[i], d, 4 * d);
    }
    for (size_t t = 0; t < 3; t++)
        free(weights[t]);
    pmet_ops_free(op);
    return 0;
}

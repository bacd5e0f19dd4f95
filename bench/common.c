/* SPDX-License-Identifier: MIT */
#include "bench/common.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "ref/cpu/threads.h"
#ifdef PMET_OPENBLAS
#include <cblas.h>
#endif

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

double bench_time(bench_fn *run, void *user, size_t n, double *best)
{
    double t[BENCH_REPEATS];
    run(user);
    for (size_t i = 0; i < n; i++) {
        const double start = bench_now();
        run(user);
        t[i] = bench_now() - start;
    }
    qsort(t, n, sizeof *t, ascending);
    if (best)
        *best = t[0];
    return t[n / 2];
}

void bench_header(int argc, char **argv)
{
    char line[256], name[256] = "unknown processor";
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (colon && strncmp(line, "model name", 10) == 0) {
            snprintf(name, sizeof name, "%s", colon + 2);
            name[strcspn(name, "\n")] = '\0';
            break;
        }
    }
    if (f)
        fclose(f);
    printf("machine  %s, %d cores, real is %s\ncommand ", name, omp_get_num_procs(),
           sizeof(real) == sizeof(float) ? "float" : "double");
    for (int i = 0; i < argc; i++)
        printf(" %s", argv[i]);
    printf("\n");
}

void bench_ok(enum pmet_status status, const struct pmet_error *err)
{
    if (status == PMET_OK)
        return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

void *bench_alloc(size_t n_bytes)
{
    void *p = aligned_alloc(64, (n_bytes + 64) / 64 * 64);
    if (!p) {
        fprintf(stderr, "no memory for %zu bytes\n", n_bytes);
        exit(1);
    }
    return p;
}

void bench_random(uint64_t seed, double scale, real *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double sum = -6; /* of twelve uniform numbers: variance 1 */
        for (int k = 0; k < 6; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            sum += (double)(uint32_t)(seed >> 32) * 0x1p-32 + (double)(uint32_t)(seed >> 8) * 0x1p-32;
        }
        x[i] = (real)(scale * sum);
    }
}

double *bench_random_doubles(uint64_t seed, size_t n)
{
    real *x = bench_alloc(n * sizeof *x);
    double *wide = bench_alloc(n * sizeof *wide);
    bench_random(seed, 1, x, n);
    for (size_t i = 0; i < n; i++)
        wide[i] = (double)x[i];
    free(x);
    return wide;
}

size_t bench_threads(const struct pmet_ops *op)
{
    return pmet_cpu_of(op)->n_thread;
}

#ifdef PMET_OPENBLAS
struct peer {
    bool in_double;
    size_t m, n, k;
    void *a, *b, *c;
};

static void peer_product(void *user)
{
    const struct peer *p = user;
    const int m = (int)p->m, n = (int)p->n, k = (int)p->k;
    if (p->in_double || sizeof(real) == sizeof(double))
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, p->a, k, p->b, k, 0, p->c, n);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, p->a, k, p->b, k, 0, p->c, n);
}

double bench_peer_gemm(bool in_double, size_t n_tok, size_t n_out, size_t n_in, size_t n_thread)
{
    const size_t size = in_double ? sizeof(double) : sizeof(real);
    struct peer p = {in_double,
                     n_tok,
                     n_out,
                     n_in,
                     bench_alloc(n_tok * n_in * size),
                     bench_alloc(n_out * n_in * size),
                     bench_alloc(n_tok * n_out * size)};
    memset(p.a, 0, n_tok * n_in * size); /* touched: products of zeros take as long as any */
    memset(p.b, 0, n_out * n_in * size);
    openblas_set_num_threads((int)n_thread);
    const double s = bench_time(peer_product, &p, 5, NULL);
    openblas_set_num_threads(1);
    free(p.a);
    free(p.b);
    free(p.c);
    return 2e-9 * (double)n_tok * (double)n_out * (double)n_in / s;
}
#else
double bench_peer_gemm(bool in_double, size_t n_tok, size_t n_out, size_t n_in, size_t n_thread)
{
    (void)in_double, (void)n_tok, (void)n_out, (void)n_in, (void)n_thread;
    return 0;
}
#endif

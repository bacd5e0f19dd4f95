/* SPDX-License-Identifier: MIT
 * Would the processor's bf16 dot products serve for bf16 weights? Rates of products kept in
 * registers, and what an activation loses when it is split in bf16 terms, beside float's own
 * rounding: three terms are needed, so that the instruction has to be three times as fast.
 *
 *     bench_bf16 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "bench/common.h"
#ifdef __AVX512BF16__
#include <immintrin.h>

enum { CHAINS = 16, TIMES = 20000000 };

static volatile float sink;

static void in_float(void *user)
{
    __m512 sum[CHAINS], a = _mm512_set1_ps(1e-9F), b = _mm512_set1_ps(*(const float *)user);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm512_set1_ps((float)c);
    for (int i = 0; i < TIMES / CHAINS; i++)
        for (int c = 0; c < CHAINS; c++)
            sum[c] = _mm512_fmadd_ps(a, b, sum[c]);
    for (int c = 0; c < CHAINS; c++)
        sink += _mm512_reduce_add_ps(sum[c]);
}

static void in_bf16(void *user)
{
    __m512 sum[CHAINS], a = _mm512_set1_ps(1e-9F), b = _mm512_set1_ps(*(const float *)user);
    const __m512bh x = _mm512_cvtne2ps_pbh(a, a), y = _mm512_cvtne2ps_pbh(b, b);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm512_set1_ps((float)c);
    for (int i = 0; i < TIMES / CHAINS; i++)
        for (int c = 0; c < CHAINS; c++)
            sum[c] = _mm512_dpbf16_ps(sum[c], x, y);
    for (int c = 0; c < CHAINS; c++)
        sink += _mm512_reduce_add_ps(sum[c]);
}

/* To the nearest bf16, ties to even. */
static float to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Root mean square of what is left of x after some terms, relative to x. */
static double left(const real *x, size_t n, int n_term)
{
    double off = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        float rest = (float)x[i];
        for (int k = 0; k < n_term; k++)
            rest -= to_bf16(rest);
        off += (double)rest * (double)rest;
        all += (double)x[i] * (double)x[i];
    }
    return sqrt(off / all);
}

int main(int argc, char **argv)
{
    enum { N = 1 << 16 };
    float one = 1;
    real *x = bench_alloc(N * sizeof *x);
    bench_header(argc, argv);
    bench_random(1, 1, x, N);
    double best[2];
    bench_time(in_float, &one, 5, &best[0]);
    bench_time(in_bf16, &one, 5, &best[1]);
    const double rate[2] = {32e-9 * TIMES / best[0], 64e-9 * TIMES / best[1]};
    printf("one core, GFLOP/s: float %.0f, bf16 dot products %.0f: %.2f times as many\n", rate[0], rate[1],
           rate[1] / rate[0]);
    for (int k = 1; k <= 3; k++)
        printf("activations in %d bf16 terms: %.1e of them lost (float rounds off 3e-08); %.2f of float's "
               "rate\n",
               k, left(x, N, k), rate[1] / rate[0] / k);
    free(x);
    return 0;
}
#else
int main(int argc, char **argv)
{
    bench_header(argc, argv);
    printf("built for a processor without bf16 dot products\n");
    return 0;
}
#endif

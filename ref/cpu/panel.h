/* SPDX-License-Identifier: MIT
 * The one product under matmul, matmul_dx and gram: a block of PMET_BLOCK x PMET_BLOCK sums,
 *     acc[i][j] += sum_k a(i,k) b(k,j) ,     a(i,k) = a[i*a_row + k*a_term],  b(k,j) = b[k*PMET_BLOCK + j]
 * Terms ascend; `step` of them go into one running `real`, a fused multiply-add each where the
 * machine has one, which is then added to acc. Every element takes these steps whatever else is in
 * the block, so that its bits depend on its own operands alone. SPEC §1.3 */
#ifndef PMET_REF_CPU_PANEL_H
#define PMET_REF_CPU_PANEL_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include "ref/real.h"

/* Rows of a block summed at a time: with 32 vector registers eight, with 16 four keep the sums out
 * of memory. */
#if defined(__AVX512F__) || defined(__aarch64__)
enum { PMET_BLOCK = 16, PMET_BLOCK_ROWS = 8 };
#else
enum { PMET_BLOCK = 16, PMET_BLOCK_ROWS = 4 };
#endif

#if defined(FP_FAST_FMAF) || defined(__FMA__) || defined(__aarch64__)
#define PMET_FUSED 1
#else
#define PMET_FUSED 0
#endif

static inline double pmet_multiply_add64(double a, double b, double sum)
{
    return PMET_FUSED ? fma(a, b, sum) : a * b + sum;
}

static inline real pmet_multiply_add(real a, real b, real sum)
{
#ifdef PMET_REAL_DOUBLE
    return pmet_multiply_add64(a, b, sum);
#else
    return PMET_FUSED ? fmaf(a, b, sum) : a * b + sum;
#endif
}

/* The sanitizers would check each operand of each product, many times slower; what packs the
 * operands is checked. */
#ifdef __SANITIZE_ADDRESS__
#define PMET_UNCHECKED __attribute__((noinline, no_sanitize("address", "undefined"), optimize("O3")))
#else
#define PMET_UNCHECKED inline
#endif

/* PMET_BLOCK_ROWS rows of a block, n_k terms in one step. */
static PMET_UNCHECKED void pmet_block_rows(real acc[PMET_BLOCK_ROWS][PMET_BLOCK], const real *restrict a,
                                           size_t a_row, size_t a_term, const real *restrict b, size_t n_k)
{
    real s[PMET_BLOCK_ROWS][PMET_BLOCK];
    for (size_t i = 0; i < PMET_BLOCK_ROWS; i++)
        for (size_t j = 0; j < PMET_BLOCK; j++)
            s[i][j] = 0;
    for (size_t k = 0; k < n_k; k++)
        for (size_t i = 0; i < PMET_BLOCK_ROWS; i++)
#pragma omp simd
            for (size_t j = 0; j < PMET_BLOCK; j++)
                s[i][j] = pmet_multiply_add(a[i * a_row + k * a_term], b[k * PMET_BLOCK + j], s[i][j]);
    for (size_t i = 0; i < PMET_BLOCK_ROWS; i++)
        for (size_t j = 0; j < PMET_BLOCK; j++)
            acc[i][j] += s[i][j];
}

static inline void pmet_block(real acc[PMET_BLOCK][PMET_BLOCK], const real *a, size_t a_row, size_t a_term,
                              const real *b, size_t n_k, size_t step)
{
    for (size_t k = 0; k < n_k; k += step)
        for (size_t i = 0; i < PMET_BLOCK; i += PMET_BLOCK_ROWS)
            pmet_block_rows(acc + i, a + i * a_row + k * a_term, a_row, a_term, b + k * PMET_BLOCK,
                            n_k - k < step ? n_k - k : step);
}

/* How many of k terms go into one running sum: sixteen or more shorter sums, added in order, lose
 * less; and 256 terms of a block stay in the fastest cache. */
static inline size_t pmet_block_step(size_t k)
{
    const size_t sixteenth = (k + 255) / 256 * 16;
    return sixteenth < 16 ? 16 : sixteenth > 256 ? 256 : sixteenth;
}

#endif

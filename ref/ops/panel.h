/* SPDX-License-Identifier: MIT
 * The one product under matmul, matmul_dx and gram, on one thread, of a shape that depends on no batch:
 *     c[m,n] = (onto ? c : 0) + sum_k a(i,k) b(k,j) ,     a(i,k) = a[i*lda + k]  (ta: a[k*lda + i]), b
 * likewise. pmet_panel_naive is the definition. pmet_panel_plain gives its bits, blocked so that it
 * vectorises. pmet_panel_blas is OpenBLAS's product, which sums in `real`.      SPEC §1.3 */
#ifndef PMET_REF_OPS_PANEL_H
#define PMET_REF_OPS_PANEL_H

#include <stdbool.h>
#include <stddef.h>
#include "ref/real.h"
#ifdef PMET_OPENBLAS
#include <cblas.h>
#endif

static inline void pmet_panel_naive(bool ta, bool tb, size_t m, size_t n, size_t k, const real *a, size_t lda,
                                    const real *b, size_t ldb, bool onto, real *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double s = 0;
            for (size_t q = 0; q < k; q++)
                s += (double)(ta ? a[q * lda + i] : a[i * lda + q]) *
                     (double)(tb ? b[j * ldb + q] : b[q * ldb + j]);
            c[i * ldc + j] = (real)((onto ? (double)c[i * ldc + j] : 0) + s);
        }
}

/* A block of PMET_PLAIN_M x PMET_PLAIN_N sums, PMET_PLAIN_K terms at a time. */
enum { PMET_PLAIN_M = 64, PMET_PLAIN_N = 16, PMET_PLAIN_K = 64 };

/* dst[q][j] = b(k+q, j0+j) as doubles, 0 past n_j. */
static inline void pmet_plain_pack(double dst[PMET_PLAIN_K][PMET_PLAIN_N], bool tb, const real *b, size_t ldb,
                                   size_t k, size_t n_k, size_t j0, size_t n_j)
{
    for (size_t q = 0; q < n_k; q++)
        for (size_t j = 0; j < PMET_PLAIN_N; j++)
            dst[q][j] = j >= n_j ? 0 : (double)(tb ? b[(j0 + j) * ldb + k + q] : b[(k + q) * ldb + j0 + j]);
}

/* sum[j] += sum over n_k terms of one row, in order. */
static inline void pmet_plain_row(double sum[PMET_PLAIN_N], const real *a, size_t a_step,
                                  double pack[PMET_PLAIN_K][PMET_PLAIN_N], size_t n_k)
{
    double s[PMET_PLAIN_N];
    for (size_t j = 0; j < PMET_PLAIN_N; j++)
        s[j] = sum[j];
    for (size_t q = 0; q < n_k; q++) {
        const double x = (double)a[q * a_step];
        for (size_t j = 0; j < PMET_PLAIN_N; j++)
            s[j] += x * pack[q][j];
    }
    for (size_t j = 0; j < PMET_PLAIN_N; j++)
        sum[j] = s[j];
}

static inline void pmet_panel_plain(bool ta, bool tb, size_t m, size_t n, size_t k, const real *a, size_t lda,
                                    const real *b, size_t ldb, bool onto, real *c, size_t ldc)
{
    double sum[PMET_PLAIN_M][PMET_PLAIN_N], pack[PMET_PLAIN_K][PMET_PLAIN_N];
    for (size_t i0 = 0; i0 < m; i0 += PMET_PLAIN_M)
        for (size_t j0 = 0; j0 < n; j0 += PMET_PLAIN_N) {
            const size_t n_i = m - i0 < PMET_PLAIN_M ? m - i0 : PMET_PLAIN_M,
                         n_j = n - j0 < PMET_PLAIN_N ? n - j0 : PMET_PLAIN_N;
            for (size_t i = 0; i < n_i; i++)
                for (size_t j = 0; j < PMET_PLAIN_N; j++)
                    sum[i][j] = 0;
            for (size_t q = 0; q < k; q += PMET_PLAIN_K) {
                const size_t n_k = k - q < PMET_PLAIN_K ? k - q : PMET_PLAIN_K;
                pmet_plain_pack(pack, tb, b, ldb, q, n_k, j0, n_j);
                for (size_t i = 0; i < n_i; i++)
                    pmet_plain_row(sum[i], ta ? a + q * lda + i0 + i : a + (i0 + i) * lda + q, ta ? lda : 1,
                                   pack, n_k);
            }
            for (size_t i = 0; i < n_i; i++)
                for (size_t j = 0; j < n_j; j++) {
                    real *y = &c[(i0 + i) * ldc + j0 + j];
                    *y = (real)((onto ? (double)*y : 0) + sum[i][j]);
                }
        }
}

#ifdef PMET_OPENBLAS
static inline void pmet_panel_blas(bool ta, bool tb, size_t m, size_t n, size_t k, const real *a, size_t lda,
                                   const real *b, size_t ldb, bool onto, real *c, size_t ldc)
{
    const CBLAS_TRANSPOSE opa = ta ? CblasTrans : CblasNoTrans, opb = tb ? CblasTrans : CblasNoTrans;
    if (k == 0) { /* the library refuses a row stride of 0 */
        pmet_panel_naive(ta, tb, m, n, k, a, lda, b, ldb, onto, c, ldc);
        return;
    }
#ifdef PMET_REAL_DOUBLE
    cblas_dgemm(CblasRowMajor, opa, opb, (int)m, (int)n, (int)k, 1, a, (int)lda, b, (int)ldb, onto ? 1 : 0, c,
                (int)ldc);
#else
    cblas_sgemm(CblasRowMajor, opa, opb, (int)m, (int)n, (int)k, 1, a, (int)lda, b, (int)ldb, onto ? 1 : 0, c,
                (int)ldc);
#endif
}
#endif

static inline void pmet_panel(bool ta, bool tb, size_t m, size_t n, size_t k, const real *a, size_t lda,
                              const real *b, size_t ldb, bool onto, real *c, size_t ldc)
{
#ifdef PMET_OPENBLAS
    pmet_panel_blas(ta, tb, m, n, k, a, lda, b, ldb, onto, c, ldc);
#else
    pmet_panel_plain(ta, tb, m, n, k, a, lda, b, ldb, onto, c, ldc);
#endif
}

/* How many of k terms go into one pmet_panel. The library sums in one running `real`: sixteen or more shorter
 * sums, added in order, lose less; and up to 512 terms of a 16 x 64 panel it multiplies without packing,
 * which is 2.5 times faster. The plain product rounds only its last sum and takes them all. */
static inline size_t pmet_panel_step(size_t k)
{
#ifdef PMET_OPENBLAS
    const size_t sixteenth = (k + 255) / 256 * 16;
    return sixteenth < 16 ? 16 : sixteenth > 512 ? 512 : sixteenth;
#else
    return k > 0 ? k : 1;
#endif
}

#endif

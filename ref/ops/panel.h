/* SPDX-License-Identifier: MIT
 * The one product under matmul, matmul_dx and gram: c = beta c + op(a) op(b) on one thread, of a shape that
 * depends on no batch. By OpenBLAS where there is one, else by the plain loop below, which is the definition.
 */
#ifndef PMET_REF_OPS_PANEL_H
#define PMET_REF_OPS_PANEL_H

#include <stdbool.h>
#include "ref/real.h"
#ifdef PMET_OPENBLAS
#include <cblas.h>
#endif

/* c[m,n] = beta c + sum_k a(i,k) b(k,j), sums in double; a(i,k) = a[i*lda+k] (ta: a[k*lda+i]), b likewise.
 * beta 0 or 1. */
static inline void pmet_panel_plain(bool ta, bool tb, size_t m, size_t n, size_t k, const real *a, size_t lda,
                                    const real *b, size_t ldb, bool beta, real *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double s[4] = {0};
            size_t q = 0;
            for (; q + 4 <= k; q += 4)
                for (size_t r = 0; r < 4; r++)
                    s[r] += (double)(ta ? a[(q + r) * lda + i] : a[i * lda + q + r]) *
                            (double)(tb ? b[j * ldb + q + r] : b[(q + r) * ldb + j]);
            for (; q < k; q++)
                s[0] += (double)(ta ? a[q * lda + i] : a[i * lda + q]) *
                        (double)(tb ? b[j * ldb + q] : b[q * ldb + j]);
            c[i * ldc + j] = (real)((beta ? (double)c[i * ldc + j] : 0) + ((s[0] + s[1]) + (s[2] + s[3])));
        }
}

#ifdef PMET_OPENBLAS
/* The library sums each element in one running float; sixteen shorter sums, added in order, lose less. */
static inline void pmet_panel_blas(bool ta, bool tb, size_t m, size_t n, size_t k, const real *a, size_t lda,
                                   const real *b, size_t ldb, bool beta, real *c, size_t ldc)
{
    const CBLAS_TRANSPOSE opa = ta ? CblasTrans : CblasNoTrans, opb = tb ? CblasTrans : CblasNoTrans;
    const size_t step = k / 16 > 16 ? (k + 15) / 16 : 16;
    for (size_t q = 0; q < k; q += step) {
        const int kq = (int)(k - q < step ? k - q : step);
        const real *aq = ta ? a + q * lda : a + q, *bq = tb ? b + q : b + q * ldb;
        const bool onto = beta || q > 0;
#ifdef PMET_REAL_DOUBLE
        cblas_dgemm(CblasRowMajor, opa, opb, (int)m, (int)n, kq, 1, aq, (int)lda, bq, (int)ldb, onto ? 1 : 0,
                    c, (int)ldc);
#else
        cblas_sgemm(CblasRowMajor, opa, opb, (int)m, (int)n, kq, 1, aq, (int)lda, bq, (int)ldb, onto ? 1 : 0,
                    c, (int)ldc);
#endif
    }
}
#endif

static inline void pmet_panel(bool ta, bool tb, size_t m, size_t n, size_t k, const real *a, size_t lda,
                              const real *b, size_t ldb, bool beta, real *c, size_t ldc)
{
#ifdef PMET_OPENBLAS
    pmet_panel_blas(ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc);
#else
    pmet_panel_plain(ta, tb, m, n, k, a, lda, b, ldb, beta, c, ldc);
#endif
}

#endif

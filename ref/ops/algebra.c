/* SPDX-License-Identifier: MIT
 * Products in double, for the solve.      SPEC §8.2 */
#include "ref/ops/algebra.h"

#ifdef PMET_OPENBLAS
#include <cblas.h>
#endif

#define TILE 128

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void pmet_gemm64_tile(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a,
                      size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
#ifdef PMET_OPENBLAS
    cblas_dgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (int)m, (int)n,
                (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
#else
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double s = 0;
            for (size_t q = 0; q < k; q++)
                s += (ta ? a[q * lda + i] : a[i * lda + q]) * (tb ? b[j * ldb + q] : b[q * ldb + j]);
            c[i * ldc + j] = (beta == 0 ? 0 : beta * c[i * ldc + j]) + alpha * s;
        }
#endif
}

static enum pmet_status gemm64(const struct pmet_ops *op, bool ta, bool tb, size_t m, size_t n, size_t k,
                               double alpha, const double *a, size_t lda, const double *b, size_t ldb,
                               double beta, double *c, size_t ldc, struct pmet_error *err)
{
    const size_t n_row = (m + TILE - 1) / TILE, n_col = (n + TILE - 1) / TILE;
    (void)err;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) schedule(dynamic)
    for (size_t tile = 0; tile < n_row * n_col; tile++) {
        const size_t i = tile / n_col * TILE, j = tile % n_col * TILE;
        pmet_gemm64_tile(ta, tb, smaller(TILE, m - i), smaller(TILE, n - j), k, alpha,
                         ta ? a + i : a + i * lda, lda, tb ? b + j * ldb : b + j, ldb, beta, c + i * ldc + j,
                         ldc);
    }
    return PMET_OK;
}

void pmet_cpu_algebra(struct pmet_ops *op)
{
    op->gemm64 = gemm64;
}

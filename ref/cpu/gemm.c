/* SPDX-License-Identifier: MIT
 * Products in double, for the solve (E69).      SPEC §8.2 */
#include "ref/cpu/table.h"
#include "ref/cpu/threads.h"
#ifdef PMET_OPENBLAS
#include <cblas.h>
#endif

#define TILE 256

/* Without BLAS, for at most TILE rows: each element is one sum, terms ascending. */
static void gemm64_strip(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a,
                         size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
    enum { WIDE = 16, DEEP = 128 };
    double pack[DEEP][WIDE], sum[TILE][WIDE]; /* all rows by WIDE columns; DEEP terms at a time */
    for (size_t j0 = 0; j0 < n; j0 += WIDE) {
        const size_t n_j = pmet_smaller(WIDE, n - j0);
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < WIDE; j++)
                sum[i][j] = 0;
        for (size_t q0 = 0; q0 < k; q0 += DEEP) {
            const size_t n_q = pmet_smaller(DEEP, k - q0);
            for (size_t q = 0; q < n_q; q++)
                for (size_t j = 0; j < WIDE; j++)
                    pack[q][j] = j >= n_j ? 0 : tb ? b[(j0 + j) * ldb + q0 + q] : b[(q0 + q) * ldb + j0 + j];
            for (size_t i = 0; i < m; i++)
                for (size_t q = 0; q < n_q; q++) {
                    const double x = ta ? a[(q0 + q) * lda + i] : a[i * lda + q0 + q];
                    for (size_t j = 0; j < WIDE; j++)
                        sum[i][j] += x * pack[q][j];
                }
        }
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n_j; j++) {
                double *y = &c[i * ldc + j0 + j];
                *y = (beta == 0 ? 0 : beta * *y) + alpha * sum[i][j];
            }
    }
}

void pmet_gemm64_tile(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a,
                      size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
#ifdef PMET_OPENBLAS
    if (k > 0) { /* the library refuses a row stride of 0 */
        cblas_dgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (int)m,
                    (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
        return;
    }
#endif
    for (size_t i = 0; i < m; i += TILE)
        gemm64_strip(ta, tb, pmet_smaller(TILE, m - i), n, k, alpha, ta ? a + i : a + i * lda, lda, b, ldb,
                     beta, c + i * ldc, ldc);
}

static enum pmet_status gemm64(const struct pmet_ops *op, bool ta, bool tb, size_t m, size_t n, size_t k,
                               double alpha, const double *a, size_t lda, const double *b, size_t ldb,
                               double beta, double *c, size_t ldc, struct pmet_error *err)
{
    const size_t n_row = (m + TILE - 1) / TILE, n_col = (n + TILE - 1) / TILE;
    PMET_TRY(pmet_ops_ask(op, err));
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) schedule(dynamic) if (n_row * n_col > 1)
    for (size_t tile = 0; tile < n_row * n_col; tile++) {
        const size_t i = tile / n_col * TILE, j = tile % n_col * TILE;
        if (pmet_cpu_stopped(op))
            continue;
        pmet_gemm64_tile(ta, tb, pmet_smaller(TILE, m - i), pmet_smaller(TILE, n - j), k, alpha,
                         ta ? a + i : a + i * lda, lda, tb ? b + j * ldb : b + j, ldb, beta, c + i * ldc + j,
                         ldc);
    }
    return pmet_cpu_finish(op, err);
}

void pmet_cpu_gemm(struct pmet_ops *op)
{
    op->gemm64 = gemm64;
}

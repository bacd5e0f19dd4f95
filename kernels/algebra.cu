/* SPDX-License-Identifier: MIT
 * Products in double, for the solve (E69), on the FP64 tensor cores of devices that have them.      SPEC §8.2 */
#include "kernels/cuda.h"

/* c := beta c: the result of a product with k = 0, which cuBLAS refuses. */
static __global__ void __launch_bounds__(BLOCK)
    scale_rows(double *c, size_t ldc, double beta, size_t m, size_t n)
{
    for (size_t i = pmet_first(); i < m * n; i += pmet_step()) {
        double *to = &c[i / n * ldc + i % n];
        *to = beta == 0 ? 0 : beta * *to;
    }
}

/* Row-major c = op(a) op(b) is column-major c^T = op(b)^T op(a)^T. */
static enum pmet_status gemm64(const struct pmet_ops *op, bool ta, bool tb, size_t m, size_t n, size_t k,
                               double alpha, const double *a, size_t lda, const double *b, size_t ldb,
                               double beta, double *c, size_t ldc, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    if (m == 0 || n == 0)
        return PMET_OK;
    if (m > INT32_MAX || n > INT32_MAX || k > INT32_MAX || lda > INT32_MAX || ldb > INT32_MAX ||
        ldc > INT32_MAX)
        return pmet_fail(err, PMET_UNSUPPORTED, "cuda: gemm64: %zu x %zu x %zu; at most 2^31 a side", m, n,
                         k);
    if (k == 0)
        return PMET_LAUNCH_EACH(op, "gemm64", m * n, err, scale_rows, c, ldc, beta, m, n);
    PMET_BLAS_TRY(cublasDgemm(cuda->blas, tb ? CUBLAS_OP_T : CUBLAS_OP_N, ta ? CUBLAS_OP_T : CUBLAS_OP_N,
                              (int)n, (int)m, (int)k, &alpha, b, (int)ldb, a, (int)lda, &beta, c, (int)ldc),
                  "gemm64", err);
    return PMET_OK;
}

void pmet_cuda_algebra(struct pmet_ops *op)
{
    op->gemm64 = gemm64;
}

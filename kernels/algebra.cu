/* SPDX-License-Identifier: MIT
 * Products in double, for the solve (E69): the operands come from the host and go back there.      SPEC §8.2 */
#include "kernels/cuda.h"

/* A host matrix's copy on the device, rows end to end. Allocates; rows of 0 elements give an allocation of none. */
static enum pmet_status bring(struct pmet_cuda *cuda, double **dev, const double *host, size_t stride,
                              size_t n_row, size_t n_col, bool fill, struct pmet_error *err)
{
    size_t n_bytes;
    if (!pmet_mul_size(n_row, n_col, &n_bytes) || !pmet_mul_size(n_bytes, sizeof **dev, &n_bytes))
        return pmet_fail_memory(err, "a matrix", SIZE_MAX);
    PMET_TRY(pmet_cuda_malloc(n_bytes, dev, "a matrix", err));
    if (fill && n_bytes > 0)
        PMET_CUDA_TRY(cudaMemcpy2DAsync(*dev, n_col * sizeof **dev, host, stride * sizeof *host,
                                        n_col * sizeof *host, n_row, cudaMemcpyHostToDevice, cuda->stream),
                      "gemm64", err);
    return PMET_OK;
}

/* c := beta c, what a sum of no terms leaves. */
static void scale_host(double *c, size_t m, size_t n, size_t ldc, double beta)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
}

/* Row-major c = op(a) op(b) is column-major c^T = op(b)^T op(a)^T. */
static enum pmet_status gemm64(const struct pmet_ops *op, bool ta, bool tb, size_t m, size_t n, size_t k,
                               double alpha, const double *a, size_t lda, const double *b, size_t ldb,
                               double beta, double *c, size_t ldc, struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    double *dev[3] = {NULL, NULL, NULL};
    enum pmet_status status;
    if (m == 0 || n == 0)
        return PMET_OK;
    if (k == 0) {
        scale_host(c, m, n, ldc, beta);
        return PMET_OK;
    }
    if (m > INT32_MAX || n > INT32_MAX || k > INT32_MAX)
        return pmet_fail(err, PMET_UNSUPPORTED, "cuda: gemm64: %zu x %zu x %zu; at most 2^31 a side", m, n,
                         k);
    const size_t a_row = ta ? k : m, a_col = ta ? m : k, b_row = tb ? n : k, b_col = tb ? k : n;
    PMET_GO(bring(cuda, &dev[0], a, lda, a_row, a_col, true, err));
    PMET_GO(bring(cuda, &dev[1], b, ldb, b_row, b_col, true, err));
    PMET_GO(bring(cuda, &dev[2], c, ldc, m, n, beta != 0, err));
    status = PMET_IO;
    {
        const cublasStatus_t done = cublasDgemm(
            cuda->blas, tb ? CUBLAS_OP_T : CUBLAS_OP_N, ta ? CUBLAS_OP_T : CUBLAS_OP_N, (int)n, (int)m,
            (int)k, &alpha, dev[1], (int)b_col, dev[0], (int)a_col, &beta, dev[2], (int)n);
        if (done != CUBLAS_STATUS_SUCCESS) {
            pmet_fail(err, PMET_IO, "cuda: gemm64: cuBLAS: %s", cublasGetStatusString(done));
            goto done;
        }
        const cudaError_t back = cudaMemcpy2DAsync(c, ldc * sizeof *c, dev[2], n * sizeof *c, n * sizeof *c,
                                                   m, cudaMemcpyDeviceToHost, cuda->stream);
        if (back != cudaSuccess) {
            pmet_cuda_fail(err, back, "gemm64", 0);
            goto done;
        }
    }
    status = pmet_cuda_fetch(cuda, NULL, NULL, 0, "gemm64", err);
done:
    for (int i = 0; i < 3; i++)
        (void)cudaFree(dev[i]);
    return status;
}

void pmet_cuda_algebra(struct pmet_ops *op)
{
    op->gemm64 = gemm64;
}

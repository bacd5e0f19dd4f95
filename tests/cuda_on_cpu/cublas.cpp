/* SPDX-License-Identifier: MIT
 * cuBLAS on a CPU. */
#include "cublas_v2.h"

/* Columns of c in strips of rows, so that the inner loop runs over neighbours and vectorises; each element takes its
 * terms in order whatever the strip. */
template <class T>
static cublasStatus_t gemm(bool ta, bool tb, int m, int n, int k, T alpha, const T *a, int lda, const T *b,
                           int ldb, T beta, T *c, int ldc)
{
    enum { STRIP = 64, DEEP = 512 };
    static T pack[DEEP * STRIP]; /* op(a), a strip of its rows: [term][row] */
    if (m < 0 || n < 0 || k < 0 || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m || lda < 1 ||
        ldb < 1 || ldc < 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    for (int i0 = 0; i0 < m; i0 += STRIP) {
        const int n_i = m - i0 < STRIP ? m - i0 : (int)STRIP;
        for (int j = 0; j < n && beta != 1; j++)
            for (int i = 0; i < n_i; i++) {
                T *y = &c[(size_t)j * ldc + i0 + i];
                *y = beta == 0 ? 0 : beta * *y;
            }
        for (int q0 = 0; q0 < k; q0 += DEEP) {
            const int n_q = k - q0 < DEEP ? k - q0 : (int)DEEP;
            for (int q = 0; q < n_q; q++)
                for (int i = 0; i < STRIP; i++)
                    pack[q * STRIP + i] = i >= n_i ? 0
                                          : ta     ? a[(size_t)(i0 + i) * lda + q0 + q]
                                                   : a[(size_t)(q0 + q) * lda + i0 + i];
            for (int j = 0; j < n; j++) {
                T sum[STRIP] = {0};
                for (int q = 0; q < n_q; q++) {
                    const T x = tb ? b[(size_t)(q0 + q) * ldb + j] : b[(size_t)j * ldb + q0 + q];
                    for (int i = 0; i < STRIP; i++)
                        sum[i] += x * pack[q * STRIP + i];
                }
                for (int i = 0; i < n_i; i++)
                    c[(size_t)j * ldc + i0 + i] += alpha * sum[i];
            }
        }
    }
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t status_now(void)
{
    return cuda_on_cpu::failure() ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS            ? "success"
           : status == CUBLAS_STATUS_EXECUTION_FAILED ? "the GPU program failed to execute"
                                                      : "an argument is out of range";
}

cublasStatus_t cublasCreate(cublasHandle_t *h)
{
    *h = NULL;
    return status_now();
}

cublasStatus_t cublasDestroy(cublasHandle_t)
{
    return status_now();
}

cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t)
{
    return status_now();
}

cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t)
{
    return status_now();
}

cublasStatus_t cublasSgemm(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                           const float *alpha, const float *a, int lda, const float *b, int ldb,
                           const float *beta, float *c, int ldc)
{
    if (status_now())
        return CUBLAS_STATUS_EXECUTION_FAILED;
    return gemm(ta == CUBLAS_OP_T, tb == CUBLAS_OP_T, m, n, k, *alpha, a, lda, b, ldb, *beta, c, ldc);
}

cublasStatus_t cublasDgemm(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                           const double *alpha, const double *a, int lda, const double *b, int ldb,
                           const double *beta, double *c, int ldc)
{
    if (status_now())
        return CUBLAS_STATUS_EXECUTION_FAILED;
    return gemm(ta == CUBLAS_OP_T, tb == CUBLAS_OP_T, m, n, k, *alpha, a, lda, b, ldb, *beta, c, ldc);
}

cublasStatus_t cublasDsyrk(cublasHandle_t, cublasFillMode_t fill, cublasOperation_t t, int n, int k,
                           const double *alpha, const double *a, int lda, const double *beta, double *c,
                           int ldc)
{
    if (status_now())
        return CUBLAS_STATUS_EXECUTION_FAILED;
    if (n < 0 || k < 0 || lda < (t == CUBLAS_OP_T ? k : n) || ldc < n || lda < 1 || ldc < 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    enum { SIDE = 64 };
    static double square[SIDE * SIDE];
    const bool trans = t == CUBLAS_OP_T, lower = fill == CUBLAS_FILL_MODE_LOWER;
    for (int j = 0; j < n; j += SIDE) { /* SIDE columns: the square on the diagonal, then what is beside it */
        const int n_j = n - j < SIDE ? n - j : (int)SIDE, first = lower ? j + n_j : 0,
                  n_i = lower ? n - first : j;
        const double *right = trans ? a + (size_t)j * lda : a + j;
        gemm(trans, !trans, n_j, n_j, k, *alpha, right, lda, right, lda, 0.0, square, SIDE);
        for (int q = 0; q < n_j; q++)
            for (int i = lower ? q : 0; i < (lower ? n_j : q + 1); i++) {
                double *y = &c[(size_t)(j + q) * ldc + j + i];
                *y = (*beta == 0 ? 0 : *beta * *y) + square[q * SIDE + i];
            }
        gemm(trans, !trans, n_i, n_j, k, *alpha, trans ? a + (size_t)first * lda : a + first, lda, right, lda,
             *beta, c + (size_t)j * ldc + first, ldc);
    }
    return CUBLAS_STATUS_SUCCESS;
}

/* b := alpha op(a)^-1 b (left) or alpha b op(a)^-1 (right), by substitution: unknown u in the order that op(a)'s
 * triangle asks for, over all right-hand sides. */
cublasStatus_t cublasDtrsm(cublasHandle_t, cublasSideMode_t side, cublasFillMode_t fill, cublasOperation_t t,
                           cublasDiagType_t diag, int m, int n, const double *alpha, const double *a, int lda,
                           double *b, int ldb)
{
    if (status_now())
        return CUBLAS_STATUS_EXECUTION_FAILED;
    const bool left = side == CUBLAS_SIDE_LEFT, trans = t == CUBLAS_OP_T;
    const int order = left ? m : n, n_rhs = left ? n : m;
    const size_t next = left ? 1 : (size_t)ldb,
                 rhs = left ? (size_t)ldb : 1; /* of b: unknowns, right-hand sides */
    const bool lower = (fill == CUBLAS_FILL_MODE_LOWER) != trans, forward = lower == left;
    if (m < 0 || n < 0 || lda < order || ldb < m || lda < 1 || ldb < 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    for (int r = 0; r < n_rhs; r++)
        for (int u = 0; u < order; u++)
            b[u * next + r * rhs] *= *alpha;
    for (int step = 0; step < order; step++) {
        const int u = forward ? step : order - 1 - step;
        for (int earlier = 0; earlier < step; earlier++) {
            const int v = forward ? earlier : order - 1 - earlier;
            const int row = left ? u : v, col = left ? v : u; /* of op(a) */
            const double x = trans ? a[(size_t)row * lda + col] : a[(size_t)col * lda + row];
            for (int r = 0; r < n_rhs; r++)
                b[u * next + r * rhs] -= x * b[v * next + r * rhs];
        }
        for (int r = 0; r < n_rhs && diag == CUBLAS_DIAG_NON_UNIT; r++)
            b[u * next + r * rhs] /= a[(size_t)u * lda + u];
    }
    return CUBLAS_STATUS_SUCCESS;
}

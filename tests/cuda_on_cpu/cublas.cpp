/* SPDX-License-Identifier: MIT
 * cuBLAS on a CPU. */
#include "cublas_v2.h"

struct f16 {
    uint16_t bits;
};
struct bf16 {
    uint16_t bits;
};

/* A float rounded as a tensor core does for TF32: ten bits of fraction, halves away from zero. */
struct tf32 {
    float x;
};

static float number(float x)
{
    return x;
}
static double number(double x)
{
    return x;
}
static double number(tf32 t)
{
    unsigned u = __float_as_uint(t.x);
    if ((u & 0x7f800000) != 0x7f800000)
        u = (u + 0x1000) & ~0x1fffu;
    return (double)__uint_as_float(u);
}
static double number(bf16 b)
{
    return (double)__uint_as_float((unsigned)b.bits << 16);
}
static double number(f16 h)
{
    const unsigned size = (unsigned)(h.bits & 0x7fff) << 13;
    const float x = size >= 0x0f800000 ? __uint_as_float(size + 0x70000000) /* infinity, NaN */
                                       : __uint_as_float(size) * 0x1p112f;
    return (double)(h.bits >> 15 ? -x : x);
}

/* Truncated to the 24 bits of a float, towards zero. */
static double cut(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    u &= ~(((uint64_t)1 << 29) - 1);
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Computes columns of c in strips of rows, so that the inner loop runs over neighbours and
 * vectorises. Each element adds its terms in order, whatever the strip. In is the type of the
 * operands, T that of the sums: float or double, rounded after each term (GROUP 1), or, as on
 * tensor cores, GROUP exact products at a time, after which the sum is truncated. */
template <class T, int GROUP, class In, class Out>
static cublasStatus_t gemm(bool ta, bool tb, int m, int n, int k, Out alpha, const In *a, int lda,
                           const In *b, int ldb, Out beta, Out *c, int ldc)
{
    enum { STRIP = 64, DEEP = 1024 };
    static T pack[DEEP * STRIP]; /* op(a), a strip of its rows: [term][row] */
    if (m < 0 || n < 0 || k < 0 || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m || lda < 1 ||
        ldb < 1 || ldc < 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    for (int i0 = 0; i0 < m; i0 += STRIP) {
        const int n_i = m - i0 < STRIP ? m - i0 : (int)STRIP;
        for (int j = 0; j < n && beta != 1; j++)
            for (int i = 0; i < n_i; i++) {
                Out *y = &c[(size_t)j * ldc + i0 + i];
                *y = beta == 0 ? 0 : beta * *y;
            }
        for (int q0 = 0; q0 < k; q0 += DEEP) {
            const int n_q = k - q0 < DEEP ? k - q0 : (int)DEEP;
            for (int q = 0; q < n_q; q++)
                for (int i = 0; i < STRIP; i++)
                    pack[q * STRIP + i] = i >= n_i ? 0
                                          : ta     ? number(a[(size_t)(i0 + i) * lda + q0 + q])
                                                   : number(a[(size_t)(q0 + q) * lda + i0 + i]);
            for (int j = 0; j < n; j++) {
                T sum[STRIP] = {0};
                for (int q = 0; q < n_q; q++) {
                    const T x = number(tb ? b[(size_t)(q0 + q) * ldb + j] : b[(size_t)j * ldb + q0 + q]);
                    for (int i = 0; i < STRIP; i++)
                        sum[i] += x * pack[q * STRIP + i];
                    for (int i = 0; GROUP > 1 && ((q + 1) % GROUP == 0 || q + 1 == n_q) && i < STRIP; i++)
                        sum[i] = cut(sum[i]);
                }
                for (int i = 0; i < n_i; i++)
                    c[(size_t)j * ldc + i0 + i] += alpha * (Out)sum[i];
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
           : status == CUBLAS_STATUS_NOT_SUPPORTED    ? "these types are not supported"
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

cublasStatus_t cublasGemmEx(cublasHandle_t, cublasOperation_t opa, cublasOperation_t opb, int m, int n, int k,
                            const void *alpha, const void *a, cudaDataType_t a_type, int lda, const void *b,
                            cudaDataType_t b_type, int ldb, const void *beta, void *c, cudaDataType_t c_type,
                            int ldc, cublasComputeType_t compute, cublasGemmAlgo_t)
{
    enum { TENSOR = 8 };
    const bool ta = opa == CUBLAS_OP_T, tb = opb == CUBLAS_OP_T, same = a_type == b_type;
    const float s = *(const float *)alpha, t = *(const float *)beta;
    if (status_now())
        return CUBLAS_STATUS_EXECUTION_FAILED;
    if (same && a_type == CUDA_R_64F && c_type == CUDA_R_64F && compute == CUBLAS_COMPUTE_64F)
        return gemm<double, 1>(ta, tb, m, n, k, *(const double *)alpha, (const double *)a, lda,
                               (const double *)b, ldb, *(const double *)beta, (double *)c, ldc);
    if (same && a_type == CUDA_R_32F && c_type == CUDA_R_32F && compute == CUBLAS_COMPUTE_32F_PEDANTIC)
        return gemm<float, 1>(ta, tb, m, n, k, s, (const float *)a, lda, (const float *)b, ldb, t, (float *)c,
                              ldc);
    if (same && a_type == CUDA_R_32F && c_type == CUDA_R_32F && compute == CUBLAS_COMPUTE_32F_FAST_TF32)
        return gemm<double, TENSOR>(ta, tb, m, n, k, s, (const tf32 *)a, lda, (const tf32 *)b, ldb, t,
                                    (float *)c, ldc);
    if (same && a_type == CUDA_R_16F && c_type == CUDA_R_32F && compute == CUBLAS_COMPUTE_32F)
        return gemm<double, TENSOR>(ta, tb, m, n, k, s, (const f16 *)a, lda, (const f16 *)b, ldb, t,
                                    (float *)c, ldc);
    if (same && a_type == CUDA_R_16BF && c_type == CUDA_R_32F && compute == CUBLAS_COMPUTE_32F)
        return gemm<double, TENSOR>(ta, tb, m, n, k, s, (const bf16 *)a, lda, (const bf16 *)b, ldb, t,
                                    (float *)c, ldc);
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasDgemm(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                           const double *alpha, const double *a, int lda, const double *b, int ldb,
                           const double *beta, double *c, int ldc)
{
    if (status_now())
        return CUBLAS_STATUS_EXECUTION_FAILED;
    return gemm<double, 1>(ta == CUBLAS_OP_T, tb == CUBLAS_OP_T, m, n, k, *alpha, a, lda, b, ldb, *beta, c,
                           ldc);
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
    for (int j = 0; j < n; j += SIDE) { /* SIDE columns: the square on the diagonal, then the rest */
        const int n_j = n - j < SIDE ? n - j : (int)SIDE, first = lower ? j + n_j : 0,
                  n_i = lower ? n - first : j;
        const double *right = trans ? a + (size_t)j * lda : a + j;
        gemm<double, 1>(trans, !trans, n_j, n_j, k, *alpha, right, lda, right, lda, 0.0, square, SIDE);
        for (int q = 0; q < n_j; q++)
            for (int i = lower ? q : 0; i < (lower ? n_j : q + 1); i++) {
                double *y = &c[(size_t)(j + q) * ldc + j + i];
                *y = (*beta == 0 ? 0 : *beta * *y) + square[q * SIDE + i];
            }
        gemm<double, 1>(trans, !trans, n_i, n_j, k, *alpha, trans ? a + (size_t)first * lda : a + first, lda,
                        right, lda, *beta, c + (size_t)j * ldc + first, ldc);
    }
    return CUBLAS_STATUS_SUCCESS;
}

/* b := alpha op(a)^-1 b (left) or alpha b op(a)^-1 (right), by substitution for all right-hand
 * sides, in the order of unknowns that the triangle op(a) needs. */
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

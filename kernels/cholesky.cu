/* SPDX-License-Identifier: MIT
 * Products (E69), Cholesky factors and solves in double, the products on the FP64 tensor cores of
 * devices that have them.      SPEC §8.2
 *   E70  F_jj = sqrt(A_jj - sum_{s<j} F_js^2),   F_ij = (A_ij - sum_{s<j} F_is F_js) / F_jj   (i > j)
 *   E71  F Y = B,   F^T X = Y
 * cuBLAS is column-major and sees a row-major lower triangle as an upper one: A = U^T U with U =
 * F^T. One block of threads factors PANEL columns; then the rows below are solved, and the other
 * columns of the SLAB are updated. The columns right of a slab are updated once per slab, by one
 * large product. */
#include "kernels/cuda.h"

enum { PANEL = 64, SLAB = 512 };

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

/* The first pivot that failed, n if none has, and its value. */
struct verdict {
    double value;
    size_t pivot;
};

static __global__ void __launch_bounds__(32) begin_verdict(struct verdict *verdict, size_t n)
{
    if (threadIdx.x == 0) {
        verdict->value = 0;
        verdict->pivot = n;
    }
}

/* Factors the block [n, n], n <= PANEL, whose corner is row and column `first` of the matrix; one
 * block of threads. After a failed pivot it does nothing more: the contents of the matrix are
 * undefined. */
static __global__ void __launch_bounds__(BLOCK)
    factor_panel(double *a, size_t lda, unsigned n, size_t first, struct verdict *verdict)
{
    PMET_SHARED(double, l, PANEL *(PANEL + 1)); /* the odd stride keeps a column's rows in different banks */
    const size_t failed = verdict->pivot;
    if (failed < first)
        return; /* the whole block of threads */
    for (unsigned k = threadIdx.x; k < n * n; k += BLOCK)
        if (k % n <= k / n)
            l[k / n * (PANEL + 1) + k % n] = a[k / n * lda + k % n];
    for (unsigned j = 0; j < n; j++) {
        __syncthreads();
        const double d = l[j * (PANEL + 1) + j];
        if (!(d > 0) || isinf(d)) { /* the same for all threads */
            if (threadIdx.x == 0) {
                verdict->value = d;
                verdict->pivot = first + j;
            }
            return;
        }
        const double root = sqrt(d);
        __syncthreads();
        for (unsigned i = j + threadIdx.x; i < n; i += BLOCK)
            l[i * (PANEL + 1) + j] = i == j ? root : l[i * (PANEL + 1) + j] / root;
        __syncthreads();
        const unsigned rest = n - j - 1;
        for (unsigned k = threadIdx.x; k < rest * rest; k += BLOCK) {
            const unsigned row = j + 1 + k / rest, col = j + 1 + k % rest;
            if (col <= row)
                l[row * (PANEL + 1) + col] -= l[row * (PANEL + 1) + j] * l[col * (PANEL + 1) + j];
        }
    }
    __syncthreads();
    for (unsigned k = threadIdx.x; k < n * n; k += BLOCK)
        if (k % n <= k / n)
            a[k / n * lda + k % n] = l[k / n * (PANEL + 1) + k % n];
}

/* Factors the panel of columns [j, j+nb), then updates the columns up to `end`, the end of the
 * slab. */
static enum pmet_status panel(struct pmet_cuda *cuda, double *a, size_t n, size_t j, size_t nb, size_t end,
                              struct verdict *verdict, struct pmet_error *err)
{
    const double one = 1, minus = -1;
    const size_t below = j + nb, n_slab = end - below;
    double *corner = a + j * n + j, *under = a + below * n + j; /* under: the panel's rows below the corner */
    PMET_LAUNCH(factor_panel, 1, BLOCK, 0, cuda->stream, corner, n, (unsigned)nb, j, verdict);
    PMET_TRY(pmet_cuda_launched("cholesky", err));
    if (below < n)
        PMET_BLAS_TRY(cublasDtrsm(cuda->blas, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_T,
                                  CUBLAS_DIAG_NON_UNIT, (int)nb, (int)(n - below), &one, corner, (int)n,
                                  under, (int)n),
                      "cholesky", err);
    if (n_slab > 0)
        PMET_BLAS_TRY(cublasDsyrk(cuda->blas, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_T, (int)n_slab, (int)nb,
                                  &minus, under, (int)n, &one, a + below * n + below, (int)n),
                      "cholesky", err);
    if (n_slab > 0 && end < n)
        PMET_BLAS_TRY(cublasDgemm(cuda->blas, CUBLAS_OP_T, CUBLAS_OP_N, (int)n_slab, (int)(n - end), (int)nb,
                                  &minus, under, (int)n, a + end * n + j, (int)n, &one, a + end * n + below,
                                  (int)n),
                      "cholesky", err);
    return PMET_OK;
}

/* Factors a (dev) in place. Does not wait. */
static enum pmet_status factor(struct pmet_cuda *cuda, double *a, size_t n, struct verdict *verdict,
                               struct pmet_error *err)
{
    const double one = 1, minus = -1;
    PMET_LAUNCH(begin_verdict, 1, 32, 0, cuda->stream, verdict, n);
    for (size_t s = 0; s < n; s += SLAB) {
        const size_t end = pmet_min(s + SLAB, n);
        for (size_t j = s; j < end; j += PANEL)
            PMET_TRY(panel(cuda, a, n, j, pmet_min(PANEL, end - j), end, verdict, err));
        if (end < n)
            PMET_BLAS_TRY(cublasDsyrk(cuda->blas, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_T, (int)(n - end),
                                      (int)(end - s), &minus, a + end * n + s, (int)n, &one,
                                      a + end * n + end, (int)n),
                          "cholesky", err);
    }
    return PMET_OK;
}

static enum pmet_status check_order(size_t n, size_t n_rhs, struct pmet_error *err)
{
    return n <= INT32_MAX && n_rhs <= INT32_MAX
               ? PMET_OK
               : pmet_fail(err, PMET_UNSUPPORTED, "cuda: a system of %zu, %zu sides; at most 2^31", n, n_rhs);
}

static enum pmet_status cholesky(const struct pmet_ops *op, double *a, size_t n, size_t *pivot, double *value,
                                 struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    struct verdict *verdict, found = {0, n};
    if (n == 0)
        return PMET_OK;
    PMET_TRY(check_order(n, 0, err));
    PMET_TRY(pmet_cuda_scratch(cuda, PMET_SCRATCH_RESULT, sizeof *verdict, &verdict, err));
    PMET_TRY(factor(cuda, a, n, verdict, err));
    PMET_TRY(pmet_cuda_fetch(cuda, &found, verdict, sizeof found, "cholesky", err));
    if (found.pivot == n)
        return PMET_OK;
    *pivot = found.pivot;
    *value = found.value;
    return pmet_fail(err, PMET_NUMERIC, "not positive definite: pivot %zu of %zu is %g", *pivot, n, *value);
}

/* cuBLAS sees b^T, so the solution is b^T U^-1 U^-T. */
static enum pmet_status cholesky_solve(const struct pmet_ops *op, const double *l, double *b, size_t n,
                                       size_t n_rhs, struct pmet_error *err)
{
    static const cublasOperation_t pass[2] = {CUBLAS_OP_N, CUBLAS_OP_T};
    const double one = 1;
    if (n == 0 || n_rhs == 0)
        return PMET_OK;
    PMET_TRY(check_order(n, n_rhs, err));
    for (int i = 0; i < 2; i++)
        PMET_BLAS_TRY(cublasDtrsm(pmet_cuda_of(op)->blas, CUBLAS_SIDE_RIGHT, CUBLAS_FILL_MODE_UPPER, pass[i],
                                  CUBLAS_DIAG_NON_UNIT, (int)n_rhs, (int)n, &one, l, (int)n, b, (int)n_rhs),
                      "cholesky_solve", err);
    return PMET_OK;
}

void pmet_cuda_cholesky(struct pmet_ops *op)
{
    op->gemm64 = gemm64;
    op->cholesky = cholesky;
    op->cholesky_solve = cholesky_solve;
}

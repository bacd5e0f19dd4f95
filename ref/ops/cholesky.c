/* SPDX-License-Identifier: MIT
 * Products, Cholesky factor and solve in double.      SPEC §8.2 */
#include <math.h>
#include "ref/ops/plain.h"

/* The products of E69:  c[i,j] = beta c[i,j] + alpha sum_q op(a)[i,q] op(b)[q,j]
 * With beta 0 c is not read. */
static enum pmet_status gemm64(const struct pmet_ops *op, bool ta, bool tb, size_t m, size_t n, size_t k,
                               double alpha, const double *a, size_t lda, const double *b, size_t ldb,
                               double beta, double *c, size_t ldc, struct pmet_error *err)
{
    for (size_t i = 0; i < m; i++) {
        PMET_TRY(pmet_ops_ask(op, err));
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t q = 0; q < k; q++)
                sum += (ta ? a[q * lda + i] : a[i * lda + q]) * (tb ? b[j * ldb + q] : b[q * ldb + j]);
            c[i * ldc + j] = (beta == 0 ? 0 : beta * c[i * ldc + j]) + alpha * sum;
        }
    }
    return PMET_OK;
}

/* E70  F_jj = sqrt(A_jj - sum_{s<j} F_js^2),   F_ij = (A_ij - sum_{s<j} F_is F_js) / F_jj   (i > j)
 * in place, column by column. */
static enum pmet_status cholesky(const struct pmet_ops *op, double *a, size_t n, size_t *pivot, double *value,
                                 struct pmet_error *err)
{
    for (size_t j = 0; j < n; j++) {
        PMET_TRY(pmet_ops_ask(op, err));
        for (size_t i = j; i < n; i++) {
            double sum = a[i * n + j];
            for (size_t k = 0; k < j; k++)
                sum -= a[i * n + k] * a[j * n + k];
            if (i == j && !(sum > 0 && isfinite(sum))) {
                *pivot = j;
                *value = sum;
                return pmet_fail(err, PMET_NUMERIC, "not positive definite: pivot %zu of %zu is %g", j, n,
                                 sum);
            }
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    }
    return PMET_OK;
}

/* E71  L Y = B,    Y_i = (B_i - sum_{k<i} L_ik Y_k) / L_ii
 *      L^T X = Y,  X_i = (Y_i - sum_{k>i} L_ki X_k) / L_ii */
static enum pmet_status cholesky_solve(const struct pmet_ops *op, const double *l, double *b, size_t n,
                                       size_t n_rhs, struct pmet_error *err)
{
    for (size_t c = 0; c < n_rhs; c++) {
        PMET_TRY(pmet_ops_ask(op, err));
        for (size_t i = 0; i < n; i++) {
            double sum = b[i * n_rhs + c];
            for (size_t k = 0; k < i; k++)
                sum -= l[i * n + k] * b[k * n_rhs + c];
            b[i * n_rhs + c] = sum / l[i * n + i];
        }
        for (size_t i = n; i-- > 0;) {
            double sum = b[i * n_rhs + c];
            for (size_t k = i + 1; k < n; k++)
                sum -= l[k * n + i] * b[k * n_rhs + c];
            b[i * n_rhs + c] = sum / l[i * n + i];
        }
    }
    return PMET_OK;
}

void pmet_plain_cholesky(struct pmet_ops *op)
{
    op->gemm64 = gemm64;
    op->cholesky = cholesky;
    op->cholesky_solve = cholesky_solve;
}

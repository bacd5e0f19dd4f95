/* SPDX-License-Identifier: MIT
 * Products in double, for the solve.      SPEC §8.2 */
#include "ref/ops/entries.h"

/* The products of E69:  c[i,j] = beta c[i,j] + alpha sum_q op(a)[i,q] op(b)[q,j]
 * With beta 0 c is not read. */
static enum pmet_status gemm64(const struct pmet_ops *op, bool ta, bool tb, size_t m, size_t n, size_t k,
                               double alpha, const double *a, size_t lda, const double *b, size_t ldb,
                               double beta, double *c, size_t ldc, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t q = 0; q < k; q++)
                sum += (ta ? a[q * lda + i] : a[i * lda + q]) * (tb ? b[j * ldb + q] : b[q * ldb + j]);
            c[i * ldc + j] = (beta == 0 ? 0 : beta * c[i * ldc + j]) + alpha * sum;
        }
    return PMET_OK;
}

void pmet_plain_gemm(struct pmet_ops *op)
{
    op->gemm64 = gemm64;
}

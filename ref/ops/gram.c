/* SPDX-License-Identifier: MIT
 * Sums of outer products of keys.      SPEC §7.2 */
#include "ref/ops/entries.h"

/* E66  c[i,j] += sum_t x[t,i] x[t,j],  j <= i;  the sum is one of double, c is `real` */
static enum pmet_status gram(const struct pmet_ops *op, real *c, const real *x, size_t n, size_t width,
                             struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t i = 0; i < width; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t t = 0; t < n; t++)
                sum += (double)x[t * width + i] * (double)x[t * width + j];
            c[i * width + j] += (real)sum;
        }
    return PMET_OK;
}

void pmet_plain_gram(struct pmet_ops *op)
{
    op->gram = gram;
}

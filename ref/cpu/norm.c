/* SPDX-License-Identifier: MIT
 * The norms of E50 and E56. */
#include <math.h>
#include "ref/cpu/dot.h"
#include "ref/cpu/table.h"

static enum pmet_status norm(const struct pmet_ops *op, double *out, const real *x, size_t n_row,
                             size_t width, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t r = 0; r < n_row; r++)
        out[r] = sqrt(pmet_dot(x + r * width, x + r * width, width));
    return PMET_OK;
}

void pmet_cpu_norm(struct pmet_ops *op)
{
    op->norm = norm;
}

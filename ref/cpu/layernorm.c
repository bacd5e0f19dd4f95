/* SPDX-License-Identifier: MIT
 * Layer normalisation and its gradient (E9, E10): the plain entries, a thread a row. */
#include "ref/cpu/table.h"
#include "ref/cpu/threads.h"

enum { FEW = 65536 }; /* numbers that one thread does sooner */

static enum pmet_status layernorm(const struct pmet_ops *op, real *y, const real *x, const real *gain,
                                  const real *bias, double eps, size_t n_tok, size_t d,
                                  struct pmet_error *err)
{
    const struct pmet_ops *plain = &pmet_cpu_of(op)->plain;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n_tok * d > FEW)
    for (size_t t = 0; t < n_tok; t++)
        plain->layernorm(plain, y + t * d, x + t * d, gain, bias, eps, 1, d, err);
    return PMET_OK;
}

static enum pmet_status layernorm_dx(const struct pmet_ops *op, real *g_x, const real *g_y, const real *x,
                                     const real *gain, double eps, size_t n_tok, size_t d,
                                     struct pmet_error *err)
{
    const struct pmet_ops *plain = &pmet_cpu_of(op)->plain;
#pragma omp parallel for num_threads((int)pmet_cpu_of(op)->n_thread) if (n_tok * d > FEW)
    for (size_t t = 0; t < n_tok; t++)
        plain->layernorm_dx(plain, g_x + t * d, g_y + t * d, x + t * d, gain, eps, 1, d, err);
    return PMET_OK;
}

void pmet_cpu_layernorm(struct pmet_ops *op)
{
    op->layernorm = layernorm;
    op->layernorm_dx = layernorm_dx;
}

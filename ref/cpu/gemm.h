/* SPDX-License-Identifier: MIT */
#ifndef PMET_REF_CPU_GEMM_H
#define PMET_REF_CPU_GEMM_H

#include <stdbool.h>
#include <stddef.h>

/* c[m,n] = beta c + alpha op(a) op(b) on one thread, row-major. With beta 0 c is not read. */
void pmet_gemm64_tile(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a,
                      size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc);

#endif

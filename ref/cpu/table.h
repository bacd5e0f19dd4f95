/* SPDX-License-Identifier: MIT
 * The fast CPU table: the plain one, with the entries replaced that gain by threads, blocks or
 * BLAS. */
#ifndef PMET_REF_CPU_TABLE_H
#define PMET_REF_CPU_TABLE_H

#include "ref/ops/ops.h"

/* n_threads 0: as many as the machine has. */
enum pmet_status pmet_ops_cpu(size_t n_threads, struct pmet_ops **out, struct pmet_error *err);

/* Each file of the table replaces its own entries. */
void pmet_cpu_layernorm(struct pmet_ops *op);
void pmet_cpu_matmul(struct pmet_ops *op);
void pmet_cpu_attention(struct pmet_ops *op);
void pmet_cpu_attention_dx(struct pmet_ops *op);
void pmet_cpu_activation(struct pmet_ops *op);
void pmet_cpu_loss(struct pmet_ops *op);
void pmet_cpu_norm(struct pmet_ops *op);
void pmet_cpu_gemm(struct pmet_ops *op);
void pmet_cpu_cholesky(struct pmet_ops *op);

/* c[m,n] = beta c + alpha op(a) op(b) on one thread, row-major. With beta 0 c is not read. */
void pmet_gemm64_tile(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a,
                      size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc);

#endif

/* SPDX-License-Identifier: MIT
 * Each file of the fast CPU table replaces its own entries. */
#ifndef PMET_REF_CPU_ENTRIES_H
#define PMET_REF_CPU_ENTRIES_H

#include "ref/ops/ops.h"

void pmet_cpu_layernorm(struct pmet_ops *op);
void pmet_cpu_matmul(struct pmet_ops *op);
void pmet_cpu_attention(struct pmet_ops *op);
void pmet_cpu_attention_dx(struct pmet_ops *op);
void pmet_cpu_activation(struct pmet_ops *op);
void pmet_cpu_loss(struct pmet_ops *op);
void pmet_cpu_norm(struct pmet_ops *op);
void pmet_cpu_gemm(struct pmet_ops *op);
void pmet_cpu_cholesky(struct pmet_ops *op);

#endif

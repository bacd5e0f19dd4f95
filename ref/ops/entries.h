/* SPDX-License-Identifier: MIT
 * Each file of the plain table sets its own entries. */
#ifndef PMET_REF_OPS_ENTRIES_H
#define PMET_REF_OPS_ENTRIES_H

#include "ref/ops/ops.h"

void pmet_plain_memory(struct pmet_ops *op);
void pmet_plain_rows(struct pmet_ops *op);
void pmet_plain_layernorm(struct pmet_ops *op);
void pmet_plain_matmul(struct pmet_ops *op);
void pmet_plain_rope(struct pmet_ops *op);
void pmet_plain_attention(struct pmet_ops *op);
void pmet_plain_activation(struct pmet_ops *op);
void pmet_plain_loss(struct pmet_ops *op);
void pmet_plain_optimise(struct pmet_ops *op);
void pmet_plain_gram(struct pmet_ops *op);
void pmet_plain_gemm(struct pmet_ops *op);
void pmet_plain_cholesky(struct pmet_ops *op);

#endif

/* SPDX-License-Identifier: MIT
 * The plain table: one loop for each equation, on one thread. It defines what every other table
 * must compute. */
#ifndef PMET_REF_OPS_PLAIN_H
#define PMET_REF_OPS_PLAIN_H

#include "ref/ops/ops.h"

/* A table of its own, for --device plain and the tests. */
enum pmet_status pmet_ops_plain(struct pmet_ops **out, struct pmet_error *err);
/* Sets the entries of a table in host memory: all but name, kind, state and close. */
void pmet_plain_fill(struct pmet_ops *op);

/* Each file of the table sets its own entries. */
void pmet_plain_memory(struct pmet_ops *op);
void pmet_plain_rows(struct pmet_ops *op);
void pmet_plain_layernorm(struct pmet_ops *op);
void pmet_plain_matmul(struct pmet_ops *op);
void pmet_plain_rope(struct pmet_ops *op);
void pmet_plain_attention(struct pmet_ops *op);
void pmet_plain_activation(struct pmet_ops *op);
void pmet_plain_loss(struct pmet_ops *op);
void pmet_plain_optimise(struct pmet_ops *op);
void pmet_plain_cholesky(struct pmet_ops *op);

#endif

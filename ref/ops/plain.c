/* SPDX-License-Identifier: MIT */
#include "ref/ops/plain.h"

#include <stdlib.h>

void pmet_plain_fill(struct pmet_ops *op)
{
    pmet_plain_memory(op);
    pmet_plain_rows(op);
    pmet_plain_layernorm(op);
    pmet_plain_matmul(op);
    pmet_plain_rope(op);
    pmet_plain_attention(op);
    pmet_plain_activation(op);
    pmet_plain_loss(op);
    pmet_plain_optimise(op);
    pmet_plain_cholesky(op);
}

static void close_table(struct pmet_ops *op)
{
    free(op);
}

enum pmet_status pmet_ops_plain(struct pmet_ops **out, struct pmet_error *err)
{
    struct pmet_ops *op;
    PMET_TRY(pmet_calloc(&op, 1, sizeof *op, "the operator table", err));
    op->name = "plain C";
    op->kind = "plain";
    op->close = close_table;
    pmet_plain_fill(op);
    *out = op;
    return PMET_OK;
}

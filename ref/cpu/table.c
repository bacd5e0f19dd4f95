/* SPDX-License-Identifier: MIT */
#include "ref/cpu/table.h"

#include <stdio.h>
#include <stdlib.h>
#include "ref/cpu/threads.h"
#include "ref/ops/plain.h"
#ifdef PMET_OPENBLAS
#include <cblas.h>
#define PRODUCTS "OpenBLAS"
#else
#define PRODUCTS "plain C"
#endif

static void close_table(struct pmet_ops *op)
{
    pmet_cpu_threads_free(op->state);
    free(op);
}

enum pmet_status pmet_ops_cpu(size_t n_threads, struct pmet_ops **out, struct pmet_error *err)
{
    struct pmet_ops *op = NULL;
    struct pmet_cpu *cpu = NULL;
    enum pmet_status status;
    PMET_TRY(pmet_calloc(&op, 1, sizeof *op, "the operator table", err));
    PMET_GO(pmet_cpu_threads(n_threads, &cpu, err));
#ifdef PMET_OPENBLAS
    openblas_set_num_threads(1); /* for the whole process: OpenMP splits the work, in tiles of fixed shape */
#endif
    snprintf(cpu->name, sizeof cpu->name, "cpu (" PRODUCTS ", %zu thread%s)", cpu->n_thread,
             cpu->n_thread == 1 ? "" : "s");
    pmet_plain_fill(&cpu->plain);
    *op = cpu->plain;
    op->name = cpu->name;
    op->kind = "cpu";
    op->state = cpu;
    op->close = close_table;
    pmet_cpu_layernorm(op);
    pmet_cpu_matmul(op);
    pmet_cpu_attention(op);
    pmet_cpu_attention_dx(op);
    pmet_cpu_activation(op);
    pmet_cpu_loss(op);
    pmet_cpu_norm(op);
    pmet_cpu_gemm(op);
    pmet_cpu_cholesky(op);
    *out = op;
    return PMET_OK;
done:
    free(op);
    return status;
}

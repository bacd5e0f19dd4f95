/* SPDX-License-Identifier: MIT
 * The plain-C operator table. */
#include "ref/cpu/cpu.h"

#include <omp.h>
#include <stdio.h>
#ifdef PMET_OPENBLAS
#include <cblas.h>
#endif

enum pmet_status pmet_cpu_scratch(struct pmet_cpu *cpu, size_t n_each, size_t n_shared,
                                  struct pmet_error *err)
{
    for (size_t i = 0; i <= cpu->n_thread; i++) {
        const size_t n = i < cpu->n_thread ? n_each : n_shared;
        if (cpu->cap[i] >= n)
            continue;
        real *grown = aligned_alloc(64, (n * sizeof(real) + 63) / 64 * 64);
        if (!grown)
            return pmet_fail_memory(err, "a thread's scratch", n * sizeof(real));
        free(cpu->scratch[i]);
        cpu->scratch[i] = grown;
        cpu->cap[i] = n;
    }
    return PMET_OK;
}

static void close_table(struct pmet_ops *op)
{
    struct pmet_cpu *cpu = op->state;
    for (size_t i = 0; cpu && cpu->scratch && i <= cpu->n_thread; i++)
        free(cpu->scratch[i]);
    if (cpu) {
        free(cpu->scratch);
        free(cpu->cap);
    }
    free(cpu);
    free(op);
}

enum pmet_status pmet_ops_cpu(size_t n_threads, struct pmet_ops **out, struct pmet_error *err)
{
    struct pmet_ops *op = NULL;
    struct pmet_cpu *cpu = NULL;
    enum pmet_status status;
    PMET_TRY(pmet_calloc(&op, 1, sizeof *op, "the operator table", err));
    op->close = close_table;
    PMET_GO(pmet_calloc(&cpu, 1, sizeof *cpu, "the operator table", err));
    op->state = cpu;
    cpu->n_thread = n_threads ? n_threads : (size_t)omp_get_num_procs();
    if (cpu->n_thread > 1024)
        cpu->n_thread = 1024;
    PMET_GO(pmet_calloc(&cpu->scratch, cpu->n_thread + 1, sizeof *cpu->scratch, "the operator table", err));
    PMET_GO(pmet_calloc(&cpu->cap, cpu->n_thread + 1, sizeof *cpu->cap, "the operator table", err));
#ifdef PMET_OPENBLAS
    openblas_set_num_threads(
        1); /* for the whole process: OpenMP alone splits the work, over tiles of fixed shape */
    snprintf(cpu->name, sizeof cpu->name, "cpu (OpenBLAS, %zu thread%s)", cpu->n_thread,
             cpu->n_thread == 1 ? "" : "s");
#else
    snprintf(cpu->name, sizeof cpu->name, "cpu (plain C, %zu thread%s)", cpu->n_thread,
             cpu->n_thread == 1 ? "" : "s");
#endif
    op->name = cpu->name;
    op->kind = "cpu";
    pmet_cpu_memory(op);
    pmet_cpu_rows(op);
    pmet_cpu_layernorm(op);
    pmet_cpu_matmul(op);
    pmet_cpu_rope(op);
    pmet_cpu_attention(op);
    pmet_cpu_attention_dx(op);
    pmet_cpu_activation(op);
    pmet_cpu_loss(op);
    pmet_cpu_optimise(op);
    pmet_cpu_algebra(op);
    pmet_cpu_cholesky(op);
    *out = op;
    return PMET_OK;
done:
    close_table(op);
    return status;
}

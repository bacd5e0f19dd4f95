/* SPDX-License-Identifier: MIT */
#include "ref/cpu/threads.h"

#include <stdlib.h>

enum { MOST_THREADS = 1024 };

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

bool pmet_cpu_stopped(const struct pmet_ops *op)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    bool stop;
#pragma omp atomic read
    stop = cpu->stop;
    if (stop || !op->stopped || pmet_thread() != 0 || !op->stopped(op->stopped_user))
        return stop;
#pragma omp atomic write
    cpu->stop = true;
    return true;
}

enum pmet_status pmet_cpu_finish(const struct pmet_ops *op, struct pmet_error *err)
{
    struct pmet_cpu *cpu = pmet_cpu_of(op);
    const bool stop = cpu->stop;
    cpu->stop = false;
    return stop ? pmet_fail(err, PMET_INTERRUPTED, "interrupted; nothing is written") : PMET_OK;
}

enum pmet_status pmet_cpu_threads(size_t n_threads, struct pmet_cpu **out, struct pmet_error *err)
{
    struct pmet_cpu *cpu = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&cpu, 1, sizeof *cpu, "the operator table", err));
    cpu->n_thread = n_threads ? n_threads : (size_t)omp_get_num_procs();
    if (cpu->n_thread > MOST_THREADS)
        cpu->n_thread = MOST_THREADS;
    PMET_GO(pmet_calloc(&cpu->scratch, cpu->n_thread + 1, sizeof *cpu->scratch, "the operator table", err));
    PMET_GO(pmet_calloc(&cpu->cap, cpu->n_thread + 1, sizeof *cpu->cap, "the operator table", err));
    *out = cpu;
    return PMET_OK;
done:
    pmet_cpu_threads_free(cpu);
    return status;
}

void pmet_cpu_threads_free(struct pmet_cpu *cpu)
{
    if (!cpu)
        return;
    for (size_t i = 0; cpu->scratch && i <= cpu->n_thread; i++)
        free(cpu->scratch[i]);
    free(cpu->scratch);
    free(cpu->cap);
    free(cpu);
}

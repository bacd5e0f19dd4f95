/* SPDX-License-Identifier: MIT
 * What the files of the plain-C table share. Each fills its own entries. */
#ifndef PMET_REF_CPU_CPU_H
#define PMET_REF_CPU_CPU_H

#include <omp.h>
#include <stdlib.h>
#include "ref/ops/ops.h"

struct pmet_cpu {
    size_t n_thread;
    char name[64];
    real **scratch; /* [n_thread + 1]: one a thread, one shared */
    size_t *cap;    /* reals in each */
};

/* Scratch of at least n reals, one for each thread or (thread == n_thread) the shared one. Grows, never
 * shrinks. */
enum pmet_status pmet_cpu_scratch(struct pmet_cpu *cpu, size_t n_each, size_t n_shared,
                                  struct pmet_error *err);

void pmet_cpu_memory(struct pmet_ops *op);
void pmet_cpu_rows(struct pmet_ops *op);
void pmet_cpu_layernorm(struct pmet_ops *op);
void pmet_cpu_matmul(struct pmet_ops *op);
void pmet_cpu_rope(struct pmet_ops *op);
void pmet_cpu_attention(struct pmet_ops *op);
void pmet_cpu_attention_dx(struct pmet_ops *op);
void pmet_cpu_activation(struct pmet_ops *op);
void pmet_cpu_loss(struct pmet_ops *op);
void pmet_cpu_optimise(struct pmet_ops *op);
void pmet_cpu_algebra(struct pmet_ops *op);
void pmet_cpu_cholesky(struct pmet_ops *op);

static inline struct pmet_cpu *pmet_cpu_of(const struct pmet_ops *op)
{
    return op->state;
}

/* This thread's number inside a parallel region. */
static inline size_t pmet_thread(void)
{
    return (size_t)omp_get_thread_num();
}

/* sum_i a[i] b[i] in double over eight interleaved partial sums, so that it vectorises in a fixed order. */
static inline double pmet_dot(const real *a, const real *b, size_t n)
{
    double s[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++)
            s[k] += (double)a[i + k] * (double)b[i + k];
    for (; i < n; i++)
        s[i % 8] += (double)a[i] * (double)b[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

#endif

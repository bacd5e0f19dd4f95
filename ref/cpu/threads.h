/* SPDX-License-Identifier: MIT
 * What the files of the fast CPU table share: threads and their scratch memory. */
#ifndef PMET_REF_CPU_THREADS_H
#define PMET_REF_CPU_THREADS_H

#include <omp.h>
#include "ref/ops/ops.h"

struct pmet_cpu {
    struct pmet_ops plain; /* the plain entries, for those that call them on rows of their own */
    size_t n_thread;
    char name[64];
    real **scratch; /* [n_thread + 1]: one a thread, one shared */
    size_t *cap;    /* reals in each */
    bool stop;      /* the caller wants to stop; for all threads of the entry in progress */
};

static inline struct pmet_cpu *pmet_cpu_of(const struct pmet_ops *op)
{
    return op->state;
}

static inline size_t pmet_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* This thread's number inside a parallel region. */
static inline size_t pmet_thread(void)
{
    return (size_t)omp_get_thread_num();
}

/* For each block of a parallel loop: should it be left out? The calling thread asks the caller, the
 * others look at what it was told. */
bool pmet_cpu_stopped(const struct pmet_ops *op);
/* At the end of an entry that asked: PMET_INTERRUPTED if it was told to stop. */
enum pmet_status pmet_cpu_finish(const struct pmet_ops *op, struct pmet_error *err);

/* Makes every thread's scratch at least n_each reals and the shared one n_shared. It never shrinks;
 * contents are lost where it grows. */
enum pmet_status pmet_cpu_scratch(struct pmet_cpu *cpu, size_t n_each, size_t n_shared,
                                  struct pmet_error *err);

/* n_threads 0: as many as the machine has. */
enum pmet_status pmet_cpu_threads(size_t n_threads, struct pmet_cpu **out, struct pmet_error *err);
void pmet_cpu_threads_free(struct pmet_cpu *cpu); /* accepts NULL */

#endif

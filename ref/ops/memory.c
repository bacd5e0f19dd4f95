/* SPDX-License-Identifier: MIT
 * On a CPU device memory is host memory. */
#include <string.h>
#include "ref/ops/cpu.h"

static enum pmet_status cpu_alloc(const struct pmet_ops *op, size_t n_bytes, void *p, struct pmet_error *err)
{
    (void)op;
    if (n_bytes > PTRDIFF_MAX - 64)
        return pmet_fail_memory(err, "an activation", n_bytes);
    void *mem = aligned_alloc(64, n_bytes == 0 ? 64 : (n_bytes + 63) / 64 * 64);
    if (!mem)
        return pmet_fail_memory(err, "an activation", n_bytes);
    memcpy(p, &mem, sizeof mem);
    return PMET_OK;
}

static void cpu_release(const struct pmet_ops *op, void *p)
{
    (void)op;
    free(p);
}

static enum pmet_status cpu_copy(const struct pmet_ops *op, void *dst, const void *src, size_t n_bytes,
                                 struct pmet_error *err)
{
    (void)op, (void)err;
    if (n_bytes > 0)
        memcpy(dst, src, n_bytes);
    return PMET_OK;
}

static enum pmet_status cpu_zero(const struct pmet_ops *op, void *dst, size_t n_bytes, struct pmet_error *err)
{
    (void)op, (void)err;
    if (n_bytes > 0)
        memset(dst, 0, n_bytes);
    return PMET_OK;
}

static enum pmet_status cpu_weight_map(const struct pmet_ops *op, const void *src, size_t n_bytes,
                                       const void **dev, struct pmet_error *err)
{
    (void)op, (void)n_bytes, (void)err;
    *dev = src;
    return PMET_OK;
}

static void cpu_weight_unmap(const struct pmet_ops *op, const void *dev)
{
    (void)op, (void)dev;
}

void pmet_cpu_memory(struct pmet_ops *op)
{
    op->alloc = cpu_alloc;
    op->release = cpu_release;
    op->upload = cpu_copy;
    op->download = cpu_copy;
    op->copy = cpu_copy;
    op->zero = cpu_zero;
    op->weight_map = cpu_weight_map;
    op->weight_unmap = cpu_weight_unmap;
}

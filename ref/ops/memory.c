/* SPDX-License-Identifier: MIT
 * Device memory is host memory. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ref/ops/plain.h"

/* Linux counts what is free under this name, in KiB. */
void pmet_host_memory(size_t *n_free, size_t *n_all)
{
    static const char key[] = "MemAvailable:";
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    char text[4096];
    const int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, key);
    const unsigned long long kib = at ? strtoull(at + strlen(key), NULL, 10) : 0;
    *n_all = pages > 0 && size > 0 ? (size_t)pages * (size_t)size : (size_t)4 << 30;
    *n_free = kib > 0 ? (size_t)kib * 1024 : *n_all / 2;
}

static enum pmet_status host_memory(const struct pmet_ops *op, size_t *n_free, size_t *n_all,
                                    struct pmet_error *err)
{
    (void)op, (void)err;
    pmet_host_memory(n_free, n_all);
    return PMET_OK;
}

static enum pmet_status host_alloc(const struct pmet_ops *op, size_t n_bytes, void *p, struct pmet_error *err)
{
    (void)op;
    if (n_bytes > PTRDIFF_MAX - 64)
        return pmet_fail_memory(err, "an activation", n_bytes);
    void *mem = aligned_alloc(64, n_bytes == 0 ? 64 : (n_bytes + 63) / 64 * 64);
    if (!mem)
        return pmet_fail_memory(err, "an activation", n_bytes);
    pmet_large_pages(mem, n_bytes);
    memcpy(p, &mem, sizeof mem);
    return PMET_OK;
}

static void host_release(const struct pmet_ops *op, void *p)
{
    (void)op;
    free(p);
}

static enum pmet_status host_copy(const struct pmet_ops *op, void *dst, const void *src, size_t n_bytes,
                                  struct pmet_error *err)
{
    (void)op, (void)err;
    if (n_bytes > 0)
        memcpy(dst, src, n_bytes);
    return PMET_OK;
}

static enum pmet_status host_zero(const struct pmet_ops *op, void *dst, size_t n_bytes,
                                  struct pmet_error *err)
{
    (void)op, (void)err;
    if (n_bytes > 0)
        memset(dst, 0, n_bytes);
    return PMET_OK;
}

static enum pmet_status host_weight_map(const struct pmet_ops *op, const void *src, size_t n_bytes,
                                        const void **dev, struct pmet_error *err)
{
    (void)op, (void)n_bytes, (void)err;
    *dev = src;
    return PMET_OK;
}

static void host_weight_unmap(const struct pmet_ops *op, const void *dev)
{
    (void)op, (void)dev;
}

void pmet_ops_free(struct pmet_ops *op)
{
    if (op)
        op->close(op);
}

void pmet_plain_memory(struct pmet_ops *op)
{
    op->memory = host_memory;
    op->alloc = host_alloc;
    op->release = host_release;
    op->upload = host_copy;
    op->download = host_copy;
    op->copy = host_copy;
    op->zero = host_zero;
    op->weight_map = host_weight_map;
    op->weight_unmap = host_weight_unmap;
}

/* SPDX-License-Identifier: MIT
 * Device memory, and weights, which are copied there once. */
#include "kernels/cuda.h"

static enum pmet_status cuda_memory(const struct pmet_ops *op, size_t *n_free, size_t *n_all,
                                    struct pmet_error *err)
{
    (void)op;
    PMET_CUDA_TRY(cudaMemGetInfo(n_free, n_all), "its memory", err);
    return PMET_OK;
}

static enum pmet_status cuda_alloc(const struct pmet_ops *op, size_t n_bytes, void *p, struct pmet_error *err)
{
    (void)op;
    return pmet_cuda_malloc(n_bytes, p, "an activation", err);
}

static void cuda_release(const struct pmet_ops *op, void *p)
{
    (void)op;
    (void)cudaFree(p);
}

/* From pageable memory an upload returns once the bytes are on their way from the driver's own
 * copy: src is free. */
static enum pmet_status copy(const struct pmet_ops *op, void *dst, const void *src, size_t n_bytes,
                             cudaMemcpyKind kind, const char *what, struct pmet_error *err)
{
    if (n_bytes > 0)
        PMET_CUDA_TRY(cudaMemcpyAsync(dst, src, n_bytes, kind, pmet_cuda_of(op)->stream), what, err);
    return PMET_OK;
}

static enum pmet_status cuda_upload(const struct pmet_ops *op, void *dst, const void *src, size_t n_bytes,
                                    struct pmet_error *err)
{
    return copy(op, dst, src, n_bytes, cudaMemcpyHostToDevice, "upload", err);
}

static enum pmet_status cuda_download(const struct pmet_ops *op, void *dst, const void *src, size_t n_bytes,
                                      struct pmet_error *err)
{
    return pmet_cuda_fetch(pmet_cuda_of(op), dst, src, n_bytes, "download", err);
}

static enum pmet_status cuda_copy(const struct pmet_ops *op, void *dst, const void *src, size_t n_bytes,
                                  struct pmet_error *err)
{
    return copy(op, dst, src, n_bytes, cudaMemcpyDeviceToDevice, "copy", err);
}

static enum pmet_status cuda_zero(const struct pmet_ops *op, void *dst, size_t n_bytes,
                                  struct pmet_error *err)
{
    if (n_bytes > 0)
        PMET_CUDA_TRY(cudaMemsetAsync(dst, 0, n_bytes, pmet_cuda_of(op)->stream), "zero", err);
    return PMET_OK;
}

enum { CHUNK = 16 << 20 };

/* Kept with the table: pinning memory takes longer than a copy through it. */
static enum pmet_status take_buffers(struct pmet_cuda *cuda, struct pmet_error *err)
{
    for (int i = 0; i < 2; i++) {
        if (!cuda->upload.crossed[i])
            PMET_CUDA_TRY(cudaEventCreateWithFlags(&cuda->upload.crossed[i], cudaEventDisableTiming),
                          "an event", err);
        if (!cuda->upload.pinned[i])
            PMET_CUDA_TRY(cudaMallocHost(&cuda->upload.pinned[i], CHUNK), "pinned memory", err);
    }
    return PMET_OK;
}

/* Copies through two pinned buffers: one is filled from the file while the other is copied. Does
 * not wait for the last. */
static enum pmet_status upload_mapped(struct pmet_cuda *cuda, char *dst, const char *src, size_t n_bytes,
                                      struct pmet_error *err)
{
    PMET_TRY(take_buffers(cuda, err));
    for (size_t at = 0; at < n_bytes; at += CHUNK) {
        const int i = cuda->upload.next;
        const size_t n = pmet_min(CHUNK, n_bytes - at);
        PMET_CUDA_TRY(cudaEventSynchronize(cuda->upload.crossed[i]), "weights", err); /* no wait if new */
        memcpy(cuda->upload.pinned[i], src + at, n);
        PMET_CUDA_TRY(
            cudaMemcpyAsync(dst + at, cuda->upload.pinned[i], n, cudaMemcpyHostToDevice, cuda->stream),
            "weights", err);
        PMET_CUDA_TRY(cudaEventRecord(cuda->upload.crossed[i], cuda->stream), "weights", err);
        cuda->upload.next = 1 - i;
    }
    return PMET_OK;
}

void pmet_cuda_close_upload(struct pmet_cuda *cuda)
{
    for (int i = 0; i < 2; i++) {
        if (cuda->upload.crossed[i])
            (void)cudaEventDestroy(cuda->upload.crossed[i]);
        (void)cudaFreeHost(cuda->upload.pinned[i]);
    }
}

static enum pmet_status cuda_weight_map(const struct pmet_ops *op, const void *src, size_t n_bytes,
                                        const void **dev, struct pmet_error *err)
{
    void *mem;
    PMET_TRY(pmet_cuda_malloc(n_bytes, &mem, "a weight", err));
    const enum pmet_status status =
        upload_mapped(pmet_cuda_of(op), (char *)mem, (const char *)src, n_bytes, err);
    if (status == PMET_OK)
        *dev = mem;
    else
        (void)cudaFree(mem);
    return status;
}

static void cuda_weight_unmap(const struct pmet_ops *op, const void *dev)
{
    (void)op;
    (void)cudaFree((void *)(uintptr_t)dev);
}

void pmet_cuda_memory(struct pmet_ops *op)
{
    op->own_memory = true;
    op->memory = cuda_memory;
    op->alloc = cuda_alloc;
    op->release = cuda_release;
    op->upload = cuda_upload;
    op->download = cuda_download;
    op->copy = cuda_copy;
    op->zero = cuda_zero;
    op->weight_map = cuda_weight_map;
    op->weight_unmap = cuda_weight_unmap;
}

/* SPDX-License-Identifier: MIT
 * Device memory, and weights brought there once. */
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

/* From pageable memory the call returns once the bytes are on their way from the driver's own copy: src is free. */
static enum pmet_status cuda_upload(const struct pmet_ops *op, void *dst, const void *src, size_t n_bytes,
                                    struct pmet_error *err)
{
    if (n_bytes > 0)
        PMET_CUDA_TRY(cudaMemcpyAsync(dst, src, n_bytes, cudaMemcpyHostToDevice, pmet_cuda_of(op)->stream),
                      "upload", err);
    return PMET_OK;
}

static enum pmet_status cuda_download(const struct pmet_ops *op, void *dst, const void *src, size_t n_bytes,
                                      struct pmet_error *err)
{
    return pmet_cuda_fetch(pmet_cuda_of(op), dst, src, n_bytes, "download", err);
}

static enum pmet_status cuda_copy(const struct pmet_ops *op, void *dst, const void *src, size_t n_bytes,
                                  struct pmet_error *err)
{
    if (n_bytes > 0)
        PMET_CUDA_TRY(cudaMemcpyAsync(dst, src, n_bytes, cudaMemcpyDeviceToDevice, pmet_cuda_of(op)->stream),
                      "copy", err);
    return PMET_OK;
}

static enum pmet_status cuda_zero(const struct pmet_ops *op, void *dst, size_t n_bytes,
                                  struct pmet_error *err)
{
    if (n_bytes > 0)
        PMET_CUDA_TRY(cudaMemsetAsync(dst, 0, n_bytes, pmet_cuda_of(op)->stream), "zero", err);
    return PMET_OK;
}

/* Through two pinned buffers: one is read from the file while the other crosses. Waits. */
static enum pmet_status upload_mapped(struct pmet_cuda *cuda, char *dst, const char *src, size_t n_bytes,
                                      char *const pinned[2], size_t chunk, cudaEvent_t const done[2],
                                      struct pmet_error *err)
{
    for (size_t at = 0, i = 0; at < n_bytes; at += chunk, i ^= 1) {
        const size_t n = pmet_cuda_smaller(chunk, n_bytes - at);
        if (at >= 2 * chunk)
            PMET_CUDA_TRY(cudaEventSynchronize(done[i]), "weights", err);
        memcpy(pinned[i], src + at, n);
        PMET_CUDA_TRY(cudaMemcpyAsync(dst + at, pinned[i], n, cudaMemcpyHostToDevice, cuda->stream),
                      "weights", err);
        PMET_CUDA_TRY(cudaEventRecord(done[i], cuda->stream), "weights", err);
    }
    PMET_CUDA_TRY(cudaStreamSynchronize(cuda->stream), "weights", err);
    return PMET_OK;
}

static enum pmet_status take_buffers(void *pinned[2], size_t chunk, cudaEvent_t done[2],
                                     struct pmet_error *err)
{
    for (int i = 0; i < 2; i++) {
        PMET_CUDA_TRY(cudaMallocHost(&pinned[i], chunk), "pinned memory", err);
        PMET_CUDA_TRY(cudaEventCreateWithFlags(&done[i], cudaEventDisableTiming), "an event", err);
    }
    return PMET_OK;
}

static enum pmet_status cuda_weight_map(const struct pmet_ops *op, const void *src, size_t n_bytes,
                                        const void **dev, struct pmet_error *err)
{
    const size_t chunk = pmet_cuda_smaller(n_bytes, (size_t)16 << 20);
    void *mem = NULL, *pinned[2] = {NULL, NULL};
    cudaEvent_t done[2] = {NULL, NULL};
    PMET_TRY(pmet_cuda_malloc(n_bytes, &mem, "a weight", err));
    enum pmet_status status = take_buffers(pinned, chunk, done, err);
    if (status == PMET_OK) {
        char *const buffers[2] = {(char *)pinned[0], (char *)pinned[1]};
        status = upload_mapped(pmet_cuda_of(op), (char *)mem, (const char *)src, n_bytes, buffers, chunk,
                               done, err);
    }
    for (int i = 0; i < 2; i++) {
        if (done[i])
            (void)cudaEventDestroy(done[i]);
        (void)cudaFreeHost(pinned[i]);
    }
    if (status != PMET_OK)
        (void)cudaFree(mem);
    else
        *dev = mem;
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

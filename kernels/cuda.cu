/* SPDX-License-Identifier: MIT
 * Opens and closes the CUDA operator table; functions that its files share. */
#include "kernels/cuda.h"

#include <stdio.h>
#include <stdlib.h>

enum { ALIGN = 256, STAGE = 1 << 20 };

enum pmet_status pmet_cuda_fail(struct pmet_error *err, cudaError_t error, const char *what, size_t wanted)
{
    size_t n_free = 0, n_all = 0;
    if (error != cudaErrorMemoryAllocation)
        return pmet_fail(err, PMET_IO, "cuda: %s: %s", what, cudaGetErrorString(error));
    (void)cudaGetLastError();
    if (wanted == 0 || cudaMemGetInfo(&n_free, &n_all) != cudaSuccess)
        return pmet_fail(err, PMET_MEMORY, "cuda: %s: out of memory", what);
    return pmet_fail(err, PMET_MEMORY, "cuda: out of memory: %s needs %zu bytes; %zu of %zu are free", what,
                     wanted, n_free, n_all);
}

enum pmet_status pmet_cuda_launched(const char *what, struct pmet_error *err)
{
    PMET_CUDA_TRY(cudaGetLastError(), what, err);
    return PMET_OK;
}

enum pmet_status pmet_cuda_malloc(size_t n_bytes, void *p, const char *what, struct pmet_error *err)
{
    void *mem = NULL;
    const cudaError_t error =
        cudaMalloc(&mem, n_bytes > 0 ? n_bytes : (size_t)ALIGN); /* cudaMalloc(0) gives NULL */
    if (error != cudaSuccess)
        return pmet_cuda_fail(err, error, what, n_bytes);
    *(void **)p = mem;
    return PMET_OK;
}

enum pmet_status pmet_cuda_fetch(struct pmet_cuda *cuda, void *host, const void *dev, size_t n_bytes,
                                 const char *what, struct pmet_error *err)
{
    if (n_bytes > 0)
        PMET_CUDA_TRY(cudaMemcpyAsync(host, dev, n_bytes, cudaMemcpyDeviceToHost, cuda->stream), what, err);
    PMET_CUDA_TRY(cudaStreamSynchronize(cuda->stream), what, err);
    return PMET_OK;
}

/* cudaFree waits for the kernels that still use the old memory. */
enum pmet_status pmet_cuda_scratch(struct pmet_cuda *cuda, enum pmet_cuda_scratch_use use, size_t n_bytes,
                                   void *dev, struct pmet_error *err)
{
    if (cuda->scratch[use].n_bytes < n_bytes || !cuda->scratch[use].p) {
        void *old = cuda->scratch[use].p;
        cuda->scratch[use].p = NULL;
        cuda->scratch[use].n_bytes = 0;
        PMET_CUDA_TRY(cudaFree(old), "scratch", err);
        PMET_TRY(pmet_cuda_malloc(n_bytes, &cuda->scratch[use].p, "scratch", err));
        cuda->scratch[use].n_bytes = n_bytes;
    }
    *(void **)dev = cuda->scratch[use].p;
    return PMET_OK;
}

static void free_stage(struct pmet_cuda *cuda)
{
    (void)cudaFreeHost(cuda->stage.host);
    (void)cudaFree(cuda->stage.dev);
    cuda->stage.host = cuda->stage.dev = NULL;
    cuda->stage.n_bytes = cuda->stage.used = 0;
}

/* Makes the stage hold n_bytes more. After the stream is synchronised, earlier copies are done and
 * their memory is free. */
static enum pmet_status make_space(struct pmet_cuda *cuda, size_t n_bytes, struct pmet_error *err)
{
    void *host = NULL, *dev = NULL;
    if (cuda->stage.used + n_bytes <= cuda->stage.n_bytes)
        return PMET_OK;
    PMET_CUDA_TRY(cudaStreamSynchronize(cuda->stream), "arguments", err);
    cuda->stage.used = 0;
    if (n_bytes <= cuda->stage.n_bytes)
        return PMET_OK;
    free_stage(cuda);
    const size_t n_all = n_bytes < STAGE / 2 ? (size_t)STAGE : 2 * n_bytes;
    const cudaError_t error = cudaMallocHost(&host, n_all);
    if (error != cudaSuccess)
        return pmet_cuda_fail(err, error, "pinned memory", 0);
    cuda->stage.host = (char *)host;
    PMET_TRY(pmet_cuda_malloc(n_all, &dev, "arguments", err));
    cuda->stage.dev = (char *)dev;
    cuda->stage.n_bytes = n_all;
    return PMET_OK;
}

enum pmet_status pmet_cuda_stage(const struct pmet_ops *op, struct pmet_cuda_part *part, size_t n_part,
                                 struct pmet_error *err)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    size_t n_bytes = 0, at = 0;
    for (size_t i = 0; i < n_part; i++)
        n_bytes += (part[i].n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (n_bytes == 0)
        return PMET_OK;
    PMET_TRY(make_space(cuda, n_bytes, err));
    char *host = cuda->stage.host + cuda->stage.used, *dev = cuda->stage.dev + cuda->stage.used;
    for (size_t i = 0; i < n_part; i++) {
        const void **array = (const void **)part[i].array;
        if (part[i].n_bytes > 0)
            memcpy(host + at, *array, part[i].n_bytes);
        *array = dev + at;
        at += (part[i].n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    }
    PMET_CUDA_TRY(cudaMemcpyAsync(dev, host, n_bytes, cudaMemcpyHostToDevice, cuda->stream), "arguments",
                  err);
    cuda->stage.used += n_bytes;
    return PMET_OK;
}

static void close_table(struct pmet_ops *op)
{
    struct pmet_cuda *cuda = pmet_cuda_of(op);
    if (cuda) {
        if (cuda->stream)
            (void)cudaStreamSynchronize(cuda->stream);
        for (int i = 0; i < PMET_N_SCRATCH; i++)
            (void)cudaFree(cuda->scratch[i].p);
        free_stage(cuda);
        pmet_cuda_close_upload(cuda);
        if (cuda->blas)
            (void)cublasDestroy(cuda->blas);
        if (cuda->stream)
            (void)cudaStreamDestroy(cuda->stream);
    }
    free(cuda);
    free(op);
}

static enum pmet_status attribute(enum cudaDeviceAttr which, double *value, struct pmet_error *err)
{
    int n = 0;
    PMET_CUDA_TRY(cudaDeviceGetAttribute(&n, which, 0), "device 0", err);
    *value = n;
    return PMET_OK;
}

/* Operations of one multiprocessor per clock, by compute capability: float, double and f16, the
 * last two on tensor cores where those are faster. */
static enum pmet_status find_peak(struct pmet_peak *peak, int major, int minor, struct pmet_error *err)
{
    static const struct {
        int major, minor;
        double f32, f64, f16;
    } per_clock[] = {
        {8, 0, 128, 128, 2048}, {8, 6, 256, 4, 1024}, {8, 9, 256, 4, 1024}, {9, 0, 256, 256, 4096}};
    double khz = 0, memory_khz = 0, bits = 0, n_processor = 0;
    PMET_TRY(attribute(cudaDevAttrClockRate, &khz, err));
    PMET_TRY(attribute(cudaDevAttrMemoryClockRate, &memory_khz, err));
    PMET_TRY(attribute(cudaDevAttrGlobalMemoryBusWidth, &bits, err));
    PMET_TRY(attribute(cudaDevAttrMultiProcessorCount, &n_processor, err));
    peak->bytes = 2e3 * memory_khz * bits / 8; /* both edges of the clock */
    for (size_t i = 0; i < sizeof per_clock / sizeof *per_clock; i++)
        if (per_clock[i].major == major && per_clock[i].minor == minor) {
            peak->f32 = 1e3 * khz * n_processor * per_clock[i].f32;
            peak->f64 = 1e3 * khz * n_processor * per_clock[i].f64;
            peak->f16 = 1e3 * khz * n_processor * per_clock[i].f16;
        }
    return PMET_OK;
}

static enum pmet_status open_device(struct pmet_cuda *cuda, struct pmet_peak *peak, struct pmet_error *err)
{
    struct cudaDeviceProp prop;
    int n = 0, shared = 0;
    PMET_CUDA_TRY(cudaGetDeviceCount(&n), "no device can be used", err);
    if (n == 0)
        return pmet_fail(err, PMET_UNSUPPORTED, "cuda: there is no device");
    PMET_CUDA_TRY(cudaSetDevice(0), "device 0", err);
    PMET_CUDA_TRY(cudaGetDeviceProperties(&prop, 0), "device 0", err);
    PMET_CUDA_TRY(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "device 0",
                  err);
    PMET_CUDA_TRY(cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking), "a stream", err);
    PMET_BLAS_TRY(cublasCreate(&cuda->blas), "device 0", err);
    PMET_BLAS_TRY(cublasSetStream(cuda->blas, cuda->stream), "device 0", err);
    cuda->shared_bytes = (size_t)shared;
    snprintf(cuda->name, sizeof cuda->name, "cuda (%s%s)", prop.name,
             cuda->device == PMET_DEVICE_CUDA_HALF   ? ", half activations"
             : cuda->device == PMET_DEVICE_CUDA_TF32 ? ", TF32"
                                                     : "");
    return find_peak(peak, prop.major, prop.minor, err);
}

extern "C" enum pmet_status pmet_ops_cuda(size_t n_table, size_t n_real, enum pmet_device device,
                                          struct pmet_ops **out, struct pmet_error *err)
{
    struct pmet_ops *op;
    struct pmet_cuda *cuda;
    if (n_table != sizeof *op || n_real != sizeof(real))
        return pmet_fail(err, PMET_UNSUPPORTED, "cuda: libpmet_cuda.so is of another build than the program");
    if (sizeof(real) != sizeof(float) && device != PMET_DEVICE_CUDA)
        return pmet_fail(err, PMET_UNSUPPORTED, "cuda: half activations and TF32 need the float build");
    PMET_TRY(pmet_calloc(&op, 1, sizeof *op, "the operator table", err));
    enum pmet_status status = pmet_calloc(&cuda, 1, sizeof *cuda, "the operator table", err);
    if (status == PMET_OK) {
        op->state = cuda;
        op->name = cuda->name;
        op->kind = device == PMET_DEVICE_CUDA_HALF   ? "cuda, half activations"
                   : device == PMET_DEVICE_CUDA_TF32 ? "cuda, TF32"
                                                     : "cuda";
        cuda->device = device;
        status = open_device(cuda, &op->peak, err);
    }
    if (status != PMET_OK) {
        close_table(op);
        return status;
    }
    op->close = close_table;
    pmet_cuda_memory(op);
    pmet_cuda_rows(op);
    pmet_cuda_layernorm(op);
    pmet_cuda_matmul(op);
    pmet_cuda_rope(op);
    pmet_cuda_attention(op);
    pmet_cuda_attention_dx(op);
    pmet_cuda_activation(op);
    pmet_cuda_loss(op);
    pmet_cuda_optimise(op);
    pmet_cuda_cholesky(op);
    *out = op;
    return PMET_OK;
}

/* SPDX-License-Identifier: MIT
 * What the files of the CUDA table share. Each fills its own entries of ref/ops/ops.h; ref/ops/ is
 * the definition.
 *
 * All work goes to one stream, in order. Launchers check their bounds, accept any size, and neither
 * wait, allocate nor copy to the host. Entries with results on the host wait; so may an entry that
 * enlarges a scratch buffer or reuses the full stage. Sums are in double, in an order that depends
 * on the shape alone, without atomics: the same bits every time, whatever the other rows are.
 * Multiplications and additions are fused only where fma is written. */
#ifndef PMET_KERNELS_CUDA_H
#define PMET_KERNELS_CUDA_H

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include "ref/ops/ops.h"

/* Launches and shared arrays, in a form that C++ with tests/cuda_on_cpu can compile, too. In a
 * kernel:
 *   PMET_SHARED(double, part, 256);       a static array        PMET_DYNAMIC_SHARED(double, memory);  sized by the launch
 *   PMET_SHARED_PTR(real) tile = PMET_SHARED_CAST(real, memory + n); */
#ifdef __CUDACC__
#define PMET_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                          \
    kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)
#define PMET_SHARED(type, name, n) __shared__ type name[n]
#define PMET_DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#define PMET_SHARED_PTR(type) type *
#define PMET_SHARED_CAST(type, p) ((type *)(p))
#else
#define PMET_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                          \
    ((void)(stream), cuda_on_cpu::launch(#kernel, (const void *)kernel, grid, block, shared_bytes,           \
                                         [&]() { kernel(__VA_ARGS__); }))
#define PMET_SHARED(type, name, n)                                                                           \
    static const char name##_site = 0;                                                                       \
    const cuda_on_cpu::shared<type> name = cuda_on_cpu::static_array<type>(&name##_site, n)
#define PMET_DYNAMIC_SHARED(type, name)                                                                      \
    const cuda_on_cpu::shared<type> name = cuda_on_cpu::dynamic_array<type>()
#define PMET_SHARED_PTR(type) cuda_on_cpu::shared<type>
#define PMET_SHARED_CAST(type, p) cuda_on_cpu::cast<type>(p)
#endif

enum { BLOCK = 256 }; /* threads of a block */

/* The status of a kernel of one thread per element, launched for n elements; it strides over those
 * that the grid is too small for:
 *   for (size_t i = pmet_first(); i < n; i += pmet_step()) */
#define PMET_LAUNCH_EACH(op, what, n, err, kernel, ...)                                                      \
    ((n) == 0                                                                                                \
         ? PMET_OK                                                                                           \
         : (PMET_LAUNCH(kernel, pmet_cuda_grid(n, BLOCK), BLOCK, 0, pmet_cuda_of(op)->stream, __VA_ARGS__),  \
            pmet_cuda_launched(what, err)))

static __device__ inline size_t pmet_first(void)
{
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static __device__ inline size_t pmet_step(void)
{
    return (size_t)gridDim.x * blockDim.x;
}

/* Returns from the calling function if the call failed, with a message such as "cuda: WHAT: out of
 * memory". */
#define PMET_CUDA_TRY(call, what, err)                                                                       \
    do {                                                                                                     \
        const cudaError_t pmet_cuda_error_ = (call);                                                         \
        if (pmet_cuda_error_ != cudaSuccess)                                                                 \
            return pmet_cuda_fail(err, pmet_cuda_error_, what, 0);                                           \
    } while (0)
#define PMET_BLAS_TRY(call, what, err)                                                                       \
    do {                                                                                                     \
        const cublasStatus_t pmet_blas_status_ = (call);                                                     \
        if (pmet_blas_status_ != CUBLAS_STATUS_SUCCESS)                                                      \
            return pmet_fail(err, PMET_IO, "cuda: %s: cuBLAS: %s", what,                                     \
                             cublasGetStatusString(pmet_blas_status_));                                      \
    } while (0)

/* Scratch buffers on the device, one for each use. They grow and never shrink. */
enum pmet_cuda_scratch_use {
    PMET_SCRATCH_WIDE,
    PMET_SCRATCH_ROWS,
    PMET_SCRATCH_SCALE,
    PMET_SCRATCH_SUM,
    PMET_SCRATCH_RESULT,
    PMET_N_SCRATCH
};

struct pmet_cuda {
    char name[320];
    enum pmet_device device; /* CUDA, CUDA_HALF or CUDA_TF32 */
    cudaStream_t stream;
    cublasHandle_t blas;
    size_t shared_bytes; /* at most, for a block */
    struct {
        void *p;
        size_t n_bytes;
    } scratch[PMET_N_SCRATCH];
    struct {
        char *host, *dev; /* pinned, and its copy on the device */
        size_t n_bytes, used;
    } stage;
    struct {
        void *pinned[2]; /* one is filled while the other is copied */
        cudaEvent_t crossed[2];
        int next;
    } upload;
};

static inline struct pmet_cuda *pmet_cuda_of(const struct pmet_ops *op)
{
    return (struct pmet_cuda *)op->state;
}

/* Sets the message of a failed call; wanted: bytes requested, 0 if none. Returns PMET_MEMORY or
 * PMET_IO. */
enum pmet_status pmet_cuda_fail(struct pmet_error *err, cudaError_t error, const char *what, size_t wanted);
/* After a launch: errors of the launch itself. Does not synchronise. */
enum pmet_status pmet_cuda_launched(const char *what, struct pmet_error *err);
/* Copies host arrays to the device: each pointer then points at the copy, for the kernels that are
 * launched next. The copies stay valid until the next call, so an entry calls it once. Waits only
 * when the stage is full. */
struct pmet_cuda_part {
    void *array; /* const T ** */
    size_t n_bytes;
};
enum pmet_status pmet_cuda_stage(const struct pmet_ops *op, struct pmet_cuda_part *part, size_t n_part,
                                 struct pmet_error *err);
static inline enum pmet_status pmet_cuda_put(const struct pmet_ops *op, void *array, size_t n_bytes,
                                             struct pmet_error *err)
{
    struct pmet_cuda_part part = {array, n_bytes};
    return pmet_cuda_stage(op, &part, 1, err);
}
/* *dev (void **) = at least n_bytes; contents undefined. */
enum pmet_status pmet_cuda_scratch(struct pmet_cuda *cuda, enum pmet_cuda_scratch_use use, size_t n_bytes,
                                   void *dev, struct pmet_error *err);
/* Copies from the device to the host, and waits. */
enum pmet_status pmet_cuda_fetch(struct pmet_cuda *cuda, void *host, const void *dev, size_t n_bytes,
                                 const char *what, struct pmet_error *err);
enum pmet_status pmet_cuda_malloc(size_t n_bytes, void *p, const char *what, struct pmet_error *err);

/* Blocks of `block` threads for n items, at most 2^20 blocks: kernels stride over the rest. */
static inline unsigned pmet_cuda_grid(size_t n, size_t block)
{
    const size_t n_block = (n + block - 1) / block;
    return (unsigned)(n_block < 1u << 20 ? n_block : 1u << 20);
}

static __host__ __device__ inline size_t pmet_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

void pmet_cuda_close_upload(struct pmet_cuda *cuda); /* accepts a half-open table */
void pmet_cuda_memory(struct pmet_ops *op);
void pmet_cuda_rows(struct pmet_ops *op);
void pmet_cuda_layernorm(struct pmet_ops *op);
void pmet_cuda_matmul(struct pmet_ops *op);
void pmet_cuda_rope(struct pmet_ops *op);
void pmet_cuda_attention(struct pmet_ops *op);
void pmet_cuda_attention_dx(struct pmet_ops *op);
void pmet_cuda_activation(struct pmet_ops *op);
void pmet_cuda_loss(struct pmet_ops *op);
void pmet_cuda_optimise(struct pmet_ops *op);
void pmet_cuda_cholesky(struct pmet_ops *op);

/* The table on the first device. n_table and n_real: sizes of struct pmet_ops and of `real` in the
 * caller, which may be from another build. device: PMET_DEVICE_CUDA, CUDA_HALF or CUDA_TF32. */
extern "C" __attribute__((visibility("default"))) enum pmet_status
pmet_ops_cuda(size_t n_table, size_t n_real, enum pmet_device device, struct pmet_ops **out,
              struct pmet_error *err);

#endif

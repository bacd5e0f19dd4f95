/* SPDX-License-Identifier: MIT
 * CUDA on a CPU: the part of the CUDA runtime that kernels/ uses, for a C++ compiler. It runs
 * kernels without a GPU, and finds mistakes that a GPU does not report. In another project:
 *   - copy this folder (broken.cu shows each check) and, from kernels/cuda.h, the macros for three things that a C++
 *     compiler does not know: launches, shared arrays, and pointers to shared arrays
 *   - compile the .cu files with "g++ -std=c++17 -Itests/cuda_on_cpu -x c++", link runtime.cpp and cublas.cpp
 *   - add the calls of the runtime that are missing, a few lines each; each begins with cuda_on_cpu::failure(), so that
 *     tests can make it fail
 *   - compare with plain C at small and odd sizes; then with -fsanitize=address; then with every call failing
 *
 * A launch runs its blocks in order, and the threads of a block in order. Each thread has its own
 * stack and runs from one barrier, shuffle or vote to the next, so the order is the same every
 * time. At the first of these mistakes a launch ends with cudaErrorLaunchFailure, and
 * cudaGetErrorString names kernel, block and thread:
 *   - a __syncthreads that some threads of the block never reach, or reach at another line
 *   - a shuffle, vote or __syncwarp whose mask names a lane that is elsewhere or has returned, or does not name the
 *     caller; a shuffle from a lane outside the mask
 *   - an index outside a shared array; a read of shared memory that was not written; two threads at the same shared
 *     bytes, one of them writing, without a barrier (or, in one warp, a full __syncwarp, shuffle or vote) between
 *   - a byte changed beside a device allocation; in the ASan build ASan reports any access there
 *   - a grid, block or shared memory that is too large for a device (sm_80: 48 KiB, 163 KiB on request)
 *   - a copy that begins or ends outside its device allocation
 * New device memory is filled with 0xff bytes, which are NaN. Streams and events do nothing: every
 * call has finished when it returns. So it does not find a missing wait, a race between blocks, a
 * race through global memory, and, without ASan, a read past a device allocation. */
#ifndef PMET_TESTS_CUDA_RUNTIME_H
#define PMET_TESTS_CUDA_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(n)

/* ---- launches ---- */

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim; /* of the running thread */

namespace cuda_on_cpu
{
/* Ends the launch; the first mistake is the one that is reported. */
[[noreturn]] void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void run(const char *name, const void *kernel, dim3 grid, dim3 block, size_t dynamic_bytes,
         void (*call)(const void *thunk), const void *thunk);

template <class F>
void launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t dynamic_bytes, const F &f)
{
    run(
        name, kernel, grid, block, dynamic_bytes, [](const void *p) { (*(const F *)p)(); }, &f);
}

/* ---- shared memory ---- */

/* For every four bytes: which threads wrote and read them last. An epoch is the time between two
 * barriers; epochs are counted through all launches, so that nothing has to be cleared. */
struct grain {
    uint64_t write_epoch, read_epoch;
    uint32_t write_turn, read_turn;      /* the warp's own count of full warp operations */
    int16_t writer, reader, reader_warp; /* threads of the block; reader MANY: several of one warp */
    bool many_warps;
};
enum { MANY = -2, GRAIN = 4 };

extern grain *grains;
extern unsigned char *arena; /* the block's shared memory */
extern uint64_t epoch, first_epoch;
extern uint32_t turn; /* of the running thread's warp */
extern int me;        /* the running thread */

void found_race(const char *what, size_t at, int other);
void found_unset(size_t at);
[[noreturn]] void found_bound(ptrdiff_t i, size_t n);
size_t static_shared(const void *site, size_t n_bytes);
size_t dynamic_shared(size_t *n_bytes);

inline void reads(size_t at, size_t n_bytes)
{
    for (size_t b = at / GRAIN; b < (at + n_bytes + GRAIN - 1) / GRAIN; b++) {
        grain &g = grains[b];
        if (g.write_epoch < first_epoch)
            found_unset(b * GRAIN);
        if (g.write_epoch == epoch && g.writer != me && (g.writer / 32 != me / 32 || g.write_turn == turn))
            found_race("read", b * GRAIN, g.writer);
        const int16_t warp = (int16_t)(me / 32);
        if (g.read_epoch != epoch) {
            g.read_epoch = epoch;
            g.reader = (int16_t)me;
            g.many_warps = false;
        } else if (g.reader_warp != warp) {
            g.many_warps = true;
        } else if (g.reader != me) {
            g.reader = g.read_turn == turn ? (int16_t)MANY : (int16_t)me;
        }
        g.reader_warp = warp;
        g.read_turn = turn;
    }
}

inline void writes(size_t at, size_t n_bytes)
{
    for (size_t b = at / GRAIN; b < (at + n_bytes + GRAIN - 1) / GRAIN; b++) {
        grain &g = grains[b];
        if (g.write_epoch == epoch && g.writer != me && (g.writer / 32 != me / 32 || g.write_turn == turn))
            found_race("written", b * GRAIN, g.writer);
        if (g.read_epoch == epoch && g.reader != me &&
            (g.many_warps || g.reader_warp != me / 32 || g.read_turn == turn))
            found_race("written", b * GRAIN, g.reader);
        g.write_epoch = epoch;
        g.write_turn = turn;
        g.writer = (int16_t)me;
    }
}

template <class T> struct ref {
    size_t at;
    operator T() const
    {
        T x;
        reads(at, sizeof x);
        memcpy(&x, arena + at, sizeof x);
        return x;
    }
    T operator=(T x) const
    {
        writes(at, sizeof x);
        memcpy(arena + at, &x, sizeof x);
        return x;
    }
    T operator=(const ref &x) const
    {
        return *this = (T)x;
    }
    T operator+=(T x) const
    {
        return *this = (T)(*this) + x;
    }
    T operator-=(T x) const
    {
        return *this = (T)(*this) - x;
    }
    T operator*=(T x) const
    {
        return *this = (T)(*this) * x;
    }
};

/* A pointer into a shared array, with the number of elements before and after it. */
template <class T> struct shared {
    size_t at;
    ptrdiff_t before, behind; /* elements */
    ref<T> operator[](ptrdiff_t i) const
    {
        if (i < -before || i >= behind)
            found_bound(i + before, (size_t)(before + behind));
        return ref<T>{at + (size_t)i * sizeof(T)};
    }
    shared operator+(ptrdiff_t i) const
    {
        return shared{at + (size_t)i * sizeof(T), before + i, behind - i};
    }
};

template <class U, class T> shared<U> cast(shared<T> p)
{
    return shared<U>{p.at, p.before * (ptrdiff_t)sizeof(T) / (ptrdiff_t)sizeof(U),
                     p.behind * (ptrdiff_t)sizeof(T) / (ptrdiff_t)sizeof(U)};
}
template <class T> shared<T> static_array(const void *site, size_t n)
{
    return shared<T>{static_shared(site, n * sizeof(T)), 0, (ptrdiff_t)n};
}
template <class T> shared<T> dynamic_array()
{
    size_t n_bytes;
    const size_t at = dynamic_shared(&n_bytes);
    return shared<T>{at, 0, (ptrdiff_t)(n_bytes / sizeof(T))};
}

/* ---- barriers, shuffles and votes ---- */

enum warp_kind { WARP_SYNC, WARP_SHUFFLE, WARP_BALLOT };
uint64_t warp_meet(warp_kind kind, unsigned mask, uint64_t value, int source, int line);

template <class T> T shuffle(unsigned mask, T x, int source, int line)
{
    uint64_t bits = 0;
    memcpy(&bits, &x, sizeof x);
    bits = warp_meet(WARP_SHUFFLE, mask, bits, source, line);
    memcpy(&x, &bits, sizeof x);
    return x;
}
} // namespace cuda_on_cpu

void __syncthreads(int line = __builtin_LINE());

inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE())
{
    cuda_on_cpu::warp_meet(cuda_on_cpu::WARP_SYNC, mask, 0, 0, line);
}
inline unsigned __ballot_sync(unsigned mask, int set, int line = __builtin_LINE())
{
    return (unsigned)cuda_on_cpu::warp_meet(cuda_on_cpu::WARP_BALLOT, mask, set != 0, 0, line);
}
inline int __any_sync(unsigned mask, int set, int line = __builtin_LINE())
{
    return __ballot_sync(mask, set, line) != 0;
}
inline int __all_sync(unsigned mask, int set, int line = __builtin_LINE())
{
    return __ballot_sync(mask, set, line) == mask;
}
template <class T> T __shfl_sync(unsigned mask, T x, int lane, int line = __builtin_LINE())
{
    return cuda_on_cpu::shuffle(mask, x, lane & 31, line);
}
template <class T> T __shfl_xor_sync(unsigned mask, T x, int bits, int line = __builtin_LINE())
{
    return cuda_on_cpu::shuffle(mask, x, (cuda_on_cpu::me % 32) ^ bits, line);
}
template <class T> T __shfl_down_sync(unsigned mask, T x, int by, int line = __builtin_LINE())
{
    const int lane = cuda_on_cpu::me % 32;
    return cuda_on_cpu::shuffle(mask, x, lane + by < 32 ? lane + by : lane, line);
}

inline float __uint_as_float(unsigned u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
inline unsigned __float_as_uint(float x)
{
    unsigned u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* ---- the runtime's calls ---- */

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorECCUncorrectable = 214,
    cudaErrorLaunchFailure = 719
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
enum cudaDeviceAttr {
    cudaDevAttrClockRate = 13,
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrMemoryClockRate = 36,
    cudaDevAttrGlobalMemoryBusWidth = 37,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
typedef struct cuda_on_cpu_stream *cudaStream_t;
typedef struct cuda_on_cpu_event *cudaEvent_t;
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    int major, minor;
};

const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError(void); /* and clears it */
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaMemGetInfo(size_t *n_free, size_t *n_all);
cudaError_t cudaMalloc(void **p, size_t n_bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **p, size_t n_bytes);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t n_bytes, cudaMemcpyKind kind, cudaStream_t s);
cudaError_t cudaMemcpy2DAsync(void *dst, size_t dst_pitch, const void *src, size_t src_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t s);
cudaError_t cudaMemsetAsync(void *dst, int byte, size_t n_bytes, cudaStream_t s);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cuda_on_cpu_set_dynamic_shared(const void *kernel, size_t n_bytes);
template <class F> cudaError_t cudaFuncSetAttribute(F *kernel, cudaFuncAttribute, int value)
{
    return cuda_on_cpu_set_dynamic_shared((const void *)kernel, (size_t)value);
}

/* For tests: the device's memory (default 1 GiB); the number of the call of the runtime or of
 * cuBLAS that fails, counted from now on and from 0 (-1: none), and with it every later call, as on
 * a device that is lost, unless the error is out of memory; the number of live allocations. A
 * program that cannot call these functions sets CUDA_ON_CPU_MEMORY=BYTES,
 * CUDA_ON_CPU_FAIL=K,ERROR. */
extern "C" {
void cuda_on_cpu_memory(size_t n_bytes);
void cuda_on_cpu_fail(long k, int error);
size_t cuda_on_cpu_alive(void);
}

namespace cuda_on_cpu
{
cudaError_t failure(void); /* the error that the calling function must return; cudaSuccess: none */
}

#endif

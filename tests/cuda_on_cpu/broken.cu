/* SPDX-License-Identifier: MIT
 * Kernels that are wrong on purpose, each in one way, and one that is right:
 * tests/test_cuda_on_cpu.c checks that this layer finds the mistakes. The right one reverses a row
 * of 64 numbers through shared memory. */
#include "kernels/reduce.cuh"

enum { N = 64 };

static __global__ void __launch_bounds__(N) right(double *x)
{
    PMET_SHARED(double, part, N);
    part[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = part[N - 1 - threadIdx.x];
}

/* No barrier between the writes and the reads. */
static __global__ void __launch_bounds__(N) no_barrier(double *x)
{
    PMET_SHARED(double, part, N);
    part[threadIdx.x] = x[threadIdx.x];
    x[threadIdx.x] = threadIdx.x < 32 ? 0 : part[N - 1 - threadIdx.x];
}

/* A value is read and then overwritten by another thread, without a barrier: on a device the write
 * may come first. */
static __global__ void __launch_bounds__(N) write_after_read(double *x)
{
    PMET_SHARED(double, part, N);
    part[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = part[N - 1 - threadIdx.x];
    part[threadIdx.x] = 0;
}

/* All threads write to one address, even if the same number. */
static __global__ void __launch_bounds__(N) all_write(double *x)
{
    PMET_SHARED(double, part, 1);
    part[0] = 1;
    x[threadIdx.x] = 0;
}

/* A warp in lockstep once needed no barrier. It needs one now. */
static __global__ void __launch_bounds__(N) no_syncwarp(double *x)
{
    PMET_SHARED(double, part, N);
    part[threadIdx.x] = x[threadIdx.x];
    x[threadIdx.x] = part[threadIdx.x / 2 * 2];
}

static __global__ void __launch_bounds__(N) with_syncwarp(double *x)
{
    PMET_SHARED(double, part, N);
    part[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    x[threadIdx.x] = part[threadIdx.x / 2 * 2];
}

static __global__ void __launch_bounds__(N) barrier_in_a_branch(double *x)
{
    if (threadIdx.x < 40)
        __syncthreads();
    x[threadIdx.x] = 0;
}

static __global__ void __launch_bounds__(N) two_barriers(double *x)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    x[threadIdx.x] = 0;
}

static __global__ void __launch_bounds__(N) shared_bound(double *x)
{
    PMET_SHARED(double, part, N);
    part[threadIdx.x + 1] = x[threadIdx.x];
}

static __global__ void __launch_bounds__(N) shared_unset(double *x)
{
    PMET_SHARED(double, part, N);
    if (threadIdx.x > 0)
        part[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = part[N - 1 - threadIdx.x];
}

static __global__ void __launch_bounds__(N) global_bound(double *x)
{
    if (threadIdx.x <= N / 2)
        x[2 * threadIdx.x] = 0; /* the last index is out of range */
}

static __global__ void __launch_bounds__(N) lane_outside_the_mask(double *x)
{
    if (threadIdx.x % 32 < 16)
        x[threadIdx.x] = __shfl_down_sync(0xffffu, x[threadIdx.x], 8);
}

static __global__ void __launch_bounds__(N) lane_that_left(double *x)
{
    if (threadIdx.x % 32 == 7)
        return;
    x[threadIdx.x] = warp_sum(x[threadIdx.x]);
}

/* Launches kernel `which`; message[size] receives the error, or "no error" where nothing is found. */
extern "C" void run_broken(const char *which, char *message, size_t size);

#define TRY(kernel)                                                                                          \
    if (strcmp(which, #kernel) == 0)                                                                         \
    PMET_LAUNCH(kernel, 1, N, 0, 0, x)

void run_broken(const char *which, char *message, size_t size)
{
    void *memory = NULL;
    cudaMalloc(&memory, N * sizeof(double));
    cudaMemsetAsync(memory, 0, N * sizeof(double), 0);
    double *x = (double *)memory;
    TRY(right);
    TRY(no_barrier);
    TRY(write_after_read);
    TRY(all_write);
    TRY(no_syncwarp);
    TRY(with_syncwarp);
    TRY(barrier_in_a_branch);
    TRY(two_barriers);
    TRY(shared_bound);
    TRY(shared_unset);
    TRY(global_bound);
    TRY(lane_outside_the_mask);
    TRY(lane_that_left);
    if (strcmp(which, "many threads") == 0)
        PMET_LAUNCH(right, 1, 1025, 0, 0, x);
    if (strcmp(which, "many blocks") == 0)
        PMET_LAUNCH(right, dim3(1, 65536), N, 0, 0, x);
    if (strcmp(which, "no blocks") == 0)
        PMET_LAUNCH(right, 0, N, 0, 0, x);
    if (strcmp(which, "much shared") == 0)
        PMET_LAUNCH(right, 1, N, 48 * 1024 + 8, 0, x);
    strncpy(message, cudaGetErrorString(cudaGetLastError()), size - 1);
    message[size - 1] = '\0';
    if (strcmp(which, "a copy past the end") == 0) {
        double host[N + 1];
        strncpy(message, cudaGetErrorString(cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyDeviceToHost, 0)),
                size - 1);
        (void)cudaGetLastError();
    }
    cudaFree(memory);
    (void)cudaGetLastError();
}

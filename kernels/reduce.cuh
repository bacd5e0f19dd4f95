/* SPDX-License-Identifier: MIT
 * Sums and maxima over a warp or a block, in an order that is always the same. All threads take
 * part, and all receive the result. */
#ifndef PMET_KERNELS_REDUCE_CUH
#define PMET_KERNELS_REDUCE_CUH

#include "kernels/cuda.h"

#define PMET_ALL_LANES 0xffffffffu

static __device__ inline double warp_sum(double x)
{
    for (int bits = 16; bits > 0; bits /= 2)
        x += __shfl_xor_sync(PMET_ALL_LANES, x, bits);
    return x;
}

static __device__ inline double warp_max(double x)
{
    for (int bits = 16; bits > 0; bits /= 2)
        x = fmax(x, __shfl_xor_sync(PMET_ALL_LANES, x, bits));
    return x;
}

/* Over BLOCK threads. The first warp adds the values of all threads: one shuffle tree in all rather
 * than one per warp. */
static __device__ inline double block_sum(double x)
{
    PMET_SHARED(double, part, BLOCK + 1);
    part[threadIdx.x] = x;
    __syncthreads();
    if (threadIdx.x < 32) {
        double sum = 0;
        for (unsigned i = threadIdx.x; i < BLOCK; i += 32)
            sum += part[i];
        sum = warp_sum(sum);
        if (threadIdx.x == 0)
            part[BLOCK] = sum;
    }
    __syncthreads();
    return part[BLOCK];
}

#endif

/* SPDX-License-Identifier: MIT
 * One stored weight as a real: f16 and bf16 by integers alone (ref/ops/widen.h says how). */
#ifndef PMET_KERNELS_WIDEN_CUH
#define PMET_KERNELS_WIDEN_CUH

#include "kernels/cuda.h"

static __device__ inline float widen_f16(uint16_t h)
{
    const float x = __uint_as_float((unsigned)(h & 0x7fff) << 13) * 5.192296858534828e33f; /* 2^112, exact */
    const unsigned special = (h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0;
    return __uint_as_float(__float_as_uint(x) | special | (unsigned)(h & 0x8000) << 16);
}

static __device__ inline real widen(const void *w, enum pmet_dtype dtype, size_t i)
{
    switch (dtype) {
    case PMET_F64:
        return (real)((const double *)w)[i];
    case PMET_F32:
        return (real)((const float *)w)[i];
    case PMET_F16:
        return (real)widen_f16(((const uint16_t *)w)[i]);
    default:
        return (real)__uint_as_float((unsigned)((const uint16_t *)w)[i] << 16);
    }
}

#endif

/* SPDX-License-Identifier: MIT
 * 16-bit numbers to floats (explained in ref/cpu/widen.h) and back, with integer operations only;
 * one stored weight as `real`. */
#ifndef PMET_KERNELS_WIDEN_CUH
#define PMET_KERNELS_WIDEN_CUH

#include "kernels/cuda.h"

static __device__ inline float widen_f16(uint16_t h)
{
    const float x = __uint_as_float((unsigned)(h & 0x7fff) << 13) * 5.192296858534828e33f; /* 2^112, exact */
    const unsigned special = (h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0;
    return __uint_as_float(__float_as_uint(x) | special | (unsigned)(h & 0x8000) << 16);
}

static __device__ inline float widen_16(uint16_t h, enum pmet_dtype dtype)
{
    return dtype == PMET_F16 ? widen_f16(h) : __uint_as_float((unsigned)h << 16);
}

/* The nearest, ties to even; past the largest: infinity. */
static __device__ inline uint16_t narrow_16(float x, enum pmet_dtype dtype)
{
    const unsigned bits = __float_as_uint(x), size = bits & 0x7fffffff, sign = bits >> 16 & 0x8000,
                   cut = dtype == PMET_F16 ? 13 : 16, special = dtype == PMET_F16 ? 0x7c00 : 0x7f80;
    if (size >= 0x7f800000)
        return (uint16_t)(sign | special | (size > 0x7f800000));
    if (dtype == PMET_F16 && size < 0x38800000) /* below 2^-14 the sum's last bit is f16's: 2^-24 */
        return (uint16_t)(sign | (__float_as_uint(__uint_as_float(size) + 0.5f) - 0x3f000000));
    const unsigned near = (size + (1u << (cut - 1)) - 1 + (size >> cut & 1)) >> cut,
                   biased = dtype == PMET_F16 ? near - 0x1c000 : near; /* 112 less in the exponent */
    return (uint16_t)(sign | (biased < special ? biased : special));
}

static __device__ inline real widen(const void *w, enum pmet_dtype dtype, size_t i)
{
    switch (dtype) {
    case PMET_F64:
        return (real)((const double *)w)[i];
    case PMET_F32:
        return (real)((const float *)w)[i];
    default:
        return (real)widen_16(((const uint16_t *)w)[i], dtype);
    }
}

#endif

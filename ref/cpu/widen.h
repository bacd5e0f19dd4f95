/* SPDX-License-Identifier: MIT
 * Stored weights to reals, for rows of a matrix that is aligned. */
#ifndef PMET_REF_CPU_WIDEN_H
#define PMET_REF_CPU_WIDEN_H

#include <string.h>
#include "ref/real.h"

/* f16 by integers alone, branch-free so that it vectorises: exponent and fraction moved to float's
 * place, rebias by an exact product (which also normalises subnormals); infinity and NaN keep an
 * all-ones exponent. */
static inline float pmet_widen_f16(uint16_t h)
{
    const uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13,
                   special = (h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0;
    float x;
    memcpy(&x, &magnitude, sizeof x);
    x *= 0x1p112f;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits |= special | (uint32_t)(h & 0x8000) << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float pmet_widen_bf16(uint16_t b)
{
    const uint32_t bits = (uint32_t)b << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* n elements from index `at` of a weight of the given dtype. */
static inline void pmet_widen(real *restrict dst, const void *src, enum pmet_dtype dtype, size_t at, size_t n)
{
    const double *f64 = src;
    const float *f32 = src;
    const uint16_t *u16 = src;
    switch (dtype) {
    case PMET_F64:
        for (size_t i = 0; i < n; i++)
            dst[i] = (real)f64[at + i];
        break;
    case PMET_F32:
        for (size_t i = 0; i < n; i++)
            dst[i] = (real)f32[at + i];
        break;
    case PMET_F16:
        for (size_t i = 0; i < n; i++)
            dst[i] = (real)pmet_widen_f16(u16[at + i]);
        break;
    default:
        for (size_t i = 0; i < n; i++)
            dst[i] = (real)pmet_widen_bf16(u16[at + i]);
    }
}

#endif

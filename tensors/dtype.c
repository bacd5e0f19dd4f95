/* SPDX-License-Identifier: MIT */
#include "tensors/dtype.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
    bool is_float;
} info[] = {[PMET_F64] = {"F64", 8, true},   [PMET_F32] = {"F32", 4, true},   [PMET_F16] = {"F16", 2, true},
            [PMET_BF16] = {"BF16", 2, true}, [PMET_I64] = {"I64", 8, false},  [PMET_I32] = {"I32", 4, false},
            [PMET_U8] = {"U8", 1, false},    [PMET_BOOL] = {"BOOL", 1, false}};

size_t pmet_dtype_size(enum pmet_dtype dtype)
{
    return info[dtype].size;
}

const char *pmet_dtype_name(enum pmet_dtype dtype)
{
    return info[dtype].name;
}

bool pmet_dtype_is_float(enum pmet_dtype dtype)
{
    return info[dtype].is_float;
}

bool pmet_dtype_parse(const char *name, enum pmet_dtype *dtype)
{
    for (size_t i = 0; i < sizeof info / sizeof *info; i++)
        if (strcmp(name, info[i].name) == 0) {
            *dtype = (enum pmet_dtype)i;
            return true;
        }
    return false;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

float pmet_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 0x3ff;
    if (exponent == 31)
        return float_of(sign | 0x7f800000 | (fraction ? 0x400000 | fraction << 13 : 0));
    if (exponent == 0) /* zero or subnormal: fraction * 2^-24, exact in float */
        return float_of(sign | bits_of((float)fraction * 0x1p-24f));
    return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

float pmet_bf16_to_f32(uint16_t b)
{
    return float_of((uint32_t)b << 16);
}

/* A finite double rounded to the nearest of a format with `digits` fraction bits, ties to even, and least
 * exponent e_min. Exact scaling by powers of two leaves the one rounding to rint. */
static double round_to(double x, int digits, int e_min)
{
    int e;
    frexp(x, &e); /* |x| in [2^(e-1), 2^e) */
    if (e - 1 < e_min)
        e = e_min + 1;
    return ldexp(rint(ldexp(x, digits - (e - 1))), e - 1 - digits);
}

static uint16_t f64_to_f16(double x)
{
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    if (isnan(x))
        return (uint16_t)(sign | 0x7e00 | ((bits_of((float)x) >> 13) & 0x3ff));
    const double r = isinf(x) || x == 0 ? fabs(x) : round_to(fabs(x), 10, -14);
    if (r >= 65536)
        return (uint16_t)(sign | 0x7c00);
    if (r < 0x1p-14)
        return (uint16_t)(sign | (uint16_t)(r * 0x1p24));
    int e;
    const double f = frexp(r, &e); /* r = f 2^e, f in [0.5, 1) */
    return (uint16_t)(sign | (uint16_t)((e + 14) << 10) | ((uint16_t)(f * 2048) & 0x3ff));
}

static uint16_t f64_to_bf16(double x)
{
    if (isnan(x))
        return (uint16_t)(bits_of((float)x) >> 16 | 0x40);
    if (isinf(x) || x == 0)
        return (uint16_t)(bits_of((float)x) >> 16);
    const double r = round_to(x, 7, -126); /* exact in float, or past its range */
    return (uint16_t)(bits_of(fabs(r) > 0x1.fep127 ? (r > 0 ? INFINITY : -INFINITY) : (float)r) >> 16);
}

uint16_t pmet_f32_to_f16(float x)
{
    return f64_to_f16((double)x);
}

uint16_t pmet_f32_to_bf16(float x)
{
    const uint32_t b = bits_of(x);
    if (isnan(x))
        return (uint16_t)(b >> 16 | 0x40);
    return (uint16_t)((b + 0x7fff + (b >> 16 & 1)) >> 16);
}

/* One element read from any address. */
static double element(const unsigned char *p, enum pmet_dtype dtype)
{
    double f64;
    float f32;
    uint16_t u16;
    int64_t i64;
    int32_t i32;
    switch (dtype) {
    case PMET_F64:
        memcpy(&f64, p, sizeof f64);
        return f64;
    case PMET_F32:
        memcpy(&f32, p, sizeof f32);
        return (double)f32;
    case PMET_F16:
        memcpy(&u16, p, sizeof u16);
        return (double)pmet_f16_to_f32(u16);
    case PMET_BF16:
        memcpy(&u16, p, sizeof u16);
        return (double)pmet_bf16_to_f32(u16);
    case PMET_I64:
        memcpy(&i64, p, sizeof i64);
        return (double)i64;
    case PMET_I32:
        memcpy(&i32, p, sizeof i32);
        return i32;
    case PMET_U8:
    case PMET_BOOL:
        break;
    }
    return *p;
}

void pmet_to_f64(double *dst, const void *src, enum pmet_dtype dtype, size_t n)
{
    const unsigned char *p = src;
    for (size_t i = 0; i < n; i++)
        dst[i] = element(p + i * info[dtype].size, dtype);
}

void pmet_to_f32(float *dst, const void *src, enum pmet_dtype dtype, size_t n)
{
    const unsigned char *p = src;
    if (dtype == PMET_F32 && n > 0)
        memcpy(dst, src, n * sizeof *dst);
    else
        for (size_t i = 0; i < n; i++)
            dst[i] = (float)element(p + i * info[dtype].size, dtype);
}

void pmet_from_f64(void *dst, enum pmet_dtype dtype, const double *src, size_t n)
{
    double *f64 = dst;
    float *f32 = dst;
    uint16_t *u16 = dst;
    for (size_t i = 0; i < n; i++)
        switch (dtype) {
        case PMET_F64:
            f64[i] = src[i];
            break;
        case PMET_F32:
            f32[i] = (float)src[i];
            break;
        case PMET_F16:
            u16[i] = f64_to_f16(src[i]);
            break;
        default:
            u16[i] = f64_to_bf16(src[i]);
        }
}

void pmet_from_f32(void *dst, enum pmet_dtype dtype, const float *src, size_t n)
{
    double *f64 = dst;
    float *f32 = dst;
    uint16_t *u16 = dst;
    for (size_t i = 0; i < n; i++)
        switch (dtype) {
        case PMET_F64:
            f64[i] = (double)src[i];
            break;
        case PMET_F32:
            f32[i] = src[i];
            break;
        case PMET_F16:
            u16[i] = pmet_f32_to_f16(src[i]);
            break;
        default:
            u16[i] = pmet_f32_to_bf16(src[i]);
        }
}

/* SPDX-License-Identifier: MIT
 * Conversions work on the bits and without branches that depend on the values, so that compilers
 * vectorise them: a 6-billion-parameter model goes through here. */
#include "tensors/dtype.h"

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

/* Whether an exponent is all ones among n elements. */
#define ANY(NAME, TYPE)                                                                                      \
    static bool NAME(const unsigned char *p, size_t n, TYPE exponent)                                        \
    {                                                                                                        \
        TYPE any = 0;                                                                                        \
        for (size_t i = 0; i < n; i++) {                                                                     \
            TYPE x;                                                                                          \
            memcpy(&x, p + i * sizeof x, sizeof x);                                                          \
            any = (TYPE)(any | ((x & exponent) == exponent));                                                \
        }                                                                                                    \
        return any;                                                                                          \
    }
ANY(any_16, uint16_t)
ANY(any_32, uint32_t)
ANY(any_64, uint64_t)

static bool any_not_finite(const unsigned char *p, enum pmet_dtype dtype, size_t n)
{
    switch (dtype) {
    case PMET_F16:
        return any_16(p, n, 0x7c00);
    case PMET_BF16:
        return any_16(p, n, 0x7f80);
    case PMET_F32:
        return any_32(p, n, 0x7f800000);
    case PMET_F64:
        return any_64(p, n, (uint64_t)0x7ff << 52);
    default:
        return false;
    }
}

size_t pmet_first_not_finite(const void *data, enum pmet_dtype dtype, size_t n)
{
    const unsigned char *p = data;
    const size_t size = pmet_dtype_size(dtype);
    for (size_t i = 0; i < n; i += 4096)
        if (any_not_finite(p + i * size, dtype, n - i < 4096 ? n - i : 4096))
            for (; i < n; i++)
                if (any_not_finite(p + i * size, dtype, 1))
                    return i;
    return n;
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

static uint32_t select_bits(bool first, uint32_t a, uint32_t b)
{
    return first ? a : b;
}

/* Exponent and fraction moved to float's place and scaled by 2^112, the difference of the two
 * biases: exact, subnormals included. Infinity and NaN keep an exponent of all ones; NaN is made
 * quiet. */
float pmet_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    const uint32_t finite = bits_of(float_of(rest) * 0x1p112f);
    const uint32_t special = rest | 0x7f800000 | select_bits((h & 0x3ff) != 0, 0x400000, 0);
    return float_of(sign | select_bits((h & 0x7c00) == 0x7c00, special, finite));
}

float pmet_bf16_to_f32(uint16_t b)
{
    return float_of((uint32_t)b << 16);
}

/* Normal results: the exponent's bias changes and 13 bits are rounded off, a carry running into the
 * exponent and, from 65520 on, into infinity. Subnormal ones: adding 1/2 lets the addition round to
 * a multiple of 2^-24. */
uint16_t pmet_f32_to_f16(float x)
{
    const uint32_t b = bits_of(x), sign = b >> 16 & 0x8000, m = b & 0x7fffffff;
    const uint32_t normal = (m - (112u << 23) + 0xfff + (m >> 13 & 1)) >> 13;
    const uint32_t small = bits_of(float_of(m < 0x38800000 ? m : 0) + 0.5f) - 0x3f000000;
    const uint32_t nan = 0x7e00 | (m >> 13 & 0x3ff);
    const uint32_t finite = select_bits(m < 0x38800000, small, select_bits(m >= 0x47800000, 0x7c00, normal));
    return (uint16_t)(sign | select_bits(m > 0x7f800000, nan, finite));
}

uint16_t pmet_f32_to_bf16(float x)
{
    const uint32_t b = bits_of(x);
    const uint32_t rounded = (b + 0x7fff + (b >> 16 & 1)) >> 16;
    return (uint16_t)select_bits((b & 0x7fffffff) > 0x7f800000, b >> 16 | 0x40, rounded);
}

/* A double to a float whose last bit is set unless the conversion is exact ("rounding to odd"). A
 * second rounding, to a format at least two bits shorter, then gives what one rounding of the
 * double would. */
static float odd_float(double x)
{
    const float f = (float)x;
    const double back = (double)f, magnitude = back < 0 ? -back : back, wanted = x < 0 ? -x : x;
    uint32_t b = bits_of(f);
    b -= magnitude > wanted; /* towards zero */
    b |= magnitude != wanted && x == x;
    return float_of(b);
}

#define EACH(TYPE, EXPRESSION)                                                                               \
    for (size_t i = 0; i < n; i++) {                                                                         \
        TYPE x;                                                                                              \
        memcpy(&x, p + i * sizeof x, sizeof x);                                                              \
        dst[i] = (EXPRESSION);                                                                               \
    }                                                                                                        \
    break;

/* What differs between float and double is the type alone. */
#define TO(NAME, REAL)                                                                                       \
    void NAME(REAL *dst, const void *src, enum pmet_dtype dtype, size_t n)                                   \
    {                                                                                                        \
        const unsigned char *p = src;                                                                        \
        switch (dtype) {                                                                                     \
        case PMET_F64:                                                                                       \
            EACH(double, (REAL)x)                                                                            \
        case PMET_F32:                                                                                       \
            EACH(float, (REAL)x)                                                                             \
        case PMET_F16:                                                                                       \
            EACH(uint16_t, (REAL)pmet_f16_to_f32(x))                                                         \
        case PMET_BF16:                                                                                      \
            EACH(uint16_t, (REAL)pmet_bf16_to_f32(x))                                                        \
        case PMET_I64:                                                                                       \
            EACH(int64_t, (REAL)x)                                                                           \
        case PMET_I32:                                                                                       \
            EACH(int32_t, (REAL)x)                                                                           \
        case PMET_U8:                                                                                        \
        case PMET_BOOL:                                                                                      \
            EACH(unsigned char, (REAL)x)                                                                     \
        }                                                                                                    \
    }
TO(pmet_to_f64, double)
TO(pmet_to_f32, float)

#define FROM(NAME, REAL, TO_FLOAT)                                                                           \
    void NAME(void *dst, enum pmet_dtype dtype, const REAL *src, size_t n)                                   \
    {                                                                                                        \
        double *f64 = dst;                                                                                   \
        float *f32 = dst;                                                                                    \
        uint16_t *u16 = dst;                                                                                 \
        if (dtype == PMET_F64)                                                                               \
            for (size_t i = 0; i < n; i++)                                                                   \
                f64[i] = (double)src[i];                                                                     \
        else if (dtype == PMET_F32)                                                                          \
            for (size_t i = 0; i < n; i++)                                                                   \
                f32[i] = (float)src[i];                                                                      \
        else if (dtype == PMET_F16)                                                                          \
            for (size_t i = 0; i < n; i++)                                                                   \
                u16[i] = pmet_f32_to_f16(TO_FLOAT(src[i]));                                                  \
        else                                                                                                 \
            for (size_t i = 0; i < n; i++)                                                                   \
                u16[i] = pmet_f32_to_bf16(TO_FLOAT(src[i]));                                                 \
    }
FROM(pmet_from_f64, double, odd_float)
FROM(pmet_from_f32, float, )

/* SPDX-License-Identifier: MIT
 * Element types: names, sizes, and conversions. 16-bit rounding is to nearest, ties to even; f16
 * overflow gives infinity, NaN stays NaN (quiet, payload's top bits kept). Sources may be
 * unaligned; destinations are aligned. */
#ifndef PMET_TENSORS_DTYPE_H
#define PMET_TENSORS_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include "tensors/status.h"

size_t pmet_dtype_size(enum pmet_dtype dtype);                   /* bytes of one element */
const char *pmet_dtype_name(enum pmet_dtype dtype);              /* "F32", as safetensors writes it */
bool pmet_dtype_parse(const char *name, enum pmet_dtype *dtype); /* safetensors' names; false if unknown */
bool pmet_dtype_is_float(enum pmet_dtype dtype);

/* Index of the first NaN or infinity among n elements; n if there is none, as in integers. */
size_t pmet_first_not_finite(const void *data, enum pmet_dtype dtype, size_t n);

float pmet_f16_to_f32(uint16_t f16);
float pmet_bf16_to_f32(uint16_t bf16);
uint16_t pmet_f32_to_f16(float x);
uint16_t pmet_f32_to_bf16(float x);

/* n elements of any dtype to float or double. */
void pmet_to_f32(float *dst, const void *src, enum pmet_dtype dtype, size_t n);
void pmet_to_f64(double *dst, const void *src, enum pmet_dtype dtype, size_t n);

/* n elements rounded once into a float dtype (F64, F32, F16, BF16). Doubles go to 16 bits in a
 * single rounding, not by way of float. */
void pmet_from_f32(void *dst, enum pmet_dtype dtype, const float *src, size_t n);
void pmet_from_f64(void *dst, enum pmet_dtype dtype, const double *src, size_t n);

#endif

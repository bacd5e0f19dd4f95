/* SPDX-License-Identifier: MIT
 * The type of activations and their gradients: float in the product, double in the build that
 * proves the mathematics (-DPMET_REAL_DOUBLE). */
#ifndef PMET_REF_REAL_H
#define PMET_REF_REAL_H

#include "pmet.h"

#ifdef PMET_REAL_DOUBLE
typedef double real;
#define PMET_REAL PMET_F64
#else
typedef float real;
#define PMET_REAL PMET_F32
#endif

#endif

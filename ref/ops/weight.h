/* SPDX-License-Identifier: MIT
 * One element of a stored matrix. */
#ifndef PMET_REF_OPS_WEIGHT_H
#define PMET_REF_OPS_WEIGHT_H

#include "ref/ops/ops.h"
#include "tensors/dtype.h"

/* W[o,i], widened exactly; F64 in the float build is rounded. */
static inline real pmet_weight_at(struct pmet_weight w, size_t o, size_t i)
{
    const size_t at = o * w.n_in + i;
    switch (w.dtype) {
    case PMET_F64:
        return (real)((const double *)w.data)[at];
    case PMET_F32:
        return (real)((const float *)w.data)[at];
    case PMET_F16:
        return (real)pmet_f16_to_f32(((const uint16_t *)w.data)[at]);
    default:
        return (real)pmet_bf16_to_f32(((const uint16_t *)w.data)[at]);
    }
}

#endif

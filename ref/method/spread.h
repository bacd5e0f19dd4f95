/* SPDX-License-Identifier: MIT
 * One layer's least-squares problem: its arrays, and the residual that is spread over the layers.
 * SPEC §8.1 */
#ifndef PMET_REF_METHOD_SPREAD_H
#define PMET_REF_METHOD_SPREAD_H

#include <stddef.h>
#include "ref/real.h"
#include "tensors/status.h"

struct pmet_spread {
    size_t n, d, f;     /* facts, width of the output, width of the keys */
    real *K;            /* [n, f]; owns the next two */
    real *M, *residual; /* [n, d] the output now; Z - M */
    double *keys;       /* [f, n] K transposed; owns the next two */
    double *R;          /* [d, n] the layer's share of the residual, transposed */
    double *upd;        /* [d, f] */
};
enum pmet_status pmet_spread_alloc(size_t n, size_t d, size_t f, struct pmet_spread *out,
                                   struct pmet_error *err);
void pmet_spread_free(struct pmet_spread *s); /* accepts zeros */
/* E67, E68: residual = Z - M, R = residual / divisor, keys = K, the last two transposed. Z [n,
 * d]. */
void pmet_spread_residual(struct pmet_spread *s, const real *Z, double divisor);

#endif

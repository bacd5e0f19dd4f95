/* SPDX-License-Identifier: MIT
 * One layer's least-squares problem: its arrays, the residual that is spread over the layers, and
 * the update.  SPEC §8.1, §8.2 */
#ifndef PMET_REF_METHOD_SPREAD_H
#define PMET_REF_METHOD_SPREAD_H

#include "ref/method/editor.h"
#include "ref/method/keys.h"

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

/* How a method spreads its targets. */
struct pmet_spread_rule {
    enum pmet_site site; /* of layer L: the output that the targets are for */
    size_t L;
    double lambda, divisor; /* of the second moments; of the residual */
};
/* W_l += R K^T (lambda C_l + K K^T)^-1 for matrix u of layer l, on the model as edited so far: K are
 * keys of l, R = (Z - M) / divisor, and M is the output of L whatever the layer (X8). Z [n, d]. */
enum pmet_status pmet_spread_update(struct pmet_editor *e, struct pmet_key_rows *rows, size_t n,
                                    const real *Z, const struct pmet_spread_rule *rule, struct pmet_update *u,
                                    struct pmet_error *err);

#endif

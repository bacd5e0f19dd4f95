/* SPDX-License-Identifier: MIT
 * Where the vectors enter layer L, and the gradient there. Only here parallel and sequential blocks
 * differ: in a sequential one, a vector on attention's output passes through LN2 and the FFN of L.
 * SPEC E46, E59-E61 */
#ifndef PMET_REF_DELTA_INJECT_H
#define PMET_REF_DELTA_INJECT_H

#include "ref/delta/batch.h"

struct pmet_inject {
    real *x0; /* (dev) [n_suffix, d] hidden states after layer L, vectors 0 */
    /* (dev) [n_row, d or d_ff], the lookup tokens alone, only if the FFN runs again: a + x before
     * any vector, with it, then LN2, the FFN's pre-activation, key and output */
    real *y0, *y, *u, *f, *g, *m;
};

/* Whether LN2 and the FFN of L run again in every pass; y0 must be set then. */
bool pmet_inject_reruns(const struct pmet_members *in);
enum pmet_status pmet_inject_buffers(struct pmet_inject *s, const struct pmet_members *in,
                                     const struct pmet_visitor *v, struct pmet_error *err);
/* x [n_suffix, d] = hidden states after layer L with the vectors in. */
enum pmet_status pmet_inject(struct pmet_inject *s, const struct pmet_members *in,
                             const struct pmet_vectors *vectors, real *x, struct pmet_error *err);
/* The vectors' gradients, given g_x [n_suffix, d] at the hidden states after layer L, after
 * pmet_inject. */
enum pmet_status pmet_inject_gradient(struct pmet_inject *s, const struct pmet_members *in,
                                      struct pmet_vectors *vectors, const real *g_x, struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * The facts in optimisation, put together of their parts; each part has one file that fills it. */
#ifndef PMET_REF_DELTA_PASS_H
#define PMET_REF_DELTA_PASS_H

#include "ref/delta/inject.h"
#include "ref/delta/loss.h"

/* The blocks above L over the suffix. */
struct pmet_above {
    struct pmet_cache past;   /* keys and values of the prefixes */
    struct pmet_saved *saved; /* [n_layer], from L+1 on */
    struct pmet_scratch scratch;
    real *x_out;  /* (dev) [n_suffix, d] after the last block */
    real *g_x[2]; /* (dev) [n_suffix, d] gradients of two blocks in turn */
};

struct pmet_delta {
    struct pmet_members in;
    struct pmet_vectors vectors;
    struct pmet_inject inject;
    struct pmet_above above;
    struct pmet_loss loss;
    real *spare;               /* (dev) rows on their way up when facts leave */
    size_t *move[PMET_N_UNIT]; /* which */
};

/* Visits every buffer but scratch and cache, for a batch of that size. Only model and objective
 * must be set; above.saved may be NULL. */
enum pmet_status pmet_delta_buffers(struct pmet_delta *p, const struct pmet_delta_size *size,
                                    const struct pmet_visitor *visitor, struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * All that the optimisation needs to know of a method: where the vectors enter, what the loss
 * weighs, and when to stop.      SPEC §5 */
#ifndef PMET_REF_DELTA_OBJECTIVE_H
#define PMET_REF_DELTA_OBJECTIVE_H

#include "ref/model/model.h"

enum { PMET_MAX_VECTOR = 2 };

/* A rule that a method does not have has NAN as its limit, or 1 as its factor. */
struct pmet_objective {
    size_t layer; /* L: where the vectors enter */
    /* The output that vector v is added to: PMET_SITE_MLP_OUT, _ATTN_OUT or _BLOCK_OUT. */
    enum pmet_site site[PMET_MAX_VECTOR];
    size_t n_vector;              /* 1 or 2 */
    size_t n_pass;                /* S: forward passes at most, so S - 1 updates */
    double lr;                    /* Adam's step (E55) */
    double clamp;                 /* radius of a vector's ball over its initial norm (E56) */
    double nll_factor, kl_factor; /* of the loss (E48, E49) */
    double weight_decay;          /* of it (E50) */
    double loss_enough;           /* stop when the loss is below it (E53) */
    double kl_enough;             /* stop when the target is the argmax, the KL term at most this */
    double argmax_factor;         /* of nll_factor, in the pass after one with that argmax */
};

#endif

/* SPDX-License-Identifier: MIT
 * What the files of the optimisation share: delta.c opens a problem, delta_pass.c runs a pass,
 * delta_optimise.c the loop. */
#ifndef PMET_REF_EDIT_DELTA_PRIVATE_H
#define PMET_REF_EDIT_DELTA_PRIVATE_H

#include "ref/edit/delta.h"

enum { MLP, ATTN }; /* index of the two deltas, their gradients and moments */

struct pmet_delta {
    const struct pmet_model *model;
    const struct pmet_hparams *hparams;
    const struct pmet_fact_rows *rows;
    size_t L;       /* deltas enter at this layer */
    size_t n_row;   /* with the KL row, which is the last */
    size_t n_label; /* (n_row - 1) * n_target */

    /* The part of the rows that a delta can change: tokens from the lookup index on (the KL row has that one
     * only), packed. Its token batch.row_start[b] is row b's lookup token. */
    struct pmet_rows suffix;
    struct pmet_cache past; /* of the tokens before, layers L+1 .. */
    real *x0;               /* (dev) [n_suffix, d] hidden state after layer L, deltas 0 */
    real *y0;        /* (dev) [n_row, d] sequential blocks: a + x at the lookup tokens, before delta_attn */
    double norm0[2]; /* of m0 and a0 */

    /* Labels at or after the lookup index: token in the suffix, place in logp, id. Earlier ones are
     * constants. */
    size_t n_live;
    size_t *live_tok; /* [n_live + 1], the KL row's token last */
    size_t *live_slot;
    int32_t *live_label;
    double *live_value; /* scratch [3 * n_live]: logp, best_logp, scale */
    int32_t *live_best;
    double *logp, *best_logp; /* [n_label] */
    int32_t *best;

    struct pmet_saved *saved; /* [n_layer], from L+1 on */
    struct pmet_scratch scratch;
    real *x_out;                          /* (dev) [n_suffix, d] after the last block */
    real *h, *g_h, *u;                    /* (dev) [n_live + 1, d] */
    real *logits, *g_logits;              /* (dev) [n_live + 1, n_vocab] */
    real *g_x[2];                         /* (dev) [n_suffix, d] */
    real *at, *at_u, *at_m, *at_f, *at_g; /* (dev) the lookup tokens alone, sequential blocks */
    size_t *zeros, *each;                 /* [n_row] 0, 0, ... and 0, 1, ... */

    real *delta[2], *g_delta[2], *adam_m[2], *adam_v[2], *init[2]; /* (dev) [d] */
    real *kl0;                                                     /* (dev) [n_vocab] */
    bool have_kl0, with_kl; /* kl0 is set; the last pass had a KL term */
    double norm[2], phi;    /* of the deltas, and the NLL factor, in the last pass */
    size_t n_update;

    void **owned; /* (dev) */
    size_t n_owned, cap_owned;
};

#endif

/* SPDX-License-Identifier: MIT
 * What the files of the optimisation share: delta.c reserves a batch, delta_join.c lets facts in,
 * delta_batch.c lays them out and lets them leave, delta_pass.c runs a pass, delta_optimise.c the loop. */
#ifndef PMET_REF_DELTA_DELTA_PRIVATE_H
#define PMET_REF_DELTA_DELTA_PRIVATE_H

#include "ref/delta/delta.h"

enum { MLP, ATTN }; /* index of the two deltas, their gradients and moments */

/* A fact of the batch. */
struct pmet_delta_fact {
    const struct pmet_fact_rows *rows;
    struct pmet_delta_room size; /* its own */
    size_t before_at;            /* first of its positions in the cache */
    size_t row, tok, live;       /* first of its rows, suffix tokens and live labels in the batch */

    /* Labels at or after the lookup index: token counted from `tok`, place in logp, id. Earlier ones are
     * constants. */
    size_t n_live;
    size_t *live_tok, *live_slot;
    int32_t *live_label;
    double *logp, *best_logp; /* [n_label] */
    int32_t *best;

    double norm0[2];        /* of m0 and a0 */
    double norm[2];         /* of the deltas in the last pass */
    double phi;             /* NLL factor of the last pass */
    bool have_kl0, with_kl; /* its kl0 is set; the last pass had a KL term */

    /* of the loop */
    size_t number; /* the caller's */
    double next_phi;
    struct pmet_delta_step step;
    struct pmet_delta_result result;
};

struct pmet_delta {
    const struct pmet_model *model;
    const struct pmet_hparams *hparams;
    struct pmet_delta_room room, used;
    size_t L;                     /* deltas enter at this layer */
    struct pmet_delta_fact *fact; /* [room.n_fact], the first n_fact in use */
    size_t n_fact, n_live;

    /* The part of the rows that a delta can change: tokens from the lookup index on (the KL row has that one
     * only), packed. Its token batch.row_start[b] is row b's lookup token. */
    struct pmet_rows suffix;
    size_t *fact_of_row, *each; /* [room.n_row] which fact; 0, 1, ... */
    struct pmet_cache past;     /* of the tokens before, layers L+1 ..; a fact's lie together */
    real *x0;                   /* (dev) [n_suffix, d] hidden state after layer L, deltas 0 */
    real *y0; /* (dev) [n_row, d] sequential blocks: a + x at the lookup tokens, before delta_attn */

    /* Rows of logits: all facts' live labels, then each fact's KL row. */
    size_t *head_tok; /* [n_label + n_fact] their tokens in the suffix */
    int32_t *label;   /* [n_label] */
    double *value;    /* scratch [3 (n_label + n_fact)]: logp, best_logp, scale */
    int32_t *best;
    size_t *n_update; /* [n_fact] Adam's count */

    struct pmet_saved *saved; /* [n_layer], from L+1 on */
    struct pmet_scratch scratch;
    real *x_out;                          /* (dev) [n_suffix, d] after the last block */
    real *h, *g_h, *u;                    /* (dev) [n_label + n_fact, d] */
    real *logits, *g_logits;              /* (dev) [n_label + n_fact, n_vocab] */
    real *g_x[2];                         /* (dev) [n_suffix, d] */
    real *at, *at_u, *at_m, *at_f, *at_g; /* (dev) the lookup tokens alone, sequential blocks */
    real *spare;                          /* (dev) for moving rows up */
    size_t *move;                         /* which */

    real *delta[2], *g_delta[2], *adam_m[2], *adam_v[2], *init[2]; /* (dev) [n_fact, d] */
    real *kl0;                                                     /* (dev) [n_fact, n_vocab] */

    void **owned; /* (dev) */
    size_t n_owned, cap_owned;
};

/* Tokens of row b that matter: the KL row is read at its lookup index, and what follows it changes nothing
 * there (X2). */
size_t pmet_delta_row_length(const struct pmet_fact_rows *rows, size_t b);
/* Counts everything anew from the facts: the packed suffix, rows of logits, places. */
void pmet_delta_lay_out(struct pmet_delta *p);
void pmet_delta_fact_free(struct pmet_delta_fact *f);

#endif

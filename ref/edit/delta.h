/* SPDX-License-Identifier: MIT
 * The two vectors of a fact: delta_attn and delta_mlp, added to attention's and the FFN's output of layer L
 * at the lookup index of every row, optimised until the model says the target; v* = m0 + delta_mlp.      SPEC
 * §5
 *
 * What does not change from pass to pass is computed once when the problem is opened: layers up to L, and
 * above L all positions before the lookup index, whose keys and values are the cached past of every later
 * pass. */
#ifndef PMET_REF_EDIT_DELTA_H
#define PMET_REF_EDIT_DELTA_H

#include "ref/edit/hparams.h"
#include "ref/edit/rows.h"
#include "ref/model/model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum pmet_stop {
    PMET_STOP_NONE,
    PMET_STOP_LOSS,   /* loss < 0.05 */
    PMET_STOP_ARGMAX, /* every target token is the argmax and the KL term is at most 0.01 */
    PMET_STOP_MAX     /* the last allowed pass */
};
const char *pmet_stop_name(enum pmet_stop stop);

/* Terms of the loss at one pass, factors included as in the published log. */
struct pmet_losses {
    double nll, kl, weight_decay, loss;
    double prob;       /* mean over rows of the geometric-mean probability of the target */
    double max_prob;   /* the same of the best tokens; equal to prob exactly when the target is the argmax
                          everywhere */
    double nll_factor; /* phi in force */
};

struct pmet_delta_step {
    struct pmet_losses losses;
    bool clamped_mlp, clamped_attn; /* the projection changed it after this pass's update */
};

/* A fact's optimisation in progress. */
struct pmet_delta;

/* Runs the fixed part. L is hparams' last layer; the loss is read at the last block. rows come from
 * pmet_rows_build and must outlive it. */
enum pmet_status pmet_delta_open(const struct pmet_model *model, const struct pmet_fact_rows *rows,
                                 const struct pmet_hparams *hparams, struct pmet_delta **out,
                                 struct pmet_error *err);
void pmet_delta_close(struct pmet_delta *p); /* accepts NULL */

/* Sets both deltas, host arrays [d_model] (NULL: zero). */
enum pmet_status pmet_delta_set(struct pmet_delta *p, const real *delta_mlp, const real *delta_attn,
                                struct pmet_error *err);
/* One forward pass at the present deltas with NLL factor phi: the loss terms. The first pass after opening,
 * at delta 0, fixes the distribution that the KL term refers to. NaN or infinity gives PMET_NUMERIC. */
enum pmet_status pmet_delta_forward(struct pmet_delta *p, double phi, struct pmet_losses *out,
                                    struct pmet_error *err);
/* Gradients of the total loss of the last forward pass, read by pmet_delta_get. */
enum pmet_status pmet_delta_backward(struct pmet_delta *p, struct pmet_error *err);

enum pmet_delta_field {
    PMET_DELTA_MLP,
    PMET_DELTA_ATTN,
    PMET_DELTA_GRAD_MLP,
    PMET_DELTA_GRAD_ATTN,
    PMET_DELTA_INIT_MLP,  /* m0 */
    PMET_DELTA_INIT_ATTN, /* a0 */
    PMET_DELTA_KL_INIT,   /* [n_vocab] log-probabilities of the KL row before the edit */
    PMET_DELTA_KL_LAST    /* [n_vocab] the same at the last pass */
};
/* Copies a field to the host: [d_model] or [n_vocab]. */
enum pmet_status pmet_delta_get(struct pmet_delta *p, enum pmet_delta_field field, real *out,
                                struct pmet_error *err);
/* Host, of the last pass: log-probability of label s in row j at [j * n_target + s], the best token's, and
 * which it is. */
const double *pmet_delta_logp(const struct pmet_delta *p);
const double *pmet_delta_best_logp(const struct pmet_delta *p);
const int32_t *pmet_delta_best(const struct pmet_delta *p);

/* Hears of each pass, after its update (updated: Adam and the projection have run). */
typedef enum pmet_status pmet_delta_watch(void *user, struct pmet_delta *p, size_t it,
                                          const struct pmet_delta_step *step, bool updated,
                                          struct pmet_error *err);

struct pmet_delta_result {
    enum pmet_stop stop;
    size_t n_forward, n_updates;
    struct pmet_losses first, last;
};
/* The whole optimisation. NaN or infinity in the loss gives PMET_NUMERIC. */
enum pmet_status pmet_delta_optimise(struct pmet_delta *p, struct pmet_delta_result *out,
                                     pmet_delta_watch *watch, void *user, struct pmet_error *err);

#ifdef __cplusplus
}
#endif
#endif

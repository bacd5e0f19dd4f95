/* SPDX-License-Identifier: MIT
 * The two vectors of a fact: delta_attn and delta_mlp, added to attention's and the FFN's output of layer L
 * at the lookup index of every row, optimised until the model says the target; v* = m0 + delta_mlp. SPEC §5
 *
 * Many facts are optimised together, their rows packed into one batch; each has its own losses, moments,
 * count of passes and stop, and leaves the batch as soon as it stops, when the next may join. What a fact
 * gets does not depend, bit for bit, on the facts beside it. What does not change from pass to pass is
 * computed once, when it joins: layers up to L, and above L all positions before the lookup index, whose keys
 * and values are the cached past of every later pass. */
#ifndef PMET_REF_DELTA_DELTA_H
#define PMET_REF_DELTA_DELTA_H

#include "ref/facts/hparams.h"
#include "ref/facts/rows.h"
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
/* E54: NaN or infinity gives PMET_NUMERIC. */
enum pmet_status pmet_losses_check(const struct pmet_losses *l, struct pmet_error *err);

/* ---- the batch ---- */

/* What facts take: rows (the KL row's included), tokens before the lookup indices, tokens from them on
 * (of the KL row that one alone), target tokens over all rows. */
struct pmet_delta_room {
    size_t n_fact, n_row, n_before, n_suffix, n_label;
};
void pmet_delta_room_add(struct pmet_delta_room *room, const struct pmet_fact_rows *rows);
/* Bytes of a batch with that room; SIZE_MAX if they cannot be counted. */
size_t pmet_delta_bytes(const struct pmet_model *model, const struct pmet_hparams *hparams,
                        const struct pmet_delta_room *room);
/* Room for as many of the n facts together as max_bytes allows and as make a pass faster; for any one of
 * them at least. */
struct pmet_delta_room pmet_delta_plan(const struct pmet_model *model, const struct pmet_hparams *hparams,
                                       const struct pmet_fact_rows *rows, size_t n, size_t max_bytes);

/* Facts in optimisation together, numbered from 0 as they joined; those behind one that leaves move up. */
struct pmet_delta;

/* An empty batch. L is hparams' last layer; the loss is read at the last block. */
enum pmet_status pmet_delta_open(const struct pmet_model *model, const struct pmet_hparams *hparams,
                                 const struct pmet_delta_room *room, struct pmet_delta **out,
                                 struct pmet_error *err);
/* A batch of these n facts, joined, and room for no more. */
enum pmet_status pmet_delta_open_with(const struct pmet_model *model, const struct pmet_hparams *hparams,
                                      const struct pmet_fact_rows *rows, size_t n, struct pmet_delta **out,
                                      struct pmet_error *err);
void pmet_delta_close(struct pmet_delta *p); /* accepts NULL */

/* Whether n facts would find a place now. */
bool pmet_delta_fits(const struct pmet_delta *p, const struct pmet_fact_rows *rows, size_t n);
/* Lets n facts join, deltas 0: runs their fixed part. rows come from pmet_rows_build and must stay until the
 * facts leave. Facts that do not fit are an error of the caller's. */
enum pmet_status pmet_delta_join(struct pmet_delta *p, const struct pmet_fact_rows *rows, size_t n,
                                 struct pmet_error *err);
/* The facts with leaves[k] leave; between a forward pass and its backward one, too. */
enum pmet_status pmet_delta_leave(struct pmet_delta *p, const bool *leaves, struct pmet_error *err);
size_t pmet_delta_count(const struct pmet_delta *p);

/* ---- a pass ---- */

/* Sets both deltas of fact k, host arrays [d_model] (NULL: zero). */
enum pmet_status pmet_delta_set(struct pmet_delta *p, size_t k, const real *delta_mlp, const real *delta_attn,
                                struct pmet_error *err);
/* One forward pass of all facts at their present deltas, with NLL factors phi[k]: out[k], not checked. A
 * fact's first pass, at delta 0, fixes the distribution that its KL term refers to. */
enum pmet_status pmet_delta_forward(struct pmet_delta *p, const double *phi, struct pmet_losses *out,
                                    struct pmet_error *err);
/* Gradients of the total losses of the last forward pass, read by pmet_delta_get. */
enum pmet_status pmet_delta_backward(struct pmet_delta *p, struct pmet_error *err);

enum pmet_delta_field {
    PMET_DELTA_MLP,
    PMET_DELTA_ATTN,
    PMET_DELTA_GRAD_MLP,
    PMET_DELTA_GRAD_ATTN,
    PMET_DELTA_INIT_MLP,  /* m0 */
    PMET_DELTA_INIT_ATTN, /* a0 */
    PMET_DELTA_KL_INIT,   /* [n_vocab] log-probabilities of the KL row before the edit */
    PMET_DELTA_KL_LAST    /* [n_vocab] the same at the last pass; not between a join and the next pass */
};
/* Copies a field of fact k to the host: [d_model] or [n_vocab]. */
enum pmet_status pmet_delta_get(struct pmet_delta *p, size_t k, enum pmet_delta_field field, real *out,
                                struct pmet_error *err);
/* Host, of fact k's last pass: log-probability of label s in row j at [j * n_target + s], the best token's,
 * and which it is. */
const double *pmet_delta_logp(const struct pmet_delta *p, size_t k);
const double *pmet_delta_best_logp(const struct pmet_delta *p, size_t k);
const int32_t *pmet_delta_best(const struct pmet_delta *p, size_t k);

/* ---- the loop ---- */

struct pmet_delta_step {
    size_t it;
    struct pmet_losses losses;
    bool updated;                   /* Adam and the projection have run; not after the last pass */
    bool clamped_mlp, clamped_attn; /* the projection changed it after this pass's update */
};

struct pmet_delta_result {
    enum pmet_stop stop;
    size_t n_forward, n_updates;
    struct pmet_losses first, last;
};

/* Hears of fact `fact`, which is the batch's k-th now. */
struct pmet_delta_watch {
    void *user;
    /* each pass, after its update; may be NULL */
    enum pmet_status (*pass)(void *user, struct pmet_delta *p, size_t k, size_t fact,
                             const struct pmet_delta_step *step, struct pmet_error *err);
    /* it has stopped, or met a NaN: then failure says so (E54) and result holds the passes before */
    enum pmet_status (*done)(void *user, struct pmet_delta *p, size_t k, size_t fact,
                             const struct pmet_delta_result *result, const struct pmet_error *failure,
                             struct pmet_error *err);
};
/* The whole optimisation of n facts in an empty batch; those with skip[fact] are left out (skip may be NULL).
 * An error of the watch ends it. */
enum pmet_status pmet_delta_optimise(struct pmet_delta *p, const struct pmet_fact_rows *rows, size_t n,
                                     const bool *skip, const struct pmet_delta_watch *watch,
                                     struct pmet_error *err);

#ifdef __cplusplus
}
#endif
#endif

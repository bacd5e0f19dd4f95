/* SPDX-License-Identifier: MIT
 * Optimising vectors at chosen sites of one layer until the model says each fact's target.
 * SPEC §5
 *
 *     pmet_delta_plan -> pmet_delta_open -> pmet_delta_optimise
 *         all facts, as a method needs them
 *     pmet_delta_open_with -> pmet_delta_set -> _forward -> _backward -> pmet_delta_get
 *         one pass at given vectors, as tests need it
 *
 * Many facts are optimised together, their rows packed into one batch. Each has its own losses,
 * moments, count of passes and stop; it leaves as soon as it stops, and the next one may join.
 * What a fact gets does not depend, bit for bit, on the facts beside it. */
#ifndef PMET_REF_DELTA_DELTA_H
#define PMET_REF_DELTA_DELTA_H

#include "ref/delta/objective.h"
#include "ref/facts/rows.h"
#include "ref/model/model.h"

enum pmet_stop {
    PMET_STOP_NONE,
    PMET_STOP_LOSS,   /* the loss is below loss_enough */
    PMET_STOP_ARGMAX, /* every target token is the argmax and the KL term is at most kl_enough */
    PMET_STOP_MAX     /* the last allowed pass */
};
const char *pmet_stop_name(enum pmet_stop stop);

/* Terms of the loss at one pass, factors included as in the published log. */
struct pmet_losses {
    double nll, kl, weight_decay, loss;
    double prob;       /* mean over rows of the geometric-mean probability of the target */
    double max_prob;   /* of the best tokens: equal if and only if they are the target */
    double nll_factor; /* phi in force */
};
/* E54: NaN or infinity gives PMET_NUMERIC. */
enum pmet_status pmet_losses_check(const struct pmet_losses *l, struct pmet_error *err);

/* ---- the batch ---- */

/* What facts take: rows (the KL row's included), tokens before the lookup indices (prefix) and from
 * them on (suffix; of the KL row that one alone), target tokens over all rows. */
struct pmet_delta_size {
    size_t n_fact, n_row, n_prefix, n_suffix, n_label;
};
void pmet_delta_size_add(struct pmet_delta_size *size, const struct pmet_fact_rows *rows);
/* Bytes of a batch of that size; SIZE_MAX if they cannot be counted. */
size_t pmet_delta_bytes(const struct pmet_model *model, const struct pmet_objective *o,
                        const struct pmet_delta_size *size);
/* The size for as many of the n facts together as max_bytes allows and as make a pass faster; for
 * any one of them at least. */
struct pmet_delta_size pmet_delta_plan(const struct pmet_model *model, const struct pmet_objective *o,
                                       const struct pmet_fact_rows *rows, size_t n, size_t max_bytes);

/* Numbers its facts from 0 as they were added; those behind one that leaves move up. */
struct pmet_delta;

/* An empty batch. model and o must stay until it is closed. */
enum pmet_status pmet_delta_open(const struct pmet_model *model, const struct pmet_objective *o,
                                 const struct pmet_delta_size *capacity, struct pmet_delta **out,
                                 struct pmet_error *err);
/* A batch of these n facts that takes no more. */
enum pmet_status pmet_delta_open_with(const struct pmet_model *model, const struct pmet_objective *o,
                                      const struct pmet_fact_rows *rows, size_t n, struct pmet_delta **out,
                                      struct pmet_error *err);
void pmet_delta_close(struct pmet_delta *p); /* accepts NULL */

/* Whether n more facts fit now. */
bool pmet_delta_fits(const struct pmet_delta *p, const struct pmet_fact_rows *rows, size_t n);
/* Adds n facts that fit, vectors 0, and computes what no vector can change (E47): layers up to L,
 * and above L all positions before the lookup index. rows come from pmet_rows_build and must stay
 * until the facts leave. */
enum pmet_status pmet_delta_add(struct pmet_delta *p, const struct pmet_fact_rows *rows, size_t n,
                                struct pmet_error *err);
/* The facts with leaves[k] leave; between a forward pass and its backward one, too. */
enum pmet_status pmet_delta_remove(struct pmet_delta *p, const bool *leaves, struct pmet_error *err);
size_t pmet_delta_count(const struct pmet_delta *p);

/* ---- a pass ---- */

/* Sets the vectors of fact k: vector[v] host [d_model] for v < n_vector, or NULL: zero. */
enum pmet_status pmet_delta_set(struct pmet_delta *p, size_t k, const real *const *vector,
                                struct pmet_error *err);
/* One forward pass of all facts at their present vectors, with NLL factors phi[k]: out[k], not
 * checked. A fact's first pass, at vectors 0, fixes the distribution that its KL term refers to. */
enum pmet_status pmet_delta_forward(struct pmet_delta *p, const double *phi, struct pmet_losses *out,
                                    struct pmet_error *err);
/* Gradients of the total losses of the last forward pass, read by pmet_delta_get. */
enum pmet_status pmet_delta_backward(struct pmet_delta *p, struct pmet_error *err);

enum pmet_delta_field {
    PMET_DELTA_VALUE,    /* vector v */
    PMET_DELTA_GRADIENT, /* of it */
    PMET_DELTA_INITIAL,  /* the model's own output at site v in row 0: m0, a0 (E45) */
    PMET_DELTA_KL_INIT,  /* [n_vocab] log-probabilities of the KL row at first; v is ignored */
    PMET_DELTA_KL_LAST   /* [n_vocab] the same at the last pass; not after facts were added */
};
/* Copies a field of fact k to the host: [d_model] or [n_vocab]. */
enum pmet_status pmet_delta_get(struct pmet_delta *p, size_t k, enum pmet_delta_field field, size_t v,
                                real *out, struct pmet_error *err);
/* Host, of fact k's last pass: log-probability of label s in row j at [j * n_target + s], the best
 * token's, and which it is. They stay until facts join or leave. */
const double *pmet_delta_logp(const struct pmet_delta *p, size_t k);
const double *pmet_delta_best_logp(const struct pmet_delta *p, size_t k);
const int32_t *pmet_delta_best(const struct pmet_delta *p, size_t k);

/* ---- the loop ---- */

struct pmet_delta_step {
    size_t it;
    struct pmet_losses losses;
    bool updated;                  /* Adam and the clamp have run; not after the last pass */
    bool clamped[PMET_MAX_VECTOR]; /* the clamp changed vector v after this pass's update */
};

struct pmet_delta_result {
    enum pmet_stop stop;
    size_t n_forward, n_updates;
    struct pmet_losses first, last;
};

/* Told of fact `fact`, which is the batch's k-th now. Its errors end the optimisation. */
struct pmet_delta_listener {
    void *user;
    /* each pass, after its update; may be NULL */
    enum pmet_status (*pass)(void *user, struct pmet_delta *p, size_t k, size_t fact,
                             const struct pmet_delta_step *step, struct pmet_error *err);
    /* it has stopped, or met a NaN: then failure says so (E54) and result holds the passes before;
     * may be NULL */
    enum pmet_status (*done)(void *user, struct pmet_delta *p, size_t k, size_t fact,
                             const struct pmet_delta_result *result, const struct pmet_error *failure,
                             struct pmet_error *err);
};
/* The whole optimisation of n facts in an empty batch, planned for them; those with skip[fact] are
 * left out. skip and listener may be NULL. */
enum pmet_status pmet_delta_optimise(struct pmet_delta *p, const struct pmet_fact_rows *rows, size_t n,
                                     const bool *skip, const struct pmet_delta_listener *listener,
                                     struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * All that a method may use, and what it leaves.
 *
 * A method calls, in this order:
 *     pmet_targets_find      optimises what is not yet known of each fact              SPEC §5
 *     pmet_update_begin      for each matrix: NULL where an earlier run has left its value
 *     pmet_editor_solve      the closed-form update, if it has one                     SPEC §8.2
 *     pmet_update_finish     adds the update; from here on the model computes with it
 * Numbers and times go into the editor; the store and the listener are served by these
 * functions. */
#ifndef PMET_REF_METHOD_EDITOR_H
#define PMET_REF_METHOD_EDITOR_H

#include <jansson.h>
#include "ref/delta/delta.h"
#include "ref/facts/facts.h"
#include "ref/facts/hparams.h"
#include "ref/method/solve.h"
#include "ref/store/store.h"

/* How a fact's optimisation ended. */
struct pmet_fact_report {
    bool done;    /* it has ended, now or in an earlier run */
    bool applied; /* it has targets; else `failure` says why not */
    struct pmet_delta_result result;
    char failure[256];
};

/* What the optimisation finds: the wanted output (v*) of each fact at each site that the method
 * asks for. */
struct pmet_targets {
    size_t n_fact, n_target, d_model;
    struct pmet_fact_report *fact; /* [n_fact] */
    real *Z[PMET_MAX_VECTOR];      /* [n_target][n_fact, d_model]; row i set where fact[i].applied */
};

/* One edited matrix. */
struct pmet_update {
    char name[128]; /* of the tensor, without ".weight" */
    enum pmet_module module;
    size_t layer, d_out, d_in;
    real *W;                 /* [d_out, d_in] host: the new value, unrounded; NULL before */
    double upd_norm, w_norm; /* of the update; of the matrix before it */
    struct pmet_solve_report solve;
    struct pmet_weight before; /* what the model had, put back at the end */
    void *dev;                 /* (dev) the new value, in its place */
};

/* Second moments by the name of the edited matrix: [d_in, d_in] doubles that free() releases. */
struct pmet_moment_source {
    void *user;
    enum pmet_status (*cov)(void *user, const char *name, size_t d_in, double **out, struct pmet_error *err);
    /* C's Cholesky factor, or NULL in *out where there is none. The function may be NULL. */
    enum pmet_status (*factor)(void *user, const char *name, size_t d_in, double **out,
                               struct pmet_error *err);
};

/* Where the seconds go. */
enum pmet_stage { PMET_STAGE_NONE, PMET_STAGE_DELTA, PMET_STAGE_KEYS, PMET_STAGE_SOLVE, PMET_N_STAGE };

struct pmet_method;

struct pmet_editor {
    /* set by the caller; all but model are read only */
    const struct pmet_method *method;
    struct pmet_model *model; /* its matrices are replaced while an edit runs, and put back at its end */
    const struct pmet_tokenizer *tk;
    const struct pmet_facts *facts;
    const struct pmet_contexts *contexts;
    const struct pmet_fact_rows *rows; /* [n_fact] with targets; NULL if all targets are given */
    const struct pmet_hparams *hparams;
    struct pmet_moment_source moments;
    struct pmet_listener listener;
    struct pmet_store *store; /* keeps what is finished; or NULL */
    const json_t *inputs; /* with a store: what all results depend on (model, facts, contexts, precision) */
    const json_t *solve_inputs; /* with a store: what updates depend on besides targets */
    enum pmet_solver solver;
    double ridge;
    bool strict;        /* refuse facts whose tokens do not line up */
    bool skip_failed;   /* leave out facts whose optimisation meets NaN rather than fail */
    size_t n_again;     /* the first facts are optimised although their targets are known */
    bool all_again;     /* so are matrices solved: the listener wants to see them */
    size_t max_bytes;   /* to spend on facts optimised together, then on states that may also be computed
                                       again, as far as matrices and solve leave any */
    size_t solve_bytes; /* what `auto` compares a second matrix with; never what happens to be free, since
                                       the solver shows in the last bits */
    const struct pmet_ops *solve_op; /* NULL: the model's */

    /* left by the method */
    struct pmet_targets targets;
    size_t n_applied;
    struct pmet_update *update; /* [n_update] listed by pmet_editor_list, in the order of editing */
    size_t n_update;
    double seconds[PMET_N_STAGE];

    /* the editor's own */
    enum pmet_stage stage; /* the present one */
    double since;          /* when it began */
    struct pmet_journal *journal;
    char key[65]; /* of updates in the store */
};

/* Lists the matrices that the method will edit: names and shapes. */
enum pmet_status pmet_editor_list(struct pmet_editor *e, struct pmet_error *err);
/* Runs the method, from facts to updates. The model computes as before when it returns. */
enum pmet_status pmet_editor_run(struct pmet_editor *e, struct pmet_error *err);
/* Releases what pmet_editor_list and the run have left. */
void pmet_editor_free(struct pmet_editor *e);

/* From now on seconds count for `stage`, up to the next call. */
void pmet_editor_stage(struct pmet_editor *e, enum pmet_stage stage);

/* Bytes of max_bytes that are left beside the new matrices (on the host and where the model
 * computes) and a solve. */
size_t pmet_editor_spare_bytes(const struct pmet_editor *e, double solve_bytes);

/* ---- targets: ref/method/targets.c, find_targets.c ---- */

enum pmet_status pmet_targets_alloc(size_t n_fact, size_t n_target, size_t d_model, struct pmet_targets *out,
                                    struct pmet_error *err);
void pmet_targets_free(struct pmet_targets *targets); /* accepts zeros */
/* For a method that edits by one fact before it optimises the next: called with every fact in order, as
 * soon as it has ended, in this run or an earlier one. */
struct pmet_in_turn {
    void *user;
    enum pmet_status (*apply)(void *user, size_t fact, struct pmet_error *err);
};
/* Optimises the vectors of every fact that is not done in e->targets (which is allocated if it is
 * empty), and keeps n_target of them: target q is the objective's vector which[q] added to the
 * model's own output. Facts go together in batches as large as max_bytes allows, or one by one with
 * in_turn (else NULL). A fact that meets
 * NaN does not stop the others; at the end it gives PMET_NUMERIC, unless skip_failed. Raises
 * PMET_EVENT_PASS and _FACT. */
enum pmet_status pmet_targets_find(struct pmet_editor *e, const struct pmet_objective *objective,
                                   const size_t *which, size_t n_target, const struct pmet_in_turn *in_turn,
                                   struct pmet_error *err);

/* The rows from which keys are read (no target tokens) and the targets of the facts that are
 * applied. */
struct pmet_applied {
    size_t n;
    struct pmet_fact_rows *rows; /* [n] */
    real *Z[PMET_MAX_VECTOR];    /* [n_target][n, d_model] */
};
enum pmet_status pmet_applied_open(struct pmet_editor *e, struct pmet_applied *out, struct pmet_error *err);
void pmet_applied_close(struct pmet_applied *a); /* accepts zeros */

/* ---- updates: ref/method/update.c ---- */

/* Matrix k is next: *u is its update, or NULL if the store has it (then the model computes with it
 * already). */
enum pmet_status pmet_update_begin(struct pmet_editor *e, size_t k, struct pmet_update **u,
                                   struct pmet_error *err);
/* upd [d_out, d_in] = R K^T (lambda C + K K^T + ridge I)^-1 for u's second moments; keys [d_in, n],
 * resid [d_out, n]. */
enum pmet_status pmet_editor_solve(struct pmet_editor *e, struct pmet_update *u, double lambda,
                                   const double *keys, const double *resid, size_t n, double *upd,
                                   struct pmet_error *err);
/* U [n, d_in], u_i = C^-1 k_i / |C^-1 k_i| for u's second moments, or k_i / |k_i| without them. K [n,
 * d_in].      SPEC E131 */
enum pmet_status pmet_editor_directions(struct pmet_editor *e, struct pmet_update *u, bool by_moments,
                                        const real *K, size_t n, real *U, struct pmet_error *err);
/* What a method computed on the way to an update, for a trace: host [n, width], one row a fact. */
struct pmet_array {
    const char *name;
    const real *data;
    size_t n, width;
    bool each; /* named after the fact, not after the matrix */
};
/* E75: W += upd [d_out, d_in], in the model from now on and in the store. Raises
 * PMET_EVENT_LAYER. */
enum pmet_status pmet_update_finish(struct pmet_editor *e, struct pmet_update *u, const double *upd,
                                    const struct pmet_array *array, size_t n_array, struct pmet_error *err);

/* For a method that changes its matrix step by step: the model computes with u->dev [d_out, d_in] from
 * here on, a copy of the original in `real` that the method may change by operators. */
enum pmet_status pmet_update_open(struct pmet_editor *e, struct pmet_update *u, struct pmet_error *err);
/* What u->dev has become is the new value; the rest as pmet_update_finish. */
enum pmet_status pmet_update_close(struct pmet_editor *e, struct pmet_update *u,
                                   const struct pmet_array *array, size_t n_array, struct pmet_error *err);

/* ---- details of events ---- */

/* PMET_EVENT_PASS, PMET_EVENT_FACT: event.index is the fact, the k-th of the batch now. */
struct pmet_fact_event {
    struct pmet_delta *delta;
    size_t k;
    const struct pmet_objective *objective;
    const struct pmet_delta_step *step;    /* PASS */
    const struct pmet_fact_report *report; /* FACT */
};
/* PMET_EVENT_LAYER: event.index is the matrix. */
struct pmet_layer_event {
    const struct pmet_update *update;
    const double *upd; /* [d_out, d_in] */
    const struct pmet_array *array;
    size_t n_array;
};

#endif

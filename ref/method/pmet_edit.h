/* SPDX-License-Identifier: MIT
 * The whole method: facts to edited matrices.      SPEC §8 */
#ifndef PMET_REF_METHOD_PMET_EDIT_H
#define PMET_REF_METHOD_PMET_EDIT_H

#include "ref/delta/delta.h"
#include "ref/method/keys.h"
#include "ref/method/pmet_hparams.h"
#include "ref/method/solve.h"
#include "ref/method/stats.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a fact's optimisation ended. */
struct pmet_fact_report {
    bool settled; /* it has ended, now or in a run before */
    bool applied; /* it has a target */
    bool odd_lookup, odd_target;
    struct pmet_delta_result result;
    char failure[256]; /* why not applied */
};

/* What the first half of the method finds: v* of each fact for each of hparams' modules. */
struct pmet_targets {
    size_t n_fact, n_module, d_model;
    struct pmet_fact_report *fact; /* [n_fact] */
    real *Z[2];                    /* of the q-th module [n_fact, d_model]; row i set where fact[i].applied */
};
enum pmet_status pmet_targets_alloc(size_t n_fact, size_t n_module, size_t d_model, struct pmet_targets *out,
                                    struct pmet_error *err);
void pmet_targets_free(struct pmet_targets *targets); /* accepts zeros */

struct pmet_edited;

/* What an edit tells while it runs; all may be NULL. A nonzero return of progress stops with
 * PMET_INTERRUPTED. */
struct pmet_edit_watch {
    void *user;
    int (*progress)(void *user, enum pmet_phase phase, size_t done, size_t total);
    /* each pass of fact i, the batch's k-th */
    enum pmet_status (*pass)(void *user, struct pmet_delta *p, size_t k, size_t i,
                             const struct pmet_delta_step *step, struct pmet_error *err);
    /* fact i has ended, as targets->fact[i] says */
    enum pmet_status (*fact)(void *user, struct pmet_delta *p, size_t k, size_t i,
                             const struct pmet_targets *targets, struct pmet_error *err);
    /* the first n facts are optimised although they are settled: `pass` and `fact` want to see them */
    size_t n_again;
    /* matrix k may have been edited in a run before: then *known is set and e's W, norms and report are filled */
    enum pmet_status (*recall)(void *user, size_t k, struct pmet_edited *e, bool *known,
                               struct pmet_error *err);
    /* it has been edited now */
    enum pmet_status (*keep)(void *user, size_t k, const struct pmet_edited *e, struct pmet_error *err);
    /* a matrix has been edited: K [n_fact, d_in], M and Z - M (not yet divided) [n_fact, d_model], upd
     * [d_model, d_in] */
    enum pmet_status (*layer)(void *user, const char *module, size_t layer, const real *K, const real *M,
                              const real *resid, const double *upd, size_t n_fact, size_t d_model,
                              size_t d_in, struct pmet_error *err);
};

/* Loads C of a module, [d_in, d_in] doubles, for the solver; free() releases it. */
typedef enum pmet_status pmet_cov_source(void *user, const char *module_name, size_t d_in, double **out,
                                         struct pmet_error *err);
struct pmet_edit_options {
    const struct pmet_hparams *hparams;
    const struct pmet_contexts *contexts;
    enum pmet_solver solver;
    double ridge;
    bool strict;        /* refuse odd facts */
    bool skip_failed;   /* leave out facts whose optimisation meets NaN rather than fail */
    size_t max_bytes;   /* memory to spend: on facts optimised together; then on states that may also be
                                computed again, as far as matrices and solve leave any */
    size_t solve_bytes; /* what `auto` compares a second matrix with; never what happens to be free, since the
                                solver shows in the last bits */
    const struct pmet_ops *solve_op; /* NULL: the model's */
    pmet_cov_source *factor; /* C's Cholesky factor, or NULL in *out where there is none; NULL: nowhere */
};

/* One edited matrix: W + upd as reals [d_out, d_in] on the host. */
struct pmet_edited {
    char name[128]; /* without ".weight" */
    enum pmet_module module;
    size_t layer, d_out, d_in;
    real *W;
    double upd_norm, w_norm;
    struct pmet_solve_report solve;
};

struct pmet_edit {
    size_t n_applied; /* facts */
    struct pmet_edited *edited;
    size_t n_edited;
    double s_delta, s_keys, s_solve; /* seconds */
};

/* The first half: optimises the facts that are not settled in targets. rows are those of the facts
 * (pmet_rows_build). A fact that meets NaN does not stop the others; in the end, unless skip_failed, it gives
 * PMET_NUMERIC, the others being settled. */
enum pmet_status pmet_targets_find(const struct pmet_model *model, const struct pmet_facts *facts,
                                   const struct pmet_fact_rows *rows, const struct pmet_edit_options *options,
                                   const struct pmet_edit_watch *watch, struct pmet_targets *targets,
                                   struct pmet_error *err);
/* Both halves: finds the targets, then edits layer by layer. The model's matrices are overlaid while it runs
 * and restored before it returns. */
enum pmet_status pmet_edit_run(struct pmet_model *model, const struct pmet_tokenizer *tk,
                               const struct pmet_facts *facts, const struct pmet_fact_rows *rows,
                               const struct pmet_edit_options *options, pmet_cov_source *cov, void *cov_user,
                               const struct pmet_edit_watch *watch, struct pmet_targets *targets,
                               struct pmet_edit *out, struct pmet_error *err);
/* The second half alone, for given targets: Z [n_module][n_fact, d_model], z of module q being Z[q]. */
enum pmet_status pmet_edit_spread(struct pmet_model *model, const struct pmet_fact_rows *key_rows,
                                  size_t n_fact, const real *const *Z,
                                  const struct pmet_edit_options *options, pmet_cov_source *cov,
                                  void *cov_user, const struct pmet_edit_watch *watch, struct pmet_edit *out,
                                  struct pmet_error *err);
void pmet_edit_free(struct pmet_edit *edit);

#ifdef __cplusplus
}
#endif
#endif

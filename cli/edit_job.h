/* SPDX-License-Identifier: MIT
 * An edit in progress, for the files of pmet edit: edit.c (options, the course), edit_open.c (inputs),
 * edit_plan.c (--dry-run), edit_trace.c (--trace), edit_write.c (the folder), edit_report.c (what is
 * printed). */
#ifndef PMET_CLI_EDIT_JOB_H
#define PMET_CLI_EDIT_JOB_H

#include "cli/options.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/tensor_list.h"
#include "ref/edit/pmet_edit.h"
#include "ref/eval/score.h"

#define CONTEXTS_FILE "pmet_contexts.json"

/* Steps of the fact in hand, kept until its trace is written. */
struct edit_steps {
    size_t n_pass, n_update, n_grad;
    real *delta[2];                       /* [S, d] mlp, attn: after each update */
    real *grad[2];                        /* [3, d] of the first updates */
    real *loss, *nll, *kl, *decay, *prob; /* [S] */
};

/* A matrix as written. */
struct edit_written {
    char name[160]; /* with ".weight" */
    enum pmet_dtype dtype;
    void *data;  /* [d_out, d_in] of dtype, what the file must hold */
    double lost; /* |round(W) - W| / |upd| */
};

struct edit_job {
    const struct cli *c;
    /* options */
    const char *model, *facts_path, *stats, *out, *hparams_path, *contexts_path, *work, *trace;
    size_t limit, trace_facts, show, memory;
    int method, solver, conflicts, zsre, dtype;
    double ridge;
    bool strict, skip_failed, dry_run, json, force, link;
    /* inputs */
    struct session s;
    struct record record; /* of the model */
    char contexts_sha256[65];
    struct pmet_hparams h;
    struct pmet_facts facts;
    struct pmet_contexts contexts;
    bool contexts_made;          /* by the model, from the seed */
    struct pmet_fact_rows *rows; /* [n_fact] with targets */
    const char **ancestor;       /* fingerprints whose statistics serve this model */
    size_t n_ancestor, n_cov;
    double **cov; /* [n_cov] as far as memory allows; NULL where taken */
    enum pmet_stats_origin *origin;
    size_t *cov_count;
    char *tmpl;
    /* the run */
    struct pmet_edit edit;
    struct progress progress;
    enum pmet_phase phase;
    size_t n_pass; /* of all facts */
    struct edit_steps steps;
    struct tensor_list list;
    /* the result */
    struct pmet_outdir *dir;
    struct edit_written *written; /* [n_edited] */
    struct pmet_score *before, *after;
    char fingerprint[65]; /* of the written folder */
    double s_load, s_stats, s_write;
};

enum { DTYPE_FILE }; /* of --out-dtype; then F64, F32, F16, BF16 as in enum pmet_dtype */

enum pmet_status edit_check_paths(const struct edit_job *j, struct pmet_error *err);
/* Model, hyper-parameters, facts, contexts, rows, statistics: all that can be refused before the work starts.
 */
enum pmet_status edit_open(struct edit_job *j, struct pmet_error *err);
/* Name of matrix k of the edit, in the order of editing; its module. */
enum pmet_module edit_matrix_name(const struct edit_job *j, size_t k, char *name, size_t size);
/* A pmet_cov_source of the statistics checked by edit_open. */
enum pmet_status edit_cov(void *user, const char *module, size_t d_in, double **out, struct pmet_error *err);

/* The plan, on standard output. */
enum pmet_status edit_plan(struct edit_job *j, struct pmet_error *err);
/* Floating-point operations of the optimisation if fact i takes n_forward[i] passes. */
double edit_delta_flop(const struct edit_job *j, const size_t *n_forward);
double edit_keys_flop(const struct edit_job *j);
double edit_solve_flop(const struct edit_job *j, size_t n_fact);

enum pmet_status edit_trace_open(struct edit_job *j, struct pmet_error *err);
void edit_trace_close(struct edit_job *j);
enum pmet_status edit_trace_pass(struct edit_job *j, struct pmet_delta *p, size_t it,
                                 const struct pmet_delta_step *step, bool updated, struct pmet_error *err);
enum pmet_status edit_trace_fact(struct edit_job *j, size_t fact, struct pmet_delta *p,
                                 struct pmet_error *err);
enum pmet_status edit_trace_layer(struct edit_job *j, const char *module, const real *K, const real *M,
                                  const real *resid, const double *upd, size_t n_fact, size_t d_model,
                                  size_t d_in, struct pmet_error *err);
/* The edited matrices, then the file. */
enum pmet_status edit_trace_write(struct edit_job *j, struct pmet_error *err);

/* Rounds, writes the folder, reads it back, scores the facts with it, adds the record; not yet committed. */
enum pmet_status edit_write(struct edit_job *j, struct pmet_error *err);

void edit_warn(const struct edit_job *j);
void edit_report(const struct edit_job *j);
/* The lines of facts and of matrices that the record and --json share. */
json_t *edit_facts_json(const struct edit_job *j);
json_t *edit_matrices_json(const struct edit_job *j);

#endif

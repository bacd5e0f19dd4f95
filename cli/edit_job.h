/* SPDX-License-Identifier: MIT
 * An edit in progress, for the files of pmet edit: edit.c (options, the course), edit_plan.c (--dry-run),
 * edit_trace.c (--trace), edit_report.c (what is printed). */
#ifndef PMET_CLI_EDIT_JOB_H
#define PMET_CLI_EDIT_JOB_H

#include "cli/options.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/tensor_list.h"
#include "ref/job/job.h"

/* Steps of a fact, kept until its trace is written. */
struct edit_steps {
    size_t n_pass, n_update, n_grad;
    real *delta[2];                       /* [S, d] mlp, attn: after each update */
    real *grad[2];                        /* [3, d] of the first updates */
    real *loss, *nll, *kl, *decay, *prob; /* [S] */
};

struct edit_job {
    const struct cli *c;
    const char *model, *trace;
    size_t trace_facts, show;
    int solver, conflicts, zsre, dtype; /* choices, before they enter the request */
    bool dry_run, json;
    bool committed; /* the edited folder stands; its trace may not */
    struct pmet_job job;
    struct progress progress;
    enum pmet_phase phase;
    struct edit_steps *steps; /* [trace_facts] */
    struct tensor_list list;
};

/* The plan, on standard output. */
enum pmet_status edit_plan(struct edit_job *j, struct pmet_error *err);
/* Floating-point operations of the optimisation if fact i takes n_forward[i] passes. */
double edit_delta_flop(const struct edit_job *j, const size_t *n_forward);
double edit_keys_flop(const struct edit_job *j);
double edit_solve_flop(const struct edit_job *j, size_t n_fact);

enum pmet_status edit_trace_open(struct edit_job *j, struct pmet_error *err);
void edit_trace_close(struct edit_job *j);
/* Fact `fact` is the batch's k-th. */
enum pmet_status edit_trace_pass(struct edit_job *j, struct pmet_delta *p, size_t k, size_t fact,
                                 const struct pmet_delta_step *step, struct pmet_error *err);
enum pmet_status edit_trace_fact(struct edit_job *j, struct pmet_delta *p, size_t k, size_t fact,
                                 struct pmet_error *err);
enum pmet_status edit_trace_layer(struct edit_job *j, const char *module, const real *K, const real *M,
                                  const real *resid, const double *upd, size_t n_fact, size_t d_model,
                                  size_t d_in, struct pmet_error *err);
/* The edited matrices, then the file. */
enum pmet_status edit_trace_write(struct edit_job *j, struct pmet_error *err);

void edit_report(const struct edit_job *j);

#endif

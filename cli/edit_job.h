/* SPDX-License-Identifier: MIT
 * An edit in progress, for the files of pmet edit: edit.c (options, steps), edit_plan.c
 * (--dry-run), edit_trace.c (--trace), edit_report.c (what is printed). */
#ifndef PMET_CLI_EDIT_JOB_H
#define PMET_CLI_EDIT_JOB_H

#include "cli/options.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/tensor_list.h"
#include "ref/job/edit.h"

enum { N_SCALAR = 5 }; /* losses of a pass and the probability of its target */

/* Steps of a fact, kept until its trace is written. */
struct edit_steps {
    size_t n_pass, n_update, n_grad;
    real *delta[PMET_MAX_VECTOR]; /* [S, d] after each update */
    real *grad[PMET_MAX_VECTOR];  /* [3, d] of the first updates */
    real *scalar[N_SCALAR];       /* [S] of each pass */
};

struct edit_job {
    const struct cli *c;
    const char *model, *trace;
    size_t trace_facts, show;
    int method, delta, modules, spread, solver, conflicts, zsre,
        dtype; /* choices, before they enter the request */
    bool dry_run, json;
    bool committed; /* the edited folder stands; its trace may not */
    struct pmet_edit_job job;
    struct progress progress;
    enum pmet_phase phase;
    struct edit_steps *steps; /* [trace_facts] */
    struct tensor_list list;
};

/* The plan, on standard output. */
enum pmet_status edit_plan(struct edit_job *j, struct pmet_error *err);

enum pmet_status edit_trace_open(struct edit_job *j, struct pmet_error *err);
void edit_trace_close(struct edit_job *j);
/* Adds what an event shows to the trace. */
enum pmet_status edit_trace_event(struct edit_job *j, const struct pmet_event *event, struct pmet_error *err);
/* The edited matrices, then the file. */
enum pmet_status edit_trace_write(struct edit_job *j, struct pmet_error *err);

/* A fact's case_id as people read it, cut where it is long. */
struct formatted format_case(const struct pmet_fact *fact);
void edit_report(const struct edit_job *j);

#endif

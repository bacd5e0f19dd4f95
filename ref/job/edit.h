/* SPDX-License-Identifier: MIT
 * An edit from files to a folder, step by step: open (all that can be refused before the work
 * starts), plan or run, write, commit. pmet_edit_folder takes the steps in turn; the command line
 * looks in between them. */
#ifndef PMET_REF_JOB_EDIT_H
#define PMET_REF_JOB_EDIT_H

#include "ref/eval/score.h"
#include "ref/job/moments.h"
#include "ref/job/record.h"
#include "ref/job/session.h"
#include "ref/method/method.h"

#define PMET_CONTEXTS_FILE "pmet_contexts.json"
#define PMET_FACTS_FILE "pmet_facts.jsonl" /* a line for each fact */

/* A matrix as written. */
struct pmet_written {
    char name[160]; /* with ".weight" */
    enum pmet_dtype dtype;
    void *data;  /* [d_out, d_in] of dtype, what the file must hold */
    double lost; /* |round(W) - W| / |upd| (E76) */
};

struct pmet_edit_job {
    /* set by the caller */
    struct pmet_session *s;
    const struct pmet_method *method;
    struct pmet_edit_request request; /* stats may be NULL until the run, out until the write */
    struct pmet_listener listener;
    /* The first facts, and all matrices, are computed again although the work folder has them. */
    size_t n_again;
    bool all_again;
    /* after open */
    char name[96];             /* of the method; an ablated one is not called by its name alone */
    struct pmet_record record; /* of the model's folder */
    struct pmet_hparams h;
    struct pmet_facts facts;
    struct pmet_contexts contexts;
    char contexts_sha256[65];
    bool contexts_made; /* by the model, from the seed */
    /* They are not there yet: until the run, contexts and rows stand for them (pmet_contexts_bound). */
    bool contexts_to_write;
    struct pmet_fact_rows *rows; /* [n_fact] with targets */
    struct pmet_moments moments;
    struct pmet_store *store; /* the work folder, or NULL */
    json_t *inputs, *solve_inputs;
    struct pmet_ops *solve_op; /* plain C, where the solve does not fit the device; else NULL */
    /* results */
    struct pmet_editor editor;
    struct pmet_outdir *dir;
    struct pmet_written *written;      /* [editor.n_update] */
    struct pmet_score *before, *after; /* [n_fact] */
    char fingerprint[65];              /* of the written folder */
    struct pmet_parts parts;           /* of the same */
    double s_load, s_write;            /* seconds */
};

/* Whether the outputs may go where the request wants them, apart from what is read: for before the
 * model is opened. */
enum pmet_status pmet_edit_check_paths(const struct pmet_edit_request *r, const struct pmet_io *io,
                                       const char *model, struct pmet_error *err);
/* Reads and checks all inputs: hyper-parameters, names and shapes of statistics, contexts, facts,
 * rows. No pass of the model, and of weights and statistics only what identifies them. */
enum pmet_status pmet_edit_job_open(struct pmet_edit_job *j, struct pmet_error *err);
/* Reserves the output, has the contexts written where there are none, then runs the method. */
enum pmet_status pmet_edit_job_run(struct pmet_edit_job *j, struct pmet_error *err);
/* Rounds, writes under a temporary name, reads back, scores the facts, adds the record. */
enum pmet_status pmet_edit_job_write(struct pmet_edit_job *j, struct pmet_error *err);
/* The output appears under its name. Raises PMET_EVENT_DONE with the job. */
enum pmet_status pmet_edit_job_commit(struct pmet_edit_job *j, struct pmet_error *err);
/* Removes what is not committed and frees all but the session. */
void pmet_edit_job_free(struct pmet_edit_job *j);
/* "W keeps 3 of 10 facts: ...": what an interrupted job with a work folder leaves. */
void pmet_edit_job_kept(const struct pmet_edit_job *j, char *line, size_t size);

/* ---- contexts and rows: ref/job/edit_contexts.c ---- */

/* Contexts as given, else as the work folder has them, else what stands for them. */
enum pmet_status pmet_edit_job_contexts_find(struct pmet_edit_job *j, struct pmet_error *err);
/* The model writes the contexts that are not there, and the rows are made again. */
enum pmet_status pmet_edit_job_contexts_write(struct pmet_edit_job *j, struct pmet_error *err);
/* The rows of all facts, and notes on odd ones. */
enum pmet_status pmet_edit_job_rows(struct pmet_edit_job *j, struct pmet_error *err);
void pmet_edit_job_free_rows(struct pmet_edit_job *j);

/* Takes the request's ablation into the hyper-parameters, and names the method. */
enum pmet_status pmet_edit_job_ablate(struct pmet_edit_job *j, struct pmet_error *err);

/* ---- the plan: ref/job/edit_plan.c ---- */

struct pmet_edit_plan {
    struct pmet_needs needs;
    size_t n_row, n_token, longest; /* of the facts; tokens of the longest row */
    /* bytes on the host: of the checkpoint; of the facts together; of the edited matrices; of a
     * solve */
    double weights, batch, matrices, solve;
    double device;                  /* bytes of a device with memory of its own at once, beside the weights */
    size_t device_free, device_all; /* 0: there is none */
    double s_delta, s_solve; /* seconds: at most, by the rate of one product; about, by that of one factor */
};
/* Counts, then times a product and a factorisation. Tokens of contexts that are yet to be written
 * are counted by an upper bound. */
enum pmet_status pmet_edit_job_plan(struct pmet_edit_job *j, struct pmet_edit_plan *out,
                                    struct pmet_error *err);
/* For a device with memory of its own: says where the solve runs, and refuses what does not fit. */
enum pmet_status pmet_edit_job_fit(struct pmet_edit_job *j, struct pmet_error *err);

/* ---- JSON: ref/job/edit_json.c; NULL where memory runs out ---- */

json_t *pmet_edit_job_matrices_json(const struct pmet_edit_job *j);
json_t *pmet_edit_job_facts_json(const struct pmet_edit_job *j);
/* The whole record. The same inputs give the same record, so it has no times and no paths. */
json_t *pmet_edit_job_record_json(const struct pmet_edit_job *j);
/* What results depend on, for the work folder: all of them; updates besides. */
json_t *pmet_edit_job_inputs_json(const struct pmet_edit_job *j);
json_t *pmet_edit_job_solve_inputs_json(const struct pmet_edit_job *j);

#endif

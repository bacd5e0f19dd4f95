/* SPDX-License-Identifier: MIT
 * An edit from files to a folder, step by step: open (all that can be refused before the work starts), run,
 * write, commit. pmet_edit_folder takes the steps in turn; the command line looks in between them. */
#ifndef PMET_REF_JOB_JOB_H
#define PMET_REF_JOB_JOB_H

#include <jansson.h>
#include "ref/job/session.h"
#include "ref/method/pmet_edit.h"
#include "ref/eval/score.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PMET_CONTEXTS_FILE "pmet_contexts.json"
#define PMET_RECORD_FILE "pmet_edit.json"
#define PMET_FACTS_FILE "pmet_facts.jsonl" /* a line for each fact */

/* The record of an edited folder: what it is, and what it was edited from, nearest first.      SPEC §9.5 */
struct pmet_record {
    json_t *json; /* NULL if the folder has none */
    char fingerprint[65];
    const char **ancestor; /* [n_ancestor] fingerprints, in json */
    size_t n_ancestor;
};
enum pmet_status pmet_record_read(const struct pmet_io *io, const char *dir, struct pmet_record *out,
                                  struct pmet_error *err);
void pmet_record_free(struct pmet_record *r);

/* A matrix as written. */
struct pmet_written {
    char name[160]; /* with ".weight" */
    enum pmet_dtype dtype;
    void *data;  /* [d_out, d_in] of dtype, what the file must hold */
    double lost; /* |round(W) - W| / |upd| (E76) */
};

/* Bytes of a device with memory of its own, beside the weights: the longest fact alone in optimisation; a pass for the
 * keys; the edited matrices, as reals; the solve of the largest. */
struct pmet_device_need {
    double fact, keys, matrices, solve;
};

struct pmet_job {
    struct pmet_session *s;
    struct pmet_edit_request request; /* stats may be NULL until the run, out until the write */
    struct pmet_watch watch;          /* its progress is the runner's to call */
    size_t solve_bytes;               /* max_bytes as asked for, or half of what the machine has */
    struct pmet_device_need device;
    struct pmet_ops *solve_op; /* plain C, where the solve does not fit the device; else NULL */
    /* inputs, after open */
    struct pmet_record record; /* of the model's folder */
    char contexts_sha256[65];
    struct pmet_hparams h;
    struct pmet_facts facts;
    struct pmet_contexts contexts;
    bool contexts_made;          /* by the model, from the seed */
    struct pmet_fact_rows *rows; /* [n_fact] with targets */
    const char **ancestor;       /* fingerprints whose statistics serve this model, too */
    size_t n_ancestor, n_cov;
    uint64_t *cov_sum; /* [n_cov] of the bits, where there is a work folder */
    struct pmet_work *work;
    double **cov; /* [n_cov] as far as memory allows; NULL where taken */
    enum pmet_stats_origin *origin;
    size_t *cov_count; /* tokens */
    char *tmpl;        /* hyper-parameters to start from, where there were none */
    /* results */
    struct pmet_targets targets;
    struct pmet_edit edit;
    struct pmet_outdir *dir;
    struct pmet_written *written; /* [n_edited] */
    struct pmet_score *before, *after;
    char fingerprint[65];            /* of the written folder */
    double s_load, s_stats, s_write; /* seconds */
};

/* Reads and checks model-dependent inputs: hyper-parameters, facts, contexts, rows, statistics. */
enum pmet_status pmet_job_open(struct pmet_job *j, struct pmet_error *err);
/* On a device with memory of its own: fills `device`, says where the solve runs, and refuses what does not fit. */
enum pmet_status pmet_job_plan_device(struct pmet_job *j, struct pmet_error *err);
/* Bytes of it at once at most, beside the weights; `batch` those of the facts in optimisation. */
double pmet_job_device_bytes(const struct pmet_job *j, double batch);
/* Name of matrix k of the edit, in the order of editing; its module. */
enum pmet_module pmet_job_matrix(const struct pmet_job *j, size_t k, char *name, size_t size);
/* Second moments of a module, a pmet_cov_source of the job `user`: what open kept, or read again. */
enum pmet_status pmet_job_cov(void *user, const char *module, size_t d_in, double **out,
                              struct pmet_error *err);
/* Its factor, where the statistics bring one. */
enum pmet_status pmet_job_factor(void *user, const char *module, size_t d_in, double **out,
                                 struct pmet_error *err);
/* Reserves the output, then optimises and edits; watch may be NULL. */
enum pmet_status pmet_job_run(struct pmet_job *j, const struct pmet_edit_watch *watch,
                              struct pmet_error *err);
/* Rounds, writes under a temporary name, reads back, scores the facts, adds the record. */
enum pmet_status pmet_job_write(struct pmet_job *j, struct pmet_error *err);
/* The output appears under its name. */
enum pmet_status pmet_job_commit(struct pmet_job *j, struct pmet_error *err);
/* The work folder, where the request names one: contexts that the model wrote before (*known); what was finished,
 * into the job's targets; then `watch` as the run needs it, which hands on to `inner`.      SPEC §9.11 */
enum pmet_status pmet_work_contexts(struct pmet_job *j, bool *known, struct pmet_error *err);
enum pmet_status pmet_work_open(struct pmet_job *j, const struct pmet_edit_watch *inner,
                                struct pmet_edit_watch *watch, struct pmet_error *err);
/* How far the work folder goes, for who is interrupted. */
void pmet_work_tell(const struct pmet_job *j, char *line, size_t size);
void pmet_work_close(struct pmet_work *w); /* accepts NULL */

/* Removes what is not committed and frees all but the session. */
void pmet_job_free(struct pmet_job *j);

/* The lines of matrices and of facts in the record. */
json_t *pmet_job_matrices_json(const struct pmet_job *j);
json_t *pmet_job_facts_json(const struct pmet_job *j);
/* The whole record: the same inputs give the same record, so no times and no paths. */
json_t *pmet_job_record_json(const struct pmet_job *j);

/* A line for whoever watches; watch may be NULL. */
void pmet_note(const struct pmet_watch *watch, bool warning, const char *fmt, ...) PMET_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif

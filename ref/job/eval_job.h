/* SPDX-License-Identifier: MIT
 * An evaluation from files to results, step by step: open (all that can be refused before the work
 * starts), run, finish. pmet_evaluate takes the steps in turn.      SPEC §11 */
#ifndef PMET_REF_JOB_EVAL_JOB_H
#define PMET_REF_JOB_EVAL_JOB_H

#include "ref/eval/evaluate.h"
#include "ref/eval/summary.h"
#include "ref/job/record.h"
#include "ref/job/session.h"
#include "ref/store/store.h"

struct pmet_eval_job {
    struct pmet_session *s, *before; /* before: NULL, or the model to set beside */
    struct pmet_evaluate_request request;
    const struct pmet_listener *listener; /* or NULL */
    /* after open */
    size_t n_record;
    struct pmet_skipped skipped; /* records left out */
    char facts_sha256[65], idf_sha256[65];
    struct pmet_snippets snippets; /* an answer for each of the first records whose texts are asked for */
    struct pmet_tfidf *tfidf;      /* NULL without snippets */
    json_t *header;                /* of the results: what they depend on */
    struct pmet_store *store;
    struct pmet_journal *journal; /* a record each; NULL without a work folder and an output */
    char *lines;                  /* [n_bytes] of the output so far */
    size_t n_bytes, capacity;
    size_t n_done; /* records of an earlier run, then of this one, too */
    size_t n_resumed;
    struct pmet_error stop;         /* what the listener said when it stopped the work */
    struct pmet_summary summary[2]; /* of the model, and of the one before the edit */
};

/* Reads all records once, checks them, and opens or takes up the output. */
enum pmet_status pmet_eval_job_open(struct pmet_eval_job *j, struct pmet_error *err);
enum pmet_status pmet_eval_job_run(struct pmet_eval_job *j, struct pmet_error *err);
/* The output appears under its name. */
enum pmet_status pmet_eval_job_finish(struct pmet_eval_job *j, struct pmet_error *err);
/* Frees all but the sessions; records that are finished stay in the journal. */
void pmet_eval_job_free(struct pmet_eval_job *j);

/* The header: what was evaluated, on what, how. No paths and no times. NULL if memory ran out. */
json_t *pmet_eval_header_json(const struct pmet_eval_job *j, const struct pmet_record *record,
                              const struct pmet_record *before);
/* A record's line: case_id, requested_rewrite, post, and pre if `before` is not NULL. */
json_t *pmet_eval_case_json(const struct pmet_eval_record *record, const struct pmet_case *after,
                            const struct pmet_case *before);
/* A record's line, without its line break: into the lines of the output, its numbers into the
 * summaries. */
enum pmet_status pmet_eval_take_line(struct pmet_eval_job *j, const json_t *line, const char *text, size_t n,
                                     struct pmet_error *err);
/* Adds a line's numbers to the summary of `side`, "post" or "pre"; `path` serves messages. */
enum pmet_status pmet_eval_sum_up(struct pmet_summary *summary, const json_t *line, const char *side,
                                  const char *path, struct pmet_error *err);

#endif

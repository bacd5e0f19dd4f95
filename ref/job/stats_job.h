/* SPDX-License-Identifier: MIT
 * Second moments from texts to a folder, step by step: open (all that can be refused before the
 * work starts), run, commit. pmet_make_stats takes the steps in turn; the command line measures and
 * traces between them.      SPEC §7 */
#ifndef PMET_REF_JOB_STATS_JOB_H
#define PMET_REF_JOB_STATS_JOB_H

#include "ref/job/session.h"
#include "ref/store/store.h"
#include "ref/method/stats.h"

/* The newest sums in the work folder. */
struct pmet_stats_state {
    uint64_t generation; /* "sum-GENERATION-I"; 0: none */
    uint64_t next;       /* documents of the order that they have seen */
    uint64_t count, used;
};

struct pmet_stats_job {
    const struct pmet_session *s;
    const struct pmet_method *method; /* whose matrices the moments are for */
    struct pmet_stats_request request;
    const struct pmet_listener *listener;        /* or NULL */
    size_t layer[PMET_MAX_EDIT_LAYERS], n_layer; /* n_layer 0: the hyper-parameters' */
    bool attn; /* attention's output matrices, too, whatever the hyper-parameters say */
    /* after open */
    struct pmet_docs *docs;
    struct pmet_stats_options options;
    struct pmet_outdir *dir;
    /* the work folder, where the request names one */
    struct pmet_store *store;
    struct pmet_journal *journal;
    json_t *head; /* what the sums depend on */
    struct pmet_stats_state state;
    double ended, took; /* the last writing of sums, seconds */
    /* after run */
    struct pmet_stats stats;
};

/* Checks the request, reads the texts, takes up the work folder and begins the output. */
enum pmet_status pmet_stats_job_open(struct pmet_stats_job *j, struct pmet_error *err);
enum pmet_status pmet_stats_job_run(struct pmet_stats_job *j, struct pmet_error *err);
/* Writes the moments; the output appears under its name, the sums in the work folder go. */
enum pmet_status pmet_stats_job_commit(struct pmet_stats_job *j, struct pmet_error *err);
/* What the work folder holds, for whoever is interrupted; an empty line where there is none. */
void pmet_stats_job_kept(const struct pmet_stats_job *j, char *line, size_t size);
/* Frees all but the session; an output that is not committed is removed. */
void pmet_stats_job_free(struct pmet_stats_job *j);

#endif

/* SPDX-License-Identifier: MIT
 * The course of an evaluation, and the library's way in.      SPEC §11 */
#include "ref/api/eval_job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/json.h"

enum { FIRST_BATCH = 8, MOST_BATCH = 256 }; /* records evaluated together */
static const double short_s = 2, long_s = 30;
#define CACHE_BYTES ((size_t)2 << 30)

static int stop(void *user)
{
    const struct pmet_eval_job *j = user;
    return j->watch.progress ? j->watch.progress(j->watch.user, PMET_PHASE_EVALUATE, j->n_done, j->n_record)
                             : 0;
}

static struct pmet_evaluate_options options_of(struct pmet_eval_job *j)
{
    return (struct pmet_evaluate_options){.greedy = j->request.greedy,
                                          .n_generate = j->request.n_generate,
                                          .top_k = j->request.top_k,
                                          .seed = j->request.seed,
                                          .max_bytes = CACHE_BYTES,
                                          .path = j->request.facts,
                                          .stop = stop,
                                          .user = j};
}

/* ---- before the work ---- */

static enum pmet_status check_request(const struct pmet_eval_job *j, struct pmet_error *err)
{
    const struct pmet_evaluate_request *r = &j->request;
    if (!r->facts)
        return pmet_fail(err, PMET_INPUT, "the request lacks facts");
    if (strcmp(r->facts, "-") == 0)
        return pmet_fail(err, PMET_INPUT,
                         "facts: found standard input; expected a file, which is read twice");
    if (!r->out)
        return PMET_OK;
    PMET_TRY(pmet_check_apart(r->out, r->facts, "the facts", err));
    PMET_TRY(pmet_check_apart(r->out, pmet_checkpoint_dir(j->s->ck), "the model", err));
    if (j->before)
        PMET_TRY(pmet_check_apart(r->out, pmet_checkpoint_dir(j->before->ck), "the model before", err));
    return pmet_check_new(r->out, r->force, err);
}

/* Asks all that one record does, of a model that is not there to answer: whatever is wrong with it is found now. */
static enum pmet_status check_record(const struct pmet_eval_job *j, const struct pmet_eval_record *record,
                                     const struct pmet_session *s, struct pmet_error *err)
{
    struct pmet_questions q = {.tk = s->tk, .config = &s->model->config, .path = j->request.facts};
    struct pmet_verdict verdict;
    const enum pmet_status status = pmet_ask(&q, record, j->request.greedy, &verdict, err);
    pmet_questions_free(&q);
    pmet_verdict_free(&verdict);
    return status;
}

static enum pmet_status check_records(struct pmet_eval_job *j, struct pmet_error *err)
{
    struct pmet_records *records = NULL;
    enum pmet_status status;
    bool more = true;
    PMET_TRY(pmet_records_open(j->s->io, j->request.facts, j->request.limit, &records, err));
    for (;;) {
        struct pmet_eval_record record;
        PMET_GO(pmet_records_next(records, &record, &more, err));
        if (!more)
            break;
        status = check_record(j, &record, j->s, err);
        if (status == PMET_OK && j->before)
            status = check_record(j, &record, j->before, err);
        pmet_eval_record_free(&record);
        if (status != PMET_OK)
            goto done;
        j->n_record++;
    }
    memcpy(j->facts_sha256, pmet_records_sha256(records), sizeof j->facts_sha256);
    if (j->n_record == 0)
        status = pmet_fail(err, PMET_INPUT, "%s: holds no records", j->request.facts);
done:
    pmet_records_close(records);
    return status;
}

/* The record of a model's folder, if it is of these weights. */
static enum pmet_status read_record(const struct pmet_eval_job *j, const struct pmet_session *s,
                                    struct pmet_record *out, struct pmet_error *err)
{
    PMET_TRY(pmet_record_read(s->io, pmet_checkpoint_dir(s->ck), out, err));
    if (out->json && strcmp(out->fingerprint, s->fingerprint) != 0) {
        pmet_note(&j->watch, true, "%s/" PMET_RECORD_FILE ": was written for other weights; it is not used",
                  pmet_checkpoint_dir(s->ck));
        pmet_record_free(out);
    }
    return PMET_OK;
}

static enum pmet_status make_header(struct pmet_eval_job *j, struct pmet_error *err)
{
    struct pmet_record record = {0}, before = {0};
    enum pmet_status status;
    PMET_GO(read_record(j, j->s, &record, err));
    if (j->before)
        PMET_GO(read_record(j, j->before, &before, err));
    j->header = pmet_eval_header_json(j, &record, &before);
    status = j->header ? PMET_OK : pmet_fail_memory(err, "a header", 0);
done:
    pmet_record_free(&record);
    pmet_record_free(&before);
    return status;
}

/* Names the first thing in which an earlier run differs from this one. */
static enum pmet_status compare_header(const struct pmet_eval_job *j, const json_t *was,
                                       struct pmet_error *err)
{
    const char *key;
    json_t *now;
    json_object_foreach(j->header, key, now)
    {
        json_t *then = json_object_get(was, key);
        if (then && json_equal(then, now))
            continue;
        char *a = then ? json_dumps(then, JSON_COMPACT | JSON_ENCODE_ANY) : NULL,
             *b = json_dumps(now, JSON_COMPACT | JSON_ENCODE_ANY);
        pmet_fail(
            err, PMET_INPUT,
            "%s: was begun with another \"%s\": found %.150s; now it is %.150s; remove the file to begin "
            "anew",
            pmet_lines_partial(j->lines), key, a ? a : "none", b ? b : "?");
        free(a);
        free(b);
        return PMET_INPUT;
    }
    return PMET_OK;
}

/* What an earlier run has finished counts; its first line must be what this run's would be. */
static enum pmet_status take_up(struct pmet_eval_job *j, struct pmet_error *err)
{
    const char *path = pmet_lines_partial(j->lines);
    for (size_t i = 0; i < pmet_lines_count(j->lines); i++) {
        const char *text = pmet_lines_line(j->lines, i);
        json_t *line;
        PMET_TRY(pmet_json_parse(text, strlen(text), path, i, &line, err));
        enum pmet_status status = PMET_OK;
        if (i == 0)
            status = compare_header(j, line, err);
        else
            status = pmet_eval_sum_up(&j->summary[0], line, "post", path, err);
        if (i > 0 && status == PMET_OK && j->before)
            status = pmet_eval_sum_up(&j->summary[1], line, "pre", path, err);
        json_decref(line);
        PMET_TRY(status);
    }
    j->n_done = j->n_resumed = pmet_lines_count(j->lines) - 1;
    if (j->n_done > 0)
        pmet_note(&j->watch, false, "%s: goes on after %zu of %zu records", path, j->n_done, j->n_record);
    return PMET_OK;
}

enum pmet_status pmet_eval_job_open(struct pmet_eval_job *j, struct pmet_error *err)
{
    PMET_TRY(check_request(j, err));
    PMET_TRY(check_records(j, err));
    PMET_TRY(make_header(j, err));
    if (!j->request.out)
        return PMET_OK;
    char *first = json_dumps(j->header, JSON_COMPACT);
    if (!first)
        return pmet_fail_memory(err, "a header", 0);
    const enum pmet_status status = pmet_lines_open(j->s->io, j->request.out, first, &j->lines, err);
    free(first);
    return status ? status : take_up(j, err);
}

/* ---- the work ---- */

struct batch {
    struct pmet_eval_record record[MOST_BATCH];
    struct pmet_case after[MOST_BATCH], before[MOST_BATCH];
    size_t n;
};

static void batch_clear(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        pmet_eval_record_free(&b->record[i]);
        pmet_case_free(&b->after[i]);
        pmet_case_free(&b->before[i]);
    }
    b->n = 0;
}

static enum pmet_status keep_line(struct pmet_eval_job *j, const struct batch *b, size_t i,
                                  struct pmet_error *err)
{
    json_t *line = pmet_eval_case_json(&b->record[i], &b->after[i], j->before ? &b->before[i] : NULL);
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    enum pmet_status status;
    if (!text) {
        status = pmet_fail_memory(err, "a result", 0);
        goto done;
    }
    if (j->lines)
        PMET_GO(pmet_lines_append(j->lines, text, err));
    PMET_GO(pmet_eval_sum_up(&j->summary[0], line, "post", j->request.facts, err));
    if (j->before)
        PMET_GO(pmet_eval_sum_up(&j->summary[1], line, "pre", j->request.facts, err));
    j->n_done++;
    status = PMET_OK;
done:
    free(text);
    json_decref(line);
    return status;
}

static enum pmet_status run_batch(struct pmet_eval_job *j, struct batch *b, struct pmet_error *err)
{
    const struct pmet_evaluate_options options = options_of(j);
    PMET_TRY(pmet_evaluate_records(j->s->model, j->s->tk, b->record, b->n, &options, b->after, err));
    if (j->before)
        PMET_TRY(pmet_evaluate_records(j->before->model, j->before->tk, b->record, b->n, &options, b->before,
                                       err));
    for (size_t i = 0; i < b->n; i++)
        PMET_TRY(keep_line(j, b, i, err));
    if (j->lines)
        PMET_TRY(pmet_lines_sync(j->lines, err));
    return stop(j) ? pmet_fail(err, PMET_INTERRUPTED, "interrupted") : PMET_OK;
}

/* Results do not depend on how many records go together: as many as take some seconds, since what is finished is kept. */
static size_t next_size(size_t size, double took_s)
{
    if (took_s < short_s)
        return 2 * size < MOST_BATCH ? 2 * size : MOST_BATCH;
    return took_s > long_s && size > 1 ? size / 2 : size;
}

static enum pmet_status run_records(struct pmet_eval_job *j, struct pmet_records *records, struct batch *b,
                                    struct pmet_error *err)
{
    size_t size = FIRST_BATCH, n_seen = 0;
    for (bool more = true; more;) {
        const double started = pmet_seconds();
        while (more && b->n < size) {
            PMET_TRY(pmet_records_next(records, &b->record[b->n], &more, err));
            if (more && n_seen++ < j->n_resumed)
                pmet_eval_record_free(&b->record[b->n]);
            else if (more)
                b->n++;
        }
        if (b->n > 0)
            PMET_TRY(run_batch(j, b, err));
        batch_clear(b);
        size = next_size(size, pmet_seconds() - started);
    }
    if (j->n_done != j->n_record || strcmp(pmet_records_sha256(records), j->facts_sha256) != 0)
        return pmet_fail(err, PMET_INPUT, "%s: is not the file that it was when the evaluation began",
                         j->request.facts);
    return PMET_OK;
}

enum pmet_status pmet_eval_job_run(struct pmet_eval_job *j, struct pmet_error *err)
{
    struct pmet_records *records = NULL;
    struct batch *b = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&b, 1, sizeof *b, "records", err));
    PMET_GO(pmet_records_open(j->s->io, j->request.facts, j->request.limit, &records, err));
    if (stop(j)) {
        status = pmet_fail(err, PMET_INTERRUPTED, "interrupted");
        goto done;
    }
    status = run_records(j, records, b, err);
done:
    if (b)
        batch_clear(b);
    free(b);
    pmet_records_close(records);
    return status;
}

enum pmet_status pmet_eval_job_finish(struct pmet_eval_job *j, struct pmet_error *err)
{
    return j->lines ? pmet_lines_finish(j->lines, err) : PMET_OK;
}

void pmet_eval_job_free(struct pmet_eval_job *j)
{
    pmet_lines_close(j->lines);
    json_decref(j->header);
    j->lines = NULL;
    j->header = NULL;
}

enum pmet_status pmet_evaluate(struct pmet_session *s, struct pmet_session *before,
                               const struct pmet_evaluate_request *request, const struct pmet_watch *watch,
                               struct pmet_evaluation *result, struct pmet_error *err)
{
    struct pmet_eval_job j = {.s = s, .before = before, .request = *request};
    enum pmet_status status;
    if (watch)
        j.watch = *watch;
    PMET_GO(pmet_eval_job_open(&j, err));
    PMET_GO(pmet_eval_job_run(&j, err));
    PMET_GO(pmet_eval_job_finish(&j, err));
    if (result) {
        memset(result, 0, sizeof *result);
        result->n_record = j.n_record;
        pmet_summary_report(&j.summary[0], "post", result);
        if (before)
            pmet_summary_report(&j.summary[1], "pre", result);
    }
done:
    pmet_eval_job_free(&j);
    return status;
}

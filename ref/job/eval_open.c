/* SPDX-License-Identifier: MIT
 * The inputs of an evaluation, checked before the work starts, and what an earlier run has left.
 * SPEC §11 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "ref/event.h"
#include "ref/job/eval_job.h"
#include "tensors/json.h"
#include "tensors/sha256.h"

static enum pmet_status check_request(const struct pmet_eval_job *j, struct pmet_error *err)
{
    const struct pmet_evaluate_request *r = &j->request;
    const char *model = j->s->ck->dir, *before = j->before ? j->before->ck->dir : NULL;
    struct stat st;
    if (!r->facts)
        return pmet_fail(err, PMET_INPUT, "the request lacks facts");
    if (strcmp(r->facts, "-") == 0 ||
        (stat(r->facts, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
        return pmet_fail(
            err, PMET_INPUT,
            "%s: found a pipe or a device; expected a file, since records are read twice: write them "
            "to one first",
            strcmp(r->facts, "-") == 0 ? "standard input" : r->facts);
    if (r->idf && !r->snippets)
        return pmet_fail(err, PMET_INPUT, "%s: found weights of terms without snippets; expected both",
                         r->idf);
    PMET_TRY(pmet_check_apart(r->work, model, "the model", err));
    PMET_TRY(pmet_check_apart(r->work, before, "the model before", err));
    PMET_TRY(pmet_check_apart(r->out, r->work, "the work folder", err));
    PMET_TRY(pmet_check_apart(r->out, r->facts, "the facts", err));
    PMET_TRY(pmet_check_apart(r->out, r->snippets, "the snippets", err));
    PMET_TRY(pmet_check_apart(r->out, r->idf, "the weights of terms", err));
    PMET_TRY(pmet_check_apart(r->out, model, "the model", err));
    PMET_TRY(pmet_check_apart(r->out, before, "the model before", err));
    PMET_TRY(pmet_check_new_file(j->s->io, r->out, r->force, NULL, err));
    return pmet_clear_left(j->s->io, r->out, j->listener, err);
}

/* Asks all that one record does, of a model that is not there to answer: whatever is wrong with it
 * is found now. */
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

/* What the first records ask of the snippets, copied: the records do not stay. */
struct queries {
    struct pmet_snippet_query *query; /* [n] into text */
    char **text;
    size_t n, cap, n_text, cap_text;
    size_t n_unnamed; /* records with texts and without the ids by which snippets are found */
};

static void queries_free(struct queries *q)
{
    for (size_t i = 0; i < q->n_text; i++)
        free(q->text[i]);
    free(q->text);
    free(q->query);
}

/* Empty ids ask for nothing: no element has them. */
static enum pmet_status add_query(struct queries *q, const struct pmet_eval_record *r, bool wants,
                                  struct pmet_error *err)
{
    const bool named = r->relation_id && r->target_id;
    const char *const text[3] = {wants && named ? r->relation_id : "", wants && named ? r->target_id : "",
                                 r->fact.subject};
    q->n_unnamed += wants && !named;
    PMET_TRY(pmet_grow(&q->query, &q->cap, q->n + 1, sizeof *q->query, "queries", err));
    PMET_TRY(pmet_grow(&q->text, &q->cap_text, q->n_text + 3, sizeof *q->text, "queries", err));
    char **copy = q->text + q->n_text;
    for (size_t i = 0; i < 3; i++, q->n_text++)
        PMET_TRY(pmet_copy_text(text[i], &copy[i], "a query", err));
    q->query[q->n++] = (struct pmet_snippet_query){copy[0], copy[1], copy[2]};
    return PMET_OK;
}

/* One query for each record of the file, in its order, also for those left out. */
static enum pmet_status add_queries(const struct pmet_eval_job *j, struct queries *q,
                                    const struct pmet_eval_record *r, struct pmet_error *err)
{
    if (!j->request.snippets || r->fact.record >= j->request.n_generate)
        return PMET_OK;
    while (q->n < r->fact.record)
        PMET_TRY(add_query(q, r, false, err));
    return add_query(q, r, r->generation.n > 0, err);
}

static enum pmet_status check_records(struct pmet_eval_job *j, struct queries *q, struct pmet_error *err)
{
    struct pmet_records *records = NULL;
    enum pmet_status status;
    bool more = true;
    PMET_TRY(pmet_records_open(j->s->io, j->request.facts, j->request.limit, j->request.skip_invalid,
                               &records, err));
    for (;;) {
        struct pmet_eval_record record;
        PMET_GO(pmet_records_next(records, &record, &more, err));
        if (!more)
            break;
        status = check_record(j, &record, j->s, err);
        if (status == PMET_OK && j->before)
            status = check_record(j, &record, j->before, err);
        if (status == PMET_OK)
            status = add_queries(j, q, &record, err);
        j->n_record += status == PMET_OK;
        if (j->request.skip_invalid && pmet_skipped_may(status))
            status =
                pmet_skipped_add(pmet_records_skipped(records), record.fact.record, record.fact.line, err);
        pmet_eval_record_free(&record);
        if (status != PMET_OK)
            goto done;
        PMET_GO(pmet_raise_progress(j->listener, PMET_PHASE_ROWS, j->n_record, 0, err));
    }
    memcpy(j->facts_sha256, pmet_records_sha256(records), sizeof j->facts_sha256);
    j->skipped = *pmet_records_skipped(records);
    *pmet_records_skipped(records) = (struct pmet_skipped){0};
    pmet_skipped_note(&j->skipped, j->request.facts, j->listener);
    if (j->n_record == 0)
        status = pmet_fail(err, PMET_INPUT, "%s: holds no records", j->request.facts);
done:
    pmet_records_close(records);
    return status;
}

static enum pmet_status hash_file(const struct pmet_io *io, const char *dir, const char *name,
                                  struct pmet_sha256 *sha, struct pmet_error *err)
{
    char *path, *data = NULL;
    size_t n;
    PMET_TRY(pmet_path_join(dir, name, &path, err));
    const enum pmet_status status = pmet_read_file(io, path, (size_t)1 << 28, &data, &n, err);
    if (status == PMET_OK)
        pmet_sha256_add(sha, data, n);
    free(data);
    free(path);
    return status;
}

/* The snippets that the records ask for, and the weights of terms: read, or made of all
 * snippets. */
static enum pmet_status open_snippets(struct pmet_eval_job *j, const struct queries *q,
                                      struct pmet_error *err)
{
    const struct pmet_io *io = j->s->io;
    const struct pmet_evaluate_request *r = &j->request;
    size_t n_without = q->n_unnamed;
    if (!r->snippets)
        return PMET_OK;
    PMET_TRY(pmet_snippets_load(io, r->snippets, q->query, q->n, &j->snippets, err));
    for (size_t i = 0; i < q->n; i++)
        n_without += q->query[i].relation_id[0] && !j->snippets.answer[i].reference;
    if (n_without > 0)
        pmet_raise_note(j->listener, true,
                        "%s: has nothing about the new object of %zu of %zu records; they get no "
                        "reference_score",
                        r->snippets, n_without, q->n);
    if (!r->idf)
        return pmet_tfidf_build(io, r->snippets, &j->tfidf, err);
    struct pmet_sha256 sha;
    pmet_sha256_begin(&sha);
    PMET_TRY(hash_file(io, r->idf, "idf.npy", &sha, err));
    PMET_TRY(hash_file(io, r->idf, "tfidf_vocab.json", &sha, err));
    pmet_sha256_hex(&sha, j->idf_sha256);
    return pmet_tfidf_open(io, r->idf, &j->tfidf, err);
}

static enum pmet_status read_record(const struct pmet_eval_job *j, const struct pmet_session *s,
                                    struct pmet_record *out, struct pmet_error *err)
{
    return pmet_record_read_of(s->io, s->ck->dir, s->fingerprint, &s->parts, j->listener, out, err);
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

enum pmet_status pmet_eval_take_line(struct pmet_eval_job *j, const json_t *line, const char *text, size_t n,
                                     struct pmet_error *err)
{
    const char *path = j->request.facts;
    PMET_TRY(pmet_eval_sum_up(&j->summary[0], line, "post", path, err));
    if (j->before)
        PMET_TRY(pmet_eval_sum_up(&j->summary[1], line, "pre", path, err));
    j->n_done++;
    if (!j->request.out)
        return PMET_OK;
    PMET_TRY(pmet_grow(&j->lines, &j->capacity, j->n_bytes + n + 1, 1, j->request.out, err));
    memcpy(j->lines + j->n_bytes, text, n);
    j->lines[j->n_bytes + n] = '\n';
    j->n_bytes += n + 1;
    return PMET_OK;
}

/* A record that an earlier run has finished. */
static enum pmet_status take_record(void *user, const void *data, size_t n, struct pmet_error *err)
{
    struct pmet_eval_job *j = user;
    json_t *line;
    PMET_TRY(pmet_json_parse(data, n, j->request.work ? j->request.work : j->request.out, j->n_done + 1,
                             &line, err));
    const enum pmet_status status = pmet_eval_take_line(j, line, data, n, err);
    json_decref(line);
    return status;
}

/* WORK/eval.journal, or OUT.partial: what an earlier run has finished counts. */
static enum pmet_status open_journal(struct pmet_eval_job *j, struct pmet_error *err)
{
    static const char what[] = "evaluation";
    const struct pmet_evaluate_request *r = &j->request;
    const struct pmet_io *io = j->s->io;
    enum pmet_status status;
    if (r->work) {
        PMET_TRY(pmet_open_work(io, r->work, j->listener, &j->store, err));
        status = pmet_journal_open(j->store, "eval", j->header, what, take_record, j, &j->journal, err);
    } else {
        const size_t size = strlen(r->out) + sizeof ".partial";
        char *path;
        PMET_TRY(pmet_calloc(&path, size, 1, r->out, err));
        snprintf(path, size, "%s.partial", r->out);
        status = pmet_journal_open_file(io, path, j->header, what, take_record, j, &j->journal, err);
        free(path);
    }
    PMET_TRY(status);
    j->n_resumed = j->n_done;
    if (j->n_done > 0)
        pmet_raise_note(j->listener, false, "%s: goes on after %zu of %zu records",
                        pmet_journal_path(j->journal), j->n_done, j->n_record);
    return PMET_OK;
}

enum pmet_status pmet_eval_job_open(struct pmet_eval_job *j, struct pmet_error *err)
{
    struct queries q = {0};
    pmet_session_listen(j->s, j->listener);
    if (j->before)
        pmet_session_listen(j->before, j->listener);
    PMET_TRY(check_request(j, err));
    enum pmet_status status = check_records(j, &q, err);
    status = status ? status : open_snippets(j, &q, err);
    queries_free(&q);
    PMET_TRY(status);
    PMET_TRY(pmet_model_check_ends(j->s->model, err));
    if (j->before)
        PMET_TRY(pmet_model_check_ends(j->before->model, err));
    PMET_TRY(make_header(j, err));
    return j->request.out || j->request.work ? open_journal(j, err) : PMET_OK;
}

/* SPDX-License-Identifier: MIT
 * The steps of an evaluation, and the library's function.      SPEC §11 */
#include "ref/job/eval_job.h"

#include <stdlib.h>
#include <string.h>
#include "ref/event.h"

enum { MOST_BATCH = 256 }; /* records evaluated together */
/* Multiplications of the first batch: about a second on a few cores. */
static const double first_work = 1e11, short_s = 2, long_s = 30;
#define CACHE_BYTES ((size_t)2 << 30)

static int stop(void *user)
{
    struct pmet_eval_job *j = user;
    j->stop.status = pmet_raise_progress(j->listener, PMET_PHASE_EVALUATE, j->n_done, j->n_record, &j->stop);
    return j->stop.status != PMET_OK;
}

static struct pmet_evaluate_options options_of(struct pmet_eval_job *j)
{
    return (struct pmet_evaluate_options){.greedy = j->request.greedy,
                                          .n_generate = j->request.n_generate,
                                          .top_k = j->request.top_k,
                                          .seed = j->request.seed,
                                          .tfidf = j->tfidf,
                                          .answer = j->snippets.answer,
                                          .n_answer = j->snippets.n,
                                          .path = j->request.facts,
                                          .stop = stop,
                                          .user = j};
}

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
    enum pmet_status status = text ? PMET_OK : pmet_fail_memory(err, "a result", 0);
    if (status == PMET_OK && j->journal)
        status = pmet_journal_append(j->journal, text, strlen(text), err);
    if (status == PMET_OK)
        status = pmet_eval_take_line(j, line, text, strlen(text), err);
    free(text);
    json_decref(line);
    return status;
}

static enum pmet_status run_batch(struct pmet_eval_job *j, struct batch *b, struct pmet_error *err)
{
    struct pmet_evaluate_options options = options_of(j);
    PMET_TRY(pmet_capacity(j->s->op, CACHE_BYTES, &options.max_bytes, err));
    PMET_TRY(pmet_evaluate_records(j->s->model, j->s->tk, b->record, b->n, &options, b->after, err));
    if (j->before)
        PMET_TRY(pmet_evaluate_records(j->before->model, j->before->tk, b->record, b->n, &options, b->before,
                                       err));
    for (size_t i = 0; i < b->n; i++)
        PMET_TRY(keep_line(j, b, i, err));
    if (j->journal)
        PMET_TRY(pmet_journal_sync(j->journal, err));
    return stop(j) ? j->stop.status : PMET_OK;
}

/* About how many multiplications a record takes: a token has some four bytes, a text a hundred
 * tokens. */
static double work_of(const struct pmet_eval_job *j, const struct pmet_eval_record *r)
{
    const struct pmet_config *c = &j->s->model->config;
    const struct pmet_prompts *const list[3] = {&r->paraphrase, &r->neighborhood, &r->portability};
    size_t n_byte = strlen(r->rewrite);
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < list[k]->n; i++)
            n_byte += strlen(list[k]->text[i]);
    const size_t n_text = r->fact.record < j->request.n_generate ? r->generation.n : 0;
    return ((double)n_byte / 4 + 100 * (double)n_text) *
           ((double)c->n_layer * (double)c->d_model * (4 * (double)c->d_model + 2 * (double)c->d_ff) +
            (double)c->n_vocab * (double)c->d_model);
}

/* Results do not depend on how many records go together: as many as take some seconds, since what
 * is finished is kept. */
static double next_work(double work, double took_s)
{
    return took_s < short_s ? 2 * work : took_s > long_s ? work / 2 : work;
}

/* Records whose tokens were refused when all were checked. */
static bool is_left_out(const struct pmet_eval_job *j, const struct pmet_eval_record *r)
{
    for (size_t i = 0; i < j->skipped.n; i++)
        if (j->skipped.item[i].record == r->fact.record)
            return true;
    return false;
}

static enum pmet_status run_records(struct pmet_eval_job *j, struct pmet_records *records, struct batch *b,
                                    struct pmet_error *err)
{
    size_t n_seen = 0;
    double most = first_work;
    for (bool more = true; more;) {
        const double started = pmet_seconds();
        for (double work = 0; more && b->n < MOST_BATCH && work < most;) {
            PMET_TRY(pmet_records_next(records, &b->record[b->n], &more, err));
            if (more && is_left_out(j, &b->record[b->n]))
                pmet_eval_record_free(&b->record[b->n]);
            else if (more && n_seen++ < j->n_resumed)
                pmet_eval_record_free(&b->record[b->n]);
            else if (more)
                work += work_of(j, &b->record[b->n++]);
        }
        if (b->n > 0)
            PMET_TRY(run_batch(j, b, err));
        batch_clear(b);
        most = next_work(most, pmet_seconds() - started);
    }
    if (j->n_done != j->n_record || strcmp(pmet_records_sha256(records), j->facts_sha256) != 0)
        return pmet_fail(err, PMET_INPUT,
                         "%s: is not the file that it was when the evaluation began; evaluate again",
                         j->request.facts);
    return PMET_OK;
}

enum pmet_status pmet_eval_job_run(struct pmet_eval_job *j, struct pmet_error *err)
{
    struct pmet_records *records = NULL;
    struct batch *b = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&b, 1, sizeof *b, "records", err));
    PMET_GO(pmet_records_open(j->s->io, j->request.facts, j->request.limit, j->request.skip_invalid, &records,
                              err));
    status = stop(j) ? j->stop.status : run_records(j, records, b, err);
done:
    if (j->stop.status != PMET_OK) {
        *err = j->stop;
        status = err->status;
    }
    if (b)
        batch_clear(b);
    free(b);
    pmet_records_close(records);
    return status;
}

static enum pmet_status write_out(const struct pmet_eval_job *j, struct pmet_error *err)
{
    char *head = json_dumps(j->header, JSON_COMPACT);
    struct pmet_out *out = NULL;
    enum pmet_status status;
    if (!head)
        return pmet_fail_memory(err, "a header", 0);
    PMET_GO(pmet_out_open(j->s->io, j->request.out, &out, err));
    PMET_GO(pmet_out_write(out, head, strlen(head), err));
    PMET_GO(pmet_out_write(out, "\n", 1, err));
    PMET_GO(pmet_out_write(out, j->lines, j->n_bytes, err));
    status = pmet_out_commit(out, err);
    out = NULL;
done:
    pmet_out_discard(out);
    free(head);
    return status;
}

enum pmet_status pmet_eval_job_finish(struct pmet_eval_job *j, struct pmet_error *err)
{
    const struct pmet_event done = {.kind = PMET_EVENT_DONE, .phase = PMET_PHASE_EVALUATE, .detail = j};
    const char *kept = j->request.out ? pmet_journal_path(j->journal) : NULL;
    struct pmet_error ignored = {PMET_OK, ""};
    if (j->request.out)
        PMET_TRY(write_out(j, err));
    if (kept && j->s->io->unlink(j->s->io->user, kept) != 0)
        return pmet_fail_errno(err, kept, "remove");
    pmet_raise(j->listener, &done, &ignored);
    return PMET_OK;
}

void pmet_eval_job_free(struct pmet_eval_job *j)
{
    struct pmet_session *const session[] = {j->s, j->before};
    for (size_t i = 0; i < 2; i++)
        if (session[i])
            pmet_session_listen(session[i], NULL);
    pmet_journal_close(j->journal);
    pmet_store_close(j->store);
    json_decref(j->header);
    free(j->lines);
    pmet_skipped_free(&j->skipped);
    pmet_snippets_free(&j->snippets);
    pmet_tfidf_close(j->tfidf);
}

enum pmet_status pmet_evaluate(struct pmet_session *s, struct pmet_session *before,
                               const struct pmet_evaluate_request *request,
                               const struct pmet_listener *listener, struct pmet_evaluation *result,
                               struct pmet_error *err)
{
    struct pmet_eval_job j = {.s = s, .before = before, .request = *request, .listener = listener};
    enum pmet_status status;
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

/* SPDX-License-Identifier: MIT
 * The statistics job.      SPEC §7, §9.11 */
#include "ref/job/stats_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/event.h"
#include "ref/method/method.h"

enum { SHARE = 20 }; /* seconds of computing for each second of keeping */

/* ---- sums in the work folder ---- */

/* The sums of a generation are written beside those of the one before; then the journal gets a
 * record of the new state, and the old sums go: at any moment the last state in the journal has all
 * its sums. */

static json_t *head_of(const struct pmet_stats_job *j)
{
    const struct pmet_stats_options *o = &j->options;
    json_t *layers = json_array();
    for (size_t i = 0; i < o->n_layer; i++)
        json_array_append_new(layers, json_integer((json_int_t)o->layers[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:b, s:I, s:I, s:I}", "version", PMET_VERSION,
                     "precision", sizeof(real) == 4 ? "float" : "double", "device", j->s->op->kind, "model",
                     j->s->fingerprint, "text", pmet_docs_sha256(j->docs), "layers", layers, "attn", o->attn,
                     "samples", (json_int_t)o->n_samples, "max_length", (json_int_t)o->max_length, "seed",
                     (json_int_t)o->seed);
}

static enum pmet_status take_state(void *user, const void *data, size_t n_bytes, struct pmet_error *err)
{
    struct pmet_stats_job *j = user;
    if (n_bytes != sizeof j->state)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: stats.journal: found a record of %zu bytes; expected %zu: give another "
                         "--work",
                         j->request.work, n_bytes, sizeof j->state);
    memcpy(&j->state, data, n_bytes);
    if (j->state.next > pmet_docs_count(j->docs) || j->state.used > j->state.next ||
        j->state.count > INT64_MAX)
        return pmet_fail(
            err, PMET_FORMAT,
            "%s: stats.journal: found %llu documents of %zu, %llu used, %llu tokens; expected those "
            "of this text: give another --work",
            j->request.work, (unsigned long long)j->state.next, pmet_docs_count(j->docs),
            (unsigned long long)j->state.used, (unsigned long long)j->state.count);
    return PMET_OK;
}

/* Name and key of moment i's sum in a generation. */
static enum pmet_status name_sum(const struct pmet_stats_job *j, uint64_t generation, size_t i, char name[64],
                                 char key[65], struct pmet_error *err)
{
    const uint64_t place[2] = {generation, i};
    snprintf(name, 64, "sum-%llu-%zu", (unsigned long long)generation, i);
    return pmet_digest_json(j->head, place, sizeof place, key, err);
}

static enum pmet_status recall_sum(const struct pmet_stats_job *j, size_t i, size_t d_in, real *sum,
                                   bool *found, struct pmet_error *err)
{
    const struct pmet_ops *op = j->s->op;
    struct pmet_safetensors *st = NULL;
    char name[64], key[65];
    enum pmet_status status = PMET_OK;
    PMET_TRY(name_sum(j, j->state.generation, i, name, key, err));
    PMET_TRY(pmet_store_get(j->store, name, key, d_in * d_in * sizeof(real), &st, err));
    const struct pmet_tensor *t = st ? pmet_tensors_find(&st->all, "sum") : NULL;
    *found = t && t->n_bytes == d_in * d_in * sizeof(real);
    if (*found)
        status = op->upload(op, sum, t->data, t->n_bytes, err);
    pmet_safetensors_close(st);
    return status;
}

/* Sums are large: between two of them the listener may stop the job. */
static enum pmet_status hear(const struct pmet_stats_job *j, size_t next, struct pmet_error *err)
{
    const size_t n = pmet_docs_count(j->docs), wanted = j->options.n_samples;
    return pmet_raise_progress(j->listener, PMET_PHASE_STATS, next, wanted && wanted < n ? wanted : n, err);
}

/* The sums of an earlier run, if there are any: all of them, or none. */
static enum pmet_status recall(void *user, real *const *sum, struct pmet_stats *stats, size_t *next,
                               struct pmet_error *err)
{
    struct pmet_stats_job *j = user;
    const struct pmet_ops *op = j->s->op;
    bool found = true;
    *next = 0;
    j->ended = pmet_seconds();
    if (j->state.next == 0)
        return PMET_OK;
    for (size_t i = 0; found && i < stats->n_moment; i++) {
        PMET_TRY(hear(j, (size_t)j->state.next, err));
        PMET_TRY(recall_sum(j, i, stats->moment[i].d_in, sum[i], &found, err));
    }
    if (found) {
        *next = (size_t)j->state.next;
        stats->count = (size_t)j->state.count;
        stats->n_used = (size_t)j->state.used;
        return PMET_OK;
    }
    pmet_raise_note(j->listener, true, "%s: sums are missing or damaged: begins again", j->request.work);
    j->state.next = 0;
    for (size_t i = 0; i < stats->n_moment; i++)
        PMET_TRY(op->zero(op, sum[i], stats->moment[i].d_in * stats->moment[i].d_in * sizeof(real), err));
    return PMET_OK;
}

static enum pmet_status keep_sum(const struct pmet_stats_job *j, uint64_t generation, size_t i, size_t d_in,
                                 const real *sum, struct pmet_error *err)
{
    const struct pmet_ops *op = j->s->op;
    struct pmet_tensor t = {.name = "sum", .dtype = PMET_REAL, .n_dim = 2, .shape = {d_in, d_in}};
    char name[64], key[65];
    real *host;
    enum pmet_status status;
    pmet_tensor_measure(&t);
    PMET_TRY(name_sum(j, generation, i, name, key, err));
    PMET_TRY(pmet_calloc(&host, t.n_elem, sizeof *host, "second moments", err));
    t.data = host;
    PMET_GO(op->download(op, host, sum, t.n_bytes, err));
    status = pmet_store_put(j->store, name, key, &t, 1, NULL, 0, err);
done:
    free(host);
    return status;
}

/* Keeps the sums if enough time has passed that writing costs little beside computing. */
static enum pmet_status keep(void *user, real *const *sum, const struct pmet_stats *stats, size_t next,
                             struct pmet_error *err)
{
    struct pmet_stats_job *j = user;
    const double started = pmet_seconds();
    const struct pmet_stats_state state = {j->state.generation + 1, next, stats->count, stats->n_used};
    char old[64];
    if (started - j->ended < SHARE * j->took)
        return PMET_OK;
    for (size_t i = 0; i < stats->n_moment; i++) {
        PMET_TRY(hear(j, next, err));
        PMET_TRY(keep_sum(j, state.generation, i, stats->moment[i].d_in, sum[i], err));
    }
    PMET_TRY(pmet_journal_append(j->journal, &state, sizeof state, err));
    PMET_TRY(pmet_journal_sync(j->journal, err));
    snprintf(old, sizeof old, "sum-%llu-", (unsigned long long)j->state.generation);
    pmet_store_remove(j->store, old);
    j->state = state;
    j->ended = pmet_seconds();
    j->took = j->ended - started;
    return PMET_OK;
}

static void discard_sums(struct pmet_stats_job *j)
{
    pmet_store_remove(j->store, "stats");
    pmet_store_remove(j->store, "sum-");
}

/* ---- the steps ---- */

static enum pmet_status check_request(const struct pmet_stats_job *j, struct pmet_error *err)
{
    const struct pmet_stats_request *r = &j->request;
    const char *model = j->s->ck->dir;
    if (!r->out || !r->texts || r->n_text == 0)
        return pmet_fail(err, PMET_INPUT, "the request lacks texts or out");
    PMET_TRY(pmet_check_apart(r->out, model, "the model", err));
    PMET_TRY(pmet_check_apart(r->work, model, "the model", err));
    PMET_TRY(pmet_check_apart(r->out, r->work, "the work folder", err));
    for (size_t i = 0; i < r->n_text; i++)
        PMET_TRY(pmet_check_apart(r->out, r->texts[i], "the text", err));
    return pmet_check_new(j->s->io, r->out, r->force, err);
}

/* Layers, modules and samples: from the request, then from the hyper-parameters. */
static enum pmet_status plan(struct pmet_stats_job *j, struct pmet_error *err)
{
    const struct pmet_stats_request *r = &j->request;
    struct pmet_hparams h = {0};
    if (r->hparams || j->n_layer == 0)
        PMET_TRY(pmet_session_hparams(j->s, j->method->hparams, r->hparams, j->listener, &h, err));
    if (j->n_layer == 0) {
        PMET_TRY(j->method->check(&h, j->s->model, err));
        memcpy(j->layer, h.layers, h.n_layer * sizeof *h.layers);
        j->n_layer = h.n_layer;
    }
    for (size_t q = 0; q < h.n_module; q++)
        j->attn |= pmet_hparams_module(&h, j->s->model, q) == PMET_MODULE_ATTN;
    j->options = (struct pmet_stats_options){.layers = j->layer,
                                             .n_layer = j->n_layer,
                                             .attn = j->attn,
                                             .n_samples = r->n_samples ? r->n_samples : h.mom2_n_samples,
                                             .max_length = r->max_length,
                                             .seed = r->seed,
                                             .factor = r->factor};
    return PMET_OK;
}

enum pmet_status pmet_stats_job_open(struct pmet_stats_job *j, struct pmet_error *err)
{
    const struct pmet_stats_request *r = &j->request;
    const struct pmet_io *io = j->s->io;
    pmet_session_listen(j->s, j->listener);
    PMET_TRY(check_request(j, err));
    PMET_TRY(plan(j, err));
    PMET_TRY(pmet_docs_open(io, r->texts, r->n_text, j->listener, &j->docs, err));
    if (j->options.n_samples > pmet_docs_count(j->docs))
        pmet_raise_note(j->listener, true, "found %zu documents; %zu were asked for: all are taken",
                        pmet_docs_count(j->docs), j->options.n_samples);
    PMET_TRY(pmet_model_check_ends(j->s->model, err));
    if (r->work) {
        j->head = head_of(j);
        PMET_TRY(pmet_open_work(io, r->work, j->listener, &j->store, err));
        PMET_TRY(pmet_journal_open(j->store, "stats", j->head, "run", take_state, j, &j->journal, err));
    }
    return pmet_begin_output(io, r->out, r->force, j->listener, &j->dir, err);
}

enum pmet_status pmet_stats_job_run(struct pmet_stats_job *j, struct pmet_error *err)
{
    const struct pmet_stats_keeper keeper = {.user = j, .recall = recall, .keep = keep};
    return pmet_stats_collect(j->s->model, j->s->tk, j->docs, &j->options, j->journal ? &keeper : NULL,
                              j->listener, &j->stats, err);
}

enum pmet_status pmet_stats_job_commit(struct pmet_stats_job *j, struct pmet_error *err)
{
    struct pmet_outdir *dir = j->dir;
    PMET_TRY(pmet_stats_write(j->s->io, pmet_outdir_path(dir), j->s->model, &j->stats, &j->options,
                              j->s->fingerprint, pmet_docs_sha256(j->docs), j->listener, err));
    for (size_t i = 0; j->options.factor && i < j->stats.n_moment; i++) {
        const struct pmet_moment *m = &j->stats.moment[i];
        if (!m->factored)
            pmet_raise_note(j->listener, true, PMET_NO_FACTOR, m->layer, m->pivot, m->d_in, m->value);
    }
    j->dir = NULL;
    PMET_TRY(pmet_outdir_commit(dir, err));
    if (j->journal)
        discard_sums(j);
    const struct pmet_event done = {.kind = PMET_EVENT_DONE, .phase = PMET_PHASE_STATS, .detail = j};
    struct pmet_error ignored = {PMET_OK, ""};
    pmet_raise(j->listener, &done, &ignored);
    return PMET_OK;
}

void pmet_stats_job_kept(const struct pmet_stats_job *j, char *line, size_t size)
{
    line[0] = '\0';
    if (j->journal)
        snprintf(line, size, "%s keeps %zu documents: the same command goes on from there", j->request.work,
                 (size_t)j->state.next);
}

void pmet_stats_job_free(struct pmet_stats_job *j)
{
    if (j->s)
        pmet_session_listen(j->s, NULL);
    if (j->journal && j->state.next == 0) /* nothing in it binds the next run */
        discard_sums(j);
    pmet_outdir_discard(j->dir);
    pmet_journal_close(j->journal);
    pmet_store_close(j->store);
    json_decref(j->head);
    pmet_stats_free(&j->stats);
    pmet_docs_close(j->docs);
}

enum pmet_status pmet_make_stats(const struct pmet_session *s, const struct pmet_stats_request *request,
                                 const struct pmet_listener *listener, struct pmet_error *err)
{
    struct pmet_stats_job j = {.s = s, .request = *request, .listener = listener};
    enum pmet_status status;
    PMET_TRY(pmet_method_named(request->method, &j.method, err));
    PMET_GO(pmet_stats_job_open(&j, err));
    PMET_GO(pmet_stats_job_run(&j, err));
    status = pmet_stats_job_commit(&j, err);
done:
    pmet_stats_job_free(&j);
    return status;
}

/* SPDX-License-Identifier: MIT
 * The inputs of an edit, checked before the work starts: a missing file must not be found missing
 * after hours of optimising. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ref/eval/generate.h"
#include "ref/event.h"
#include "ref/job/edit.h"
#include "tensors/sha256.h"

static enum pmet_status check_paths(const struct pmet_edit_job *j, struct pmet_error *err)
{
    const struct pmet_edit_request *r = &j->request;
    const struct {
        const char *path, *what;
    } read[] = {{j->s->ck->dir, "the model"},  {r->facts, "the facts"},
                {r->stats, "the statistics"},  {r->hparams, "the hyper-parameters"},
                {r->contexts, "the contexts"}, {r->work, "the work folder"}};
    struct stat st;
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        PMET_TRY(pmet_check_apart(r->out, read[i].path, read[i].what, err));
    PMET_TRY(pmet_check_apart(r->work, read[0].path, read[0].what, err));
    PMET_TRY(pmet_check_apart(r->work, r->stats, "the statistics", err));
    if (r->stats && (stat(r->stats, &st) != 0 || !S_ISDIR(st.st_mode)))
        return pmet_fail(err, PMET_INPUT,
                         "%s: found no folder; expected the statistics that pmet stats writes", r->stats);
    return r->out ? pmet_check_new(j->s->io, r->out, r->force, err) : PMET_OK;
}

/* Contexts that the model writes are kept in the work folder, by the seed and the model. */
enum pmet_status pmet_edit_job_contexts_path(const struct pmet_edit_job *j, char **out,
                                             struct pmet_error *err)
{
    char name[96];
    snprintf(name, sizeof name, "contexts-%llu-%.16s.json", (unsigned long long)j->request.seed,
             j->s->fingerprint);
    return pmet_path_join(j->request.work, name, out, err);
}

static enum pmet_status generate_contexts(struct pmet_edit_job *j, struct pmet_error *err)
{
    char *path = NULL;
    j->contexts_made = true;
    if (j->request.work)
        PMET_TRY(pmet_edit_job_contexts_path(j, &path, err));
    const enum pmet_status status =
        path && access(path, F_OK) == 0
            ? pmet_contexts_load(j->s->io, path, &j->contexts, err)
            : pmet_contexts_generate(j->s->model, j->s->tk, j->request.seed, &j->contexts, err);
    free(path);
    return status;
}

static enum pmet_status take_contexts(struct pmet_edit_job *j, struct pmet_error *err)
{
    struct pmet_sha256 sha;
    char start[32];
    PMET_TRY(j->request.contexts ? pmet_contexts_load(j->s->io, j->request.contexts, &j->contexts, err)
                                 : generate_contexts(j, err));
    pmet_sha256_begin(&sha);
    for (size_t i = 0; i < j->contexts.n_template; i++)
        pmet_sha256_add(&sha, j->contexts.text[i], strlen(j->contexts.text[i]) + 1);
    for (size_t g = 0; g < j->contexts.n_group; g++)
        pmet_sha256_add(&sha, start,
                        (size_t)snprintf(start, sizeof start, "%zu,", j->contexts.group_start[g + 1]));
    pmet_sha256_hex(&sha, j->contexts_sha256);
    return PMET_OK;
}

static enum pmet_status build_rows(struct pmet_edit_job *j, struct pmet_error *err)
{
    const struct pmet_config *config = &j->s->model->config;
    const struct pmet_rows_options options = {j->facts.path, config->n_ctx, config->n_vocab,
                                              j->request.strict};
    PMET_TRY(pmet_calloc(&j->rows, j->facts.n_fact, sizeof *j->rows, "rows", err));
    for (size_t i = 0; i < j->facts.n_fact; i++)
        PMET_TRY(
            pmet_rows_build(j->s->tk, &j->facts.fact[i], &j->contexts, &options, true, &j->rows[i], err));
    return PMET_OK;
}

/* Facts whose tokens do not line up, and what the reader of facts did. */
static void note_odd_facts(const struct pmet_edit_job *j)
{
    for (size_t i = 0; i < j->facts.n_fact; i++) {
        const struct pmet_fact *f = &j->facts.fact[i];
        const struct pmet_fact_rows *r = &j->rows[i];
        if (r->odd_lookup || r->odd_target)
            pmet_raise_note(
                &j->listener, true,
                "%s: line %zu: \"%s\": %s not where the whole row's tokens are; computed as published "
                "(--strict refuses)",
                j->facts.path, f->line, f->subject,
                !r->odd_target   ? "the lookup token is"
                : !r->odd_lookup ? "the target's labels are"
                                 : "the lookup token and the target's labels are");
    }
    if (j->facts.n_shared_subject > 0)
        pmet_raise_note(&j->listener, false, "%zu facts share their subject with another",
                        j->facts.n_shared_subject);
    if (j->facts.n_dropped > 0)
        pmet_raise_note(&j->listener, false, "%zu facts dropped: they contradict another (--conflicts)",
                        j->facts.n_dropped);
}

static enum pmet_status open_moments(struct pmet_edit_job *j, struct pmet_error *err)
{
    j->moments.from = (struct pmet_stats_source){.io = j->s->io,
                                                 .dir = j->request.stats,
                                                 .fingerprint = j->s->fingerprint,
                                                 .ancestor = j->record.ancestor,
                                                 .n_ancestor = j->record.n_ancestor,
                                                 .n_samples = j->h.mom2_n_samples,
                                                 .dataset = j->h.mom2_dataset,
                                                 .dtype = j->h.mom2_dtype};
    return pmet_moments_open(&j->moments, j->editor.update, j->editor.n_update, &j->listener, err);
}

static enum pmet_status open_editor(struct pmet_edit_job *j, struct pmet_error *err)
{
    const struct pmet_edit_request *r = &j->request;
    size_t n_free, n_all;
    pmet_host_memory(&n_free, &n_all);
    j->editor = (struct pmet_editor){.method = j->method,
                                     .model = j->s->model,
                                     .tk = j->s->tk,
                                     .facts = &j->facts,
                                     .contexts = &j->contexts,
                                     .rows = j->rows,
                                     .hparams = &j->h,
                                     .listener = j->listener,
                                     .solver = r->solver,
                                     .ridge = r->ridge,
                                     .strict = r->strict,
                                     .skip_failed = r->skip_failed,
                                     .solve_bytes = r->max_bytes ? r->max_bytes : n_all / 2};
    if (r->max_bytes == 0)
        j->request.max_bytes = n_free / 4 * 3;
    j->editor.max_bytes = j->request.max_bytes;
    return pmet_editor_list(&j->editor, err);
}

enum pmet_status pmet_edit_job_open(struct pmet_edit_job *j, struct pmet_error *err)
{
    const double started = pmet_seconds();
    const struct pmet_edit_request *r = &j->request;
    const struct pmet_facts_options options = {r->limit, r->conflicts, r->zsre_alt};
    PMET_TRY(check_paths(j, err));
    PMET_TRY(pmet_facts_load(j->s->io, r->facts, options, &j->facts, err));
    PMET_TRY(pmet_session_hparams(j->s, j->method->hparams, r->hparams, &j->listener, &j->h, &j->tmpl, err));
    PMET_TRY(pmet_hparams_check_batch(&j->h, j->facts.n_fact, err));
    PMET_TRY(j->method->check(&j->h, j->s->model, err));
    PMET_TRY(pmet_record_read_of(j->s->io, j->s->ck->dir, j->s->fingerprint, &j->listener, &j->record, err));
    PMET_TRY(take_contexts(j, err));
    PMET_TRY(build_rows(j, err));
    note_odd_facts(j);
    PMET_TRY(open_editor(j, err));
    PMET_TRY(pmet_edit_job_fit(j, err));
    j->s_load = pmet_seconds() - started;
    if (r->stats)
        PMET_TRY(open_moments(j, err));
    j->s_stats = pmet_seconds() - started - j->s_load;
    return PMET_OK;
}

/* SPDX-License-Identifier: MIT
 * The inputs of an edit, checked before the work starts: a missing file must not be found missing
 * after hours of optimising. */
#include <sys/stat.h>
#include "ref/job/edit.h"

enum pmet_status pmet_edit_check_paths(const struct pmet_edit_request *r, const struct pmet_io *io,
                                       const char *model, struct pmet_error *err)
{
    const struct {
        const char *path, *what;
    } read[] = {{model, "the model"},          {r->facts, "the facts"},
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
    return r->out ? pmet_check_new(io, r->out, r->force, err) : PMET_OK;
}

/* Which files the moments are in, and whether they fit; their values are read when they are used. */
static enum pmet_status open_moments(struct pmet_edit_job *j, struct pmet_error *err)
{
    j->moments.from = (struct pmet_stats_source){.io = j->s->io,
                                                 .dir = j->request.stats,
                                                 .fingerprint = j->s->fingerprint,
                                                 .parts = &j->s->parts,
                                                 .ancestor = j->record.ancestor,
                                                 .ancestor_parts = j->record.ancestor_parts,
                                                 .n_ancestor = j->record.n_ancestor,
                                                 .n_samples = j->h.mom2_n_samples,
                                                 .dataset = j->h.mom2_dataset,
                                                 .dtype = j->h.mom2_dtype,
                                                 .listener = &j->listener};
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

/* What is read most cheaply comes first: whatever is refused is refused before anything long, and
 * all of it before any pass of the model. */
enum pmet_status pmet_edit_job_open(struct pmet_edit_job *j, struct pmet_error *err)
{
    const double started = pmet_seconds();
    const struct pmet_edit_request *r = &j->request;
    const struct pmet_facts_options options = {r->limit, r->conflicts, r->zsre_alt, r->skip_invalid};
    pmet_session_listen(j->s, &j->listener);
    PMET_TRY(pmet_edit_check_paths(r, j->s->io, j->s->ck->dir, err));
    PMET_TRY(pmet_session_hparams(j->s, j->method->hparams, r->hparams, &j->listener, &j->h, err));
    PMET_TRY(pmet_edit_job_ablate(j, err));
    PMET_TRY(j->method->check(&j->h, j->s->model, err));
    PMET_TRY(pmet_record_read_of(j->s->io, j->s->ck->dir, j->s->fingerprint, &j->s->parts, &j->listener,
                                 &j->record, err));
    PMET_TRY(open_editor(j, err));
    if (r->stats)
        PMET_TRY(open_moments(j, err));
    PMET_TRY(pmet_edit_job_contexts_find(j, err));
    PMET_TRY(pmet_facts_load(j->s->io, r->facts, options, &j->facts, err));
    PMET_TRY(pmet_hparams_check_batch(&j->h, j->facts.n_fact, err));
    PMET_TRY(pmet_edit_job_rows(j, err));
    j->s_load = pmet_seconds() - started;
    return PMET_OK;
}

/* SPDX-License-Identifier: MIT
 * The contexts of an edit, given, kept in the work folder or yet to be written by the model, and the
 * rows that they make with the facts.      SPEC §4.2, §9.11 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ref/eval/generate.h"
#include "ref/event.h"
#include "ref/job/edit.h"
#include "tensors/sha256.h"

/* WORK/contexts-SEED-MODEL.json; *out NULL without a work folder. free() releases it. */
static enum pmet_status path_of(const struct pmet_edit_job *j, char **out, struct pmet_error *err)
{
    char name[96];
    *out = NULL;
    if (!j->request.work)
        return PMET_OK;
    snprintf(name, sizeof name, "contexts-%s%llu-%.16s.json", j->h.n_length > 0 ? "rome-" : "",
             (unsigned long long)j->request.seed, j->s->fingerprint);
    return pmet_path_join(j->request.work, name, out, err);
}

static void digest(struct pmet_edit_job *j)
{
    struct pmet_sha256 sha;
    char start[32];
    pmet_sha256_begin(&sha);
    for (size_t i = 0; i < j->contexts.n_template; i++)
        pmet_sha256_add(&sha, j->contexts.text[i], strlen(j->contexts.text[i]) + 1);
    for (size_t g = 0; g < j->contexts.n_group; g++)
        pmet_sha256_add(&sha, start,
                        (size_t)snprintf(start, sizeof start, "%zu,", j->contexts.group_start[g + 1]));
    pmet_sha256_hex(&sha, j->contexts_sha256);
}

enum pmet_status pmet_edit_job_contexts_find(struct pmet_edit_job *j, struct pmet_error *err)
{
    const struct pmet_io *io = j->s->io;
    char *path = NULL;
    enum pmet_status status;
    if (j->request.contexts) {
        PMET_TRY(pmet_contexts_load(io, j->request.contexts, &j->contexts, err));
        digest(j);
        return PMET_OK;
    }
    PMET_TRY(path_of(j, &path, err));
    j->contexts_made = true;
    j->contexts_to_write = !path || access(path, F_OK) != 0;
    status = j->contexts_to_write ? pmet_contexts_bound(j->s->tk, &j->h, &j->contexts, err)
                                  : pmet_contexts_load(io, path, &j->contexts, err);
    free(path);
    if (status == PMET_OK && !j->contexts_to_write)
        digest(j);
    return status;
}

static enum pmet_status keep(const struct pmet_edit_job *j, struct pmet_error *err)
{
    char *path;
    PMET_TRY(path_of(j, &path, err));
    const enum pmet_status status = path ? pmet_contexts_save(j->s->io, path, &j->contexts, err) : PMET_OK;
    free(path);
    return status;
}

enum pmet_status pmet_edit_job_contexts_write(struct pmet_edit_job *j, struct pmet_error *err)
{
    if (!j->contexts_to_write)
        return PMET_OK;
    pmet_contexts_free(&j->contexts);
    PMET_TRY(pmet_contexts_generate(j->s->model, j->s->tk, &j->h, j->request.seed, &j->listener, &j->contexts,
                                    err));
    j->contexts_to_write = false;
    digest(j);
    PMET_TRY(keep(j, err));
    return pmet_edit_job_rows(j, err);
}

/* ---- rows ---- */

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

void pmet_edit_job_free_rows(struct pmet_edit_job *j)
{
    for (size_t i = 0; j->rows && i < j->facts.n_fact; i++)
        pmet_rows_free(&j->rows[i]);
    free(j->rows);
    j->rows = NULL;
}

/* A fact's rows; `bound`: of contexts that stand for those to be written, so that no row is refused
 * for what they hold, and none counts more tokens than the model takes. */
static enum pmet_status make_rows(const struct pmet_edit_job *j, size_t i, bool bound, struct pmet_error *err)
{
    static char plain_text[] = "{}";
    static char *plain_texts[] = {plain_text};
    static size_t plain_start[] = {0, 1};
    const struct pmet_contexts plain = {1, 1, plain_start, plain_texts};
    const struct pmet_config *config = &j->s->model->config;
    struct pmet_rows_options options = {j->facts.path, config->n_ctx, config->n_vocab, j->request.strict,
                                        j->method->kl_prompt};
    const struct pmet_fact *f = &j->facts.fact[i];
    struct pmet_fact_rows *rows = &j->rows[i];
    if (!bound)
        return pmet_rows_build(j->s->tk, f, &j->contexts, &options, true, rows, err);
    PMET_TRY(pmet_rows_build(j->s->tk, f, &plain, &options, true, rows, err)); /* what is certain */
    pmet_rows_free(rows);
    options.n_ctx = SIZE_MAX;
    PMET_TRY(pmet_rows_build(j->s->tk, f, &j->contexts, &options, true, rows, err));
    for (size_t b = 0; b < rows->n_row; b++) {
        struct pmet_row *row = &rows->row[b];
        row->n_tok = row->n_tok < config->n_ctx ? row->n_tok : config->n_ctx;
        row->lookup_idx = row->lookup_idx < row->n_tok ? row->lookup_idx : row->n_tok - 1;
    }
    return PMET_OK;
}

enum pmet_status pmet_edit_job_rows(struct pmet_edit_job *j, struct pmet_error *err)
{
    const size_t n = j->facts.n_fact;
    pmet_edit_job_free_rows(j);
    PMET_TRY(pmet_calloc(&j->rows, n, sizeof *j->rows, "rows", err));
    for (size_t i = 0; i < j->facts.n_fact;) {
        PMET_TRY(pmet_raise_progress(&j->listener, PMET_PHASE_ROWS, i, n, err));
        const enum pmet_status status = make_rows(j, i, j->contexts_to_write, err);
        if (status == PMET_OK)
            i++;
        else if (j->request.skip_invalid && pmet_skipped_may(status) && j->facts.n_fact > 1)
            PMET_TRY(pmet_facts_skip(&j->facts, i, err));
        else
            return status;
    }
    PMET_TRY(pmet_raise_progress(&j->listener, PMET_PHASE_ROWS, n, n, err));
    pmet_skipped_note(&j->facts.skipped, j->facts.path, &j->listener);
    if (!j->contexts_to_write)
        note_odd_facts(j);
    j->editor.rows = j->rows;
    return PMET_OK;
}

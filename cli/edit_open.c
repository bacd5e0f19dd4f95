/* SPDX-License-Identifier: MIT
 * The inputs of an edit, checked before the work starts: a file that is missing must not be found missing
 * after hours of optimising. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/edit_job.h"
#include "ref/eval/generate.h"
#include "tensors/sha256.h"

enum pmet_status edit_check_paths(const struct edit_job *j, struct pmet_error *err)
{
    const struct {
        const char *path, *what;
    } read[] = {{j->model, "--model"},
                {j->facts_path, "--facts"},
                {j->stats, "--stats"},
                {j->hparams_path, "--hparams"},
                {j->contexts_path, "--contexts"}};
    for (size_t i = 0; i < COUNT_OF(read); i++) {
        PMET_TRY(check_apart(j->out, read[i].path, read[i].what, err));
        PMET_TRY(check_apart(j->trace, read[i].path, read[i].what, err));
    }
    PMET_TRY(check_apart(j->work, j->model, "--model", err));
    return j->out && !j->dry_run ? check_new(j->out, j->force, err) : PMET_OK;
}

enum pmet_module edit_matrix_name(const struct edit_job *j, size_t k, char *name, size_t size)
{
    const char *tmpl = j->h.rewrite_module_tmps[k % j->h.n_module],
               *attn = pmet_module_template(j->s.model->config.family, PMET_MODULE_ATTN);
    pmet_module_name(name, size, tmpl, j->h.layers[k / j->h.n_module]);
    return strcmp(tmpl, attn) == 0 ? PMET_MODULE_ATTN : PMET_MODULE_MLP;
}

/* Fingerprints of the models this one was edited from. A record that does not fit the weights says nothing.
 */
static enum pmet_status take_ancestors(struct edit_job *j, struct pmet_error *err)
{
    PMET_TRY(record_read(j->c->io, j->model, &j->record, err));
    if (j->record.json && strcmp(j->record.fingerprint, j->s.fingerprint) != 0) {
        say_warning(j->c, "%s/" RECORD_FILE ": was written for other weights; it is not used", j->model);
        record_free(&j->record);
    }
    PMET_TRY(pmet_calloc(&j->ancestor, j->record.n_ancestor + 1, sizeof *j->ancestor, "ancestors", err));
    for (size_t i = 0; i < j->record.n_ancestor; i++)
        j->ancestor[j->n_ancestor++] = j->record.ancestor[i];
    return PMET_OK;
}

static enum pmet_status take_contexts(struct edit_job *j, struct pmet_error *err)
{
    struct pmet_sha256 sha;
    char *path;
    if (j->contexts_path) {
        PMET_TRY(pmet_contexts_load(j->c->io, j->contexts_path, &j->contexts, err));
    } else {
        PMET_TRY(pmet_contexts_generate(j->s.model, j->s.tk, j->c->seed, &j->contexts, err));
        j->contexts_made = true;
    }
    pmet_sha256_begin(&sha);
    for (size_t i = 0; i < j->contexts.n_template; i++)
        pmet_sha256_add(&sha, j->contexts.text[i], strlen(j->contexts.text[i]) + 1);
    for (size_t g = 0; g < j->contexts.n_group; g++) {
        char start[32];
        pmet_sha256_add(&sha, start,
                        (size_t)snprintf(start, sizeof start, "%zu,", j->contexts.group_start[g + 1]));
    }
    pmet_sha256_hex(&sha, j->contexts_sha256);
    if (!j->contexts_made || !j->work || j->dry_run)
        return PMET_OK;
    if (j->c->io->mkdir(j->c->io->user, j->work, 0777) != 0 && access(j->work, F_OK) != 0)
        return pmet_fail_errno(err, j->work, "create");
    PMET_TRY(pmet_path_join(j->work, CONTEXTS_FILE, &path, err));
    const enum pmet_status status = pmet_contexts_save(j->c->io, path, &j->contexts, err);
    free(path);
    return status;
}

static enum pmet_status build_rows(struct edit_job *j, struct pmet_error *err)
{
    const struct pmet_config *config = &j->s.model->config;
    const struct pmet_rows_options options = {j->facts.path, config->n_ctx, config->n_vocab, j->strict};
    PMET_TRY(pmet_calloc(&j->rows, j->facts.n_fact, sizeof *j->rows, "rows", err));
    for (size_t i = 0; i < j->facts.n_fact; i++)
        PMET_TRY(pmet_rows_build(j->s.tk, &j->facts.fact[i], &j->contexts, &options, &j->rows[i], err));
    return PMET_OK;
}

static enum pmet_status load_cov(const struct edit_job *j, const char *module, size_t d_in, double **out,
                                 size_t *count, enum pmet_stats_origin *origin, struct pmet_error *err)
{
    return pmet_stats_load(j->c->io, j->stats, module, d_in, j->s.fingerprint, j->ancestor, j->n_ancestor,
                           out, count, origin, err);
}

/* Reads every moment once to check it, and keeps those that a quarter of the memory holds. */
static enum pmet_status check_stats(struct edit_job *j, struct pmet_error *err)
{
    size_t kept = 0, n_base = 0, n_unverified = 0;
    j->n_cov = j->h.n_layer * j->h.n_module;
    PMET_TRY(pmet_calloc(&j->cov, j->n_cov, sizeof *j->cov, "statistics", err));
    PMET_TRY(pmet_calloc(&j->origin, j->n_cov, sizeof *j->origin, "statistics", err));
    PMET_TRY(pmet_calloc(&j->cov_count, j->n_cov, sizeof *j->cov_count, "statistics", err));
    for (size_t k = 0; k < j->n_cov; k++) {
        char name[160];
        const enum pmet_module module = edit_matrix_name(j, k, name, sizeof name);
        const size_t d_in = pmet_model_module(j->s.model, module, j->h.layers[k / j->h.n_module])->n_in;
        PMET_TRY(check_stop(err));
        PMET_TRY(load_cov(j, name, d_in, &j->cov[k], &j->cov_count[k], &j->origin[k], err));
        n_base += j->origin[k] == PMET_STATS_OF_BASE;
        n_unverified += j->origin[k] == PMET_STATS_UNVERIFIED;
        if (kept + 8 * d_in * d_in > j->memory / 4) {
            free(j->cov[k]);
            j->cov[k] = NULL;
        } else {
            kept += 8 * d_in * d_in;
        }
    }
    if (n_base > 0)
        say_note(j->c, "%s: statistics of a model that this one was edited from", j->stats);
    if (n_unverified > 0)
        say_warning(j->c, "%s: %zu of %zu statistics are .npz files, which name no model: unverified",
                    j->stats, n_unverified, j->n_cov);
    return PMET_OK;
}

enum pmet_status edit_cov(void *user, const char *module, size_t d_in, double **out, struct pmet_error *err)
{
    struct edit_job *j = user;
    enum pmet_stats_origin origin;
    size_t count;
    for (size_t k = 0; k < j->n_cov; k++) {
        char name[160];
        edit_matrix_name(j, k, name, sizeof name);
        if (j->cov[k] && strcmp(name, module) == 0) {
            *out = j->cov[k];
            j->cov[k] = NULL;
            return PMET_OK;
        }
    }
    return load_cov(j, module, d_in, out, &count, &origin, err);
}

enum pmet_status edit_open(struct edit_job *j, struct pmet_error *err)
{
    const double started = seconds_now();
    const struct pmet_facts_options options = {j->limit, (enum pmet_conflicts)j->conflicts, j->zsre == 1};
    struct stat st;
    if (j->stats && (stat(j->stats, &st) != 0 || !S_ISDIR(st.st_mode)))
        return pmet_fail(err, PMET_INPUT,
                         "%s: found no folder; expected the statistics that pmet stats writes", j->stats);
    PMET_TRY(pmet_facts_load(j->c->io, j->facts_path, options, &j->facts, err));
    PMET_TRY(session_open(j->c, j->model, &j->s, err));
    PMET_TRY(session_hparams(&j->s, j->c, j->hparams_path, &j->h, &j->tmpl, err));
    PMET_TRY(pmet_hparams_check(&j->h, j->s.model, err));
    PMET_TRY(take_ancestors(j, err));
    PMET_TRY(take_contexts(j, err));
    PMET_TRY(build_rows(j, err));
    j->s_load = seconds_now() - started;
    if (j->stats)
        PMET_TRY(check_stats(j, err));
    j->s_stats = seconds_now() - started - j->s_load;
    return PMET_OK;
}

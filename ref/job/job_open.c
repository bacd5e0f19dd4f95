/* SPDX-License-Identifier: MIT
 * The inputs of an edit, checked before the work starts: a file that is missing must not be found missing
 * after hours of optimising. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ref/job/job.h"
#include "ref/eval/generate.h"
#include "tensors/sha256.h"

static enum pmet_status check_paths(const struct pmet_job *j, struct pmet_error *err)
{
    const struct pmet_edit_request *r = &j->request;
    const struct {
        const char *path, *what;
    } read[] = {{pmet_checkpoint_dir(j->s->ck), "the model"},
                {r->facts, "the facts"},
                {r->stats, "the statistics"},
                {r->hparams, "the hyper-parameters"},
                {r->contexts, "the contexts"},
                {r->work, "the work folder"}};
    struct stat st;
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        PMET_TRY(pmet_check_apart(r->out, read[i].path, read[i].what, err));
    PMET_TRY(pmet_check_apart(r->work, read[0].path, read[0].what, err));
    PMET_TRY(pmet_check_apart(r->work, r->stats, "the statistics", err));
    if (r->stats && (stat(r->stats, &st) != 0 || !S_ISDIR(st.st_mode)))
        return pmet_fail(err, PMET_INPUT,
                         "%s: found no folder; expected the statistics that pmet stats writes", r->stats);
    return r->out ? pmet_check_new(r->out, r->force, err) : PMET_OK;
}

enum pmet_module pmet_job_matrix(const struct pmet_job *j, size_t k, char *name, size_t size)
{
    const size_t q = k % j->h.n_module;
    pmet_module_name(name, size, j->h.rewrite_module_tmps[q], j->h.layers[k / j->h.n_module]);
    return pmet_hparams_module(&j->h, j->s->model, q);
}

/* Fingerprints of the models this one was edited from. A record that does not fit the weights says nothing.
 */
static enum pmet_status take_ancestors(struct pmet_job *j, struct pmet_error *err)
{
    PMET_TRY(pmet_record_read(j->s->io, pmet_checkpoint_dir(j->s->ck), &j->record, err));
    if (j->record.json && strcmp(j->record.fingerprint, j->s->fingerprint) != 0) {
        pmet_note(&j->watch, true, "%s/" PMET_RECORD_FILE ": was written for other weights; it is not used",
                  pmet_checkpoint_dir(j->s->ck));
        pmet_record_free(&j->record);
    }
    PMET_TRY(pmet_calloc(&j->ancestor, j->record.n_ancestor + 1, sizeof *j->ancestor, "ancestors", err));
    for (size_t i = 0; i < j->record.n_ancestor; i++)
        j->ancestor[j->n_ancestor++] = j->record.ancestor[i];
    return PMET_OK;
}

static enum pmet_status take_contexts(struct pmet_job *j, struct pmet_error *err)
{
    struct pmet_sha256 sha;
    if (j->request.contexts) {
        PMET_TRY(pmet_contexts_load(j->s->io, j->request.contexts, &j->contexts, err));
    } else {
        bool known = false;
        if (j->request.work)
            PMET_TRY(pmet_work_contexts(j, &known, err));
        if (!known)
            PMET_TRY(pmet_contexts_generate(j->s->model, j->s->tk, j->request.seed, &j->contexts, err));
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
    return PMET_OK;
}

static enum pmet_status build_rows(struct pmet_job *j, struct pmet_error *err)
{
    const struct pmet_config *config = &j->s->model->config;
    const struct pmet_rows_options options = {j->facts.path, config->n_ctx, config->n_vocab,
                                              j->request.strict};
    PMET_TRY(pmet_calloc(&j->rows, j->facts.n_fact, sizeof *j->rows, "rows", err));
    for (size_t i = 0; i < j->facts.n_fact; i++)
        PMET_TRY(pmet_rows_build(j->s->tk, &j->facts.fact[i], &j->contexts, &options, &j->rows[i], err));
    return PMET_OK;
}

static enum pmet_status load_cov(const struct pmet_job *j, const char *module, size_t d_in, double **out,
                                 size_t *count, enum pmet_stats_origin *origin, struct pmet_error *err)
{
    return pmet_stats_load(j->s->io, j->request.stats, module, d_in, j->s->fingerprint, j->ancestor,
                           j->n_ancestor, out, count, origin, err);
}

/* Tells matrices apart: FNV-1a over words. */
static uint64_t sum_bits(const double *x, size_t n)
{
    uint64_t sum = 0xcbf29ce484222325;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        sum = (sum ^ bits) * 0x100000001b3;
    }
    return sum;
}

/* Reads every moment once to check it, and keeps those that a quarter of the memory holds. */
static enum pmet_status check_stats(struct pmet_job *j, struct pmet_error *err)
{
    size_t kept = 0, n_base = 0, n_unverified = 0;
    j->n_cov = j->h.n_layer * j->h.n_module;
    PMET_TRY(pmet_calloc(&j->cov, j->n_cov, sizeof *j->cov, "statistics", err));
    PMET_TRY(pmet_calloc(&j->origin, j->n_cov, sizeof *j->origin, "statistics", err));
    PMET_TRY(pmet_calloc(&j->cov_sum, j->n_cov, sizeof *j->cov_sum, "statistics", err));
    PMET_TRY(pmet_calloc(&j->cov_count, j->n_cov, sizeof *j->cov_count, "statistics", err));
    for (size_t k = 0; k < j->n_cov; k++) {
        char name[160];
        bool has_factor;
        const enum pmet_module module = pmet_job_matrix(j, k, name, sizeof name);
        const size_t d_in = pmet_model_module(j->s->model, module, j->h.layers[k / j->h.n_module])->n_in;
        if (j->watch.progress && j->watch.progress(j->watch.user, PMET_PHASE_STATS, k, j->n_cov))
            return pmet_fail(err, PMET_INTERRUPTED, "interrupted; nothing is written");
        PMET_TRY(load_cov(j, name, d_in, &j->cov[k], &j->cov_count[k], &j->origin[k], err));
        PMET_TRY(pmet_stats_factor(j->s->io, j->request.stats, name, d_in, &has_factor, NULL, err));
        if (j->request.work)
            j->cov_sum[k] = sum_bits(j->cov[k], d_in * d_in) + has_factor; /* another way, other bits */
        n_base += j->origin[k] == PMET_STATS_OF_BASE;
        n_unverified += j->origin[k] == PMET_STATS_UNVERIFIED;
        if (kept + 8 * d_in * d_in > j->request.max_bytes / 4) {
            free(j->cov[k]);
            j->cov[k] = NULL;
        } else {
            kept += 8 * d_in * d_in;
        }
    }
    j->request.max_bytes -= kept; /* a quarter at most */
    if (n_base > 0)
        pmet_note(&j->watch, false, "%s: statistics of a model that this one was edited from",
                  j->request.stats);
    if (n_unverified > 0)
        pmet_note(&j->watch, true,
                  "%s: %zu of %zu statistics are .npz files, which name no model: unverified",
                  j->request.stats, n_unverified, j->n_cov);
    return PMET_OK;
}

enum pmet_status pmet_job_cov(void *user, const char *module, size_t d_in, double **out,
                              struct pmet_error *err)
{
    struct pmet_job *j = user;
    enum pmet_stats_origin origin;
    size_t count;
    for (size_t k = 0; k < j->n_cov; k++) {
        char name[160];
        pmet_job_matrix(j, k, name, sizeof name);
        if (j->cov[k] && strcmp(name, module) == 0) {
            *out = j->cov[k];
            j->cov[k] = NULL;
            return PMET_OK;
        }
    }
    return load_cov(j, module, d_in, out, &count, &origin, err);
}

enum pmet_status pmet_job_factor(void *user, const char *module, size_t d_in, double **out,
                                 struct pmet_error *err)
{
    const struct pmet_job *j = user;
    bool has;
    *out = NULL;
    return pmet_stats_factor(j->s->io, j->request.stats, module, d_in, &has, out, err);
}

/* Facts whose tokens do not line up, and what the reader of facts did. */
static void tell_odd(const struct pmet_job *j)
{
    for (size_t i = 0; i < j->facts.n_fact; i++) {
        const struct pmet_fact *f = &j->facts.fact[i];
        const struct pmet_fact_rows *r = &j->rows[i];
        if (r->odd_lookup || r->odd_target)
            pmet_note(&j->watch, true,
                      "%s: line %zu: \"%s\": %s not where the whole row's tokens are; computed as published "
                      "(--strict refuses)",
                      j->facts.path, f->line, f->subject,
                      !r->odd_target   ? "the lookup token is"
                      : !r->odd_lookup ? "the target's labels are"
                                       : "the lookup token and the target's labels are");
    }
    if (j->facts.n_shared_subject > 0)
        pmet_note(&j->watch, false, "%zu facts share their subject with another", j->facts.n_shared_subject);
    if (j->facts.n_dropped > 0)
        pmet_note(&j->watch, false, "%zu facts dropped: they contradict another (--conflicts)",
                  j->facts.n_dropped);
}

enum pmet_status pmet_job_open(struct pmet_job *j, struct pmet_error *err)
{
    const double started = pmet_seconds();
    const struct pmet_edit_request *r = &j->request;
    const struct pmet_facts_options options = {r->limit, r->conflicts, r->zsre_alt};
    size_t n_free, n_all;
    pmet_host_memory(&n_free, &n_all);
    j->solve_bytes = j->request.max_bytes ? j->request.max_bytes : n_all / 2;
    if (j->request.max_bytes == 0)
        j->request.max_bytes = n_free / 4 * 3;
    PMET_TRY(check_paths(j, err));
    PMET_TRY(pmet_facts_load(j->s->io, r->facts, options, &j->facts, err));
    PMET_TRY(pmet_session_hparams(j->s, r->hparams, &j->h, &j->tmpl, err));
    PMET_TRY(pmet_hparams_check(&j->h, j->s->model, err));
    PMET_TRY(take_ancestors(j, err));
    PMET_TRY(take_contexts(j, err));
    PMET_TRY(build_rows(j, err));
    tell_odd(j);
    PMET_TRY(pmet_job_plan_device(j, err));
    j->s_load = pmet_seconds() - started;
    if (r->stats)
        PMET_TRY(check_stats(j, err));
    j->s_stats = pmet_seconds() - started - j->s_load;
    return PMET_OK;
}

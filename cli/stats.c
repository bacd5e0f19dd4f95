/* SPDX-License-Identifier: MIT
 * pmet stats. */
#include "ref/method/flop.h"
#include "ref/method/pmet_edit.h"
#include "ref/method/stats_work.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/tensor_list.h"

enum { CHECK_ROWS = 24 }; /* rows of a moment in a trace, as in the goldens */

struct job {
    const struct cli *c;
    const char *model, *out, *hparams, *layers, *trace, *work;
    struct texts texts;
    size_t n_samples, max_length, layer[PMET_MAX_EDIT_LAYERS];
    bool attn, force, json, committed; /* the folder stands; its trace may not */
    struct pmet_session *s;
    struct pmet_docs *docs;
    struct pmet_outdir *dir;
    struct pmet_stats_work *kept;
    struct pmet_stats stats;
    struct pmet_stats_options options;
    struct tensor_list list;
    struct progress progress;
    char *tmpl;
    double s_load, s_stats, s_write;
};

static int watch(void *user, size_t done, size_t total)
{
    return progress_update(user, done, total);
}

/* "3,4,5" */
static enum pmet_status parse_layers(struct job *j, struct pmet_error *err)
{
    const char *at = j->layers;
    size_t n = 0;
    for (;;) {
        char *end;
        errno = 0;
        const unsigned long long l = strtoull(at, &end, 10);
        if (!isdigit((unsigned char)*at) || errno || (*end && *end != ',') || n == PMET_MAX_EDIT_LAYERS ||
            (n > 0 && l <= j->layer[n - 1]))
            return pmet_fail(err, PMET_INPUT,
                             "--layers: found \"%s\"; expected ascending layers such as 3,4,5", j->layers);
        j->layer[n++] = (size_t)l;
        if (!*end)
            break;
        at = end + 1;
    }
    j->options.n_layer = n;
    return PMET_OK;
}

/* Layers, modules and samples: from the options, then the hyper-parameters. */
static enum pmet_status settle(struct job *j, struct pmet_error *err)
{
    const struct pmet_config *config = &j->s->model->config;
    struct pmet_stats_options *o = &j->options;
    struct pmet_hparams h = {0};
    o->layers = j->layer;
    if (j->layers)
        PMET_TRY(parse_layers(j, err));
    if (j->hparams || !j->layers) {
        PMET_TRY(pmet_session_hparams(j->s, j->hparams, &h, &j->tmpl, err));
        if (!j->layers) {
            memcpy(j->layer, h.layers, h.n_layer * sizeof *h.layers);
            o->n_layer = h.n_layer;
        }
    }
    if (j->layer[o->n_layer - 1] >= config->n_layer)
        return pmet_fail(err, PMET_INPUT, "%s%s: found %zu; the model's last is %zu",
                         j->layers ? "--layers" : j->hparams, j->layers ? "" : ": layers",
                         j->layer[o->n_layer - 1], config->n_layer - 1);
    for (size_t q = 0; q < h.n_module; q++)
        j->attn |= pmet_hparams_module(&h, j->s->model, q) == PMET_MODULE_ATTN;
    o->attn = j->attn;
    o->n_samples = j->n_samples ? j->n_samples : h.mom2_n_samples;
    o->max_length = j->max_length;
    o->seed = (uint32_t)j->c->seed;
    return PMET_OK;
}

static enum pmet_status trace_moment(struct job *j, const struct pmet_moment *m, struct pmet_error *err)
{
    const size_t n = m->d_in, rows = n < CHECK_ROWS ? n : CHECK_ROWS;
    const size_t full[2] = {n, n}, some[2] = {rows, n}, two[1] = {2};
    char module[160], name[200];
    real *diag = NULL;
    double *sums = NULL;
    pmet_module_name(module, sizeof module, pmet_module_template(j->s->model->config.family, m->module),
                     m->layer);
    snprintf(name, sizeof name, "cov.%s", module);
    PMET_TRY(list_copy(&j->list, name, PMET_REAL, 2, full, m->mom2, err));
    snprintf(name, sizeof name, "cov_rows.%s", module);
    PMET_TRY(list_copy(&j->list, name, PMET_REAL, 2, some, m->mom2, err));
    snprintf(name, sizeof name, "cov_diag.%s", module);
    PMET_TRY(list_add(&j->list, name, PMET_REAL, 1, full, &diag, err));
    snprintf(name, sizeof name, "cov_norm_trace.%s", module);
    PMET_TRY(list_add(&j->list, name, PMET_F64, 1, two, &sums, err));
    for (size_t i = 0; i < n; i++) {
        diag[i] = m->mom2[i * n + i];
        sums[1] += (double)diag[i];
    }
    for (size_t i = 0; i < n * n; i++)
        sums[0] += (double)m->mom2[i] * (double)m->mom2[i];
    sums[0] = sqrt(sums[0]);
    return PMET_OK;
}

static enum pmet_status write_all(struct job *j, struct pmet_error *err)
{
    PMET_TRY(pmet_stats_write(j->c->io, pmet_outdir_path(j->dir), j->s->model, &j->stats, &j->options,
                              j->s->fingerprint, pmet_docs_sha256(j->docs), err));
    for (size_t i = 0; j->options.factor && i < j->stats.n_moment; i++)
        if (!j->stats.moment[i].factored)
            say_warning(j->c, PMET_NO_FACTOR, j->stats.moment[i].layer, j->stats.moment[i].pivot,
                        j->stats.moment[i].d_in, j->stats.moment[i].value);
    struct pmet_outdir *dir = j->dir;
    j->dir = NULL;
    PMET_TRY(pmet_outdir_commit(dir, err));
    j->committed = true;
    if (j->kept)
        pmet_stats_work_discard(j->kept);
    return PMET_OK;
}

static enum pmet_status write_trace(struct job *j, struct pmet_error *err)
{
    for (size_t i = 0; i < j->stats.n_moment; i++)
        PMET_TRY(trace_moment(j, &j->stats.moment[i], err));
    PMET_TRY(list_write(&j->list, j->c->io, j->trace, err));
    if (!j->json)
        printf("%s: %zu tensors\n", j->trace, j->list.n);
    return PMET_OK;
}

static enum pmet_status check_paths(const struct job *j, struct pmet_error *err)
{
    PMET_TRY(pmet_check_apart(j->out, j->model, "--model", err));
    PMET_TRY(pmet_check_apart(j->out, j->hparams, "--hparams", err));
    PMET_TRY(pmet_check_apart(j->out, j->work, "--work", err));
    PMET_TRY(pmet_check_apart(j->work, j->model, "--model", err));
    PMET_TRY(pmet_check_apart(j->trace, j->model, "--model", err));
    PMET_TRY(pmet_check_apart(j->trace, j->hparams, "--hparams", err));
    for (size_t i = 0; i < j->texts.n; i++) {
        PMET_TRY(pmet_check_apart(j->out, j->texts.item[i], "--text", err));
        PMET_TRY(pmet_check_apart(j->trace, j->texts.item[i], "--text", err));
    }
    PMET_TRY(pmet_check_writable(j->trace, err));
    return pmet_check_new(j->out, j->force, err);
}

static enum pmet_status collect(struct job *j, struct pmet_error *err)
{
    const double started = pmet_seconds();
    PMET_TRY(check_paths(j, err));
    PMET_TRY(session_open(j->c, j->model, &j->s, err));
    PMET_TRY(settle(j, err));
    PMET_TRY(pmet_docs_open(j->c->io, j->texts.item, j->texts.n, &j->docs, err));
    if (j->options.n_samples > pmet_docs_count(j->docs))
        say_warning(j->c, "found %zu documents; %zu were asked for: all are taken", pmet_docs_count(j->docs),
                    j->options.n_samples);
    if (j->work)
        PMET_TRY(pmet_stats_work_open(j->c->io, j->work, j->s->fingerprint, pmet_docs_sha256(j->docs),
                                      &j->kept, err));
    j->options.work = j->kept;
    PMET_TRY(pmet_outdir_begin(j->c->io, j->out, j->force, &j->dir, err));
    j->s_load = pmet_seconds() - started;
    progress_begin(&j->progress, j->c, "statistics", "documents");
    const enum pmet_status status =
        pmet_stats_collect(j->s->model, j->s->tk, j->docs, &j->options, watch, &j->progress, &j->stats, err);
    progress_end(&j->progress);
    PMET_TRY(status);
    j->s_stats = pmet_seconds() - started - j->s_load;
    PMET_TRY(write_all(j, err));
    j->s_write = pmet_seconds() - started - j->s_load - j->s_stats;
    return PMET_OK;
}

static void report(const struct job *j)
{
    if (j->json) {
        json_t *moments = json_array();
        for (size_t i = 0; i < j->stats.n_moment; i++) {
            char name[160];
            pmet_module_name(name, sizeof name,
                             pmet_module_template(j->s->model->config.family, j->stats.moment[i].module),
                             j->stats.moment[i].layer);
            json_array_append_new(moments, json_string(name));
        }
        print_json(json_pack("{s:s, s:o, s:I, s:I, s:I, s:s, s:{s:f, s:f, s:f}, s:{s:f}, s:I}", "out", j->out,
                             "modules", moments, "documents", (json_int_t)j->stats.n_docs, "used",
                             (json_int_t)j->stats.n_used, "tokens", (json_int_t)j->stats.count, "fingerprint",
                             j->s->fingerprint, "seconds", "load", j->s_load, "stats", j->s_stats, "write",
                             j->s_write, "gflop", "stats",
                             pmet_stats_flop(&j->s->model->config, &j->stats) * 1e-9, "peak_memory_bytes",
                             (json_int_t)peak_memory()));
        return;
    }
    printf("%s: second moments of %zu modules, from %zu tokens of %zu documents (of %zu)\n", j->out,
           j->stats.n_moment, j->stats.count, j->stats.n_used, j->stats.n_docs);
}

int run_stats(struct cli *c, const struct command *self, int argc, char **argv)
{
    struct job j = {.c = c};
    const struct option_row rows[] = {
        {"model", 0, OPTION_TEXT, &j.model, "DIR", "the checkpoint, before any edit", true},
        {"text", 0, OPTION_TEXTS, &j.texts, "FILE...", "the documents", true},
        {"out", 'o', OPTION_TEXT, &j.out, "DIR", "the folder to write", true},
        {"hparams", 0, OPTION_TEXT, &j.hparams, "FILE",
         "layers, modules and samples (default: built in for GPT-J-6B and NeoX-20B)", false},
        {"layers", 0, OPTION_TEXT, &j.layers, "L,L,...", "layers, instead of the hyper-parameters'", false},
        {"attn", 0, OPTION_FLAG, &j.attn, NULL, "the attention's output matrices, too", false},
        {"samples", 0, OPTION_COUNT, &j.n_samples, "N",
         "documents, drawn by --seed (default: the hyper-parameters', else all)", false},
        {"max-length", 0, OPTION_COUNT, &j.max_length, "N",
         "tokens of a document at most (default: what the model takes)", false},
        {"work", 0, OPTION_TEXT, &j.work, "DIR",
         "keep sums on the way: after a stop or a kill the same command goes on", false},
        {"factor", 0, OPTION_FLAG, &j.options.factor, NULL,
         "the Cholesky factor of each, too: edits of few facts are solved with it", false},
        {"trace", 0, OPTION_TEXT, &j.trace, "FILE", "the moments as one safetensors file, too", false},
        {"json", 0, OPTION_FLAG, &j.json, NULL, "one JSON object as the result", false},
        {"force", 0, OPTION_FLAG, &j.force, NULL, "replace --out if it exists", false},
    };
    struct pmet_error err = {PMET_OK, ""};
    struct texts more = {0};
    int status = options_parse(c, self, rows, COUNT_OF(rows), argc, argv, &more);
    for (size_t i = 0; status < 0 && i < more.n; i++)
        if (!texts_add(&j.texts, more.item[i]))
            status = say_usage(c, "--text: out of memory");
    if (status < 0 && c->seed > UINT32_MAX)
        status = say_usage(c, "--seed: found %zu; expected at most %u", c->seed, UINT32_MAX);
    if (status < 0) {
        bool done = collect(&j, &err) == PMET_OK;
        if (done) {
            report(&j);
            done = !j.trace || write_trace(&j, &err) == PMET_OK;
        }
        if (!done && j.committed)
            snprintf(c->kept, sizeof c->kept, "%s is written, %s is not", j.out, j.trace);
        else if (!done && j.kept)
            snprintf(c->kept, sizeof c->kept, "%s keeps %zu documents: the same command goes on from there",
                     j.work, pmet_stats_work_kept(j.kept));
        status = done ? EXIT_DONE : say_failed(c, &err);
        if (!done && j.tmpl)
            fprintf(stderr, "A file to start from (weights scaled for a large model: tune them):\n%s",
                    j.tmpl);
    }
    pmet_outdir_discard(j.dir);
    pmet_stats_work_close(j.kept);
    pmet_stats_free(&j.stats);
    pmet_docs_close(j.docs);
    list_free(&j.list);
    pmet_session_close(j.s);
    free(j.tmpl);
    texts_free(&j.texts);
    texts_free(&more);
    return status;
}

/* SPDX-License-Identifier: MIT
 * pmet stats. */
#include "ref/method/needs.h"
#include "ref/job/stats_job.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cli/kinds.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/tensor_list.h"
#include "tensors/json.h"

enum {
    CHECK_ROWS = 24, /* rows of a moment in a trace, as in the goldens */
    MIB = 1 << 20
};

struct stats {
    const struct cli *c;
    const char *model, *layers, *trace;
    struct texts texts;
    bool json, committed; /* the folder stands; its trace may not */
    struct pmet_session *s;
    struct pmet_stats_job job;
    struct tensor_list list;
    struct progress progress;
    double s_load, s_stats, s_write;
};

static enum pmet_status on_event(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    struct stats *x = user;
    (void)err;
    if (event->kind == PMET_EVENT_PROGRESS && event->phase == PMET_PHASE_TEXT) {
        struct pmet_event mib = *event; /* of bytes; one that has begun counts */
        mib.done = (event->done + MIB - 1) / MIB;
        mib.total = (event->total + MIB - 1) / MIB;
        return progress_event(&x->progress, x->c, "reading text", "MiB", &mib);
    }
    if (x->progress.running && strcmp(x->progress.unit, "MiB") == 0)
        progress_drop(&x->progress);
    if (event->kind == PMET_EVENT_PROGRESS && event->phase == PMET_PHASE_WRITE)
        return progress_event(&x->progress, x->c, "writing", "files", event);
    return progress_event(&x->progress, x->c, "statistics", "documents", event);
}

/* "3,4,5", instead of the hyper-parameters' */
static enum pmet_status parse_layers(struct stats *x, struct pmet_error *err)
{
    struct pmet_stats_job *j = &x->job;
    const size_t last = x->s->model->config.n_layer - 1;
    const char *at = x->layers;
    for (bool more = true; more; at++) {
        char *end;
        errno = 0;
        const unsigned long long l = strtoull(at, &end, 10);
        if (!isdigit((unsigned char)*at) || errno || (*end && *end != ',') ||
            j->n_layer == PMET_MAX_EDIT_LAYERS || (j->n_layer > 0 && l <= j->layer[j->n_layer - 1]))
            return pmet_fail(err, PMET_INPUT,
                             "--layers: found \"%s\"; expected ascending layers such as 3,4,5", x->layers);
        j->layer[j->n_layer++] = (size_t)l;
        more = *end == ',';
        at = end;
    }
    if (j->layer[j->n_layer - 1] > last)
        return pmet_fail(err, PMET_INPUT, "--layers: found %zu; the model's last is %zu",
                         j->layer[j->n_layer - 1], last);
    return PMET_OK;
}

static enum pmet_status trace_moment(struct stats *x, const struct pmet_moment *m, struct pmet_error *err)
{
    const size_t n = m->d_in, rows = n < CHECK_ROWS ? n : CHECK_ROWS;
    const size_t full[2] = {n, n}, some[2] = {rows, n}, two[1] = {2};
    char module[160], name[200];
    real *diag = NULL;
    double *sums = NULL;
    pmet_module_name(module, sizeof module, x->s->model->config.family->module[m->module], m->layer);
    snprintf(name, sizeof name, "cov.%s", module);
    PMET_TRY(list_copy(&x->list, name, PMET_REAL, 2, full, m->mom2, err));
    snprintf(name, sizeof name, "cov_rows.%s", module);
    PMET_TRY(list_copy(&x->list, name, PMET_REAL, 2, some, m->mom2, err));
    snprintf(name, sizeof name, "cov_diag.%s", module);
    PMET_TRY(list_add(&x->list, name, PMET_REAL, 1, full, &diag, err));
    snprintf(name, sizeof name, "cov_norm_trace.%s", module);
    PMET_TRY(list_add(&x->list, name, PMET_F64, 1, two, &sums, err));
    for (size_t i = 0; i < n; i++) {
        diag[i] = m->mom2[i * n + i];
        sums[1] += (double)diag[i];
    }
    for (size_t i = 0; i < n * n; i++)
        sums[0] += (double)m->mom2[i] * (double)m->mom2[i];
    sums[0] = sqrt(sums[0]);
    return PMET_OK;
}

static enum pmet_status write_trace(struct stats *x, struct pmet_error *err)
{
    for (size_t i = 0; i < x->job.stats.n_moment; i++)
        PMET_TRY(trace_moment(x, &x->job.stats.moment[i], err));
    PMET_TRY(list_write(&x->list, x->c->io, x->trace, err));
    if (!x->json)
        print_line("%s: %zu tensors", x->trace, x->list.n);
    return PMET_OK;
}

/* The job checks paths, too, but knows no options; these come before hours of loading. */
static enum pmet_status check_paths(const struct stats *x, struct pmet_error *err)
{
    const struct pmet_stats_request *r = &x->job.request;
    PMET_TRY(pmet_check_apart(r->out, x->model, "--model", err));
    PMET_TRY(pmet_check_apart(r->out, r->hparams, "--hparams", err));
    PMET_TRY(pmet_check_apart(r->out, r->work, "--work", err));
    PMET_TRY(pmet_check_apart(r->work, x->model, "--model", err));
    PMET_TRY(pmet_check_apart(x->trace, x->model, "--model", err));
    PMET_TRY(pmet_check_apart(x->trace, r->hparams, "--hparams", err));
    PMET_TRY(pmet_check_apart(x->trace, r->out, "--out", err));
    PMET_TRY(pmet_check_apart(x->trace, r->work, "--work", err));
    for (size_t i = 0; i < r->n_text; i++) {
        PMET_TRY(pmet_check_apart(r->out, r->texts[i], "--text", err));
        PMET_TRY(pmet_check_apart(x->trace, r->texts[i], "--text", err));
    }
    PMET_TRY(pmet_check_new_file(x->c->io, x->trace, r->force, pmet_is_trace, err));
    PMET_TRY(pmet_clear_left(x->c->io, x->trace, x->job.listener, err));
    return pmet_check_new(x->c->io, r->out, r->force, err);
}

static enum pmet_status collect(struct stats *x, struct pmet_error *err)
{
    struct pmet_stats_job *j = &x->job;
    const double started = pmet_seconds();
    PMET_TRY(check_kind(x->c, ROLE_MODEL, x->model, err));
    PMET_TRY(check_kind(x->c, ROLE_HPARAMS, j->request.hparams, err));
    for (size_t i = 0; i < x->texts.n; i++)
        PMET_TRY(check_kind(x->c, ROLE_TEXT, x->texts.item[i], err));
    PMET_TRY(check_paths(x, err));
    PMET_TRY(session_open(x->c, x->model, &x->s, err));
    j->s = x->s;
    if (x->layers)
        PMET_TRY(parse_layers(x, err));
    PMET_TRY(pmet_stats_job_open(j, err));
    const double opened = pmet_seconds();
    const enum pmet_status status = pmet_stats_job_run(j, err);
    progress_end(&x->progress);
    PMET_TRY(status);
    const double collected = pmet_seconds();
    PMET_TRY(pmet_stats_job_commit(j, err));
    progress_drop(&x->progress);
    x->committed = true;
    x->s_load = opened - started;
    x->s_stats = collected - opened;
    x->s_write = pmet_seconds() - collected;
    return PMET_OK;
}

static void report(const struct stats *x)
{
    const struct pmet_stats *stats = &x->job.stats;
    const struct pmet_config *config = &x->s->model->config;
    const char *out = x->job.request.out;
    if (!x->json) {
        char forms[256];
        pmet_docs_forms(x->job.docs, forms, sizeof forms);
        print_line("%s: second moments of %zu modules, from %zu tokens of %zu documents (of %zu: %s)", out,
                   stats->n_moment, stats->count, stats->n_used, stats->n_docs, forms);
        return;
    }
    json_t *texts = json_array();
    for (size_t i = 0; i < pmet_docs_files(x->job.docs); i++) {
        const struct pmet_docs_file f = pmet_docs_file(x->job.docs, i);
        json_array_append_new(texts,
                              json_pack("{s:o, s:s, s:s, s:I}", "file", pmet_json_name(f.name), "form",
                                        f.form, "packing", f.packing, "documents", (json_int_t)f.n_docs));
    }
    json_t *moments = json_array();
    for (size_t i = 0; i < stats->n_moment; i++) {
        char name[160];
        pmet_module_name(name, sizeof name, config->family->module[stats->moment[i].module],
                         stats->moment[i].layer);
        json_array_append_new(moments, json_string(name));
    }
    print_json(json_pack(
        "{s:o, s:o, s:o, s:I, s:I, s:I, s:s, s:{s:f, s:f, s:f}, s:{s:f}, s:I}", "out", pmet_json_name(out),
        "modules", moments, "texts", texts, "documents", (json_int_t)stats->n_docs, "used",
        (json_int_t)stats->n_used, "tokens", (json_int_t)stats->count, "fingerprint", x->s->fingerprint,
        "seconds", "load", x->s_load, "stats", x->s_stats, "write", x->s_write, "gflop", "stats",
        pmet_stats_flop(config, stats) * 1e-9, "peak_memory_bytes", (json_int_t)peak_memory()));
}

int run_stats(struct cli *c, const struct command *self, int argc, char **argv)
{
    struct stats x = {.c = c};
    int method = 0;
    struct pmet_stats_job *j = &x.job;
    struct pmet_stats_request *q = &j->request;
    const struct pmet_listener listener = {.user = &x, .on_event = on_event};
    const struct option_row rows[] = {
        {"model", OPTION_TEXT | REQUIRED, &x.model, "DIR", "the checkpoint, before any edit"},
        {"text", OPTION_TEXTS | REQUIRED, &x.texts, "FILE...", "the documents; - is standard input"},
        {"out", OPTION_TEXT | SHORT | REQUIRED, &q->out, "DIR", "the folder to write"},
        {"method", OPTION_CHOICE, &method, c->method_names,
         "whose hyper-parameters these are (default: the first of these)"},
        {"hparams", OPTION_TEXT, &q->hparams, "FILE",
         "layers, modules and samples (default: built in for GPT-J-6B and NeoX-20B)"},
        {"layers", OPTION_TEXT, &x.layers, "L,L,...", "layers, instead of the hyper-parameters'"},
        {"attn", OPTION_FLAG, &j->attn, NULL, "the attention's output matrices, too"},
        {"samples", OPTION_COUNT, &q->n_samples, "N",
         "documents, drawn by --seed (default: the hyper-parameters', else all)"},
        {"max-length", OPTION_COUNT, &q->max_length, "N",
         "tokens of a document at most (default: what the model takes)"},
        {"work", OPTION_TEXT, &q->work, "DIR",
         "keep sums on the way: after a stop or a kill the same command goes on"},
        {"factor", OPTION_FLAG, &q->factor, NULL,
         "the Cholesky factor of each, too: edits of few facts are solved with it"},
        {"trace", OPTION_TEXT, &x.trace, "FILE", "the moments as one safetensors file, too"},
        {"json", OPTION_FLAG, &x.json, NULL, "one JSON object as the result"},
        {"force", OPTION_FLAG, &q->force, NULL,
         "replace --out (statistics alone), and --trace whatever it is"},
    };
    struct pmet_error err = {PMET_OK, ""};
    int status = options_parse(c, self, rows, COUNT_OF(rows), argc, argv, &x.texts);
    if (status < 0 && c->seed > UINT32_MAX)
        status = say_usage(c, "--seed: found %zu; expected at most %u", c->seed, UINT32_MAX);
    if (status < 0) {
        j->method = c->methods[method];
        q->texts = x.texts.item;
        q->n_text = x.texts.n;
        q->seed = (uint32_t)c->seed;
        j->listener = &listener;
        bool done = collect(&x, &err) == PMET_OK;
        if (done) {
            report(&x);
            done = !x.trace || write_trace(&x, &err) == PMET_OK;
        }
        if (!done && x.committed)
            snprintf(c->kept, sizeof c->kept, "%s is written, %s is not", q->out, x.trace);
        else if (!done)
            pmet_stats_job_kept(j, c->kept, sizeof c->kept);
        status = done ? EXIT_DONE : say_failed(c, &err);
    }
    progress_drop(&x.progress);
    pmet_stats_job_free(j);
    list_free(&x.list);
    pmet_session_close(x.s);
    texts_free(&x.texts);
    return status;
}

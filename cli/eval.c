/* SPDX-License-Identifier: MIT
 * pmet eval. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cli/kinds.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "ref/job/eval_job.h"
#include "tensors/json.h"

struct eval {
    const struct cli *c;
    const char *model, *after, *before_dir;
    int decode;
    bool json;
    struct pmet_eval_job job;
    bool reading; /* the records, before the work */
    struct progress progress;
};

static enum pmet_status on_event(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    struct eval *e = user;
    const bool reading = event->kind == PMET_EVENT_PROGRESS && event->phase == PMET_PHASE_ROWS;
    (void)err;
    if (event->kind == PMET_EVENT_PROGRESS && reading != e->reading)
        progress_drop(&e->progress);
    e->reading = event->kind == PMET_EVENT_PROGRESS ? reading : e->reading;
    return progress_event(&e->progress, e->c, reading ? "reading" : "evaluating", "records", event);
}

/* ---- what is printed ---- */

static const char *without_side(const char *name)
{
    const char *bar = strchr(name, '_');
    return bar ? bar + 1 : name;
}

static const struct pmet_metric *find(const struct pmet_evaluation *e, const char *name)
{
    for (size_t i = 0; i < e->n_metric; i++)
        if (strcmp(without_side(e->metric[i].name), name) == 0)
            return &e->metric[i];
    return NULL;
}

static void add_metrics(json_t *metrics, const struct pmet_evaluation *e)
{
    for (size_t i = 0; i < e->n_metric; i++)
        json_object_set_new(
            metrics, e->metric[i].name,
            json_pack("[o, o]", pmet_json_real(e->metric[i].mean), pmet_json_real(e->metric[i].std)));
}

/* After minus before, of the means that both have. */
static json_t *change_json(const struct pmet_evaluation *after, const struct pmet_evaluation *before)
{
    json_t *change = json_object();
    for (size_t i = 0; i < after->n_metric; i++) {
        const char *name = without_side(after->metric[i].name);
        const struct pmet_metric *was = find(before, name);
        if (was)
            json_object_set_new(change, name, pmet_json_real(after->metric[i].mean - was->mean));
    }
    return change;
}

static void report_json(const struct eval *e, const struct pmet_evaluation *after,
                        const struct pmet_evaluation *before)
{
    const struct pmet_eval_job *j = &e->job;
    json_t *metrics = json_object();
    add_metrics(metrics, after);
    add_metrics(metrics, before);
    print_json(json_pack(
        "{s:O, s:I, s:o, s:o, s:o*, s:f, s:I}", "header", j->header, "records", (json_int_t)j->n_record,
        "out", j->request.out ? pmet_json_name(j->request.out) : json_null(), "metrics", metrics, "change",
        j->before ? change_json(after, before) : NULL, "seconds", pmet_seconds() - e->progress.started,
        "peak_memory_bytes", (json_int_t)peak_memory()));
}

/* A metric's row: its name as people say it, and the published one. */
static const char *plain_name(const char *name)
{
    static const char *const names[][2] = {{"rewrite_success", "efficacy"},
                                           {"paraphrase_success", "generalization"},
                                           {"neighborhood_success", "specificity"},
                                           {"ngram_entropy", "fluency"},
                                           {"reference_score", "consistency"}};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(names[i][0], name) == 0)
            return names[i][1];
    return "";
}

static void print_cell(const struct pmet_metric *m)
{
    if (!m)
        printf(" %19s", "-");
    else if (isfinite(m->std))
        printf(" %9.2f +- %6.2f", m->mean, m->std);
    else
        printf(" %9.2f %9s", m->mean, "");
}

/* Means and standard deviations over the records, in hundredths; a column a model, then the
 * difference. */
static void report_table(bool both, const struct pmet_evaluation *after, const struct pmet_evaluation *before)
{
    printf("%-22s %-14s", "metric", "");
    if (both)
        printf(" %19s %19s %9s", "before", "after", "change");
    else
        printf(" %19s", "mean");
    printf(" %8s\n", "records");
    for (size_t i = 0; i < after->n_metric; i++) {
        const struct pmet_metric *m = &after->metric[i];
        const char *name = without_side(m->name);
        const struct pmet_metric *was = find(before, name);
        printf("%-22s %-14s", name, plain_name(name));
        if (both)
            print_cell(was);
        print_cell(m);
        if (both && was)
            printf(" %+9.2f", m->mean - was->mean);
        else if (both)
            printf(" %9s", "");
        printf(" %8zu\n", m->n);
    }
}

static void report(const struct eval *e)
{
    const struct pmet_eval_job *j = &e->job;
    struct pmet_evaluation after = {0}, before = {0};
    pmet_summary_report(&j->summary[0], "post", &after);
    if (j->before)
        pmet_summary_report(&j->summary[1], "pre", &before);
    if (e->json) {
        report_json(e, &after, &before);
        return;
    }
    report_table(j->before != NULL, &after, &before);
    if (j->request.out)
        print_line("%s: %zu records", j->request.out, j->n_record);
}

/* ---- the command ---- */

static enum pmet_status evaluate(struct eval *e, struct pmet_error *err)
{
    struct pmet_eval_job *j = &e->job;
    PMET_TRY(check_kind(e->c, ROLE_MODEL, e->model, err));
    PMET_TRY(check_kind(e->c, ROLE_MODEL, e->before_dir, err));
    PMET_TRY(check_kind(e->c, ROLE_FACTS, j->request.facts, err));
    PMET_TRY(check_kind(e->c, ROLE_SNIPPETS, j->request.snippets, err));
    PMET_TRY(session_open(e->c, e->model, &j->s, err));
    if (e->before_dir)
        PMET_TRY(session_open(e->c, e->before_dir, &j->before, err));
    PMET_TRY(pmet_eval_job_open(j, err));
    const enum pmet_status status = pmet_eval_job_run(j, err);
    progress_end(&e->progress);
    PMET_TRY(status);
    PMET_TRY(check_stop(err));
    PMET_TRY(pmet_eval_job_finish(j, err));
    report(e);
    return PMET_OK;
}

static int check_usage(struct eval *e)
{
    if (e->model && e->after)
        return say_usage(e->c, "--after %s: is the same as --model; found both", e->after);
    if (!e->model)
        e->model = e->after;
    if (!e->model)
        return say_usage(e->c, "--model DIR is missing");
    if (e->job.request.top_k == 0)
        return say_usage(e->c, "--top-k: found 0; expected at least 1");
    if (e->job.request.snippets && e->job.request.n_generate == 0)
        return say_usage(e->c, "--snippets %s: needs --generate N", e->job.request.snippets);
    if (e->job.request.idf && !e->job.request.snippets)
        return say_usage(e->c, "--idf %s: needs --snippets FILE", e->job.request.idf);
    return -1;
}

int run_eval(struct cli *c, const struct command *self, int argc, char **argv)
{
    struct eval e = {.c = c, .job = {.request = {.top_k = 5}}};
    struct pmet_evaluate_request *r = &e.job.request;
    const struct option_row rows[] = {
        {"model", OPTION_TEXT, &e.model, "DIR", "the model to evaluate"},
        {"after", OPTION_TEXT, &e.after, "DIR", "the same as --model"},
        {"before", OPTION_TEXT, &e.before_dir, "DIR", "a model to set beside it: before the edit"},
        {"facts", OPTION_TEXT | REQUIRED, &r->facts, "FILE",
         "CounterFact, zsRE or plain records (EasyEdit's, too), a JSON array or JSON lines"},
        {"out", OPTION_TEXT | SHORT, &r->out, "FILE", "JSON lines to write: a header, then a record each"},
        {"limit", OPTION_COUNT, &r->limit, "N", "the first N records (default: all)"},
        {"work", OPTION_TEXT, &r->work, "DIR",
         "keep finished records there: after a stop or a kill the same command goes on"},
        {"skip-invalid", OPTION_FLAG, &r->skip_invalid, NULL, "leave out bad records, with a warning each"},
        {"generate", OPTION_COUNT, &r->n_generate, "N",
         "write and evaluate texts for the first N records (default 0)"},
        {"snippets", OPTION_TEXT, &r->snippets, "FILE",
         "attribute snippets: how far the texts are about the new object"},
        {"idf", OPTION_TEXT, &r->idf, "DIR",
         "idf.npy and tfidf_vocab.json for it (default: made of the snippets)"},
        {"top-k", OPTION_COUNT, &r->top_k, "K", "draw them from the K likeliest tokens (default 5)"},
        {"decode", OPTION_CHOICE, &e.decode, "published|greedy",
         "greedy: also, does the model go on with the target (default published)"},
        {"json", OPTION_FLAG, &e.json, NULL, "one JSON object as the result"},
        {"force", OPTION_FLAG, &r->force, NULL, "replace --out if it exists"},
    };
    const struct pmet_listener listener = {.user = &e, .on_event = on_event};
    struct pmet_error err = {PMET_OK, ""};
    e.progress.started = pmet_seconds();
    int status = options_parse(c, self, rows, COUNT_OF(rows), argc, argv, NULL);
    if (status < 0)
        status = check_usage(&e);
    if (status < 0) {
        r->greedy = e.decode == 1;
        r->seed = c->seed;
        e.job.listener = &listener;
        const bool done = evaluate(&e, &err) == PMET_OK;
        progress_end(&e.progress);
        if (e.job.journal)
            snprintf(c->kept, sizeof c->kept, "%s keeps %zu of %zu records: the same command goes on",
                     pmet_journal_path(e.job.journal), e.job.n_done, e.job.n_record);
        status = done ? EXIT_DONE : say_failed(c, &err);
    }
    pmet_eval_job_free(&e.job);
    pmet_session_close(e.job.s);
    pmet_session_close(e.job.before);
    return status;
}

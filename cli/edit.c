/* SPDX-License-Identifier: MIT
 * pmet edit: its options and its course. */
#include <stdlib.h>
#include <string.h>
#include "cli/edit_job.h"

enum { TRACE_FACTS = 10 };

static int on_progress(void *user, enum pmet_phase phase, size_t done, size_t total)
{
    static const char *const what[] = {NULL, "optimising", "editing"};
    struct edit_job *j = user;
    if (phase == PMET_PHASE_STATS)
        return stop_signal();
    if (!j->progress.running || phase != j->phase) {
        progress_end(&j->progress);
        progress_begin(&j->progress, j->c, what[phase], phase == PMET_PHASE_DELTA ? "facts" : "matrices");
        j->phase = phase;
    }
    return progress_update(&j->progress, done, total);
}

static enum pmet_status on_pass(void *user, struct pmet_delta *p, size_t k, size_t fact,
                                const struct pmet_delta_step *step, struct pmet_error *err)
{
    struct edit_job *j = user;
    snprintf(j->progress.note, sizeof j->progress.note, "  fact %zu pass %zu, loss %.3g", fact, step->it + 1,
             step->losses.loss);
    PMET_TRY(check_stop(err));
    progress_update(&j->progress, j->progress.done, j->progress.total);
    return edit_trace_pass(j, p, k, fact, step, err);
}

static enum pmet_status on_fact(void *user, struct pmet_delta *p, size_t k, size_t fact,
                                const struct pmet_targets *targets, struct pmet_error *err)
{
    struct edit_job *j = user;
    const struct pmet_delta_result *r = &targets->fact[fact].result;
    if (!targets->fact[fact].applied)
        return PMET_OK;
    say_detail(j->c, "fact %zu: %s after %zu passes, loss %.4g to %.4g", fact, pmet_stop_name(r->stop),
               r->n_forward, r->first.loss, r->last.loss);
    return edit_trace_fact(j, p, k, fact, err);
}

static enum pmet_status on_layer(void *user, const char *module, size_t layer, const real *K, const real *M,
                                 const real *resid, const double *upd, size_t n_fact, size_t d_model,
                                 size_t d_in, struct pmet_error *err)
{
    (void)layer;
    return edit_trace_layer(user, module, K, M, resid, upd, n_fact, d_model, d_in, err);
}

static void on_note(void *user, bool warning, const char *line)
{
    const struct edit_job *j = user;
    (warning ? say_warning : say_note)(j->c, "%s", line);
}

static enum pmet_status run(struct edit_job *j, struct pmet_error *err)
{
    if (j->trace)
        PMET_TRY(edit_trace_open(j, err));
    const struct pmet_edit_watch watch = {.user = j,
                                          .progress = on_progress,
                                          .pass = on_pass,
                                          .fact = on_fact,
                                          .n_again = j->trace ? j->trace_facts : 0,
                                          .layer = j->trace ? on_layer : NULL};
    const enum pmet_status status = pmet_job_run(&j->job, &watch, err);
    j->progress.note[0] = '\0';
    progress_end(&j->progress);
    return status;
}

static enum pmet_status check_trace(const struct edit_job *j, struct pmet_error *err)
{
    const struct pmet_edit_request *r = &j->job.request;
    const char *const read[] = {j->model, r->facts, r->stats, r->hparams, r->contexts, r->out};
    static const char *const what[] = {"--model", "--facts", "--stats", "--hparams", "--contexts", "--out"};
    for (size_t i = 0; i < COUNT_OF(read); i++)
        PMET_TRY(pmet_check_apart(j->trace, read[i], what[i], err));
    return pmet_check_writable(j->trace, err);
}

static enum pmet_status course(struct edit_job *j, struct pmet_error *err)
{
    PMET_TRY(check_trace(j, err));
    PMET_TRY(session_open(j->c, j->model, &j->job.s, err));
    PMET_TRY(pmet_job_open(&j->job, err));
    if (j->dry_run)
        return edit_plan(j, err);
    PMET_TRY(run(j, err));
    PMET_TRY(pmet_job_write(&j->job, err));
    PMET_TRY(check_stop(err));
    PMET_TRY(pmet_job_commit(&j->job, err));
    j->committed = true;
    edit_report(j);
    return j->trace ? edit_trace_write(j, err) : PMET_OK;
}

static void job_free(struct edit_job *j)
{
    edit_trace_close(j);
    list_free(&j->list);
    struct pmet_session *s = j->job.s;
    pmet_job_free(&j->job);
    pmet_session_close(s);
}

static int check_usage(const struct edit_job *j)
{
    const struct pmet_edit_request *r = &j->job.request;
    if (!j->dry_run && (!r->stats || !r->out))
        return say_usage(j->c, r->stats ? "--out DIR is missing" : "--stats DIR is missing");
    if (j->show > 0 && !j->dry_run)
        return say_usage(j->c, "--show %zu: needs --dry-run", j->show);
    if (j->trace_facts != SIZE_MAX && !j->trace)
        return say_usage(j->c, "--trace-facts %zu: needs --trace", j->trace_facts);
    return -1;
}

int run_edit(struct cli *c, const struct command *self, int argc, char **argv)
{
    struct edit_job j = {.c = c, .trace_facts = SIZE_MAX};
    struct pmet_edit_request *r = &j.job.request;
    const struct option_row rows[] = {
        {"model", 0, OPTION_TEXT, &j.model, "DIR", "the checkpoint to edit; it is never written to", true},
        {"facts", 0, OPTION_TEXT, &r->facts, "FILE",
         "CounterFact, zsRE or plain records, a JSON array or JSON lines", true},
        {"stats", 0, OPTION_TEXT, &r->stats, "DIR", "second moments (pmet stats); not needed for a plan",
         false},
        {"out", 'o', OPTION_TEXT, &r->out, "DIR", "the edited copy; not needed for a plan", false},
        {"hparams", 0, OPTION_TEXT, &r->hparams, "FILE",
         "hyper-parameters (default: built in for GPT-J-6B and NeoX-20B)", false},
        {"contexts", 0, OPTION_TEXT, &r->contexts, "FILE",
         "context templates (default: written by the model, from --seed, and kept)", false},
        {"limit", 0, OPTION_COUNT, &r->limit, "N", "the first N facts (default: all)", false},
        {"conflicts", 0, OPTION_CHOICE, &j.conflicts, "refuse|first|last",
         "of facts that contradict each other (default refuse)", false},
        {"zsre-target", 0, OPTION_CHOICE, &j.zsre, "answers|alt", "target of zsRE records (default answers)",
         false},
        {"solver", 0, OPTION_CHOICE, &j.solver, "auto|cholesky|cg",
         "(default auto: the statistics' factor for few facts, else cholesky where it fits)", false},
        {"ridge", 0, OPTION_NUMBER, &r->ridge, "X", "added to the diagonal of the solve (default 0)", false},
        {"strict", 0, OPTION_FLAG, &r->strict, NULL, "refuse facts whose tokens do not line up", false},
        {"skip-failed", 0, OPTION_FLAG, &r->skip_failed, NULL, "leave out facts whose optimisation meets NaN",
         false},
        {"out-dtype", 0, OPTION_CHOICE, &j.dtype, "file|f64|f32|f16|bf16",
         "of the edited matrices (default file: as they were)", false},
        {"work", 0, OPTION_TEXT, &r->work, "DIR",
         "keep what is finished: after a stop or a kill the same command goes on", false},
        {"memory", 0, OPTION_BYTES, &r->max_bytes, "SIZE",
         "to spend, as 16G (default: three quarters of what is free)", false},
        {"trace", 0, OPTION_TEXT, &j.trace, "FILE", "a safetensors file of what was computed on the way",
         false},
        {"trace-facts", 0, OPTION_COUNT, &j.trace_facts, "N", "facts in it (default 10)", false},
        {"dry-run", 0, OPTION_FLAG, &j.dry_run, NULL, "print the plan and stop", false},
        {"show", 0, OPTION_COUNT, &j.show, "N", "with --dry-run: the rows of N facts, [lookup] token marked",
         false},
        {"json", 0, OPTION_FLAG, &j.json, NULL, "one JSON object as the result", false},
        {"link", 0, OPTION_FLAG, &r->link, NULL, "hard-link unedited shards rather than copy them", false},
        {"force", 0, OPTION_FLAG, &r->force, NULL, "replace --out if it exists", false},
    };
    struct pmet_error err = {PMET_OK, ""};
    int status = options_parse(c, self, rows, COUNT_OF(rows), argc, argv, NULL);
    if (status < 0)
        status = check_usage(&j);
    if (status < 0) {
        j.trace_facts = j.trace_facts == SIZE_MAX ? TRACE_FACTS : j.trace_facts;
        r->solver = (enum pmet_solver)j.solver;
        r->conflicts = (enum pmet_conflicts)j.conflicts;
        r->zsre_alt = j.zsre == 1;
        r->cast = j.dtype > 0;
        r->out_dtype = (enum pmet_dtype)(r->cast ? j.dtype - 1 : 0);
        r->seed = c->seed;
        j.job.watch = (struct pmet_watch){.user = &j, .progress = on_progress, .note = on_note};
        const bool done = course(&j, &err) == PMET_OK;
        progress_end(&j.progress);
        if (!done && j.committed)
            snprintf(c->kept, sizeof c->kept, "%s is written, %s is not", r->out, j.trace);
        else if (!done && j.job.work)
            pmet_work_tell(&j.job, c->kept, sizeof c->kept);
        status = done ? EXIT_DONE : say_failed(c, &err);
        if (!done && j.job.tmpl)
            fprintf(stderr, "A file to start from (weights scaled for a large model: tune them):\n%s",
                    j.job.tmpl);
    }
    job_free(&j);
    return status;
}

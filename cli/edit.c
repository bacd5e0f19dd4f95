/* SPDX-License-Identifier: MIT
 * pmet edit: its options and its steps. */
#include <stdlib.h>
#include "cli/edit_job.h"
#include "cli/kinds.h"

enum { TRACE_FACTS = 10 };

static enum pmet_status on_progress(struct edit_job *j, const struct pmet_event *event)
{
    static const struct {
        const char *what, *unit;
        bool brief;
    } phases[] = {[PMET_PHASE_STATS] = {"statistics", "matrices", true},
                  [PMET_PHASE_ROWS] = {"reading", "facts", true},
                  [PMET_PHASE_CONTEXTS] = {"writing contexts", "tokens", true},
                  [PMET_PHASE_DELTA] = {"optimising", "facts", false},
                  [PMET_PHASE_SOLVE] = {"editing", "matrices", false},
                  [PMET_PHASE_WRITE] = {"writing", "parts", true}};
    if (event->phase != j->phase)
        progress_end(&j->progress);
    j->phase = event->phase;
    const enum pmet_status status =
        progress_event(&j->progress, j->c, phases[j->phase].what, phases[j->phase].unit, event);
    j->progress.brief = phases[j->phase].brief;
    return status;
}

static enum pmet_status on_pass(struct edit_job *j, const struct pmet_event *event, struct pmet_error *err)
{
    const struct pmet_fact_event *fact = event->detail;
    snprintf(j->progress.note, sizeof j->progress.note, "  fact %zu pass %zu, loss %.3g", event->index,
             fact->step->it + 1, fact->step->losses.loss);
    PMET_TRY(check_stop(err));
    progress_tick(&j->progress);
    return PMET_OK;
}

static void on_fact(const struct edit_job *j, const struct pmet_event *event)
{
    const struct pmet_fact_event *fact = event->detail;
    const struct pmet_delta_result *r = &fact->report->result;
    if (fact->report->applied)
        say(j->c, DETAIL, "fact %zu: %s after %zu passes, loss %.4g to %.4g", event->index,
            pmet_stop_name(r->stop), r->n_forward, r->first.loss, r->last.loss);
}

static enum pmet_status on_event(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    struct edit_job *j = user;
    if (event->kind == PMET_EVENT_PROGRESS)
        PMET_TRY(on_progress(j, event));
    if (event->kind == PMET_EVENT_POLL)
        return progress_event(&j->progress, j->c, NULL, NULL, event);
    if (event->kind == PMET_EVENT_NOTE)
        progress_event(&j->progress, j->c, NULL, NULL, event);
    if (event->kind == PMET_EVENT_PASS)
        PMET_TRY(on_pass(j, event, err));
    if (event->kind == PMET_EVENT_FACT)
        on_fact(j, event);
    if (event->kind == PMET_EVENT_DONE) {
        j->committed = true;
        edit_report(j);
    }
    return j->trace ? edit_trace_event(j, event, err) : PMET_OK;
}

static enum pmet_status run(struct edit_job *j, struct pmet_error *err)
{
    if (j->trace)
        PMET_TRY(edit_trace_open(j, err));
    j->job.n_again = j->trace ? j->trace_facts : 0;
    j->job.all_again = j->trace != NULL;
    const enum pmet_status status = pmet_edit_job_run(&j->job, err);
    j->progress.note[0] = '\0';
    progress_end(&j->progress);
    return status;
}

static enum pmet_status check_trace(const struct edit_job *j, struct pmet_error *err)
{
    const struct pmet_edit_request *r = &j->job.request;
    const char *const read[] = {j->model, r->facts, r->stats, r->hparams, r->contexts, r->out, r->work};
    static const char *const what[] = {"--model",    "--facts", "--stats", "--hparams",
                                       "--contexts", "--out",   "--work"};
    for (size_t i = 0; i < COUNT_OF(read); i++)
        PMET_TRY(pmet_check_apart(j->trace, read[i], what[i], err));
    PMET_TRY(pmet_check_new_file(j->c->io, j->trace, r->force, pmet_is_trace, err));
    return pmet_clear_left(j->c->io, j->trace, &j->job.listener, err);
}

static enum pmet_status check_kinds(const struct edit_job *j, struct pmet_error *err)
{
    const struct pmet_edit_request *r = &j->job.request;
    PMET_TRY(check_kind(j->c, ROLE_MODEL, j->model, err));
    PMET_TRY(check_kind(j->c, ROLE_FACTS, r->facts, err));
    PMET_TRY(check_kind(j->c, ROLE_HPARAMS, r->hparams, err));
    PMET_TRY(check_kind(j->c, ROLE_CONTEXTS, r->contexts, err));
    return check_kind(j->c, ROLE_STATS, r->stats, err);
}

static enum pmet_status edit(struct edit_job *j, struct pmet_error *err)
{
    PMET_TRY(check_kinds(j, err));
    PMET_TRY(pmet_edit_check_paths(&j->job.request, j->c->io, j->model, err));
    PMET_TRY(check_trace(j, err));
    PMET_TRY(session_open(j->c, j->model, &j->job.s, err));
    PMET_TRY(pmet_edit_job_open(&j->job, err));
    progress_end(&j->progress);
    if (j->dry_run)
        return edit_plan(j, err);
    PMET_TRY(run(j, err));
    PMET_TRY(pmet_edit_job_write(&j->job, err));
    progress_end(&j->progress);
    PMET_TRY(check_stop(err));
    PMET_TRY(pmet_edit_job_commit(&j->job, err));
    return j->trace ? edit_trace_write(j, err) : PMET_OK;
}

static void job_free(struct edit_job *j)
{
    edit_trace_close(j);
    list_free(&j->list);
    struct pmet_session *s = j->job.s;
    pmet_edit_job_free(&j->job);
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
    struct edit_job j = {.c = c, .trace_facts = SIZE_MAX, .modules = -1, .job = {.method = c->methods[0]}};
    struct pmet_edit_request *r = &j.job.request;
    const struct option_row rows[] = {
        {"model", OPTION_TEXT | REQUIRED, &j.model, "DIR", "the checkpoint to edit; it is never written to"},
        {"facts", OPTION_TEXT | REQUIRED, &r->facts, "FILE",
         "CounterFact, zsRE or plain records, a JSON array or JSON lines"},
        {"stats", OPTION_TEXT, &r->stats, "DIR", "second moments (pmet stats); not needed for a plan"},
        {"out", OPTION_TEXT | SHORT, &r->out, "DIR", "the edited copy; not needed for a plan"},
        {"method", OPTION_CHOICE, &j.method, c->method_names, "(default: the first of these)"},
        {"hparams", OPTION_TEXT, &r->hparams, "FILE",
         "hyper-parameters, published JSON or EasyEdit's YAML (default: those of GPT-J-6B, NeoX-20B)"},
        {"delta", OPTION_CHOICE, &j.delta, "attn+mlp|mlp",
         "ablation of PMET: where vectors are optimised (default attn+mlp)"},
        {"modules", OPTION_CHOICE, &j.modules, "mlp|attn+mlp",
         "ablation of PMET: whose matrices are edited (default: the hyper-parameters')"},
        {"spread", OPTION_CHOICE, &j.spread, "sqrt|even|last",
         "ablation of PMET: the residual over the layers (default sqrt)"},
        {"contexts", OPTION_TEXT, &r->contexts, "FILE",
         "context templates (default: written by the model, from --seed, and kept)"},
        {"limit", OPTION_COUNT, &r->limit, "N", "the first N facts (default: all)"},
        {"conflicts", OPTION_CHOICE, &j.conflicts, "refuse|first|last",
         "of facts that contradict each other (default refuse)"},
        {"zsre-target", OPTION_CHOICE, &j.zsre, "answers|alt", "target of zsRE records (default answers)"},
        {"solver", OPTION_CHOICE, &j.solver, "auto|cholesky|cg",
         "(default auto: the statistics' factor for few facts, else cholesky where it fits)"},
        {"ridge", OPTION_NUMBER, &r->ridge, "X", "added to the diagonal of the solve (default 0)"},
        {"strict", OPTION_FLAG, &r->strict, NULL, "refuse facts whose tokens do not line up"},
        {"skip-invalid", OPTION_FLAG, &r->skip_invalid, NULL, "leave out bad records, with a warning each"},
        {"skip-failed", OPTION_FLAG, &r->skip_failed, NULL, "leave out facts whose optimisation meets NaN"},
        {"out-dtype", OPTION_CHOICE, &j.dtype, "file|f64|f32|f16|bf16",
         "of the edited matrices (default file: as they were)"},
        {"work", OPTION_TEXT, &r->work, "DIR",
         "keep what is finished: after a stop or a kill the same command goes on"},
        {"memory", OPTION_BYTES, &r->max_bytes, "SIZE",
         "to spend, as 16G (default: three quarters of what is free)"},
        {"trace", OPTION_TEXT, &j.trace, "FILE", "a safetensors file of what was computed on the way"},
        {"trace-facts", OPTION_COUNT, &j.trace_facts, "N", "facts in it (default 10)"},
        {"dry-run", OPTION_FLAG, &j.dry_run, NULL, "print the plan and stop"},
        {"show", OPTION_COUNT, &j.show, "N", "with --dry-run: the rows of N facts, [lookup] token marked"},
        {"json", OPTION_FLAG, &j.json, NULL, "one JSON object as the result"},
        {"link", OPTION_FLAG, &r->link, NULL, "hard-link unedited shards rather than copy them"},
        {"force", OPTION_FLAG, &r->force, NULL,
         "replace --out (an edited folder), and --trace whatever it is"},
    };
    struct pmet_error err = {PMET_OK, ""};
    int status = options_parse(c, self, rows, COUNT_OF(rows), argc, argv, NULL);
    if (status < 0)
        status = check_usage(&j);
    if (status < 0) {
        j.trace_facts = j.trace_facts == SIZE_MAX ? TRACE_FACTS : j.trace_facts;
        j.job.method = c->methods[j.method];
        r->ablation =
            (struct pmet_ablation){(enum pmet_delta_choice)j.delta, (enum pmet_modules_choice)(j.modules + 1),
                                   (enum pmet_spread_choice)j.spread};
        r->solver = (enum pmet_solver)j.solver;
        r->conflicts = (enum pmet_conflicts)j.conflicts;
        r->zsre_alt = j.zsre == 1;
        r->cast = j.dtype > 0;
        r->out_dtype = (enum pmet_dtype)(r->cast ? j.dtype - 1 : 0);
        r->seed = c->seed;
        j.job.listener = (struct pmet_listener){.user = &j, .on_event = on_event};
        const bool done = edit(&j, &err) == PMET_OK;
        progress_end(&j.progress);
        if (!done && j.committed)
            snprintf(c->kept, sizeof c->kept, "%s is written, %s is not", r->out, j.trace);
        else if (!done && j.job.store)
            pmet_edit_job_kept(&j.job, c->kept, sizeof c->kept);
        status = done ? EXIT_DONE : say_failed(c, &err);
    }
    job_free(&j);
    return status;
}

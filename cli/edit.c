/* SPDX-License-Identifier: MIT
 * pmet edit: its options and its course. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/edit_job.h"

static int on_progress(void *user, enum pmet_phase phase, size_t done, size_t total)
{
    static const char *const what[] = {"optimising", "keys", "editing"};
    struct edit_job *j = user;
    if (!j->progress.running || phase != j->phase) {
        progress_end(&j->progress);
        progress_begin(&j->progress, j->c, what[phase], phase == PMET_PHASE_DELTA ? "facts" : "matrices");
        j->phase = phase;
    }
    return progress_update(&j->progress, done, total);
}

static enum pmet_status on_pass(void *user, struct pmet_delta *p, size_t it,
                                const struct pmet_delta_step *step, bool updated, struct pmet_error *err)
{
    struct edit_job *j = user;
    j->n_pass++;
    snprintf(j->progress.note, sizeof j->progress.note, "  pass %zu, loss %.3g", it + 1, step->losses.loss);
    PMET_TRY(check_stop(err));
    progress_update(&j->progress, j->progress.done, j->progress.total);
    return edit_trace_pass(j, p, it, step, updated, err);
}

static enum pmet_status on_fact(void *user, size_t fact, struct pmet_delta *p,
                                const struct pmet_delta_result *r, struct pmet_error *err)
{
    struct edit_job *j = user;
    say_detail(j->c, "fact %zu: %s after %zu passes, loss %.4g to %.4g", fact, pmet_stop_name(r->stop),
               r->n_forward, r->first.loss, r->last.loss);
    return edit_trace_fact(j, fact, p, err);
}

static enum pmet_status on_layer(void *user, const char *module, size_t layer, const real *K, const real *M,
                                 const real *resid, const double *upd, size_t n_fact, size_t d_model,
                                 size_t d_in, struct pmet_error *err)
{
    (void)layer;
    return edit_trace_layer(user, module, K, M, resid, upd, n_fact, d_model, d_in, err);
}

static enum pmet_status run(struct edit_job *j, struct pmet_error *err)
{
    const struct pmet_edit_options options = {.hparams = &j->h,
                                              .contexts = &j->contexts,
                                              .solver = (enum pmet_solver)j->solver,
                                              .ridge = j->ridge,
                                              .strict = j->strict,
                                              .skip_failed = j->skip_failed,
                                              .max_bytes = j->memory};
    const struct pmet_edit_watch watch = {
        .user = j, .progress = on_progress, .delta = on_pass, .fact = on_fact, .layer = on_layer};
    if (j->trace)
        PMET_TRY(edit_trace_open(j, err));
    const enum pmet_status status =
        pmet_edit_run(j->s.model, j->s.tk, &j->facts, &options, edit_cov, j, &watch, &j->edit, err);
    j->progress.note[0] = '\0';
    progress_end(&j->progress);
    return status;
}

static enum pmet_status course(struct edit_job *j, struct pmet_error *err)
{
    PMET_TRY(edit_check_paths(j, err));
    PMET_TRY(edit_open(j, err));
    edit_warn(j);
    if (j->dry_run)
        return edit_plan(j, err);
    PMET_TRY(pmet_outdir_begin(j->c->io, j->out, j->force, &j->dir, err));
    PMET_TRY(run(j, err));
    const double started = seconds_now();
    PMET_TRY(edit_write(j, err));
    PMET_TRY(check_stop(err));
    struct pmet_outdir *dir = j->dir;
    j->dir = NULL;
    PMET_TRY(pmet_outdir_commit(dir, err));
    if (j->trace)
        PMET_TRY(edit_trace_write(j, err));
    j->s_write = seconds_now() - started;
    edit_report(j);
    return PMET_OK;
}

static void job_free(struct edit_job *j)
{
    pmet_outdir_discard(j->dir);
    edit_trace_close(j);
    list_free(&j->list);
    for (size_t k = 0; j->written && k < j->edit.n_edited; k++)
        free(j->written[k].data);
    free(j->written);
    for (size_t k = 0; j->cov && k < j->n_cov; k++)
        free(j->cov[k]);
    free(j->cov);
    free(j->origin);
    free(j->cov_count);
    free(j->before);
    free(j->after);
    for (size_t i = 0; j->rows && i < j->facts.n_fact; i++)
        pmet_rows_free(&j->rows[i]);
    free(j->rows);
    if (j->edit.fact)
        pmet_edit_free(&j->edit);
    pmet_contexts_free(&j->contexts);
    pmet_facts_free(&j->facts);
    free(j->ancestor);
    record_free(&j->record);
    session_close(&j->s);
    free(j->tmpl);
}

/* Half of the machine's memory. */
static size_t default_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages / 2 * (size_t)size : (size_t)4 << 30;
}

static int check_usage(const struct edit_job *j)
{
    if (j->method != 0) {
        static const char *const method[] = {"pmet", "memit", "rome", "ft", "mend"};
        return say_usage(j->c, "--method %s: not in this version; expected pmet", method[j->method]);
    }
    if (!j->dry_run && (!j->stats || !j->out))
        return say_usage(j->c, j->stats ? "--out DIR is missing" : "--stats DIR is missing");
    if (j->show > 0 && !j->dry_run)
        return say_usage(j->c, "--show %zu: needs --dry-run", j->show);
    return -1;
}

int run_edit(struct cli *c, const struct command *self, int argc, char **argv)
{
    struct edit_job j = {.c = c, .trace_facts = 10, .memory = default_memory()};
    const struct option_row rows[] = {
        {"model", 0, OPTION_TEXT, &j.model, "DIR", "the checkpoint to edit; it is never written to", true},
        {"facts", 0, OPTION_TEXT, &j.facts_path, "FILE",
         "CounterFact, zsRE or plain records, a JSON array or JSON lines", true},
        {"stats", 0, OPTION_TEXT, &j.stats, "DIR", "second moments (pmet stats); not needed for a plan",
         false},
        {"out", 'o', OPTION_TEXT, &j.out, "DIR", "the edited copy; not needed for a plan", false},
        {"method", 0, OPTION_CHOICE, &j.method, "pmet|memit|rome|ft|mend", "pmet only in this version",
         false},
        {"hparams", 0, OPTION_TEXT, &j.hparams_path, "FILE",
         "hyper-parameters (default: built in for GPT-J-6B and NeoX-20B)", false},
        {"contexts", 0, OPTION_TEXT, &j.contexts_path, "FILE",
         "context templates (default: written by the model, from --seed, and kept)", false},
        {"work", 0, OPTION_TEXT, &j.work, "DIR", "where generated contexts are kept (default: in --out)",
         false},
        {"limit", 0, OPTION_COUNT, &j.limit, "N", "the first N facts (default: all)", false},
        {"conflicts", 0, OPTION_CHOICE, &j.conflicts, "refuse|first|last",
         "of facts that contradict each other (default refuse)", false},
        {"zsre-target", 0, OPTION_CHOICE, &j.zsre, "answers|alt", "target of zsRE records (default answers)",
         false},
        {"solver", 0, OPTION_CHOICE, &j.solver, "auto|cholesky|cg", "(default auto: cholesky where it fits)",
         false},
        {"ridge", 0, OPTION_NUMBER, &j.ridge, "X", "added to the diagonal of the solve (default 0)", false},
        {"strict", 0, OPTION_FLAG, &j.strict, NULL, "refuse facts whose tokens do not line up", false},
        {"skip-failed", 0, OPTION_FLAG, &j.skip_failed, NULL, "leave out facts whose optimisation meets NaN",
         false},
        {"out-dtype", 0, OPTION_CHOICE, &j.dtype, "file|f64|f32|f16|bf16",
         "of the edited matrices (default file: as they were)", false},
        {"memory", 0, OPTION_BYTES, &j.memory, "SIZE", "to spend, as 16G (default: half of the machine's)",
         false},
        {"trace", 0, OPTION_TEXT, &j.trace, "FILE", "a safetensors file of what was computed on the way",
         false},
        {"trace-facts", 0, OPTION_COUNT, &j.trace_facts, "N", "facts in it (default 10)", false},
        {"dry-run", 0, OPTION_FLAG, &j.dry_run, NULL, "print the plan and stop", false},
        {"show", 0, OPTION_COUNT, &j.show, "N", "with --dry-run: the rows of N facts, [lookup] token marked",
         false},
        {"json", 0, OPTION_FLAG, &j.json, NULL, "one JSON object as the result", false},
        {"link", 0, OPTION_FLAG, &j.link, NULL, "hard-link unedited shards rather than copy them", false},
        {"force", 0, OPTION_FLAG, &j.force, NULL, "replace --out if it exists", false},
    };
    struct pmet_error err = {PMET_OK, ""};
    int status = options_parse(c, self, rows, COUNT_OF(rows), argc, argv, NULL);
    if (status < 0)
        status = check_usage(&j);
    if (status < 0) {
        const bool done = course(&j, &err) == PMET_OK;
        progress_end(&j.progress);
        pmet_outdir_discard(j.dir);
        j.dir = NULL;
        status = done ? EXIT_DONE : say_failed(c, &err);
        if (!done && j.tmpl)
            fprintf(stderr, "A file to start from (weights scaled for a large model: tune them):\n%s",
                    j.tmpl);
    }
    job_free(&j);
    return status;
}

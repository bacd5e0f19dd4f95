/* SPDX-License-Identifier: MIT
 * The course of an edit, and the library's way in.      SPEC §9 */
#include "ref/job/job.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pmet_note(const struct pmet_watch *watch, bool warning, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    if (!watch || !watch->note)
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    pmet_make_printable(line);
    watch->note(watch->user, warning, line);
}

enum pmet_status pmet_job_run(struct pmet_job *j, const struct pmet_edit_watch *watch, struct pmet_error *err)
{
    const struct pmet_edit_options options = {.hparams = &j->h,
                                              .contexts = &j->contexts,
                                              .solver = j->request.solver,
                                              .ridge = j->request.ridge,
                                              .strict = j->request.strict,
                                              .skip_failed = j->request.skip_failed,
                                              .max_bytes = j->request.max_bytes,
                                              .solve_bytes = j->solve_bytes,
                                              .solve_op = j->solve_op,
                                              .factor = pmet_job_factor};
    struct pmet_edit_watch kept;
    PMET_TRY(pmet_outdir_begin(j->s->io, j->request.out, j->request.force, &j->dir, err));
    PMET_TRY(
        pmet_targets_alloc(j->facts.n_fact, j->h.n_module, j->s->model->config.d_model, &j->targets, err));
    if (j->request.work) {
        PMET_TRY(pmet_work_open(j, watch, &kept, err));
        watch = &kept;
    }
    const enum pmet_status status = pmet_edit_run(j->s->model, j->s->tk, &j->facts, j->rows, &options,
                                                  pmet_job_cov, j, watch, &j->targets, &j->edit, err);
    if (status == PMET_INTERRUPTED && j->work) {
        memcpy(err->message, "interrupted; ", 13);
        pmet_work_tell(j, err->message + 13, sizeof err->message - 13);
    }
    return status;
}

enum pmet_status pmet_job_commit(struct pmet_job *j, struct pmet_error *err)
{
    struct pmet_outdir *dir = j->dir;
    j->dir = NULL;
    return pmet_outdir_commit(dir, err);
}

void pmet_job_free(struct pmet_job *j)
{
    pmet_outdir_discard(j->dir);
    pmet_ops_free(j->solve_op);
    for (size_t k = 0; j->written && k < j->edit.n_edited; k++)
        free(j->written[k].data);
    free(j->written);
    for (size_t k = 0; j->cov && k < j->n_cov; k++)
        free(j->cov[k]);
    free(j->cov);
    free(j->origin);
    free(j->cov_count);
    free(j->cov_sum);
    pmet_work_close(j->work);
    free(j->before);
    free(j->after);
    for (size_t i = 0; j->rows && i < j->facts.n_fact; i++)
        pmet_rows_free(&j->rows[i]);
    free(j->rows);
    pmet_targets_free(&j->targets);
    pmet_edit_free(&j->edit);
    pmet_contexts_free(&j->contexts);
    pmet_facts_free(&j->facts);
    free(j->ancestor);
    pmet_record_free(&j->record);
    free(j->tmpl);
    memset(j, 0, sizeof *j);
}

static void sum_up(const struct pmet_job *j, struct pmet_edit_summary *out)
{
    memset(out, 0, sizeof *out);
    out->n_fact = j->facts.n_fact;
    out->n_applied = j->edit.n_applied;
    for (size_t i = 0; i < out->n_fact; i++) {
        out->n_greedy_before += j->before[i].greedy;
        out->n_greedy_after += j->after[i].greedy;
    }
    for (size_t k = 0; k < j->edit.n_edited; k++)
        if (j->written[k].lost > out->rounding_lost)
            out->rounding_lost = j->written[k].lost;
    memcpy(out->fingerprint, j->fingerprint, sizeof out->fingerprint);
}

enum pmet_status pmet_edit_folder(struct pmet_session *s, const struct pmet_edit_request *request,
                                  const struct pmet_watch *watch, struct pmet_edit_summary *summary,
                                  struct pmet_error *err)
{
    struct pmet_job j = {.s = s, .request = *request};
    enum pmet_status status;
    if (!request->facts || !request->stats || !request->out)
        return pmet_fail(err, PMET_INPUT, "the request lacks facts, stats or out");
    if (watch)
        j.watch = *watch;
    const struct pmet_edit_watch edit_watch = {.user = j.watch.user, .progress = j.watch.progress};
    PMET_GO(pmet_job_open(&j, err));
    PMET_GO(pmet_job_run(&j, &edit_watch, err));
    PMET_GO(pmet_job_write(&j, err));
    PMET_GO(pmet_job_commit(&j, err));
    if (summary)
        sum_up(&j, summary);
done:
    pmet_job_free(&j);
    return status;
}

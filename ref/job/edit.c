/* SPDX-License-Identifier: MIT
 * The steps of an edit, and the library's way in.      SPEC §9 */
#include "ref/job/edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/event.h"

void pmet_edit_job_kept(const struct pmet_edit_job *j, char *line, size_t size)
{
    const struct pmet_targets *t = &j->editor.targets;
    size_t n = 0;
    for (size_t i = 0; i < t->n_fact; i++)
        n += t->fact[i].done;
    snprintf(line, size, "%s keeps %zu of %zu facts: the same command goes on from there", j->request.work, n,
             j->facts.n_fact);
}

/* What the work folder keeps is identified by all inputs, the contexts among them. */
static enum pmet_status list_inputs(struct pmet_edit_job *j, struct pmet_error *err)
{
    if (!j->store)
        return PMET_OK;
    j->inputs = pmet_edit_job_inputs_json(j);
    j->solve_inputs = pmet_edit_job_solve_inputs_json(j);
    if (!j->inputs || !j->solve_inputs)
        return pmet_fail_memory(err, j->request.work, 0);
    j->editor.store = j->store;
    j->editor.inputs = j->inputs;
    j->editor.solve_inputs = j->solve_inputs;
    return PMET_OK;
}

/* What can be refused without a pass of the model comes before the contexts. */
static enum pmet_status prepare(struct pmet_edit_job *j, struct pmet_error *err)
{
    const double started = pmet_seconds();
    PMET_TRY(pmet_model_check_ends(j->s->model, err));
    PMET_TRY(pmet_begin_output(j->s->io, j->request.out, j->request.force, &j->listener, &j->dir, err));
    if (j->request.work)
        PMET_TRY(pmet_open_work(j->s->io, j->request.work, &j->listener, &j->store, err));
    PMET_TRY(pmet_edit_job_contexts_write(j, err));
    PMET_TRY(pmet_edit_job_fit(j, err));
    j->s_load += pmet_seconds() - started;
    return list_inputs(j, err);
}

enum pmet_status pmet_edit_job_run(struct pmet_edit_job *j, struct pmet_error *err)
{
    struct pmet_editor *e = &j->editor;
    PMET_TRY(prepare(j, err));
    e->n_again = j->n_again;
    e->all_again = j->all_again;
    e->moments = pmet_moments_source(&j->moments);
    const enum pmet_status status = pmet_editor_run(e, err);
    if (status == PMET_INTERRUPTED && j->store) {
        char kept[512];
        pmet_edit_job_kept(j, kept, sizeof kept);
        err->status = PMET_OK;
        pmet_fail(err, status, "interrupted; %s", kept);
    }
    return status;
}

enum pmet_status pmet_edit_job_commit(struct pmet_edit_job *j, struct pmet_error *err)
{
    struct pmet_outdir *dir = j->dir;
    j->dir = NULL;
    PMET_TRY(pmet_outdir_commit(dir, err));
    return pmet_raise(&j->listener, &(struct pmet_event){.kind = PMET_EVENT_DONE, .detail = j}, err);
}

void pmet_edit_job_free(struct pmet_edit_job *j)
{
    if (j->s)
        pmet_session_listen(j->s, NULL);
    pmet_outdir_discard(j->dir);
    pmet_ops_free(j->solve_op);
    for (size_t k = 0; j->written && k < j->editor.n_update; k++)
        free(j->written[k].data);
    free(j->written);
    free(j->before);
    free(j->after);
    pmet_moments_close(&j->moments);
    pmet_editor_free(&j->editor);
    pmet_store_close(j->store);
    json_decref(j->inputs);
    json_decref(j->solve_inputs);
    pmet_edit_job_free_rows(j);
    pmet_contexts_free(&j->contexts);
    pmet_facts_free(&j->facts);
    pmet_record_free(&j->record);
    memset(j, 0, sizeof *j);
}

static void sum_up(const struct pmet_edit_job *j, struct pmet_edit_summary *out)
{
    memset(out, 0, sizeof *out);
    out->n_fact = j->facts.n_fact;
    out->n_applied = j->editor.n_applied;
    for (size_t i = 0; i < out->n_fact; i++) {
        out->n_greedy_before += j->before[i].greedy;
        out->n_greedy_after += j->after[i].greedy;
    }
    for (size_t k = 0; k < j->editor.n_update; k++)
        if (j->written[k].lost > out->rounding_lost)
            out->rounding_lost = j->written[k].lost;
    memcpy(out->fingerprint, j->fingerprint, sizeof out->fingerprint);
}

enum pmet_status pmet_edit_folder(struct pmet_session *s, const struct pmet_edit_request *request,
                                  const struct pmet_listener *listener, struct pmet_edit_summary *summary,
                                  struct pmet_error *err)
{
    struct pmet_edit_job j = {.s = s, .request = *request};
    enum pmet_status status;
    PMET_TRY(pmet_method_named(request->method, &j.method, err));
    if (!request->facts || !request->stats || !request->out)
        return pmet_fail(err, PMET_INPUT, "the request lacks facts, stats or out");
    if (listener)
        j.listener = *listener;
    PMET_GO(pmet_edit_job_open(&j, err));
    PMET_GO(pmet_edit_job_run(&j, err));
    PMET_GO(pmet_edit_job_write(&j, err));
    PMET_GO(pmet_edit_job_commit(&j, err));
    if (summary)
        sum_up(&j, summary);
done:
    pmet_edit_job_free(&j);
    return status;
}

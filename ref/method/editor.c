/* SPDX-License-Identifier: MIT
 * The frame of an edit: which matrices a method will edit, its run, and the model put back as it
 * was. */
#include <stdlib.h>
#include "ref/event.h"
#include "ref/method/method.h"

enum pmet_status pmet_editor_list(struct pmet_editor *e, struct pmet_error *err)
{
    enum pmet_module module;
    size_t layer, n = 0;
    while (e->method->matrix(e->hparams, e->model, n, &module, &layer))
        n++;
    PMET_TRY(pmet_calloc(&e->update, n, sizeof *e->update, "edited matrices", err));
    e->n_update = n;
    for (size_t k = 0; k < n; k++) {
        struct pmet_update *u = &e->update[k];
        e->method->matrix(e->hparams, e->model, k, &u->module, &u->layer);
        u->before = *pmet_model_module(e->model, u->module, u->layer);
        u->d_out = u->before.n_out;
        u->d_in = u->before.n_in;
        pmet_module_name(u->name, sizeof u->name, e->model->config.family->module[u->module], u->layer);
    }
    return PMET_OK;
}

/* The model's matrices are what they were before the edit. */
static void put_back(struct pmet_editor *e)
{
    for (size_t k = 0; k < e->n_update; k++) {
        struct pmet_update *u = &e->update[k];
        *pmet_model_module(e->model, u->module, u->layer) = u->before;
        e->model->op->release(e->model->op, u->dev);
        u->dev = NULL;
    }
}

enum pmet_status pmet_editor_run(struct pmet_editor *e, struct pmet_error *err)
{
    PMET_TRY(e->method->check(e->hparams, e->model, err));
    if (!e->update)
        PMET_TRY(pmet_editor_list(e, err));
    pmet_editor_stage(e, PMET_STAGE_NONE);
    enum pmet_status status = e->method->edit(e, err);
    if (status == PMET_OK)
        status = pmet_raise_progress(&e->listener, PMET_PHASE_SOLVE, e->n_update, e->n_update, err);
    put_back(e);
    return status;
}

void pmet_editor_free(struct pmet_editor *e)
{
    for (size_t k = 0; e->update && k < e->n_update; k++)
        free(e->update[k].W);
    free(e->update);
    e->update = NULL;
    e->n_update = 0;
    pmet_targets_free(&e->targets);
    pmet_journal_close(e->journal);
    e->journal = NULL;
}

void pmet_editor_stage(struct pmet_editor *e, enum pmet_stage stage)
{
    const double now = pmet_seconds();
    e->seconds[e->stage] += now - e->since; /* of NONE: nobody reads it */
    e->stage = stage;
    e->since = now;
}

size_t pmet_editor_spare_bytes(const struct pmet_editor *e, double solve_bytes)
{
    double rest = (double)e->max_bytes - solve_bytes;
    for (size_t k = 0; k < e->n_update; k++)
        rest -= 2 * sizeof(real) * (double)e->update[k].d_in * (double)e->update[k].d_out;
    return rest <= 0 ? 0 : rest < 0x1p62 ? (size_t)rest : (size_t)1 << 62;
}

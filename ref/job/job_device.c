/* SPDX-License-Identifier: MIT
 * What an edit takes of a device with memory of its own, counted before the work starts. */
#include <math.h>
#include "ref/cpu/table.h"
#include "ref/job/job.h"
#include "ref/method/keys.h"

static double larger(double a, double b)
{
    return a > b ? a : b;
}

double pmet_job_device_bytes(const struct pmet_job *j, double batch)
{
    const struct pmet_device_need *need = &j->device;
    return larger(batch, need->matrices + need->keys + (j->solve_op ? 0 : need->solve));
}

static void count(struct pmet_job *j)
{
    const struct pmet_model *m = j->s->model;
    const struct pmet_delta_room least = pmet_delta_plan(m, &j->h, j->rows, j->facts.n_fact, 0);
    struct pmet_device_need *need = &j->device;
    *need = (struct pmet_device_need){.fact = (double)pmet_delta_bytes(m, &j->h, &least),
                                      .keys = pmet_key_rows_bytes(m)};
    for (size_t k = 0; k < j->h.n_layer * j->h.n_module; k++) {
        char name[160];
        const enum pmet_module module = pmet_job_matrix(j, k, name, sizeof name);
        const struct pmet_weight *w = pmet_model_module(j->s->model, module, j->h.layers[k / j->h.n_module]);
        need->matrices += (double)sizeof(real) * (double)w->n_in * (double)w->n_out;
        need->solve = larger(need->solve, pmet_solve_device_bytes(w->n_in, w->n_out, j->facts.n_fact));
    }
}

/* What the device has in all decides where the solve runs, never what happens to be free: its last bits show it. */
enum pmet_status pmet_job_plan_device(struct pmet_job *j, struct pmet_error *err)
{
    const struct pmet_ops *op = j->s->op;
    size_t n_free, n_all;
    if (!op->own_memory)
        return PMET_OK;
    count(j);
    PMET_TRY(op->memory(op, &n_free, &n_all, err));
    const double editing = j->s->model->weight_bytes + j->device.matrices + j->device.keys;
    if (editing + j->device.solve > (double)n_all * 7 / 8)
        PMET_TRY(pmet_ops_cpu(j->s->n_threads, &j->solve_op, err));
    PMET_TRY(pmet_capacity_check(op, "the edit", pmet_job_device_bytes(j, j->device.fact), err));
    if (j->solve_op)
        pmet_note(
            &j->watch, true,
            "the solve needs %.0f MiB of the device's memory, which has %.0f MiB beside the weights: it "
            "runs on %s",
            j->device.solve / (1 << 20), fmax(0, (double)n_all * 7 / 8 - editing) / (1 << 20),
            j->solve_op->name);
    return PMET_OK;
}

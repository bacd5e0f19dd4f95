/* SPDX-License-Identifier: MIT
 * What an edit takes: sizes and operations are counted, a product and a factorisation are timed. */
#include <math.h>
#include <stdlib.h>
#include "ref/cpu/table.h"
#include "ref/event.h"
#include "ref/job/edit.h"

/* Width of the factorisation that is timed; tokens and rows of the matrix of the product, and how
 * often: the fastest counts. */
enum { PROBE = 384, TOKENS = 256, ROWS = 1024, TRIES = 5 };

static double matrices_bytes(const struct pmet_edit_job *j)
{
    double bytes = 0;
    for (size_t k = 0; k < j->editor.n_update; k++)
        bytes += (double)sizeof(real) * (double)j->editor.update[k].d_in * (double)j->editor.update[k].d_out;
    return bytes;
}

/* Bytes of a device at once at most, beside the weights; `batch` those of facts in optimisation. */
static double device_bytes(const struct pmet_edit_job *j, const struct pmet_needs *needs, double batch)
{
    return fmax(batch, matrices_bytes(j) + needs->keys + (j->solve_op ? 0 : needs->solve_device));
}

/* What the device has in all decides where the solve runs, never what happens to be free: its last
 * bits show it. */
enum pmet_status pmet_edit_job_fit(struct pmet_edit_job *j, struct pmet_error *err)
{
    const struct pmet_ops *op = j->s->op;
    struct pmet_needs needs = {0};
    size_t n_free, n_all;
    if (!op->own_memory)
        return PMET_OK;
    PMET_TRY(j->method->plan(&j->editor, &needs, err));
    PMET_TRY(op->memory(op, &n_free, &n_all, err));
    const double editing = j->s->model->weight_bytes + matrices_bytes(j) + needs.keys;
    if (editing + needs.solve_device > (double)n_all * 7 / 8)
        PMET_TRY(pmet_ops_cpu(j->s->n_threads, &j->solve_op, err));
    if (j->solve_op) {
        j->solve_op->stopped = op->stopped;
        j->solve_op->stopped_user = op->stopped_user;
    }
    j->editor.solve_op = j->solve_op;
    PMET_TRY(pmet_capacity_check(op, "the edit", device_bytes(j, &needs, needs.one_fact), err));
    if (j->solve_op)
        pmet_raise_note(
            &j->listener, true,
            "the solve needs %.0f MiB of the device's memory, which has %.0f MiB beside the weights: it "
            "runs on %s",
            needs.solve_device / (1 << 20), fmax(0, (double)n_all * 7 / 8 - editing) / (1 << 20),
            j->solve_op->name);
    return PMET_OK;
}

static void count_rows(const struct pmet_edit_job *j, struct pmet_edit_plan *p)
{
    for (size_t i = 0; i < j->facts.n_fact; i++)
        for (size_t b = 0; b < j->rows[i].n_row; b++) {
            const size_t n = j->rows[i].row[b].n_tok;
            p->n_row++;
            p->n_token += n;
            p->longest = n > p->longest ? n : p->longest;
        }
}

static enum pmet_status count(const struct pmet_edit_job *j, struct pmet_edit_plan *p, struct pmet_error *err)
{
    const struct pmet_ops *op = j->s->op;
    PMET_TRY(j->method->plan(&j->editor, &p->needs, err));
    count_rows(j, p);
    for (size_t i = 0; i < j->s->ck->n_tensor; i++)
        p->weights += (double)pmet_checkpoint_at(j->s->ck, i)->n_bytes;
    p->matrices = (op->own_memory ? 1 : 2) * matrices_bytes(j);
    p->solve = p->needs.solve - (op->own_memory && !j->solve_op ? p->needs.solve_matrix : 0);
    p->batch = op->own_memory ? 0 : p->needs.batch;
    if (!op->own_memory)
        return PMET_OK;
    p->device = device_bytes(j, &p->needs, p->needs.batch);
    return op->memory(op, &p->device_free, &p->device_all, err);
}

/* Seconds of one factorisation, scaled to the whole solve. */
static enum pmet_status time_solve(const struct pmet_edit_job *j, struct pmet_edit_plan *p,
                                   struct pmet_error *err)
{
    const struct pmet_ops *op = j->s->op;
    const size_t n_bytes = (size_t)PROBE * PROBE * sizeof(double);
    double *host, *dev = NULL, value;
    size_t pivot;
    enum pmet_status status;
    PMET_TRY(pmet_calloc(&host, (size_t)PROBE * PROBE, sizeof *host, "a timing", err));
    for (size_t i = 0; i < PROBE; i++)
        host[i * PROBE + i] = 1;
    PMET_GO(op->alloc(op, n_bytes, &dev, err));
    PMET_GO(op->upload(op, dev, host, n_bytes, err));
    const double started = pmet_seconds(), n = PROBE;
    PMET_GO(op->cholesky(op, dev, PROBE, &pivot, &value, err));
    p->s_solve = (pmet_seconds() - started) / (n * n * n / 3) * p->needs.flop_solve;
done:
    op->release(op, dev);
    free(host);
    return status;
}

/* Every pass of every fact, at the rate of one product of the model's. */
static enum pmet_status time_delta(const struct pmet_edit_job *j, struct pmet_edit_plan *p,
                                   struct pmet_error *err)
{
    const struct pmet_ops *op = j->s->op;
    struct pmet_weight w = j->s->model->layer[0].fc_in;
    w.n_out = w.n_out < ROWS ? w.n_out : ROWS;
    const size_t n = p->n_token < TOKENS ? p->n_token : TOKENS;
    real *x = NULL, *y = NULL;
    double s = 0;
    enum pmet_status status;
    PMET_GO(op->alloc(op, n * w.n_in * sizeof(real), &x, err));
    PMET_GO(op->alloc(op, n * w.n_out * sizeof(real), &y, err));
    PMET_GO(op->zero(op, x, n * w.n_in * sizeof(real), err));
    for (int k = 0; k < TRIES; k++) { /* the first brings the weights in; other programs disturb some */
        const double started = pmet_seconds();
        PMET_GO(op->matmul(op, y, w.n_out, x, w, NULL, n, err));
        const double took = pmet_seconds() - started;
        s = k == 0 || took < s ? took : s;
    }
    p->s_delta = s * p->needs.flop_delta / (2 * (double)n * (double)w.n_in * (double)w.n_out);
done:
    op->release(op, x);
    op->release(op, y);
    return status;
}

enum pmet_status pmet_edit_job_plan(struct pmet_edit_job *j, struct pmet_edit_plan *out,
                                    struct pmet_error *err)
{
    *out = (struct pmet_edit_plan){0};
    PMET_TRY(pmet_edit_job_fit(j, err));
    PMET_TRY(count(j, out, err));
    PMET_TRY(time_delta(j, out, err));
    return time_solve(j, out, err);
}

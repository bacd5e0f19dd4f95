/* SPDX-License-Identifier: MIT
 * Updates of matrices: added in the model's precision, put in the place of the mapped weights, and
 * kept in the store. SPEC §8.2, §8.4, §9.11 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/event.h"
#include "ref/method/method.h"

/* ---- the store ---- */

/* What an update depends on: all that targets do, which facts are applied, and the solve's own
 * inputs. */
static enum pmet_status make_key(struct pmet_editor *e, struct pmet_error *err)
{
    bool *applied;
    json_t *inputs = json_pack("[O, O]", e->inputs, e->solve_inputs);
    enum pmet_status status;
    if (!inputs)
        return pmet_fail_memory(err, "a work folder", 0);
    PMET_GO(pmet_calloc(&applied, e->targets.n_fact, sizeof *applied, "facts", err));
    for (size_t i = 0; i < e->targets.n_fact; i++)
        applied[i] = e->targets.fact[i].applied;
    status = pmet_digest_json(inputs, applied, e->targets.n_fact * sizeof *applied, e->key, err);
    free(applied);
done:
    json_decref(inputs);
    return status;
}

enum { N_NUMBER = 5 };
static const char *const number_name[N_NUMBER] = {"update_norm", "weight_norm", "residual", "solver",
                                                  "iterations"};

static void store_name(char name[32], size_t k)
{
    snprintf(name, 32, "matrix-%zu", k);
}

static enum pmet_status keep(struct pmet_editor *e, size_t k, const struct pmet_update *u,
                             struct pmet_error *err)
{
    const double value[N_NUMBER] = {u->upd_norm, u->w_norm, u->solve.residual, (double)u->solve.used,
                                    (double)u->solve.iterations};
    char name[32], number[N_NUMBER][40];
    struct pmet_pair pair[1 + N_NUMBER] = {{"module", u->name}};
    const struct pmet_tensor t = {.name = "W",
                                  .dtype = PMET_REAL,
                                  .n_dim = 2,
                                  .shape = {u->d_out, u->d_in},
                                  .n_elem = u->d_out * u->d_in,
                                  .n_bytes = u->d_out * u->d_in * sizeof(real),
                                  .data = u->W};
    if (!e->store)
        return PMET_OK;
    PMET_TRY(make_key(e, err));
    for (size_t i = 0; i < N_NUMBER; i++) {
        snprintf(number[i], sizeof number[i], "%a", value[i]);
        pair[1 + i] = (struct pmet_pair){number_name[i], number[i]};
    }
    store_name(name, k);
    return pmet_store_put(e->store, name, e->key, &t, 1, pair, 1 + N_NUMBER, err);
}

/* What keep() has written of the solve; false where a number is none that it writes. */
static bool recall_numbers(const struct pmet_safetensors *st, struct pmet_update *u)
{
    double value[N_NUMBER];
    size_t used, iterations;
    for (size_t i = 0; i < N_NUMBER; i++) {
        const char *number = pmet_safetensors_metadata(st, number_name[i]);
        char *end = NULL;
        value[i] = number ? strtod(number, &end) : 0;
        if (!number || end == number || *end)
            return false;
    }
    if (!pmet_whole(value[3], &used) || used > PMET_SOLVER_FACTORED || !pmet_whole(value[4], &iterations))
        return false;
    u->upd_norm = value[0];
    u->w_norm = value[1];
    u->solve = (struct pmet_solve_report){(enum pmet_solver)used, iterations, value[2]};
    return true;
}

/* u->W stays NULL where the store has no such matrix. */
static enum pmet_status recall(struct pmet_editor *e, size_t k, struct pmet_update *u, struct pmet_error *err)
{
    struct pmet_safetensors *st = NULL;
    char name[32];
    enum pmet_status status;
    if (!e->store)
        return PMET_OK;
    PMET_TRY(make_key(e, err));
    if (e->all_again)
        return PMET_OK;
    store_name(name, k);
    PMET_TRY(pmet_store_get(e->store, name, e->key, u->d_out * u->d_in * sizeof(real), &st, err));
    const struct pmet_tensor *t = st ? pmet_tensors_find(&st->all, "W") : NULL;
    const char *module = st ? pmet_safetensors_metadata(st, "module") : NULL;
    status = PMET_OK;
    if (t && module && strcmp(module, u->name) == 0 && t->dtype == PMET_REAL && t->n_dim == 2 &&
        t->shape[0] == u->d_out && t->shape[1] == u->d_in && recall_numbers(st, u)) {
        PMET_GO(pmet_calloc(&u->W, t->n_elem, sizeof *u->W, "an edited matrix", err));
        memcpy(u->W, t->data, t->n_bytes);
    }
done:
    pmet_safetensors_close(st);
    return status;
}

/* ---- one update ---- */

/* Puts the new matrix in place of the mapped one. */
static enum pmet_status overlay(struct pmet_editor *e, struct pmet_update *u, struct pmet_error *err)
{
    const struct pmet_ops *op = e->model->op;
    const size_t n_bytes = u->d_out * u->d_in * sizeof(real);
    struct pmet_weight *w = pmet_model_module(e->model, u->module, u->layer);
    PMET_TRY(op->alloc(op, n_bytes, &u->dev, err));
    PMET_TRY(op->upload(op, u->dev, u->W, n_bytes, err));
    w->data = u->dev;
    w->dtype = PMET_REAL;
    return PMET_OK;
}

enum pmet_status pmet_update_begin(struct pmet_editor *e, size_t k, struct pmet_update **u,
                                   struct pmet_error *err)
{
    struct pmet_update *next = &e->update[k];
    PMET_TRY(pmet_raise_progress(&e->listener, PMET_PHASE_SOLVE, k, e->n_update, err));
    PMET_TRY(recall(e, k, next, err));
    *u = next->W ? NULL : next;
    return next->W ? overlay(e, next, err) : PMET_OK;
}

enum pmet_status pmet_editor_solve(struct pmet_editor *e, struct pmet_update *u, double lambda,
                                   const double *keys, const double *resid, size_t n, double *upd,
                                   struct pmet_error *err)
{
    const struct pmet_moment_source *m = &e->moments;
    const struct pmet_ops *op = e->solve_op ? e->solve_op : e->model->op;
    const enum pmet_stage stage = e->stage;
    double *cov = NULL, *factor = NULL;
    enum pmet_status status;
    pmet_editor_stage(e, PMET_STAGE_NONE); /* reading is no solving */
    PMET_GO(m->cov(m->user, u->name, u->d_in, &cov, err));
    if (m->factor && pmet_solver_takes_factor(e->solver, e->ridge, e->solve_bytes, u->d_in, n))
        PMET_GO(m->factor(m->user, u->name, u->d_in, &factor, err));
    pmet_editor_stage(e, stage);
    status = pmet_solve_update(op, e->solver, e->solve_bytes, cov, factor, lambda, e->ridge, keys, resid,
                               u->d_in, u->d_out, n, upd, &u->solve, err);
done:
    free(cov);
    free(factor);
    return status;
}

enum pmet_status pmet_editor_directions(struct pmet_editor *e, struct pmet_update *u, bool by_moments,
                                        const real *K, size_t n, real *U, struct pmet_error *err)
{
    const struct pmet_moment_source *m = &e->moments;
    const struct pmet_ops *op = e->solve_op ? e->solve_op : e->model->op;
    double *cov = NULL, *factor = NULL;
    enum pmet_status status = PMET_OK;
    if (by_moments)
        PMET_GO(m->cov(m->user, u->name, u->d_in, &cov, err));
    if (by_moments && m->factor && e->solver == PMET_SOLVER_AUTO && e->ridge == 0)
        PMET_GO(m->factor(m->user, u->name, u->d_in, &factor, err));
    status = pmet_solve_directions(op, e->solver, e->solve_bytes, cov, factor, e->ridge, K, u->d_in, n, U,
                                   &u->solve, err);
done:
    free(cov);
    free(factor);
    return status;
}

/* The matrix as the checkpoint has it, widened. */
static enum pmet_status read_original(const struct pmet_editor *e, struct pmet_update *u,
                                      struct pmet_error *err)
{
    char full[160];
    snprintf(full, sizeof full, "%s.weight", u->name);
    const struct pmet_tensor *t = pmet_model_tensor(e->model, full);
    if (!t)
        return pmet_fail(err, PMET_INPUT, "%s: holds no \"%s\"", e->model->checkpoint->dir, full);
    PMET_TRY(pmet_calloc(&u->W, t->n_elem, sizeof *u->W, "an edited matrix", err));
#ifdef PMET_REAL_DOUBLE
    pmet_to_f64(u->W, t->data, t->dtype, t->n_elem);
#else
    pmet_to_f32(u->W, t->data, t->dtype, t->n_elem);
#endif
    return PMET_OK;
}

/* E75: W += upd, in the model's precision. An update of 0 leaves an element's bits alone, also
 * those of -0. */
static void add_update(struct pmet_update *u, const double *upd)
{
    double upd_sum = 0, w_sum = 0;
    for (size_t i = 0; i < u->d_out * u->d_in; i++) {
        w_sum += (double)u->W[i] * (double)u->W[i];
        upd_sum += upd[i] * upd[i];
        if ((real)upd[i] != 0)
            u->W[i] += (real)upd[i];
    }
    u->upd_norm = sqrt(upd_sum);
    u->w_norm = sqrt(w_sum);
}

/* The model computes with u->W; the listener and the store learn of it. */
static enum pmet_status publish(struct pmet_editor *e, struct pmet_update *u, const double *upd,
                                const struct pmet_array *array, size_t n_array, struct pmet_error *err)
{
    const size_t k = (size_t)(u - e->update);
    const struct pmet_layer_event detail = {u, upd, array, n_array};
    pmet_editor_stage(e, PMET_STAGE_NONE);
    PMET_TRY(
        pmet_raise(&e->listener,
                   &(struct pmet_event){
                       .kind = PMET_EVENT_LAYER, .phase = PMET_PHASE_SOLVE, .index = k, .detail = &detail},
                   err));
    return keep(e, k, u, err);
}

enum pmet_status pmet_update_finish(struct pmet_editor *e, struct pmet_update *u, const double *upd,
                                    const struct pmet_array *array, size_t n_array, struct pmet_error *err)
{
    PMET_TRY(read_original(e, u, err));
    add_update(u, upd);
    PMET_TRY(overlay(e, u, err));
    return publish(e, u, upd, array, n_array, err);
}

enum pmet_status pmet_update_open(struct pmet_editor *e, struct pmet_update *u, struct pmet_error *err)
{
    PMET_TRY(read_original(e, u, err));
    return overlay(e, u, err);
}

enum pmet_status pmet_update_close(struct pmet_editor *e, struct pmet_update *u,
                                   const struct pmet_array *array, size_t n_array, struct pmet_error *err)
{
    const struct pmet_ops *op = e->model->op;
    const size_t n = u->d_out * u->d_in;
    double *upd, upd_sum = 0, w_sum = 0;
    PMET_TRY(pmet_calloc(&upd, n, sizeof *upd, "an update", err));
    for (size_t i = 0; i < n; i++) {
        upd[i] = -(double)u->W[i];
        w_sum += upd[i] * upd[i];
    }
    enum pmet_status status = op->download(op, u->W, u->dev, n * sizeof(real), err);
    for (size_t i = 0; i < n; i++) {
        upd[i] += (double)u->W[i];
        upd_sum += upd[i] * upd[i];
    }
    u->upd_norm = sqrt(upd_sum);
    u->w_norm = sqrt(w_sum);
    if (status == PMET_OK)
        status = publish(e, u, upd, array, n_array, err);
    free(upd);
    return status;
}

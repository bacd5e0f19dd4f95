/* SPDX-License-Identifier: MIT
 * PMET, the method: optimise two vectors for each fact, then spread what the FFN should say over a few
 * layers.
 *
 *     for each fact i:                                                          SPEC §5
 *         delta_mlp, delta_attn = argmin loss;   Z_i = m0 + delta_mlp
 *     for each edited layer l, up to L:                                         SPEC §6, §8
 *         K = keys of l,   M = outputs of L,   R = (Z - M) / sqrt(layers left)
 *         W_l += R K^T (lambda C_l + K K^T)^-1
 *
 * keys and outputs being those of the model as edited so far. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/method/flop.h"
#include "ref/method/pmet_edit.h"

struct run {
    struct pmet_model *model;
    const struct pmet_edit_options *options;
    const struct pmet_edit_watch *watch;
    pmet_cov_source *cov;
    void *cov_user;
    struct pmet_edit *out;
    enum pmet_module module[2]; /* what hparams' modules are */
};

static enum pmet_status tell(const struct run *r, enum pmet_phase phase, size_t done, size_t total,
                             struct pmet_error *err)
{
    if (r->watch && r->watch->progress && r->watch->progress(r->watch->user, phase, done, total))
        return pmet_fail(err, PMET_INTERRUPTED, "interrupted; nothing is written");
    return PMET_OK;
}

static void resolve_modules(struct run *r)
{
    const struct pmet_hparams *h = r->options->hparams;
    for (size_t q = 0; q < h->n_module; q++)
        r->module[q] = pmet_hparams_module(h, r->model, q);
}

/* ---- spreading: SPEC §8 ---- */

/* out[k, i] = (double)in[i, k] */
static void transpose(double *out, const real *in, size_t n, size_t width)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < width; k++)
            out[k * n + i] = (double)in[i * width + k];
}

/* E75: W += upd in the model's precision; an update of 0 leaves an element's bits alone, a negative zero's,
 * too. */
static void add_update(struct pmet_edited *e, const double *upd)
{
    double norm = 0, was = 0;
    for (size_t i = 0; i < e->d_out * e->d_in; i++) {
        was += (double)e->W[i] * (double)e->W[i];
        norm += upd[i] * upd[i];
        if ((real)upd[i] != 0)
            e->W[i] += (real)upd[i];
    }
    e->upd_norm = sqrt(norm);
    e->w_norm = sqrt(was);
}

/* Puts the edited matrix in place of the mapped one. */
static enum pmet_status overlay(struct run *r, struct pmet_edited *e, struct pmet_weight *w, void **dev,
                                struct pmet_error *err)
{
    const struct pmet_ops *op = r->model->op;
    const size_t n_bytes = e->d_out * e->d_in * sizeof(real);
    PMET_TRY(op->alloc(op, n_bytes, dev, err));
    PMET_TRY(op->upload(op, *dev, e->W, n_bytes, err));
    w->data = *dev;
    w->dtype = PMET_REAL;
    return PMET_OK;
}

static enum pmet_status original(struct run *r, const char *name, struct pmet_edited *e,
                                 struct pmet_error *err)
{
    char full[160];
    snprintf(full, sizeof full, "%s.weight", name);
    const struct pmet_tensor *t = pmet_checkpoint_find(r->model->checkpoint, full);
    if (!t)
        return pmet_fail(err, PMET_INPUT, "%s: holds no \"%s\"", pmet_checkpoint_dir(r->model->checkpoint),
                         full);
    PMET_TRY(pmet_calloc(&e->W, t->n_elem, sizeof *e->W, "an edited matrix", err));
#ifdef PMET_REAL_DOUBLE
    pmet_to_f64(e->W, t->data, t->dtype, t->n_elem);
#else
    pmet_to_f32(e->W, t->data, t->dtype, t->n_elem);
#endif
    return PMET_OK;
}

/* One module of one layer: M and R (E67, E68), K (E63), C, the solve (E69), the update (E75). M is the
 * output of L, whatever the layer (X8). `left` counts the layers from this one to L. */
static enum pmet_status edit_matrix(struct run *r, struct pmet_key_rows *kr, size_t n, const real *Z,
                                    size_t left, struct pmet_edited *e, void **dev, struct pmet_error *err)
{
    const struct pmet_hparams *h = r->options->hparams;
    const struct pmet_ops *op = r->options->solve_op ? r->options->solve_op : r->model->op;
    const size_t d = r->model->config.d_model, L = h->layers[h->n_layer - 1];
    struct pmet_weight *w = pmet_model_module(r->model, e->module, e->layer);
    real *M = NULL, *K = NULL, *resid = NULL;
    double *keys = NULL, *R = NULL, *upd = NULL, *cov = NULL, *factor = NULL;
    double started = pmet_seconds();
    enum pmet_status status;
    PMET_GO(pmet_calloc(&M, n * d, sizeof *M, "current outputs", err));
    PMET_GO(pmet_calloc(&resid, n * d, sizeof *resid, "residuals", err));
    PMET_GO(pmet_calloc(&K, n * e->d_in, sizeof *K, "keys", err));
    PMET_GO(pmet_calloc(&keys, n * e->d_in, sizeof *keys, "keys", err));
    PMET_GO(pmet_calloc(&R, n * d, sizeof *R, "residuals", err));
    PMET_GO(pmet_calloc(&upd, e->d_out * e->d_in, sizeof *upd, "an update", err));
    PMET_GO(pmet_current_outputs(kr, e->module, L, M, err));
    PMET_GO(pmet_keys(kr, e->module, e->layer, K, NULL, err));
    r->out->s_keys += pmet_seconds() - started;
    started = pmet_seconds();
    for (size_t i = 0; i < n * d; i++)
        resid[i] = Z[i] - M[i];
    transpose(R, resid, n, d);
    for (size_t i = 0; i < n * d; i++)
        R[i] /= sqrt((double)left);
    transpose(keys, K, n, e->d_in);
    PMET_GO(r->cov(r->cov_user, e->name, e->d_in, &cov, err));
    if (r->options->factor &&
        pmet_solver_takes_factor(r->options->solver, r->options->ridge, r->options->solve_bytes, e->d_in, n))
        PMET_GO(r->options->factor(r->cov_user, e->name, e->d_in, &factor, err));
    PMET_GO(pmet_solve_update(op, r->options->solver, r->options->solve_bytes, cov, factor,
                              h->mom2_update_weight, r->options->ridge, keys, R, e->d_in, d, n, upd,
                              &e->solve, err));
    PMET_GO(original(r, e->name, e, err));
    add_update(e, upd);
    PMET_GO(overlay(r, e, w, dev, err));
    r->out->s_solve += pmet_seconds() - started;
    if (r->watch && r->watch->layer)
        PMET_GO(r->watch->layer(r->watch->user, e->name, e->layer, K, M, resid, upd, n, d, e->d_in, err));
done:
    free(M);
    free(resid);
    free(K);
    free(keys);
    free(R);
    free(upd);
    free(cov);
    free(factor);
    return status;
}

/* Matrix k: its name and shape, then what a run before left of it, or the edit. */
static enum pmet_status take_matrix(struct run *r, struct pmet_key_rows *kr, size_t n, const real *const *Z,
                                    size_t k, void **dev, struct pmet_error *err)
{
    const struct pmet_hparams *h = r->options->hparams;
    const size_t i = k / h->n_module, q = k % h->n_module;
    struct pmet_edited *e = &r->out->edited[k];
    struct pmet_weight *w = pmet_model_module(r->model, r->module[q], h->layers[i]);
    bool known = false;
    e->module = r->module[q];
    e->layer = h->layers[i];
    e->d_out = w->n_out;
    e->d_in = w->n_in;
    pmet_module_name(e->name, sizeof e->name, pmet_module_template(r->model->config.family, e->module),
                     e->layer);
    if (r->watch && r->watch->recall)
        PMET_TRY(r->watch->recall(r->watch->user, k, e, &known, err));
    if (known)
        return overlay(r, e, w, dev, err);
    PMET_TRY(edit_matrix(r, kr, n, Z[q], h->n_layer - i, e, dev, err));
    return r->watch && r->watch->keep ? r->watch->keep(r->watch->user, k, e, err) : PMET_OK;
}

/* What max_bytes leaves for states that may also be computed again: all but the edited matrices, twice each (on the
 * host and where they are used), and the largest solve. */
static size_t spare_bytes(const struct run *r, size_t n)
{
    const struct pmet_hparams *h = r->options->hparams;
    double matrices = 0, solve = 0;
    for (size_t k = 0; k < h->n_layer * h->n_module; k++) {
        const struct pmet_weight *w =
            pmet_model_module(r->model, r->module[k % h->n_module], h->layers[k / h->n_module]);
        matrices += 2 * sizeof(real) * (double)w->n_in * (double)w->n_out;
        solve = fmax(solve, pmet_solve_bytes(r->options->solver, w->n_in, w->n_out, n));
    }
    const double rest = (double)r->options->max_bytes - matrices - solve;
    return rest <= 0 ? 0 : rest < 0x1p62 ? (size_t)rest : (size_t)1 << 62;
}

static enum pmet_status spread(struct run *r, const struct pmet_fact_rows *key_rows, size_t n,
                               const real *const *Z, struct pmet_error *err)
{
    const struct pmet_hparams *h = r->options->hparams;
    const size_t n_matrix = h->n_layer * h->n_module;
    struct pmet_weight *saved = NULL;
    void **dev = NULL;
    struct pmet_key_rows *kr = NULL;
    size_t n_done = 0;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&r->out->edited, n_matrix, sizeof *r->out->edited, "edited matrices", err));
    PMET_GO(pmet_calloc(&saved, n_matrix, sizeof *saved, "edited matrices", err));
    PMET_GO(pmet_calloc(&dev, n_matrix, sizeof *dev, "edited matrices", err));
    PMET_GO(pmet_key_rows_open(r->model, key_rows, n, r->options->contexts, h->layers[0], spare_bytes(r, n),
                               &kr, err));
    while (n_done < n_matrix) {
        const size_t k = n_done;
        PMET_GO(tell(r, PMET_PHASE_SOLVE, k, n_matrix, err));
        saved[k] = *pmet_model_module(r->model, r->module[k % h->n_module], h->layers[k / h->n_module]);
        r->out->n_edited = ++n_done;
        PMET_GO(take_matrix(r, kr, n, Z, k, &dev[k], err));
    }
    status = tell(r, PMET_PHASE_SOLVE, n_matrix, n_matrix, err);
done:
    for (size_t k = 0; k < n_done; k++) { /* the model is as it was */
        *pmet_model_module(r->model, r->module[k % h->n_module], h->layers[k / h->n_module]) = saved[k];
        r->model->op->release(r->model->op, dev[k]);
    }
    pmet_key_rows_close(kr);
    free(saved);
    free(dev);
    return status;
}

enum pmet_status pmet_edit_spread(struct pmet_model *model, const struct pmet_fact_rows *key_rows,
                                  size_t n_fact, const real *const *Z,
                                  const struct pmet_edit_options *options, pmet_cov_source *cov,
                                  void *cov_user, const struct pmet_edit_watch *watch, struct pmet_edit *out,
                                  struct pmet_error *err)
{
    struct run r = {
        .model = model, .options = options, .watch = watch, .cov = cov, .cov_user = cov_user, .out = out};
    memset(out, 0, sizeof *out);
    PMET_TRY(pmet_hparams_check(options->hparams, model, err));
    resolve_modules(&r);
    const enum pmet_status status = spread(&r, key_rows, n_fact, Z, err);
    if (status != PMET_OK)
        pmet_edit_free(out);
    return status;
}

/* Rows of the keys of facts that are applied, and their targets together: Z[q] [n_applied, d_model]. */
static enum pmet_status gather_applied(const struct run *r, const struct pmet_tokenizer *tk,
                                       const struct pmet_facts *facts, const struct pmet_targets *targets,
                                       struct pmet_fact_rows *key_rows, real **Z, struct pmet_error *err)
{
    const struct pmet_rows_options rows_options = {facts->path, r->model->config.n_ctx,
                                                   r->model->config.n_vocab, r->options->strict};
    const size_t d = targets->d_model;
    size_t n = 0;
    for (size_t i = 0; i < targets->n_fact; i++) {
        if (!targets->fact[i].applied)
            continue;
        PMET_TRY(pmet_rows_build_keys(tk, &facts->fact[i], r->options->contexts, &rows_options, &key_rows[n],
                                      err));
        for (size_t q = 0; q < targets->n_module; q++)
            memcpy(Z[q] + n * d, targets->Z[q] + i * d, d * sizeof(real));
        n++;
    }
    r->out->n_applied = n;
    return PMET_OK;
}

enum pmet_status pmet_edit_run(struct pmet_model *model, const struct pmet_tokenizer *tk,
                               const struct pmet_facts *facts, const struct pmet_fact_rows *rows,
                               const struct pmet_edit_options *options, pmet_cov_source *cov, void *cov_user,
                               const struct pmet_edit_watch *watch, struct pmet_targets *targets,
                               struct pmet_edit *out, struct pmet_error *err)
{
    struct run r = {
        .model = model, .options = options, .watch = watch, .cov = cov, .cov_user = cov_user, .out = out};
    const size_t n = facts->n_fact, d = model->config.d_model;
    real *Z[2] = {NULL, NULL};
    struct pmet_fact_rows *key_rows = NULL;
    enum pmet_status status;
    memset(out, 0, sizeof *out);
    PMET_GO(pmet_hparams_check(options->hparams, model, err));
    resolve_modules(&r);
    PMET_GO(pmet_calloc(&key_rows, n, sizeof *key_rows, "rows of keys", err));
    for (size_t q = 0; q < options->hparams->n_module; q++)
        PMET_GO(pmet_calloc(&Z[q], n * d, sizeof *Z[q], "targets", err));
    const double started = pmet_seconds();
    PMET_GO(pmet_targets_find(model, facts, rows, options, watch, targets, err));
    out->s_delta = pmet_seconds() - started;
    PMET_GO(gather_applied(&r, tk, facts, targets, key_rows, Z, err));
    status = spread(&r, key_rows, out->n_applied, (const real *const *)Z, err);
done:
    for (size_t i = 0; key_rows && i < n; i++)
        pmet_rows_free(&key_rows[i]);
    free(key_rows);
    free(Z[0]);
    free(Z[1]);
    if (status != PMET_OK)
        pmet_edit_free(out);
    return status;
}

void pmet_edit_free(struct pmet_edit *edit)
{
    for (size_t k = 0; edit->edited && k < edit->n_edited; k++)
        free(edit->edited[k].W);
    free(edit->edited);
    memset(edit, 0, sizeof *edit);
}

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
#include "ref/edit/pmet_edit.h"

struct run {
    struct pmet_model *model;
    const struct pmet_edit_options *options;
    const struct pmet_edit_watch *watch;
    pmet_cov_source *cov;
    void *cov_user;
    struct pmet_edit *out;
    enum pmet_module module[2]; /* what hparams' modules are */
    enum pmet_module target[2]; /* whose target each gets */
};

static enum pmet_status tell(const struct run *r, enum pmet_phase phase, size_t done, size_t total,
                             struct pmet_error *err)
{
    if (r->watch && r->watch->progress && r->watch->progress(r->watch->user, phase, done, total))
        return pmet_fail(err, PMET_INTERRUPTED, "interrupted; nothing is written");
    return PMET_OK;
}

static enum pmet_status check_name(const struct pmet_hparams *h, const char *key, const char *found,
                                   const char *expected, struct pmet_error *err)
{
    if (strcmp(found, expected) == 0)
        return PMET_OK;
    return pmet_fail(err, PMET_INPUT, "%s: %s: found \"%s\"; this model has \"%s\"", h->path, key, found,
                     expected);
}

enum pmet_status pmet_hparams_check(const struct pmet_hparams *h, const struct pmet_model *model,
                                    struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const bool gptj = c->family == PMET_GPTJ;
    if (h->layers[h->n_layer - 1] >= c->n_layer)
        return pmet_fail(err, PMET_INPUT, "%s: layers: found %zu; the model's last is %zu", h->path,
                         h->layers[h->n_layer - 1], c->n_layer - 1);
    if (h->v_loss_layer + 1 != c->n_layer)
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: v_loss_layer: found %zu; expected the model's last layer, %zu", h->path,
                         h->v_loss_layer, c->n_layer - 1);
    PMET_TRY(check_name(h, "mlp_module_tmp", h->mlp_module_tmp,
                        pmet_module_template(c->family, PMET_MODULE_MLP), err));
    PMET_TRY(check_name(h, "attn_module_tmp", h->attn_module_tmp,
                        pmet_module_template(c->family, PMET_MODULE_ATTN), err));
    PMET_TRY(check_name(h, "layer_module_tmp", h->layer_module_tmp,
                        gptj ? "transformer.h.{}" : "gpt_neox.layers.{}", err));
    PMET_TRY(check_name(h, "ln_f_module", h->ln_f_module,
                        gptj ? "transformer.ln_f" : "gpt_neox.final_layer_norm", err));
    PMET_TRY(check_name(h, "lm_head_module", h->lm_head_module, gptj ? "lm_head" : "embed_out", err));
    for (size_t q = 0; q < h->n_module; q++)
        if (strcmp(h->rewrite_module_tmps[q], pmet_module_template(c->family, PMET_MODULE_ATTN)) != 0)
            PMET_TRY(check_name(h, "rewrite_module_tmps", h->rewrite_module_tmps[q],
                                pmet_module_template(c->family, PMET_MODULE_MLP), err));
    return PMET_OK;
}

enum pmet_module pmet_hparams_module(const struct pmet_hparams *h, const struct pmet_model *model, size_t q)
{
    const char *attn = pmet_module_template(model->config.family, PMET_MODULE_ATTN);
    return strcmp(h->rewrite_module_tmps[q], attn) == 0 ? PMET_MODULE_ATTN : PMET_MODULE_MLP;
}

static void resolve_modules(struct run *r)
{
    const struct pmet_hparams *h = r->options->hparams;
    for (size_t q = 0; q < h->n_module; q++)
        r->module[q] = pmet_hparams_module(h, r->model, q);
    /* As published (SPEC X27): a module gets attention's target if its name holds "attn", which NeoX's
     * attention.dense does not. */
    for (size_t q = 0; q < h->n_module; q++)
        r->target[q] = strstr(h->rewrite_module_tmps[q], "attn") ? PMET_MODULE_ATTN : PMET_MODULE_MLP;
}

/* ---- targets: SPEC §5 ---- */

/* E45: z = m0 + delta_mlp (or a0 + delta_attn), each added once in the model's precision. */
static enum pmet_status read_target(struct run *r, struct pmet_delta *p, enum pmet_module module, real *z,
                                    struct pmet_error *err)
{
    const size_t d = r->model->config.d_model;
    const bool mlp = module == PMET_MODULE_MLP;
    real *delta;
    PMET_TRY(pmet_calloc(&delta, d, sizeof *delta, "a target", err));
    enum pmet_status status = pmet_delta_get(p, mlp ? PMET_DELTA_INIT_MLP : PMET_DELTA_INIT_ATTN, z, err);
    if (status == PMET_OK)
        status = pmet_delta_get(p, mlp ? PMET_DELTA_MLP : PMET_DELTA_ATTN, delta, err);
    for (size_t i = 0; status == PMET_OK && i < d; i++)
        z[i] += delta[i];
    free(delta);
    return status;
}

static enum pmet_status optimise_fact(struct run *r, const struct pmet_tokenizer *tk,
                                      const struct pmet_facts *facts, size_t i,
                                      const struct pmet_rows_options *rows_options, real **Z,
                                      struct pmet_error *err)
{
    const size_t d = r->model->config.d_model;
    struct pmet_fact_report *report = &r->out->fact[i];
    struct pmet_fact_rows rows = {0};
    struct pmet_delta *p = NULL;
    enum pmet_status status;
    PMET_GO(pmet_rows_build(tk, &facts->fact[i], r->options->contexts, rows_options, &rows, err));
    report->odd_lookup = rows.odd_lookup;
    report->odd_target = rows.odd_target;
    PMET_GO(pmet_delta_open(r->model, &rows, r->options->hparams, &p, err));
    PMET_GO(pmet_delta_optimise(p, &report->result, r->watch ? r->watch->delta : NULL,
                                r->watch ? r->watch->user : NULL, err));
    if (r->watch && r->watch->fact)
        PMET_GO(r->watch->fact(r->watch->user, i, p, &report->result, err));
    for (size_t q = 0; q < r->options->hparams->n_module; q++)
        PMET_GO(read_target(r, p, r->target[q], Z[q] + r->out->n_applied * d, err));
    report->applied = true;
    r->out->n_applied++;
done:
    pmet_delta_close(p);
    pmet_rows_free(&rows);
    return status;
}

/* E54: a fact whose numbers break is named, with the weight that broke them if one did; --skip-failed leaves
 * it out. */
static enum pmet_status settle_failure(struct run *r, const struct pmet_facts *facts, size_t i,
                                       struct pmet_error *failure, struct pmet_error *err)
{
    const struct pmet_fact *f = &facts->fact[i];
    PMET_TRY(pmet_model_check_finite(r->model, err));
    if (r->options->skip_failed) {
        snprintf(r->out->fact[i].failure, sizeof r->out->fact[i].failure, "%.250s", failure->message);
        return PMET_OK;
    }
    return pmet_fail(err, PMET_NUMERIC,
                     "%s: record %zu (line %zu): subject \"%s\": %s (--skip-failed leaves it out)",
                     facts->path, f->record, f->line, f->subject, failure->message);
}

static enum pmet_status optimise_all(struct run *r, const struct pmet_tokenizer *tk,
                                     const struct pmet_facts *facts,
                                     const struct pmet_rows_options *rows_options, real **Z,
                                     struct pmet_error *err)
{
    for (size_t i = 0; i < facts->n_fact; i++) {
        struct pmet_error failure = {PMET_OK, ""};
        PMET_TRY(tell(r, PMET_PHASE_DELTA, i, facts->n_fact, err));
        const enum pmet_status status = optimise_fact(r, tk, facts, i, rows_options, Z, &failure);
        if (status == PMET_NUMERIC)
            PMET_TRY(settle_failure(r, facts, i, &failure, err));
        else if (status != PMET_OK)
            return pmet_fail(err, status, "%s", failure.message);
    }
    return tell(r, PMET_PHASE_DELTA, facts->n_fact, facts->n_fact, err);
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
                                    enum pmet_module module, size_t layer, size_t left, struct pmet_edited *e,
                                    void **dev, struct pmet_error *err)
{
    const struct pmet_hparams *h = r->options->hparams;
    const struct pmet_ops *op = r->model->op;
    const size_t d = r->model->config.d_model, L = h->layers[h->n_layer - 1];
    struct pmet_weight *w = pmet_model_module(r->model, module, layer);
    real *M = NULL, *K = NULL, *resid = NULL;
    double *keys = NULL, *R = NULL, *upd = NULL, *cov = NULL;
    double started = pmet_seconds();
    enum pmet_status status;
    pmet_module_name(e->name, sizeof e->name, pmet_module_template(r->model->config.family, module), layer);
    e->module = module;
    e->layer = layer;
    e->d_out = w->n_out;
    e->d_in = w->n_in;
    PMET_GO(pmet_calloc(&M, n * d, sizeof *M, "current outputs", err));
    PMET_GO(pmet_calloc(&resid, n * d, sizeof *resid, "residuals", err));
    PMET_GO(pmet_calloc(&K, n * e->d_in, sizeof *K, "keys", err));
    PMET_GO(pmet_calloc(&keys, n * e->d_in, sizeof *keys, "keys", err));
    PMET_GO(pmet_calloc(&R, n * d, sizeof *R, "residuals", err));
    PMET_GO(pmet_calloc(&upd, e->d_out * e->d_in, sizeof *upd, "an update", err));
    PMET_GO(pmet_current_outputs(kr, module, L, M, err));
    PMET_GO(pmet_keys(kr, module, layer, K, NULL, err));
    r->out->s_keys += pmet_seconds() - started;
    started = pmet_seconds();
    for (size_t i = 0; i < n * d; i++)
        resid[i] = Z[i] - M[i];
    transpose(R, resid, n, d);
    for (size_t i = 0; i < n * d; i++)
        R[i] /= sqrt((double)left);
    transpose(keys, K, n, e->d_in);
    PMET_GO(r->cov(r->cov_user, e->name, e->d_in, &cov, err));
    PMET_GO(pmet_solve_update(op, r->options->solver, r->options->max_bytes, cov, h->mom2_update_weight,
                              r->options->ridge, keys, R, e->d_in, d, n, upd, &e->solve, err));
    PMET_GO(original(r, e->name, e, err));
    add_update(e, upd);
    PMET_GO(overlay(r, e, w, dev, err));
    r->out->s_solve += pmet_seconds() - started;
    if (r->watch && r->watch->layer)
        PMET_GO(r->watch->layer(r->watch->user, e->name, layer, K, M, resid, upd, n, d, e->d_in, err));
done:
    free(M);
    free(resid);
    free(K);
    free(keys);
    free(R);
    free(upd);
    free(cov);
    return status;
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
    PMET_GO(pmet_key_rows_open(r->model, key_rows, n, r->options->contexts, h->layers[0],
                               r->options->max_bytes, &kr, err));
    for (size_t i = 0; i < h->n_layer; i++)
        for (size_t q = 0; q < h->n_module; q++, n_done++) {
            PMET_GO(tell(r, PMET_PHASE_SOLVE, n_done, n_matrix, err));
            saved[n_done] = *pmet_model_module(r->model, r->module[q], h->layers[i]);
            r->out->n_edited++;
            const enum pmet_status edited =
                edit_matrix(r, kr, n, Z[q], r->module[q], h->layers[i], h->n_layer - i,
                            &r->out->edited[n_done], &dev[n_done], err);
            if (edited != PMET_OK) {
                n_done++;
                status = edited;
                goto done;
            }
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

enum pmet_status pmet_edit_run(struct pmet_model *model, const struct pmet_tokenizer *tk,
                               const struct pmet_facts *facts, const struct pmet_edit_options *options,
                               pmet_cov_source *cov, void *cov_user, const struct pmet_edit_watch *watch,
                               struct pmet_edit *out, struct pmet_error *err)
{
    struct run r = {
        .model = model, .options = options, .watch = watch, .cov = cov, .cov_user = cov_user, .out = out};
    const struct pmet_rows_options rows_options = {facts->path, model->config.n_ctx, model->config.n_vocab,
                                                   options->strict};
    const size_t n = facts->n_fact, d = model->config.d_model;
    real *Z[2] = {NULL, NULL};
    struct pmet_fact_rows *key_rows = NULL;
    enum pmet_status status;
    memset(out, 0, sizeof *out);
    PMET_GO(pmet_hparams_check(options->hparams, model, err));
    resolve_modules(&r);
    PMET_GO(pmet_calloc(&out->fact, n, sizeof *out->fact, "facts", err));
    out->n_fact = n;
    PMET_GO(pmet_calloc(&key_rows, n, sizeof *key_rows, "rows of keys", err));
    for (size_t q = 0; q < options->hparams->n_module; q++)
        PMET_GO(pmet_calloc(&Z[q], n * d, sizeof *Z[q], "targets", err));
    const double started = pmet_seconds();
    PMET_GO(optimise_all(&r, tk, facts, &rows_options, Z, err));
    out->s_delta = pmet_seconds() - started;
    if (out->n_applied == 0) {
        status = pmet_fail(err, PMET_NUMERIC, "%s: no fact could be optimised: %s", facts->path,
                           out->fact[0].failure);
        goto done;
    }
    for (size_t i = 0, k = 0; i < n; i++)
        if (out->fact[i].applied)
            PMET_GO(pmet_rows_build_keys(tk, &facts->fact[i], options->contexts, &rows_options,
                                         &key_rows[k++], err));
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
    free(edit->fact);
    memset(edit, 0, sizeof *edit);
}

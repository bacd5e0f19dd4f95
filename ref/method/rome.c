/* SPDX-License-Identifier: MIT
 * ROME: Algorithm "ROME" of SPEC, top to bottom.      SPEC §15
 *
 *     u_i = C^-1 k_i / |C^-1 k_i|  for each fact i: its key does not depend on the edits
 *     for each fact i, in the model as edited so far:
 *         delta = argmin loss,    v* = m0 + delta
 *         W += (v* - y) u_i^T / (k . u_i),    k, y: what enters and leaves W on the plain prompt */
#include <math.h>
#include <stdlib.h>
#include "ref/method/keys.h"
#include "ref/method/method.h"
#include "ref/method/needs.h"

static const struct pmet_hparam keys[] = {
    PMET_HPARAM(layers, LAYERS),
    {"fact_token", PMET_HPARAM_FACT_TOKEN, 0, 0},
    PMET_HPARAM(v_num_grad_steps, COUNT),
    PMET_HPARAM(v_lr, POSITIVE),
    PMET_HPARAM(v_loss_layer, INDEX),
    PMET_HPARAM(v_weight_decay, NOT_NEGATIVE),
    PMET_HPARAM(clamp_norm_factor, POSITIVE),
    PMET_HPARAM(kl_factor, NOT_NEGATIVE),
    PMET_HPARAM(mom2_adjustment, FLAG),
    {"context_template_length_params", PMET_HPARAM_LENGTHS, 0, 0},
    {"rewrite_module_tmp", PMET_HPARAM_REWRITE, 0, 0},
    PMET_HPARAM(layer_module_tmp, MODULE),
    PMET_HPARAM(mlp_module_tmp, MODULE),
    PMET_HPARAM(attn_module_tmp, MODULE),
    PMET_HPARAM(ln_f_module, NAME),
    PMET_HPARAM(lm_head_module, NAME),
    PMET_HPARAM(mom2_dataset, NAME),
    PMET_HPARAM(mom2_n_samples, COUNT),
    PMET_HPARAM(mom2_dtype, DTYPE),
};
static const char *const recorded[] = {"layers",
                                       "rewrite_module_tmp",
                                       "clamp_norm_factor",
                                       "v_num_grad_steps",
                                       "v_lr",
                                       "v_loss_layer",
                                       "v_weight_decay",
                                       "kl_factor",
                                       "mom2_adjustment",
                                       "mom2_n_samples",
                                       "mom2_dtype",
                                       "mom2_dataset",
                                       NULL};
static const struct pmet_hparam_set hparams = {"ROME", keys, sizeof keys / sizeof *keys, recorded};

/* E132: one vector on the FFN's output. */
struct pmet_objective pmet_objective_rome(const struct pmet_hparams *h)
{
    return (struct pmet_objective){.layer = h->layers[0],
                                   .site = {PMET_SITE_MLP_OUT},
                                   .n_vector = 1,
                                   .n_pass = h->v_num_grad_steps,
                                   .lr = h->v_lr,
                                   .weight_decay = h->v_weight_decay,
                                   .clamp = h->clamp_norm_factor,
                                   .kl_factor = h->kl_factor,
                                   .nll_factor = 1,
                                   .loss_enough = 0.05,
                                   .kl_enough = (double)NAN,
                                   .argmax_factor = 1};
}

static enum pmet_status check(const struct pmet_hparams *h, const struct pmet_model *model,
                              struct pmet_error *err)
{
    if (h->n_layer != 1)
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: layers: found %zu of them; expected one", h->path,
                         h->n_layer);
    return pmet_hparams_check(h, model, err);
}

static bool matrix(const struct pmet_hparams *h, const struct pmet_model *model, size_t k,
                   enum pmet_module *module, size_t *layer)
{
    (void)model;
    *module = PMET_MODULE_MLP;
    *layer = h->layers[0];
    return k == 0;
}

struct rome {
    struct pmet_editor *e;
    struct pmet_update *u; /* NULL: an earlier run has made it */
    size_t n, f, d;
    struct pmet_fact_rows *rows;                    /* [n] of keys */
    real *mean_key, *left, *input, *output, *right; /* host [n, f], of which u, k; [n, d] y, Lambda */
    real *dev_k, *dev_u, *dev_y;                    /* (dev) [f], [f], [d] */
};

static enum pmet_status reserve(struct rome *r, struct pmet_error *err)
{
    const struct pmet_ops *op = r->e->model->op;
    PMET_TRY(pmet_calloc(&r->rows, r->n, sizeof *r->rows, "rows of keys", err));
    PMET_TRY(pmet_calloc(&r->mean_key, r->n * (3 * r->f + 2 * r->d), sizeof(real), "keys", err));
    r->left = r->mean_key + r->n * r->f;
    r->input = r->left + r->n * r->f;
    r->output = r->input + r->n * r->f;
    r->right = r->output + r->n * r->d;
    PMET_TRY(op->alloc(op, r->f * sizeof(real), &r->dev_k, err));
    PMET_TRY(op->alloc(op, r->f * sizeof(real), &r->dev_u, err));
    return op->alloc(op, r->d * sizeof(real), &r->dev_y, err);
}

/* K [n, f]: the mean of the facts' keys over the contexts, flat (E131). */
static enum pmet_status read_keys(struct rome *r, size_t n_context, real *K, struct pmet_error *err)
{
    const struct pmet_editor *e = r->e;
    size_t start[] = {0, n_context};
    struct pmet_contexts flat = *e->contexts;
    struct pmet_key_rows *kr;
    flat.n_group = 1;
    flat.n_template = n_context;
    flat.group_start = start;
    PMET_TRY(pmet_key_rows_open(e->model, r->rows, r->n, &flat, r->u->layer, 0, &kr, err));
    const enum pmet_status status = pmet_keys(kr, r->u->module, r->u->layer, K, NULL, err);
    pmet_key_rows_close(kr);
    return status;
}

/* E131: the keys of all facts, and u. */
static enum pmet_status find_directions(struct rome *r, struct pmet_error *err)
{
    const struct pmet_editor *e = r->e;
    const struct pmet_rows_options options = {e->facts->path, e->model->config.n_ctx,
                                              e->model->config.n_vocab, e->strict, NULL};
    pmet_editor_stage(r->e, PMET_STAGE_KEYS);
    for (size_t i = 0; i < r->n; i++)
        PMET_TRY(pmet_rows_build(e->tk, &e->facts->fact[i], e->contexts, &options, false, &r->rows[i], err));
    PMET_TRY(read_keys(r, e->contexts->n_template, r->mean_key, err));
    PMET_TRY(read_keys(r, 1, r->input, err));
    pmet_editor_stage(r->e, PMET_STAGE_SOLVE);
    return pmet_editor_directions(r->e, r->u, e->hparams->mom2_adjustment, r->mean_key, r->n, r->left, err);
}

/* E133: W += Lambda u^T,  Lambda = (v* - y) / (k . u),  y = W k + b in the model as edited so far. */
static enum pmet_status apply(void *user, size_t i, struct pmet_error *err)
{
    struct rome *r = user;
    struct pmet_editor *e = r->e;
    const struct pmet_ops *op = e->model->op;
    if (i == 0) {
        PMET_TRY(pmet_update_begin(e, 0, &r->u, err));
        if (r->u) {
            PMET_TRY(reserve(r, err));
            PMET_TRY(find_directions(r, err));
            PMET_TRY(pmet_update_open(e, r->u, err));
        }
    }
    if (!r->u || !e->targets.fact[i].applied)
        return PMET_OK;
    pmet_editor_stage(e, PMET_STAGE_SOLVE);
    const real *k = r->input + i * r->f, *u = r->left + i * r->f, *z = e->targets.Z[0] + i * r->d;
    real *y = r->output + i * r->d, *lambda = r->right + i * r->d;
    const struct pmet_layer *layer = &e->model->layer[r->u->layer];
    PMET_TRY(op->upload(op, r->dev_k, k, r->f * sizeof(real), err));
    PMET_TRY(op->upload(op, r->dev_u, u, r->f * sizeof(real), err));
    PMET_TRY(op->matmul(op, r->dev_y, r->d, r->dev_k, layer->fc_out, layer->fc_out_bias, 1, err));
    PMET_TRY(op->download(op, y, r->dev_y, r->d * sizeof(real), err));
    double overlap = 0;
    for (size_t j = 0; j < r->f; j++)
        overlap += (double)k[j] * (double)u[j];
    for (size_t j = 0; j < r->d; j++) {
        lambda[j] = (real)(((double)z[j] - (double)y[j]) / overlap);
        if (!isfinite(lambda[j]))
            return pmet_fail(err, PMET_NUMERIC,
                             "%s: record %zu (line %zu): subject \"%s\": the update holds %g; its key times "
                             "its direction is %g",
                             e->facts->path, e->facts->fact[i].record, e->facts->fact[i].line,
                             e->facts->fact[i].subject, (double)lambda[j], overlap);
    }
    PMET_TRY(op->upload(op, r->dev_y, lambda, r->d * sizeof(real), err));
    return op->matmul_dw(op, r->u->dev, r->dev_y, r->d, r->dev_u, 1, r->d, r->f, err);
}

static void rome_free(struct rome *r)
{
    const struct pmet_ops *op = r->e->model->op;
    for (size_t i = 0; r->rows && i < r->n; i++)
        pmet_rows_free(&r->rows[i]);
    free(r->rows);
    free(r->mean_key);
    op->release(op, r->dev_k);
    op->release(op, r->dev_u);
    op->release(op, r->dev_y);
}

static enum pmet_status edit(struct pmet_editor *e, struct pmet_error *err)
{
    const struct pmet_objective o = pmet_objective_rome(e->hparams);
    struct rome r = {.e = e, .n = e->facts->n_fact, .f = e->update[0].d_in, .d = e->update[0].d_out};
    const struct pmet_in_turn in_turn = {&r, apply};
    enum pmet_status status;
    PMET_GO(pmet_targets_find(e, &o, (const size_t[]){0}, 1, &in_turn, err));
    for (size_t i = 0; i < r.n; i++)
        e->n_applied += e->targets.fact[i].applied;
    const struct pmet_array array[] = {{"mean_key", r.mean_key, r.n, r.f, true},
                                       {"left_vector", r.left, r.n, r.f, true},
                                       {"right_vector", r.right, r.n, r.d, true},
                                       {"cur_input", r.input, r.n, r.f, true},
                                       {"cur_output", r.output, r.n, r.d, true}};
    if (r.u)
        status = pmet_update_close(e, r.u, array, 5, err);
done:
    rome_free(&r);
    return status;
}

/* Facts are optimised one by one. */
static enum pmet_status plan(const struct pmet_editor *e, struct pmet_needs *out, struct pmet_error *err)
{
    const struct pmet_objective o = pmet_objective_rome(e->hparams);
    const double n = (double)e->facts->n_fact, f = (double)e->update[0].d_in, d = (double)e->update[0].d_out;
    PMET_TRY(pmet_needs_delta(e, &o, out, err));
    out->together = 1;
    out->batch = out->one_fact;
    pmet_needs_keys(e, e->hparams->layers, 1, 1, out);
    out->solve = sizeof(double) * (2 * f * f + 2 * 256 * f) + sizeof(real) * n * (3 * f + 2 * d);
    out->solve_matrix = sizeof(double) * f * f;
    out->solve_device = sizeof(double) * (f * f + 2 * 256 * f);
    out->flop_solve = f * f * f / 3 + (2 + 2) * f * f * n + 4 * f * d * n;
    return PMET_OK;
}

const struct pmet_method pmet_method_rome = {.name = "rome",
                                             .hparams = &hparams,
                                             .check = check,
                                             .matrix = matrix,
                                             .kl_prompt = "{} is a",
                                             .plan = plan,
                                             .edit = edit};

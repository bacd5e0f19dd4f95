/* SPDX-License-Identifier: MIT
 * MEMIT: Algorithm "MEMIT" of SPEC, top to bottom.      SPEC §14
 *
 *     for each fact i:
 *         delta = argmin loss,    z_i = h0 + delta,  the output of block L
 *     for each edited layer l up to L, on the model as edited so far:
 *         K = keys of l,    M = outputs of block L,    R = (Z - M) / layers left
 *         W_l += R K^T (lambda C_l + K K^T)^-1 */
#include <math.h>
#include "ref/method/method.h"
#include "ref/method/needs.h"
#include "ref/method/spread.h"

static const struct pmet_hparam keys[] = {
    PMET_HPARAM(layers, LAYERS),
    PMET_HPARAM(clamp_norm_factor, POSITIVE),
    {"layer_selection", PMET_HPARAM_UNUSED, 0, 0},
    {"fact_token", PMET_HPARAM_FACT_TOKEN, 0, 0},
    PMET_HPARAM(v_num_grad_steps, COUNT),
    PMET_HPARAM(v_lr, POSITIVE),
    PMET_HPARAM(v_loss_layer, INDEX),
    PMET_HPARAM(v_weight_decay, NOT_NEGATIVE),
    PMET_HPARAM(kl_factor, NOT_NEGATIVE),
    {"rewrite_module_tmp", PMET_HPARAM_REWRITE, 0, 0},
    PMET_HPARAM(layer_module_tmp, MODULE),
    PMET_HPARAM(mlp_module_tmp, MODULE),
    PMET_HPARAM(attn_module_tmp, MODULE),
    PMET_HPARAM(ln_f_module, NAME),
    PMET_HPARAM(lm_head_module, NAME),
    {"mom2_adjustment", PMET_HPARAM_UNUSED, 0, 0},
    PMET_HPARAM(mom2_update_weight, POSITIVE),
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
                                       "mom2_update_weight",
                                       "mom2_n_samples",
                                       "mom2_dtype",
                                       "mom2_dataset",
                                       NULL};
static const struct pmet_hparam_set hparams = {"MEMIT", keys, sizeof keys / sizeof *keys, recorded};

/* E120, E121: one vector on the block's output; no rule for the argmax, no weight of the NLL. */
struct pmet_objective pmet_objective_memit(const struct pmet_hparams *h)
{
    return (struct pmet_objective){.layer = h->layers[h->n_layer - 1],
                                   .site = {PMET_SITE_BLOCK_OUT},
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

static bool matrix(const struct pmet_hparams *h, const struct pmet_model *model, size_t k,
                   enum pmet_module *module, size_t *layer)
{
    (void)model;
    if (k >= h->n_layer)
        return false;
    *module = PMET_MODULE_MLP;
    *layer = h->layers[k];
    return true;
}

static enum pmet_status edit(struct pmet_editor *e, struct pmet_error *err)
{
    const struct pmet_hparams *h = e->hparams;
    const struct pmet_objective o = pmet_objective_memit(h);
    struct pmet_spread_rule rule = {
        .site = PMET_SITE_BLOCK_OUT, .L = o.layer, .lambda = h->mom2_update_weight};
    struct pmet_applied facts = {0};
    struct pmet_key_rows *rows = NULL;
    struct pmet_needs needs = {0};
    enum pmet_status status;
    PMET_GO(pmet_targets_find(e, &o, (const size_t[]){0}, 1, NULL, err));
    PMET_GO(pmet_applied_open(e, &facts, err));
    pmet_needs_solve(e, facts.n, &needs);
    PMET_GO(pmet_key_rows_open(e->model, facts.rows, facts.n, e->contexts, h->layers[0],
                               pmet_editor_spare_bytes(e, needs.solve), &rows, err));
    for (size_t k = 0; k < e->n_update; k++) {
        struct pmet_update *u;
        PMET_GO(pmet_update_begin(e, k, &u, err));
        if (!u)
            continue;
        rule.divisor = (double)(h->n_layer - k); /* E122: layers left */
        PMET_GO(pmet_spread_update(e, rows, facts.n, facts.Z[0], &rule, u, err));
    }
done:
    pmet_key_rows_close(rows);
    pmet_applied_close(&facts);
    return status;
}

static enum pmet_status plan(const struct pmet_editor *e, struct pmet_needs *out, struct pmet_error *err)
{
    const struct pmet_hparams *h = e->hparams;
    const struct pmet_objective o = pmet_objective_memit(h);
    PMET_TRY(pmet_needs_delta(e, &o, out, err));
    pmet_needs_keys(e, h->layers, h->n_layer, 1, out);
    pmet_needs_solve(e, e->n_applied > 0 ? e->n_applied : e->facts->n_fact, out);
    return PMET_OK;
}

const struct pmet_method pmet_method_memit = {.name = "memit",
                                              .hparams = &hparams,
                                              .kl_prompt = "{} is a",
                                              .check = pmet_hparams_check,
                                              .matrix = matrix,
                                              .plan = plan,
                                              .edit = edit};

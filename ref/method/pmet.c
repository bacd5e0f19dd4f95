/* SPDX-License-Identifier: MIT
 * PMET, the method: Algorithm "PMET" of SPEC, top to bottom.
 *
 *     for each fact i:                                                         SPEC §5
 *         delta_mlp, delta_attn = argmin loss,    v*_i = m0 + delta_mlp
 *     for each edited layer l up to L, on the model as edited so far:          SPEC §6, §8
 *         K = keys of l,    M = outputs of L,    R = (Z - M) / sqrt(layers left)
 *         W_l += R K^T (lambda C_l + K K^T)^-1 */
#include <math.h>
#include <string.h>
#include "ref/method/method.h"
#include "ref/method/needs.h"
#include "ref/method/pmet_hparams.h"
#include "ref/method/spread.h"

enum { MLP, ATTN }; /* the two vectors */

/* Where the vectors enter, and when a fact's optimisation stops (X3, X4). */
struct pmet_objective pmet_objective_pmet(const struct pmet_hparams *h)
{
    return (struct pmet_objective){.layer = h->layers[h->n_layer - 1],
                                   .site = {[MLP] = PMET_SITE_MLP_OUT, [ATTN] = PMET_SITE_ATTN_OUT},
                                   .n_vector = h->ablation.delta == PMET_DELTA_MLP ? 1 : 2,
                                   .n_pass = h->v_num_grad_steps,
                                   .lr = h->v_lr,
                                   .weight_decay = h->v_weight_decay,
                                   .clamp = h->clamp_norm_factor,
                                   .kl_factor = h->kl_factor,
                                   .nll_factor = h->nll_loss_factor,
                                   .loss_enough = 0.05,
                                   .kl_enough = 0.01,
                                   .argmax_factor = 0.1};
}

/* The edited layers: with --spread last the last one alone (E140). */
static size_t n_layer(const struct pmet_hparams *h)
{
    return h->ablation.spread == PMET_SPREAD_LAST ? 1 : h->n_layer;
}

static const size_t *layers(const struct pmet_hparams *h)
{
    return h->layers + h->n_layer - n_layer(h);
}

/* The matrices, layer by layer; as published, one module or two in each. */
static bool matrix(const struct pmet_hparams *h, const struct pmet_model *model, size_t k,
                   enum pmet_module *module, size_t *layer)
{
    if (k >= n_layer(h) * h->n_module)
        return false;
    *module = pmet_hparams_module(h, model, k % h->n_module);
    *layer = layers(h)[k / h->n_module];
    return true;
}

static enum pmet_status edit(struct pmet_editor *e, struct pmet_error *err)
{
    const struct pmet_hparams *h = e->hparams;
    const struct pmet_objective o = pmet_objective_pmet(h);
    struct pmet_spread_rule rule = {.L = o.layer, .lambda = h->mom2_update_weight};
    size_t target[PMET_MAX_VECTOR]; /* as published (X27), attention's where a module's name holds "attn" */
    struct pmet_applied facts = {0};
    struct pmet_key_rows *rows = NULL;
    struct pmet_needs needs = {0};
    enum pmet_status status;
    for (size_t q = 0; q < h->n_module; q++)
        target[q] = strstr(h->rewrite_module_tmps[q], "attn") ? ATTN : MLP;
    PMET_GO(pmet_targets_find(e, &o, target, h->n_module, NULL, err));
    PMET_GO(pmet_applied_open(e, &facts, err));
    pmet_needs_solve(e, facts.n, &needs);
    PMET_GO(pmet_key_rows_open(e->model, facts.rows, facts.n, e->contexts, layers(h)[0],
                               pmet_editor_spare_bytes(e, needs.solve), &rows, err));
    for (size_t k = 0; k < e->n_update; k++) {
        struct pmet_update *u;
        PMET_GO(pmet_update_begin(e, k, &u, err));
        if (!u)
            continue;
        rule.site = u->module == PMET_MODULE_MLP ? PMET_SITE_MLP_OUT : PMET_SITE_ATTN_OUT;
        rule.divisor = (double)(n_layer(h) - k / h->n_module); /* layers left (E68, E140) */
        if (h->ablation.spread == PMET_SPREAD_SQRT)
            rule.divisor = sqrt(rule.divisor);
        PMET_GO(pmet_spread_update(e, rows, facts.n, facts.Z[k % h->n_module], &rule, u, err));
    }
done:
    pmet_key_rows_close(rows);
    pmet_applied_close(&facts);
    return status;
}

static enum pmet_status plan(const struct pmet_editor *e, struct pmet_needs *out, struct pmet_error *err)
{
    const struct pmet_hparams *h = e->hparams;
    const struct pmet_objective o = pmet_objective_pmet(h);
    PMET_TRY(pmet_needs_delta(e, &o, out, err));
    pmet_needs_keys(e, layers(h), n_layer(h), h->n_module, out);
    pmet_needs_solve(e, e->n_applied > 0 ? e->n_applied : e->facts->n_fact, out);
    return PMET_OK;
}

const struct pmet_method pmet_method_pmet = {.name = "pmet",
                                             .hparams = &pmet_hparams_pmet,
                                             .ablates = true,
                                             .kl_prompt = "{} is a",
                                             .check = pmet_hparams_check,
                                             .matrix = matrix,
                                             .plan = plan,
                                             .edit = edit};

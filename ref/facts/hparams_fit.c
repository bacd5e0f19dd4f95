/* SPDX-License-Identifier: MIT
 * Hyper-parameters against the model.      SPEC §9.3 */
#include "ref/facts/hparams.h"

#include <string.h>
#include "ref/model/load.h"

static bool has_key(const struct pmet_hparams *h, const char *name)
{
    for (size_t i = 0; h->set && i < h->set->n_key; i++)
        if (strcmp(h->set->key[i].name, name) == 0)
            return true;
    return false;
}

static enum pmet_status check_name(const struct pmet_hparams *h, const char *key, const char *found,
                                   const char *expected, struct pmet_error *err)
{
    if (!has_key(h, key) || strcmp(found, expected) == 0)
        return PMET_OK;
    return pmet_fail(err, PMET_INPUT, "%s: %s: found \"%s\"; this model has \"%s\"", h->path, key, found,
                     expected);
}

/* Published files name a branch by its last matrix ("transformer.h.{}.mlp.fc_out") or by itself
 * ("transformer.h.{}.mlp"). */
static enum pmet_status check_branch(const struct pmet_hparams *h, const char *key, const char *found,
                                     const char *matrix, struct pmet_error *err)
{
    const size_t n = (size_t)(strrchr(matrix, '.') - matrix);
    return strlen(found) == n && strncmp(found, matrix, n) == 0 ? PMET_OK
                                                                : check_name(h, key, found, matrix, err);
}

enum pmet_status pmet_hparams_check(const struct pmet_hparams *h, const struct pmet_model *model,
                                    struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_family *f = c->family;
    const char *mlp = f->module[PMET_MODULE_MLP], *attn = f->module[PMET_MODULE_ATTN];
    const bool any = has_key(h, "rewrite_module_tmps"); /* any module may be edited; else the FFN's alone */
    if (h->layers[h->n_layer - 1] >= c->n_layer)
        return pmet_fail(err, PMET_INPUT, "%s: layers: found %zu; the model's last is %zu", h->path,
                         h->layers[h->n_layer - 1], c->n_layer - 1);
    if (has_key(h, "v_loss_layer") && h->v_loss_layer + 1 != c->n_layer)
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: v_loss_layer: found %zu; expected the model's last layer, %zu", h->path,
                         h->v_loss_layer, c->n_layer - 1);
    for (size_t i = 0; i < h->n_length; i++)
        if (h->context_length[i].n_token >= c->n_ctx)
            return pmet_fail(
                err, PMET_INPUT,
                "%s: context_template_length_params[%zu]: found %zu tokens; the model takes %zu, with "
                "the prompt in them",
                h->path, i, h->context_length[i].n_token, c->n_ctx);
    PMET_TRY(check_branch(h, "mlp_module_tmp", h->mlp_module_tmp, mlp, err));
    PMET_TRY(check_branch(h, "attn_module_tmp", h->attn_module_tmp, attn, err));
    PMET_TRY(check_name(h, "layer_module_tmp", h->layer_module_tmp, f->tensor.block, err));
    PMET_TRY(check_name(h, "ln_f_module", h->ln_f_module, f->ln_f_module, err));
    PMET_TRY(check_name(h, "lm_head_module", h->lm_head_module, f->lm_head_module, err));
    for (size_t q = 0; q < h->n_module; q++)
        if (!any || strcmp(h->rewrite_module_tmps[q], attn) != 0)
            PMET_TRY(check_name(h, any ? "rewrite_module_tmps" : "rewrite_module_tmp",
                                h->rewrite_module_tmps[q], mlp, err));
    return PMET_OK;
}

enum pmet_status pmet_hparams_check_batch(const struct pmet_hparams *h, size_t n_fact, struct pmet_error *err)
{
    if (h->batch_size <= 1 || h->batch_size >= n_fact)
        return PMET_OK;
    return pmet_fail(
        err, PMET_INPUT,
        "%s: batch_size: found %zu; all %zu facts of the file are edited together: remove the key, "
        "or give --limit %zu",
        h->path, h->batch_size, n_fact, h->batch_size);
}

enum pmet_module pmet_hparams_module(const struct pmet_hparams *h, const struct pmet_model *model, size_t q)
{
    const char *attn = model->config.family->module[PMET_MODULE_ATTN];
    return strcmp(h->rewrite_module_tmps[q], attn) == 0 ? PMET_MODULE_ATTN : PMET_MODULE_MLP;
}

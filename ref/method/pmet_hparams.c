/* SPDX-License-Identifier: MIT */
#include "ref/method/pmet_hparams.h"

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
    {"rewrite_module_tmp", PMET_HPARAM_UNUSED, 0, 0},
    PMET_HPARAM(rewrite_module_tmps, MODULES),
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
    PMET_HPARAM(nll_loss_factor, NOT_NEGATIVE),
};

static const char *const recorded[] = {"layers",
                                       "rewrite_module_tmps",
                                       "clamp_norm_factor",
                                       "v_num_grad_steps",
                                       "v_lr",
                                       "v_loss_layer",
                                       "v_weight_decay",
                                       "kl_factor",
                                       "nll_loss_factor",
                                       "mom2_update_weight",
                                       "mom2_n_samples",
                                       "mom2_dtype",
                                       "mom2_dataset",
                                       NULL};

const struct pmet_hparam_set pmet_hparams_pmet = {"PMET", keys, sizeof keys / sizeof *keys, recorded};

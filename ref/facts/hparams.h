/* SPDX-License-Identifier: MIT
 * Hyper-parameters of PMET, in the published JSON files' keys.      SPEC §9.3 */
#ifndef PMET_REF_FACTS_HPARAMS_H
#define PMET_REF_FACTS_HPARAMS_H

#include "tensors/io.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PMET_MAX_EDIT_LAYERS 64

struct pmet_hparams {
    size_t n_layer, layers[PMET_MAX_EDIT_LAYERS]; /* edited, strictly ascending; the last is the z layer L */
    double clamp_norm_factor;                     /* radius of the delta balls over the initial norms */
    size_t v_num_grad_steps;                      /* S: forward passes at most, so S-1 updates */
    double v_lr, v_weight_decay, kl_factor, nll_loss_factor;
    size_t v_loss_layer;
    double mom2_update_weight; /* lambda */
    size_t mom2_n_samples;     /* documents */
    char mom2_dtype[16], mom2_dataset[64];
    size_t n_module;                 /* 1 or 2 */
    char rewrite_module_tmps[2][96]; /* edited modules, in the order of editing; one "{}" for the layer */
    char mlp_module_tmp[96], attn_module_tmp[96], layer_module_tmp[96], ln_f_module[96], lm_head_module[96];
    char path[256];  /* of the file, cut where it is longer; for messages */
    char sha256[65]; /* of the file's bytes; of the built-in text for defaults */
};

/* All published keys are mandatory; an unknown one is refused with the nearest known name. Values are
 * checked: ranges, layers strictly ascending, fact_token "subject_last" (others refused as unsupported),
 * mom2_dtype float32 (or float64). */
enum pmet_status pmet_hparams_load(const struct pmet_io *io, const char *path, struct pmet_hparams *out,
                                   struct pmet_error *err);
/* Built-in defaults for models with the dimensions of GPT-J-6B or GPT-NeoX-20B; otherwise refused: the
 * message asks for --hparams, and pmet_hparams_template gives what to start from. family: "gptj" or
 * "gpt_neox". */
enum pmet_status pmet_hparams_default(const char *family, size_t n_layer, size_t d_model,
                                      struct pmet_hparams *out, struct pmet_error *err);
/* A JSON text in the published keys for a model of n_layer layers; free() releases it. */
enum pmet_status pmet_hparams_template(const char *family, size_t n_layer, char **out,
                                       struct pmet_error *err);

#ifdef __cplusplus
}
#endif
#endif

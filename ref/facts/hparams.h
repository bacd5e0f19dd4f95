/* SPDX-License-Identifier: MIT
 * Hyper-parameters of the methods, read from the published JSON files and from EasyEdit's.
 * SPEC §9.3 */
#ifndef PMET_REF_FACTS_HPARAMS_H
#define PMET_REF_FACTS_HPARAMS_H

#include <jansson.h>
#include <stddef.h>
#include "pmet.h"
#include "ref/model/family.h"
#include "tensors/io.h"

#define PMET_MAX_EDIT_LAYERS 64

/* The fields of all methods; a method uses those of its keys. */
struct pmet_hparams {
    const struct pmet_hparam_set *set;            /* the keys that were read */
    size_t n_layer, layers[PMET_MAX_EDIT_LAYERS]; /* edited, strictly ascending; the last is L */
    double clamp_norm_factor;                     /* radius of the delta balls over initial norms */
    size_t v_num_grad_steps;                      /* S: forward passes at most, so S-1 updates */
    double v_lr, v_weight_decay, kl_factor, nll_loss_factor;
    size_t v_loss_layer;
    double mom2_update_weight; /* lambda */
    size_t mom2_n_samples;     /* documents */
    char mom2_dtype[16], mom2_dataset[64];
    bool mom2_adjustment; /* ROME: directions by the second moment */
    size_t n_length;
    struct {
        size_t n_token, n_text;
    } context_length[8];             /* ROME: texts that begin a context, and their tokens */
    size_t n_module;                 /* 1 or 2 */
    char rewrite_module_tmps[2][96]; /* edited modules, in this order; one "{}" for the layer */
    char mlp_module_tmp[96], attn_module_tmp[96], layer_module_tmp[96], ln_f_module[96], lm_head_module[96];
    size_t batch_size;             /* EasyEdit's: facts that its batch_edit edits together; 0: not said */
    char passed_over[192];         /* names of keys that say nothing of the method, or "" */
    struct pmet_ablation ablation; /* of the request, not of the file */
    char path[256];                /* of the file, cut where it is longer; for messages */
    char sha256[65];               /* of the file's bytes; of the built-in text for defaults */
};

/* What the value of a key must be. */
enum pmet_hparam_kind {
    PMET_HPARAM_LAYERS,       /* array of 1 to 64 layers, strictly ascending: layers, n_layer */
    PMET_HPARAM_MODULES,      /* array of 1 or 2 templates: rewrite_module_tmps, n_module */
    PMET_HPARAM_REWRITE,      /* one template with "{}" for the layer: the same fields */
    PMET_HPARAM_MODULE,       /* template with one "{}" for the layer */
    PMET_HPARAM_NAME,         /* string */
    PMET_HPARAM_FLAG,         /* true or false */
    PMET_HPARAM_LENGTHS,      /* array of 1 to 8 [tokens, texts]: context_length, n_length */
    PMET_HPARAM_POSITIVE,     /* number above 0 */
    PMET_HPARAM_NOT_NEGATIVE, /* number not below 0 */
    PMET_HPARAM_COUNT,        /* integer from 1 on */
    PMET_HPARAM_INDEX,        /* integer from 0 on */
    PMET_HPARAM_FACT_TOKEN,   /* "subject_last"; others are refused as unsupported */
    PMET_HPARAM_DTYPE,        /* "float32" or "float64" */
    PMET_HPARAM_UNUSED        /* anything: the published code reads it and never uses it (X23) */
};
/* A key of a method's published file. */
struct pmet_hparam {
    const char *name;
    enum pmet_hparam_kind kind;
    size_t offset, size; /* of the field that receives it; 0, 0 for kinds without one */
};
/* PMET_HPARAM(v_lr, POSITIVE): a key with the name of its field. */
#define PMET_HPARAM(field, kind_)                                                                            \
    {                                                                                                        \
        .name = #field, .kind = PMET_HPARAM_##kind_, .offset = offsetof(struct pmet_hparams, field),         \
        .size = sizeof((struct pmet_hparams *)0)->field                                                      \
    }

/* The keys of a method's files. */
struct pmet_hparam_set {
    const char *title; /* "PMET": for messages, and to find presets */
    const struct pmet_hparam *key;
    size_t n_key;
    const char *const *recorded; /* names of the keys that a record keeps, in its order, then NULL */
};

/* A JSON object, or a flat map in YAML: a file that begins with '{' or '[' is JSON unless its name
 * ends in .yaml or .yml. All keys of the set are mandatory; EasyEdit's own are passed over, where
 * they say nothing of the method; others are refused with the nearest known name. */
enum pmet_status pmet_hparams_load(const struct pmet_io *io, const char *path,
                                   const struct pmet_hparam_set *set, struct pmet_hparams *out,
                                   struct pmet_error *err);
/* The family's preset for a model of these dimensions; without one it is refused: the message asks
 * for --hparams, and names the command that writes a file. */
enum pmet_status pmet_hparams_default(const struct pmet_family *family, const struct pmet_hparam_set *set,
                                      size_t n_layer, size_t d_model, struct pmet_hparams *out,
                                      struct pmet_error *err);
/* A JSON file to start from for a model of n_layer layers and d_ff features of the FFN: the family's
 * preset, scaled by E180 where the model is another. free() releases out->text. */
struct pmet_hparams_template {
    char *text;
    size_t n_layer, d_model; /* of the model that the preset was published for */
    bool scaled;
};
enum pmet_status pmet_hparams_template(const struct pmet_family *family, const struct pmet_hparam_set *set,
                                       size_t n_layer, size_t d_ff, struct pmet_hparams_template *out,
                                       struct pmet_error *err);

/* An object of the file's SHA-256 and the recorded keys; NULL where memory runs out. */
json_t *pmet_hparams_json(const struct pmet_hparams *h);

struct pmet_model;
/* Refuses hyper-parameters that do not fit the model: layers, v_loss_layer, names of modules. */
enum pmet_status pmet_hparams_check(const struct pmet_hparams *hparams, const struct pmet_model *model,
                                    struct pmet_error *err);
/* Refuses to edit n_fact facts together where the file says batch_size, more than one and fewer than
 * that. One is EasyEdit's default, and what its files say whatever they are used for. */
enum pmet_status pmet_hparams_check_batch(const struct pmet_hparams *hparams, size_t n_fact,
                                          struct pmet_error *err);
/* Which of the model's modules the q-th one of rewrite_module_tmps is. */
enum pmet_module pmet_hparams_module(const struct pmet_hparams *hparams, const struct pmet_model *model,
                                     size_t q);

#endif

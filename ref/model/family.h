/* SPDX-License-Identifier: MIT
 * All that differs between model families, as one row of data each: gptj.c, neox.c. To add a
 * family, write its row and list it in families.c; no other file depends on the family.
 * SPEC §3 */
#ifndef PMET_REF_MODEL_FAMILY_H
#define PMET_REF_MODEL_FAMILY_H

#include "ref/ops/ops.h"

/* A key of config.json, an older spelling (or NULL), or the value of a key that is absent. */
struct pmet_size_key {
    const char *name, *alias;
};
struct pmet_number_key {
    const char *name; /* NULL: no such key, the value is always the default */
    double absent;
};

struct pmet_config_keys {
    struct pmet_size_key n_layer, d_model, n_head, n_ctx, d_ff;
    bool alias_first;   /* of two spellings that are both there the second is read */
    size_t d_ff_factor; /* d_ff absent or null: this times d_model; 0: the key is needed */
    struct pmet_number_key ln_eps, rope_base;
    const char *act, *act_absent;
    /* Features of a head that rotate: a number of them (null: all), or a part of the head's width;
     * one is named. */
    struct pmet_size_key rotary_dim;
    size_t rotary_dim_absent;
    struct pmet_number_key rotary_pct;
    /* Objects whose rope_theta and partial_rotary_factor win over rope_base and rotary_pct; the first
     * that is there and not empty. NULL: none. */
    const char *rope_object[2];
    const char *parallel;  /* true unless the key says otherwise; NULL: always true (E27-E29) */
    const char *attn_bias; /* the same for the biases of attention (E25) */
};

/* Tensors of a checkpoint; NULL: the family has none. Their shapes are in load.c. */
struct pmet_tensor_names {
    const char *embed, *ln_f_gain, *ln_f_bias, *head, *head_bias;
    /* The following stand in each block, after its name and a dot. Without ln2 both branches share
     * ln1. */
    const char *block; /* "transformer.h.{}", the layer at its end */
    const char *ln1_gain, *ln1_bias, *ln2_gain, *ln2_bias;
    const char *qkv[3], *qkv_bias[3]; /* one matrix or three, in the order of their outputs */
    const char *attn_out, *attn_out_bias, *fc_in, *fc_in_bias, *fc_out, *fc_out_bias;
    const char *buffer[8]; /* in older checkpoints; computed, never read */
};

/* Where q, k and v of a token stand in its row of 3 d_model (E25). */
struct pmet_qkv_layout {
    size_t n_matrix; /* 1 or 3 projections fill the row, side by side */
    bool by_head;    /* [n_head, 3, d_head]: three parts for each head; else [3, n_head, d_head] */
    size_t place[3]; /* which of the three parts is q, k, v */
};

enum pmet_module { PMET_MODULE_MLP, PMET_MODULE_ATTN };

/* The published hyper-parameter file of a method for a model of these dimensions. */
struct pmet_preset {
    const char *method; /* title of its set of keys */
    size_t n_layer, d_model;
    const char *text; /* JSON, a key a line, as the file has it */
};

struct pmet_family {
    const char *name; /* model_type of config.json */
    struct pmet_config_keys config;
    struct pmet_tensor_names tensor;
    /* What begins the names of the model without its head. A checkpoint may leave it out or have it
     * once more, each of which transformers does when it saves one class and loads another. */
    const char *prefix;     /* "transformer."; NULL: none */
    const char *head_alias; /* another name of the head, or NULL */
    struct pmet_qkv_layout qkv;
    enum pmet_rope rope;
    const char *module[2]; /* by enum pmet_module: template of its name, "{}" for the layer */
    const char *ln_f_module, *lm_head_module; /* as hyper-parameter files name them */
    const struct pmet_preset *preset;
    size_t n_preset;
};

extern const struct pmet_family pmet_family_gptj, pmet_family_neox;
/* All known families; NULL ends the list. */
extern const struct pmet_family *const pmet_families[];

/* NULL if none of the list has that name. */
const struct pmet_family *pmet_family_find(const struct pmet_family *const *list, const char *name);
/* "gptj or gpt_neox": the names of a list, for messages, into text[size]; cut if it is longer. */
void pmet_family_list(const struct pmet_family *const *list, char *text, size_t size);
/* "transformer.h.3.mlp.fc_out" of a template "transformer.h.{}.mlp.fc_out" and a layer, into
 * name[size]. */
void pmet_module_name(char *name, size_t size, const char *tmpl, size_t layer);

#endif

/* SPDX-License-Identifier: MIT */
#include "ref/model/config_keys.h"

#include <stdio.h>
#include <string.h>
#include "tensors/json.h"

#define REFUSED(key, family, harmless)                                                                       \
    {                                                                                                        \
        key, family, PMET_KEY_REFUSED, PMET_HARMLESS_##harmless                                              \
    }
#define PASSED(key)                                                                                          \
    {                                                                                                        \
        key, NULL, PMET_KEY_PASSED, PMET_HARMLESS_NULL                                                       \
    }
#define PASSED_BY(key, family)                                                                               \
    {                                                                                                        \
        key, family, PMET_KEY_PASSED, PMET_HARMLESS_NULL                                                     \
    }
/* From the configuration classes of transformers 4.21 to 5.24 and the published config.json files.
 * SPEC §3.7 has the same list with reasons. */
const struct pmet_key_rule pmet_key_rules[] = {
    /* weights or arithmetic of another kind */
    REFUSED("quantization_config", NULL, NULL),
    REFUSED("compression_config", NULL, NULL),
    REFUSED("per_layer_config", NULL, EMPTY),
    REFUSED("pruned_heads", NULL, EMPTY),
    REFUSED("head_dim", "gpt_neox", HEAD),
    REFUSED("is_causal", NULL, TRUE),
    REFUSED("layer_types", NULL, FULL),
    REFUSED("sliding_window", NULL, NULL),
    REFUSED("attention_chunk_size", NULL, NULL),
    REFUSED("kv_sharing_modes", NULL, NULL),
    /* another file stands in for this one, or for the weights */
    REFUSED("configuration_files", NULL, EMPTY),
    REFUSED("transformers_weights", NULL, NULL),
    /* where it came from */
    PASSED("_name_or_path"),
    PASSED("name_or_path"),
    PASSED("_commit_hash"),
    PASSED("transformers_version"),
    PASSED("architectures"),
    PASSED("auto_map"),
    /* how the source library computes and what it returns */
    PASSED("dtype"),
    PASSED("torch_dtype"),
    PASSED("torchscript"),
    PASSED("use_bfloat16"),
    PASSED("tf_legacy_loss"),
    PASSED("use_cache"),
    PASSED("return_dict"),
    PASSED("use_return_dict"),
    PASSED("output_hidden_states"),
    PASSED("output_attentions"),
    PASSED("tie_last_hidden_states"),
    PASSED("attn_implementation"),
    PASSED("_attn_implementation"),
    PASSED("_attn_implementation_internal"),
    PASSED("_attn_implementation_autoset"),
    PASSED("_experts_implementation_internal"),
    PASSED("experts_implementation"),
    PASSED("chunk_size_feed_forward"),
    PASSED("gradient_checkpointing"),
    /* encoders and decoders in pairs */
    PASSED("is_decoder"),
    PASSED("is_encoder_decoder"),
    PASSED("add_cross_attention"),
    PASSED("cross_attention_hidden_size"),
    PASSED("tie_encoder_decoder"),
    PASSED("decoder_start_token_id"),
    /* training */
    PASSED("initializer_range"),
    PASSED_BY("attn_pdrop", "gptj"),
    PASSED_BY("embd_pdrop", "gptj"),
    PASSED_BY("resid_pdrop", "gptj"),
    PASSED_BY("attention_dropout", "gpt_neox"),
    PASSED_BY("hidden_dropout", "gpt_neox"),
    PASSED_BY("attention_probs_dropout_prob", "gpt_neox"),
    PASSED_BY("hidden_dropout_prob", "gpt_neox"),
    PASSED_BY("classifier_dropout", "gpt_neox"),
    /* other tasks */
    PASSED("finetuning_task"),
    PASSED("id2label"),
    PASSED("label2id"),
    PASSED("num_labels"),
    PASSED("problem_type"),
    PASSED("task_specific_params"),
    /* tokens and sampling */
    PASSED("bos_token_id"),
    PASSED("eos_token_id"),
    PASSED("pad_token_id"),
    PASSED("sep_token_id"),
    PASSED("tokenizer_class"),
    PASSED("prefix"),
    PASSED("max_length"),
    PASSED("min_length"),
    PASSED("do_sample"),
    PASSED("early_stopping"),
    PASSED("num_beams"),
    PASSED("num_beam_groups"),
    PASSED("diversity_penalty"),
    PASSED("temperature"),
    PASSED("top_k"),
    PASSED("top_p"),
    PASSED("typical_p"),
    PASSED("repetition_penalty"),
    PASSED("length_penalty"),
    PASSED("no_repeat_ngram_size"),
    PASSED("encoder_no_repeat_ngram_size"),
    PASSED("bad_words_ids"),
    PASSED("num_return_sequences"),
    PASSED("output_scores"),
    PASSED("return_dict_in_generate"),
    PASSED("forced_bos_token_id"),
    PASSED("forced_eos_token_id"),
    PASSED("remove_invalid_values"),
    PASSED("exponential_decay_length_penalty"),
    PASSED("suppress_tokens"),
    PASSED("begin_suppress_tokens"),
    /* written by the families' own files, read by none of their classes */
    PASSED_BY("rotary", "gptj"),
    PASSED_BY("scale_attn_weights", "gptj"),
    PASSED_BY("summary_activation", "gptj"),
    PASSED_BY("summary_first_dropout", "gptj"),
    PASSED_BY("summary_proj_to_labels", "gptj"),
    PASSED_BY("summary_type", "gptj"),
    PASSED_BY("summary_use_proj", "gptj"),
    PASSED_BY("rope_theta", "gpt_neox"),
    PASSED_BY("partial_rotary_factor", "gpt_neox"),
    {NULL, NULL, PMET_KEY_UNKNOWN, PMET_HARMLESS_NULL},
};

size_t pmet_read_keys(const struct pmet_family *family, const char **name)
{
    const struct pmet_config_keys *k = &family->config;
    const char *const all[PMET_MAX_READ_KEY] = {
        "model_type",       "vocab_size",       "tie_word_embeddings", k->n_layer.name,   k->n_layer.alias,
        k->d_model.name,    k->d_model.alias,   k->n_head.name,        k->n_head.alias,   k->n_ctx.name,
        k->n_ctx.alias,     k->d_ff.name,       k->d_ff.alias,         k->ln_eps.name,    k->act,
        k->rotary_dim.name, k->rotary_pct.name, k->rope_base.name,     k->rope_object[0], k->rope_object[1],
        k->parallel,        k->attn_bias,
    };
    size_t n = 0;
    for (size_t i = 0; i < PMET_MAX_READ_KEY; i++)
        if (all[i])
            name[n++] = all[i];
    return n;
}

static bool is_read(const struct pmet_family *family, const char *key)
{
    const char *read[PMET_MAX_READ_KEY];
    const size_t n = pmet_read_keys(family, read);
    for (size_t i = 0; i < n; i++)
        if (strcmp(key, read[i]) == 0)
            return true;
    return false;
}

enum pmet_key_use pmet_key_use(const struct pmet_family *family, const char *key,
                               const struct pmet_key_rule **rule)
{
    *rule = NULL;
    if (is_read(family, key))
        return PMET_KEY_READ;
    for (const struct pmet_key_rule *r = pmet_key_rules; r->key; r++)
        if (strcmp(key, r->key) == 0 && (!r->family || strcmp(r->family, family->name) == 0)) {
            *rule = r;
            return r->use;
        }
    return PMET_KEY_UNKNOWN;
}

static bool is_all_full(const json_t *v)
{
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *type = json_array_get(v, i);
        if (!json_is_string(type) || strcmp(json_string_value(type), "full_attention") != 0)
            return false;
    }
    return json_is_array(v);
}

static enum pmet_status check_refused(const struct pmet_key_rule *rule, const json_t *v, const char *path,
                                      const struct pmet_config *c, struct pmet_error *err)
{
    char value[64] = "", head[64];
    bool harmless = json_is_null(v);
    const char *expected = "null";
    switch (rule->harmless) {
    case PMET_HARMLESS_NULL:
        break;
    case PMET_HARMLESS_EMPTY:
        harmless |= (json_is_object(v) || json_is_array(v)) && json_object_size(v) + json_array_size(v) == 0;
        expected = "null or nothing in it";
        break;
    case PMET_HARMLESS_TRUE:
        harmless |= json_is_true(v);
        expected = "true";
        break;
    case PMET_HARMLESS_FULL:
        harmless |= is_all_full(v);
        expected = "null, or \"full_attention\" for each layer";
        break;
    case PMET_HARMLESS_HEAD:
        harmless |= json_is_integer(v) && json_integer_value(v) == (json_int_t)c->d_head;
        snprintf(head, sizeof head, "null or %zu, the width divided by the heads", c->d_head);
        expected = head;
        break;
    }
    if (harmless)
        return PMET_OK;
    if (json_is_integer(v))
        snprintf(value, sizeof value, "%lld", (long long)json_integer_value(v));
    else
        snprintf(value, sizeof value, "%s", json_is_false(v) ? "false" : pmet_json_kind(v));
    return pmet_fail(err, PMET_UNSUPPORTED, "%s: %s: found %s; expected %s", path, rule->key, value,
                     expected);
}

/* A key that the family reads and that `key` may have been meant for, or NULL. */
static const char *meant(const struct pmet_family *family, const char *key)
{
    const char *read[PMET_MAX_READ_KEY];
    const size_t n = pmet_read_keys(family, read), len = strlen(key);
    for (size_t i = 1; i < n; i++) { /* not model_type, which all types are near */
        const size_t other = strlen(read[i]);
        const bool begins = strncmp(key, read[i], len < other ? len : other) == 0;
        if (pmet_nearest(key, &read[i], 1) && (!begins || (len < other ? other - len : len - other) <= 2))
            return read[i];
    }
    return NULL;
}

/* A warning for a key of another family or one that looks like a slip; others go into the list. */
static enum pmet_status note_unknown(const char *key, const struct pmet_family *family, const char *path,
                                     char *list, size_t size, struct pmet_notes *notes,
                                     struct pmet_error *err)
{
    const size_t at = strlen(list);
    const char *near = meant(family, key);
    for (size_t i = 0; pmet_families[i]; i++)
        if (is_read(pmet_families[i], key))
            return pmet_notes_add(notes, true, err, "%s: %s is a key of %s models; a %s model passes it over",
                                  path, key, pmet_families[i]->name, family->name);
    if (near)
        return pmet_notes_add(notes, true, err,
                              "%s: %s is no key of a %s model and is passed over; did you mean %s?", path,
                              key, family->name, near);
    snprintf(list + at, size - at, "%s%s", at ? ", " : "", key);
    return PMET_OK;
}

enum pmet_status pmet_config_check_keys(json_t *json, const char *path, const struct pmet_config *c,
                                        struct pmet_notes *notes, struct pmet_error *err)
{
    char unknown[512] = "";
    const char *key;
    json_t *v;
    json_object_foreach(json, key, v)
    {
        const struct pmet_key_rule *rule;
        const enum pmet_key_use use = pmet_key_use(c->family, key, &rule);
        if (use == PMET_KEY_REFUSED)
            PMET_TRY(check_refused(rule, v, path, c, err));
        if (use == PMET_KEY_UNKNOWN)
            PMET_TRY(note_unknown(key, c->family, path, unknown, sizeof unknown, notes, err));
    }
    return *unknown ? pmet_notes_add(notes, false, err, "%s: no keys of a %s model, passed over: %s", path,
                                     c->family->name, unknown)
                    : PMET_OK;
}

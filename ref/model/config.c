/* SPDX-License-Identifier: MIT */
#include "ref/model/config.h"

#include <math.h>
#include <string.h>
#include "tensors/json.h"

const char *pmet_family_name(enum pmet_family family)
{
    return family == PMET_GPTJ ? "gptj" : "gpt_neox";
}

/* The first of two spellings that is present; both families write some sizes under an older name, too. */
static const char *spelling(const json_t *json, const char *name, const char *alias)
{
    return !json_object_get(json, name) && json_object_get(json, alias) ? alias : name;
}

static enum pmet_status read_count(const json_t *json, const char *path, const char *name, const char *alias,
                                   size_t *out, struct pmet_error *err)
{
    const char *key = spelling(json, name, alias);
    PMET_TRY(pmet_json_size(json, path, key, out, err));
    if (*out == 0 || *out > (size_t)1 << 24)
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %zu; expected 1 to %zu", path, key, *out,
                         (size_t)1 << 24);
    return PMET_OK;
}

/* As read_count, for a key that may be absent or null. */
static enum pmet_status read_count_or(const json_t *json, const char *path, const char *key, size_t fallback,
                                      size_t *out, struct pmet_error *err)
{
    const json_t *v = json_object_get(json, key);
    if (!v || json_is_null(v)) {
        *out = fallback;
        return PMET_OK;
    }
    return read_count(json, path, key, key, out, err);
}

static enum pmet_status read_number_or(const json_t *json, const char *path, const char *key, double fallback,
                                       double *out, struct pmet_error *err)
{
    *out = fallback;
    if (json_object_get(json, key))
        PMET_TRY(pmet_json_number(json, path, key, out, err));
    if (!isfinite(*out) || *out <= 0)
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %g; expected a positive number", path, key, *out);
    return PMET_OK;
}

static enum pmet_status read_act(const json_t *json, const char *path, const char *key, const char *fallback,
                                 enum pmet_act *out, struct pmet_error *err)
{
    static const struct {
        const char *name;
        enum pmet_act act;
    } known[] = {{"gelu_new", PMET_GELU_NEW},          {"gelu", PMET_GELU}, {"gelu_fast", PMET_GELU_FAST},
                 {"gelu_pytorch_tanh", PMET_GELU_NEW}, {"relu", PMET_RELU}, {"silu", PMET_SILU}};
    const char *name = fallback;
    if (json_object_get(json, key))
        PMET_TRY(pmet_json_string(json, path, key, &name, err));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) {
            *out = known[i].act;
            return PMET_OK;
        }
    return pmet_fail(
        err, PMET_UNSUPPORTED,
        "%s: %s: found \"%s\"; expected gelu_new, gelu, gelu_fast, gelu_pytorch_tanh, relu or silu", path,
        key, name);
}

static enum pmet_status read_gptj(const json_t *json, const char *path, struct pmet_config *c,
                                  struct pmet_error *err)
{
    PMET_TRY(read_count(json, path, "n_layer", "num_hidden_layers", &c->n_layer, err));
    PMET_TRY(read_count(json, path, "n_embd", "hidden_size", &c->d_model, err));
    PMET_TRY(read_count(json, path, "n_head", "num_attention_heads", &c->n_head, err));
    PMET_TRY(read_count(json, path, "n_positions", "max_position_embeddings", &c->n_ctx, err));
    PMET_TRY(read_count_or(json, path, "n_inner", 4 * c->d_model, &c->d_ff, err));
    PMET_TRY(read_number_or(json, path, "layer_norm_epsilon", 1e-5, &c->ln_eps, err));
    PMET_TRY(read_act(json, path, "activation_function", "gelu_new", &c->act, err));
    const json_t *rotary = json_object_get(json, "rotary_dim");
    c->d_head = c->d_model / c->n_head;
    if (rotary && json_is_null(rotary))
        c->rotary_dim = c->d_head; /* null: every feature of the head turns */
    else
        PMET_TRY(read_count_or(json, path, "rotary_dim", 64, &c->rotary_dim, err));
    c->rope = PMET_ROPE_INTERLEAVED;
    c->rope_base = 10000;
    c->parallel = true;
    return PMET_OK;
}

/* Later versions of transformers can stretch the positions. Left unread, that would give another model's numbers. */
static enum pmet_status refuse_scaling(const json_t *json, const char *path, struct pmet_error *err)
{
    const json_t *v = json_object_get(json, "rope_scaling");
    if (!v || json_is_null(v))
        return PMET_OK;
    return pmet_fail(err, PMET_UNSUPPORTED, "%s: rope_scaling: found %s; expected null", path,
                     pmet_json_kind(v));
}

static enum pmet_status read_neox(const json_t *json, const char *path, struct pmet_config *c,
                                  struct pmet_error *err)
{
    double pct;
    PMET_TRY(read_count(json, path, "num_hidden_layers", "n_layer", &c->n_layer, err));
    PMET_TRY(read_count(json, path, "hidden_size", "n_embd", &c->d_model, err));
    PMET_TRY(read_count(json, path, "num_attention_heads", "n_head", &c->n_head, err));
    PMET_TRY(read_count(json, path, "max_position_embeddings", "n_positions", &c->n_ctx, err));
    PMET_TRY(read_count(json, path, "intermediate_size", "n_inner", &c->d_ff, err));
    PMET_TRY(read_number_or(json, path, "layer_norm_eps", 1e-5, &c->ln_eps, err));
    PMET_TRY(read_act(json, path, "hidden_act", "gelu", &c->act, err));
    PMET_TRY(refuse_scaling(json, path, err));
    PMET_TRY(read_number_or(json, path, "rotary_pct", 0.25, &pct, err));
    PMET_TRY(read_number_or(json, path, "rotary_emb_base", 10000, &c->rope_base, err));
    if (pct > 1)
        return pmet_fail(err, PMET_INPUT, "%s: rotary_pct: found %g; expected at most 1", path, pct);
    c->parallel = true;
    if (json_object_get(json, "use_parallel_residual"))
        PMET_TRY(pmet_json_bool(json, path, "use_parallel_residual", &c->parallel, err));
    c->d_head = c->d_model / c->n_head;
    c->rotary_dim = (size_t)((double)c->d_head * pct);
    c->rope = PMET_ROPE_HALF;
    return PMET_OK;
}

enum pmet_status pmet_config_read(const json_t *json, const char *path, struct pmet_config *out,
                                  struct pmet_error *err)
{
    struct pmet_config c = {0};
    const char *type;
    PMET_TRY(pmet_json_string(json, path, "model_type", &type, err));
    if (strcmp(type, "gptj") == 0)
        PMET_TRY(read_gptj(json, path, &c, err));
    else if (strcmp(type, "gpt_neox") == 0)
        PMET_TRY(read_neox(json, path, (c.family = PMET_NEOX, &c), err));
    else
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: model_type: found \"%s\"; expected gptj or gpt_neox",
                         path, type);
    PMET_TRY(read_count(json, path, "vocab_size", "vocab_size", &c.n_vocab, err));
    if (json_object_get(json, "tie_word_embeddings"))
        PMET_TRY(pmet_json_bool(json, path, "tie_word_embeddings", &c.tied_head, err));
    if (c.d_model % c.n_head != 0)
        return pmet_fail(err, PMET_INPUT, "%s: %zu heads do not divide a width of %zu", path, c.n_head,
                         c.d_model);
    if (c.rotary_dim > c.d_head || c.rotary_dim % 2 != 0)
        return pmet_fail(err, PMET_INPUT,
                         "%s: %zu rotary features; expected an even number, at most the head's %zu", path,
                         c.rotary_dim, c.d_head);
    *out = c;
    return PMET_OK;
}

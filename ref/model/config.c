/* SPDX-License-Identifier: MIT */
#include "ref/model/config.h"

#include <math.h>
#include <string.h>
#include "tensors/json.h"

/* The spelling of a key that is present. */
static const char *spelling(const json_t *json, struct pmet_size_key key)
{
    return key.alias && !json_object_get(json, key.name) && json_object_get(json, key.alias) ? key.alias
                                                                                             : key.name;
}

static enum pmet_status read_count(const json_t *json, const char *path, struct pmet_size_key names,
                                   size_t *out, struct pmet_error *err)
{
    const char *key = spelling(json, names);
    PMET_TRY(pmet_json_size(json, path, key, out, err));
    if (*out == 0 || *out > (size_t)1 << 24)
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %zu; expected 1 to %zu", path, key, *out,
                         (size_t)1 << 24);
    return PMET_OK;
}

/* As read_count, for a key that may be absent or null. */
static enum pmet_status read_count_or(const json_t *json, const char *path, struct pmet_size_key names,
                                      size_t absent, size_t *out, struct pmet_error *err)
{
    const json_t *v = json_object_get(json, spelling(json, names));
    *out = absent;
    return v && !json_is_null(v) ? read_count(json, path, names, out, err) : PMET_OK;
}

static enum pmet_status read_number(const json_t *json, const char *path, struct pmet_number_key key,
                                    double *out, struct pmet_error *err)
{
    *out = key.absent;
    if (!key.name || !json_object_get(json, key.name))
        return PMET_OK;
    PMET_TRY(pmet_json_number(json, path, key.name, out, err));
    if (!isfinite(*out) || *out <= 0)
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %g; expected a positive number", path, key.name,
                         *out);
    return PMET_OK;
}

static enum pmet_status read_act(const json_t *json, const char *path, const char *key, const char *absent,
                                 enum pmet_act *out, struct pmet_error *err)
{
    static const struct {
        const char *name;
        enum pmet_act act;
    } known[] = {{"gelu_new", PMET_GELU_NEW},          {"gelu", PMET_GELU}, {"gelu_fast", PMET_GELU_FAST},
                 {"gelu_pytorch_tanh", PMET_GELU_NEW}, {"relu", PMET_RELU}, {"silu", PMET_SILU}};
    const char *name = absent;
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

/* How many features of a head rotate, and by which base. */
static enum pmet_status read_rotary(const json_t *json, const char *path, const struct pmet_config_keys *k,
                                    struct pmet_config *c, struct pmet_error *err)
{
    double part = 1;
    if (k->rotary_pct.name)
        PMET_TRY(read_number(json, path, k->rotary_pct, &part, err));
    PMET_TRY(read_number(json, path, k->rope_base, &c->rope_base, err));
    if (part > 1)
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %g; expected at most 1", path, k->rotary_pct.name,
                         part);
    c->rotary_dim = (size_t)((double)c->d_head * part);
    const json_t *v = k->rotary_dim.name ? json_object_get(json, k->rotary_dim.name) : NULL;
    if (!k->rotary_dim.name || json_is_null(v))
        return PMET_OK;
    return read_count_or(json, path, k->rotary_dim, k->rotary_dim_absent, &c->rotary_dim, err);
}

static enum pmet_status read_keys(const json_t *json, const char *path, struct pmet_config *c,
                                  struct pmet_error *err)
{
    const struct pmet_config_keys *k = &c->family->config;
    PMET_TRY(read_count(json, path, k->n_layer, &c->n_layer, err));
    PMET_TRY(read_count(json, path, k->d_model, &c->d_model, err));
    PMET_TRY(read_count(json, path, k->n_head, &c->n_head, err));
    PMET_TRY(read_count(json, path, k->n_ctx, &c->n_ctx, err));
    if (k->d_ff_factor)
        PMET_TRY(read_count_or(json, path, k->d_ff, k->d_ff_factor * c->d_model, &c->d_ff, err));
    else
        PMET_TRY(read_count(json, path, k->d_ff, &c->d_ff, err));
    PMET_TRY(read_number(json, path, k->ln_eps, &c->ln_eps, err));
    PMET_TRY(read_act(json, path, k->act, k->act_absent, &c->act, err));
    const json_t *refused = k->refused ? json_object_get(json, k->refused) : NULL;
    if (refused && !json_is_null(refused))
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: %s: found %s; expected null", path, k->refused,
                         pmet_json_kind(refused));
    c->d_head = c->d_model / c->n_head;
    PMET_TRY(read_rotary(json, path, k, c, err));
    c->rope = c->family->rope;
    c->parallel = true;
    if (k->parallel && json_object_get(json, k->parallel))
        PMET_TRY(pmet_json_bool(json, path, k->parallel, &c->parallel, err));
    return read_count(json, path, (struct pmet_size_key){"vocab_size", NULL}, &c->n_vocab, err);
}

enum pmet_status pmet_config_read(const json_t *json, const char *path,
                                  const struct pmet_family *const *families, struct pmet_config *out,
                                  struct pmet_error *err)
{
    struct pmet_config c = {0};
    const char *type;
    char known[256];
    PMET_TRY(pmet_json_string(json, path, "model_type", &type, err));
    c.family = pmet_family_find(families, type);
    if (!c.family) {
        pmet_family_list(families, known, sizeof known);
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: model_type: found \"%s\"; expected %s", path, type,
                         known);
    }
    PMET_TRY(read_keys(json, path, &c, err));
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

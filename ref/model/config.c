/* SPDX-License-Identifier: MIT */
#include "ref/model/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include "ref/model/config_keys.h"
#include "tensors/json.h"

/* The spelling of a key that is present: as transformers, whose GPT-J sets the aliases last. */
static const char *spelling(const json_t *json, struct pmet_size_key key, bool alias_first)
{
    const bool name = json_object_get(json, key.name), alias = key.alias && json_object_get(json, key.alias);
    return alias && (alias_first || !name) ? key.alias : key.name;
}

static enum pmet_status read_count(const json_t *json, const char *path, const char *key, size_t *out,
                                   struct pmet_error *err)
{
    PMET_TRY(pmet_json_size(json, path, key, out, err));
    if (*out == 0 || *out > (size_t)1 << 24)
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %zu; expected 1 to %zu", path, key, *out,
                         (size_t)1 << 24);
    return PMET_OK;
}

/* As read_count, for a key that may be absent or null. */
static enum pmet_status read_count_or(const json_t *json, const char *path, const char *key, size_t absent,
                                      size_t *out, struct pmet_error *err)
{
    const json_t *v = json_object_get(json, key);
    *out = absent;
    return v && !json_is_null(v) ? read_count(json, path, key, out, err) : PMET_OK;
}

/* A number that may be absent: then *out is left alone. */
static enum pmet_status read_number(const json_t *json, const char *path, const char *key, bool zero,
                                    double *out, struct pmet_error *err)
{
    if (!key || !json_object_get(json, key))
        return PMET_OK;
    PMET_TRY(pmet_json_number(json, path, key, out, err));
    if (!isfinite(*out) || *out < 0 || (*out == 0 && !zero))
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %g; expected %s", path, key, *out,
                         zero ? "0 or more" : "a positive number");
    return PMET_OK;
}

static enum pmet_status read_act(const json_t *json, const char *path, const char *key, const char *absent,
                                 enum pmet_act *out, struct pmet_error *err)
{
    static const struct {
        const char *name;
        enum pmet_act act;
    } known[] = {{"gelu_new", PMET_GELU_NEW},
                 {"gelu", PMET_GELU},
                 {"gelu_fast", PMET_GELU_FAST},
                 {"gelu_pytorch_tanh", PMET_GELU_NEW},
                 {"relu", PMET_RELU},
                 {"silu", PMET_SILU},
                 {"gelu_accurate", PMET_GELU_NEW},
                 {"gelu_python", PMET_GELU},
                 {"gelu_python_tanh", PMET_GELU_NEW},
                 {"swish", PMET_SILU}};
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

/* What transformers 5 keeps of the rotary embedding in an object of its own, and 4 of its kinds.
 * Kinds that change no angle within the model's length are understood. */
static enum pmet_status read_rope_object(json_t *object, const char *path, double *base, double *part,
                                         struct pmet_error *err)
{
    static const char *const kind[] = {"rope_type", "type"};
    const char *key;
    json_t *v;
    for (size_t i = 0; i < 2; i++) {
        const char *type;
        if (!json_object_get(object, kind[i]))
            continue;
        PMET_TRY(pmet_json_string(object, path, kind[i], &type, err));
        if (strcmp(type, "default") != 0 && strcmp(type, "dynamic") != 0)
            return pmet_fail(err, PMET_UNSUPPORTED, "%s: %s: found \"%s\"; expected default or dynamic", path,
                             kind[i], type);
    }
    json_object_foreach(object, key, v) if (json_is_object(v)) return pmet_fail(
        err, PMET_UNSUPPORTED, "%s: %s: found an object; expected settings that hold for all layers", path,
        key);
    PMET_TRY(read_number(object, path, "rope_theta", false, base, err));
    return read_number(object, path, "partial_rotary_factor", true, part, err);
}

static enum pmet_status note_overruled(const char *path, const char *key, double found, double used,
                                       struct pmet_notes *notes, struct pmet_error *err)
{
    return found == used ? PMET_OK
                         : pmet_notes_add(notes, true, err,
                                          "%s: %s: %g is passed over, as transformers does; %g is used", path,
                                          key, found, used);
}

/* A key that NeoX's class has not and that 4.46 to 4.57 write beside the one it has. */
static enum pmet_status note_beside(const json_t *json, const char *path, const char *key, double used,
                                    struct pmet_notes *notes, struct pmet_error *err)
{
    const json_t *v = json_object_get(json, key);
    return json_is_number(v) ? note_overruled(path, key, json_number_value(v), used, notes, err) : PMET_OK;
}

/* How many features of a head rotate, and by which base, where a part of the head's width is
 * given. */
static enum pmet_status read_rotary_part(const json_t *json, const char *path,
                                         const struct pmet_config_keys *k, struct pmet_config *c,
                                         struct pmet_notes *notes, struct pmet_error *err)
{
    double base = k->rope_base.absent, part = k->rotary_pct.absent;
    PMET_TRY(read_number(json, path, k->rope_base.name, false, &base, err));
    PMET_TRY(read_number(json, path, k->rotary_pct.name, true, &part, err));
    const double old_base = base, old_part = part;
    bool done = false;
    for (size_t i = 0; i < 2 && k->rope_object[i]; i++) {
        char where[4300];
        json_t *v = json_object_get(json, k->rope_object[i]);
        if (v && !json_is_object(v) && !json_is_null(v))
            return pmet_fail(err, PMET_INPUT, "%s: %s: found %s; expected an object or null", path,
                             k->rope_object[i], pmet_json_kind(v));
        snprintf(where, sizeof where, "%s: %s", path, k->rope_object[i]);
        if (!done && json_object_size(v) > 0) {
            PMET_TRY(read_rope_object(v, where, &base, &part, err));
            done = true;
        } else if (done && json_object_size(v) > 0)
            PMET_TRY(pmet_notes_add(notes, true, err,
                                    "%s: %s is passed over, as transformers does; %s is used", path,
                                    k->rope_object[i], k->rope_object[0]));
    }
    if (part > 1)
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %g; expected at most 1", path,
                         old_part > 1 ? k->rotary_pct.name : "partial_rotary_factor", part);
    if (json_object_get(json, k->rope_base.name))
        PMET_TRY(note_overruled(path, k->rope_base.name, old_base, base, notes, err));
    if (json_object_get(json, k->rotary_pct.name))
        PMET_TRY(note_overruled(path, k->rotary_pct.name, old_part, part, notes, err));
    PMET_TRY(note_beside(json, path, "rope_theta", base, notes, err));
    PMET_TRY(note_beside(json, path, "partial_rotary_factor", part, notes, err));
    c->rope_base = base;
    c->rotary_dim = (size_t)((double)c->d_head * part);
    return PMET_OK;
}

static enum pmet_status read_rotary(const json_t *json, const char *path, const struct pmet_config_keys *k,
                                    struct pmet_config *c, struct pmet_notes *notes, struct pmet_error *err)
{
    if (k->rotary_pct.name)
        return read_rotary_part(json, path, k, c, notes, err);
    c->rope_base = k->rope_base.absent;
    c->rotary_dim = c->d_head;
    if (json_is_null(json_object_get(json, k->rotary_dim.name)))
        return PMET_OK;
    return read_count_or(json, path, k->rotary_dim.name, k->rotary_dim_absent, &c->rotary_dim, err);
}

static enum pmet_status read_bool_or(const json_t *json, const char *path, const char *key, bool absent,
                                     bool *out, struct pmet_error *err)
{
    *out = absent;
    return key && json_object_get(json, key) ? pmet_json_bool(json, path, key, out, err) : PMET_OK;
}

static enum pmet_status read_sizes(const json_t *json, const char *path, const struct pmet_config_keys *k,
                                   struct pmet_config *c, struct pmet_error *err)
{
    const struct {
        struct pmet_size_key key;
        size_t *out;
    } size[] = {{k->n_layer, &c->n_layer},
                {k->d_model, &c->d_model},
                {k->n_head, &c->n_head},
                {k->n_ctx, &c->n_ctx},
                {{"vocab_size", NULL}, &c->n_vocab}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        PMET_TRY(read_count(json, path, spelling(json, size[i].key, k->alias_first), size[i].out, err));
    const char *d_ff = spelling(json, k->d_ff, k->alias_first);
    return k->d_ff_factor ? read_count_or(json, path, d_ff, k->d_ff_factor * c->d_model, &c->d_ff, err)
                          : read_count(json, path, d_ff, &c->d_ff, err);
}

static enum pmet_status read_keys(const json_t *json, const char *path, struct pmet_config *c,
                                  struct pmet_notes *notes, struct pmet_error *err)
{
    const struct pmet_config_keys *k = &c->family->config;
    PMET_TRY(read_sizes(json, path, k, c, err));
    if (c->d_model % c->n_head != 0)
        return pmet_fail(err, PMET_INPUT, "%s: %zu heads do not divide a width of %zu", path, c->n_head,
                         c->d_model);
    c->d_head = c->d_model / c->n_head;
    c->ln_eps = k->ln_eps.absent;
    PMET_TRY(read_number(json, path, k->ln_eps.name, false, &c->ln_eps, err));
    PMET_TRY(read_act(json, path, k->act, k->act_absent, &c->act, err));
    c->rope = c->family->rope;
    PMET_TRY(read_rotary(json, path, k, c, notes, err));
    if (c->rotary_dim > c->d_head || c->rotary_dim % 2 != 0)
        return pmet_fail(err, PMET_INPUT,
                         "%s: %zu rotary features; expected an even number, at most the head's %zu", path,
                         c->rotary_dim, c->d_head);
    PMET_TRY(read_bool_or(json, path, k->parallel, true, &c->parallel, err));
    PMET_TRY(read_bool_or(json, path, k->attn_bias, true, &c->attn_bias, err));
    return read_bool_or(json, path, "tie_word_embeddings", false, &c->tied_head, err);
}

enum pmet_status pmet_config_read(json_t *json, const char *path, const struct pmet_family *const *families,
                                  struct pmet_config *out, struct pmet_notes *notes, struct pmet_error *err)
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
    PMET_TRY(read_keys(json, path, &c, notes, err));
    PMET_TRY(pmet_config_check_keys(json, path, &c, notes, err));
    *out = c;
    return PMET_OK;
}

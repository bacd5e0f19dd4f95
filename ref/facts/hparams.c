/* SPDX-License-Identifier: MIT
 * The published hyper-parameter files: one table of keys reads and checks them.      SPEC §9.3 */
#include "ref/facts/hparams.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/json.h"
#include "tensors/sha256.h"

enum { MAX_COUNT = 1000000000 };

enum kind { LAYERS, MODULES, MODULE, NAME, POSITIVE, NOT_NEGATIVE, COUNT, INDEX, UNUSED, FACT_TOKEN, DTYPE };

static const struct key {
    const char *name;
    enum kind kind;
    size_t offset;
} keys[] = {
    {"layers", LAYERS, 0},
    {"clamp_norm_factor", POSITIVE, offsetof(struct pmet_hparams, clamp_norm_factor)},
    {"layer_selection", UNUSED, 0},
    {"fact_token", FACT_TOKEN, 0},
    {"v_num_grad_steps", COUNT, offsetof(struct pmet_hparams, v_num_grad_steps)},
    {"v_lr", POSITIVE, offsetof(struct pmet_hparams, v_lr)},
    {"v_loss_layer", INDEX, offsetof(struct pmet_hparams, v_loss_layer)},
    {"v_weight_decay", NOT_NEGATIVE, offsetof(struct pmet_hparams, v_weight_decay)},
    {"kl_factor", NOT_NEGATIVE, offsetof(struct pmet_hparams, kl_factor)},
    {"rewrite_module_tmp", UNUSED, 0},
    {"rewrite_module_tmps", MODULES, 0},
    {"layer_module_tmp", MODULE, offsetof(struct pmet_hparams, layer_module_tmp)},
    {"mlp_module_tmp", MODULE, offsetof(struct pmet_hparams, mlp_module_tmp)},
    {"attn_module_tmp", MODULE, offsetof(struct pmet_hparams, attn_module_tmp)},
    {"ln_f_module", NAME, offsetof(struct pmet_hparams, ln_f_module)},
    {"lm_head_module", NAME, offsetof(struct pmet_hparams, lm_head_module)},
    {"mom2_adjustment", UNUSED, 0},
    {"mom2_update_weight", POSITIVE, offsetof(struct pmet_hparams, mom2_update_weight)},
    {"mom2_dataset", NAME, offsetof(struct pmet_hparams, mom2_dataset)},
    {"mom2_n_samples", COUNT, offsetof(struct pmet_hparams, mom2_n_samples)},
    {"mom2_dtype", DTYPE, offsetof(struct pmet_hparams, mom2_dtype)},
    {"nll_loss_factor", NOT_NEGATIVE, offsetof(struct pmet_hparams, nll_loss_factor)},
};
#define N_KEY (sizeof keys / sizeof *keys)

static size_t name_size(const struct key *k)
{
    return k->offset == offsetof(struct pmet_hparams, mom2_dtype)
               ? sizeof((struct pmet_hparams *)0)->mom2_dtype
           : k->offset == offsetof(struct pmet_hparams, mom2_dataset)
               ? sizeof((struct pmet_hparams *)0)->mom2_dataset
               : sizeof((struct pmet_hparams *)0)->mlp_module_tmp;
}

static enum pmet_status copy_name(const char *path, const char *key, const json_t *v, bool hole, char *out,
                                  size_t size, struct pmet_error *err)
{
    const char *text = json_string_value(v), *at = text ? strstr(text, "{}") : NULL;
    if (!text)
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %s; expected a string", path, key,
                         pmet_json_kind(v));
    if (strlen(text) >= size)
        return pmet_fail(err, PMET_INPUT, "%s: %s: found a name of %zu bytes; expected at most %zu", path,
                         key, strlen(text), size - 1);
    if (hole && (!at || strstr(at + 2, "{}")))
        return pmet_fail(err, PMET_INPUT, "%s: %s: found \"%s\"; expected one \"{}\" in it, for the layer",
                         path, key, text);
    memcpy(out, text, strlen(text) + 1);
    return PMET_OK;
}

static enum pmet_status wrong_length(const char *path, const char *key, const json_t *v, const char *expected,
                                     struct pmet_error *err)
{
    if (json_is_array(v))
        return pmet_fail(err, PMET_INPUT, "%s: %s: found an array of %zu; expected %s", path, key,
                         json_array_size(v), expected);
    return pmet_fail(err, PMET_INPUT, "%s: %s: found %s; expected %s", path, key, pmet_json_kind(v),
                     expected);
}

_Static_assert(PMET_MAX_EDIT_LAYERS == 64, "the message below says 64");

static enum pmet_status read_layers(const char *path, const json_t *v, struct pmet_hparams *h,
                                    struct pmet_error *err)
{
    if (!json_is_array(v) || json_array_size(v) == 0 || json_array_size(v) > PMET_MAX_EDIT_LAYERS)
        return wrong_length(path, "layers", v, "an array of 1 to 64 layers", err);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *l = json_array_get(v, i);
        const json_int_t found = json_integer_value(l), least = i > 0 ? (json_int_t)h->layers[i - 1] + 1 : 0;
        if (!json_is_integer(l))
            return pmet_fail(err, PMET_INPUT, "%s: layers[%zu]: found %s; expected an integer", path, i,
                             pmet_json_kind(l));
        if (found < least || found > MAX_COUNT)
            return pmet_fail(
                err, PMET_INPUT,
                "%s: layers[%zu]: found %lld; expected layers in ascending order, here at least %lld", path,
                i, (long long)found, (long long)least);
        h->layers[h->n_layer++] = (size_t)found;
    }
    return PMET_OK;
}

static enum pmet_status read_modules(const char *path, const json_t *v, struct pmet_hparams *h,
                                     struct pmet_error *err)
{
    if (!json_is_array(v) || json_array_size(v) < 1 || json_array_size(v) > 2)
        return wrong_length(path, "rewrite_module_tmps", v, "an array of 1 or 2 module names", err);
    for (; h->n_module < json_array_size(v); h->n_module++)
        PMET_TRY(copy_name(path, "rewrite_module_tmps", json_array_get(v, h->n_module), true,
                           h->rewrite_module_tmps[h->n_module], sizeof h->rewrite_module_tmps[0], err));
    if (h->n_module == 2 && strcmp(h->rewrite_module_tmps[0], h->rewrite_module_tmps[1]) == 0)
        return pmet_fail(err, PMET_INPUT, "%s: rewrite_module_tmps: found \"%s\" twice; expected two modules",
                         path, h->rewrite_module_tmps[0]);
    return PMET_OK;
}

static enum pmet_status read_number(const char *path, const struct key *k, const json_t *v,
                                    struct pmet_hparams *h, struct pmet_error *err)
{
    const double x = json_number_value(v);
    const bool strict = k->kind == POSITIVE;
    if (!json_is_number(v))
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %s; expected a number", path, k->name,
                         pmet_json_kind(v));
    if (!isfinite(x) || x < 0 || (strict && x == 0))
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %g; expected a number %s", path, k->name, x,
                         strict ? "above 0" : "not below 0");
    memcpy((char *)h + k->offset, &x, sizeof x);
    return PMET_OK;
}

static enum pmet_status read_count(const char *path, const struct key *k, const json_t *v,
                                   struct pmet_hparams *h, struct pmet_error *err)
{
    const json_int_t least = k->kind == COUNT ? 1 : 0;
    if (!json_is_integer(v))
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %s; expected an integer", path, k->name,
                         pmet_json_kind(v));
    if (json_integer_value(v) < least || json_integer_value(v) > MAX_COUNT)
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %lld; expected %d to %d", path, k->name,
                         (long long)json_integer_value(v), (int)least, MAX_COUNT);
    const size_t n = (size_t)json_integer_value(v);
    memcpy((char *)h + k->offset, &n, sizeof n);
    return PMET_OK;
}

static enum pmet_status read_key(const char *path, const struct key *k, const json_t *v,
                                 struct pmet_hparams *h, struct pmet_error *err)
{
    char *field = (char *)h + k->offset;
    switch (k->kind) {
    case LAYERS:
        return read_layers(path, v, h, err);
    case MODULES:
        return read_modules(path, v, h, err);
    case MODULE:
    case NAME:
        return copy_name(path, k->name, v, k->kind == MODULE, field, name_size(k), err);
    case POSITIVE:
    case NOT_NEGATIVE:
        return read_number(path, k, v, h, err);
    case COUNT:
    case INDEX:
        return read_count(path, k, v, h, err);
    case FACT_TOKEN:
        if (json_is_string(v) && strcmp(json_string_value(v), "subject_last") == 0)
            return PMET_OK;
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: fact_token: found %s; expected \"subject_last\"", path,
                         json_is_string(v) ? json_string_value(v) : pmet_json_kind(v));
    case DTYPE:
        if (json_is_string(v) &&
            (strcmp(json_string_value(v), "float32") == 0 || strcmp(json_string_value(v), "float64") == 0))
            return copy_name(path, k->name, v, false, field, name_size(k), err);
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: mom2_dtype: found %s; expected \"float32\" or \"float64\"", path,
                         json_is_string(v) ? json_string_value(v) : pmet_json_kind(v));
    case UNUSED: /* the published code reads it, and uses it for nothing (X23) */
        break;
    }
    return PMET_OK;
}

static enum pmet_status refuse_unknown_keys(json_t *root, const char *path, struct pmet_error *err)
{
    for (void *it = json_object_iter(root); it; it = json_object_iter_next(root, it)) {
        const char *name = json_object_iter_key(it), *near = NULL, *all[N_KEY];
        size_t i = 0;
        while (i < N_KEY && strcmp(keys[i].name, name) != 0)
            i++;
        if (i < N_KEY)
            continue;
        for (i = 0; i < N_KEY; i++)
            all[i] = keys[i].name;
        if ((near = pmet_nearest(name, all, N_KEY)) != NULL)
            return pmet_fail(err, PMET_INPUT, "%s: unknown key \"%s\"; did you mean \"%s\"?", path, name,
                             near);
        return pmet_fail(err, PMET_INPUT, "%s: unknown key \"%s\"; expected the %d keys of PMET's files",
                         path, name, (int)N_KEY);
    }
    return PMET_OK;
}

static enum pmet_status read_text(const char *text, size_t n, const char *path, struct pmet_hparams *out,
                                  struct pmet_error *err)
{
    struct pmet_sha256 sha;
    json_t *root = NULL;
    enum pmet_status status;
    memset(out, 0, sizeof *out);
    snprintf(out->path, sizeof out->path, "%s", path);
    pmet_sha256_begin(&sha);
    pmet_sha256_add(&sha, text, n);
    pmet_sha256_hex(&sha, out->sha256);
    PMET_GO(pmet_json_parse(text, n, path, 0, &root, err));
    if (!json_is_object(root)) {
        status = pmet_fail(err, PMET_FORMAT, "%s: found %s; expected an object", path, pmet_json_kind(root));
        goto done;
    }
    PMET_GO(refuse_unknown_keys(root, path, err));
    for (size_t i = 0; i < N_KEY; i++) {
        const json_t *v = json_object_get(root, keys[i].name);
        if (!v) {
            status = pmet_fail(err, PMET_INPUT, "%s: %s: found nothing; all keys of PMET's files are needed",
                               path, keys[i].name);
            goto done;
        }
        PMET_GO(read_key(path, &keys[i], v, out, err));
    }
done:
    json_decref(root);
    return status;
}

enum pmet_status pmet_hparams_load(const struct pmet_io *io, const char *path, struct pmet_hparams *out,
                                   struct pmet_error *err)
{
    char *text;
    size_t n;
    PMET_TRY(pmet_read_file(io, path, (size_t)1 << 20, &text, &n, err));
    const enum pmet_status status = read_text(text, n, path, out, err);
    free(text);
    return status;
}

/* What differs between the two families and sizes; the first two rows are the published files (X13). */
struct preset {
    const char *family, *block, *mlp, *attn, *ln_f, *head, *layers;
    const char *clamp, *lr, *kl, *lambda, *samples;
    size_t n_layer, d_model;
};
static const struct preset presets[] = {
    {"gptj", "transformer.h.{}", "mlp.fc_out", "attn.out_proj", "transformer.ln_f", "lm_head",
     "3, 4, 5, 6, 7, 8", "0.75", "0.2", "1", "6000", "100000", 28, 4096},
    {"gpt_neox", "gpt_neox.layers.{}", "mlp.dense_4h_to_h", "attention.dense", "gpt_neox.final_layer_norm",
     "embed_out", "6, 7, 8, 9, 10", "0.8", "0.5", "0.8", "15000", "50000", 44, 6144},
};

static enum pmet_status write_preset(const struct preset *p, size_t n_layer, const char *layers, char **out,
                                     struct pmet_error *err)
{
    const size_t size = 4096;
    PMET_TRY(pmet_calloc(out, size, 1, "hparams", err));
    snprintf(
        *out, size,
        "{\n    \"layers\": [%s],\n    \"clamp_norm_factor\": %s,\n    \"layer_selection\": \"all\",\n"
        "    \"fact_token\": \"subject_last\",\n    \"v_num_grad_steps\": 30,\n    \"v_lr\": %s,\n"
        "    \"v_loss_layer\": %zu,\n    \"v_weight_decay\": 0.5,\n    \"kl_factor\": %s,\n"
        "    \"rewrite_module_tmp\": \"%s.%s\",\n    \"rewrite_module_tmps\": [\"%s.%s\"],\n"
        "    \"layer_module_tmp\": \"%s\",\n    \"mlp_module_tmp\": \"%s.%s\",\n    \"attn_module_tmp\": "
        "\"%s.%s\",\n"
        "    \"ln_f_module\": \"%s\",\n    \"lm_head_module\": \"%s\",\n    \"mom2_adjustment\": true,\n"
        "    \"mom2_update_weight\": %s,\n    \"mom2_dataset\": \"wikipedia\",\n    \"mom2_n_samples\": %s,\n"
        "    \"mom2_dtype\": \"float32\",\n    \"nll_loss_factor\": 1\n}\n",
        layers, p->clamp, p->lr, n_layer - 1, p->kl, p->block, p->mlp, p->block, p->mlp, p->block, p->block,
        p->mlp, p->block, p->attn, p->ln_f, p->head, p->lambda, p->samples);
    return PMET_OK;
}

static const struct preset *preset_of(const char *family)
{
    return strcmp(family, presets[0].family) == 0   ? &presets[0]
           : strcmp(family, presets[1].family) == 0 ? &presets[1]
                                                    : NULL;
}

enum pmet_status pmet_hparams_default(const char *family, size_t n_layer, size_t d_model,
                                      struct pmet_hparams *out, struct pmet_error *err)
{
    const struct preset *p = preset_of(family);
    char *text;
    if (!p || p->n_layer != n_layer || p->d_model != d_model)
        return pmet_fail(
            err, PMET_INPUT,
            "no built-in hyper-parameters for a %s model of %zu layers and width %zu; give --hparams FILE",
            family, n_layer, d_model);
    PMET_TRY(write_preset(p, n_layer, p->layers, &text, err));
    const enum pmet_status status = read_text(text, strlen(text), "built-in hyper-parameters", out, err);
    free(text);
    return status;
}

enum pmet_status pmet_hparams_template(const char *family, size_t n_layer, char **out, struct pmet_error *err)
{
    const struct preset *p = preset_of(family);
    char layers[160] = "";
    if (!p || n_layer == 0)
        return pmet_fail(err, PMET_UNSUPPORTED, "no hyper-parameters for a %s model of %zu layers", family,
                         n_layer);
    /* the published choice scaled: six layers where there are so many, ending about a quarter of the way up
     */
    const size_t last = n_layer > 4 ? n_layer / 4 + 1 : n_layer / 2, n = last < 5 ? last + 1 : 6;
    for (size_t i = 0, at = 0; i < n; i++)
        at += (size_t)snprintf(layers + at, sizeof layers - at, i ? ", %zu" : "%zu", last + 1 - n + i);
    return write_preset(p, n_layer, n_layer == p->n_layer ? p->layers : layers, out, err);
}

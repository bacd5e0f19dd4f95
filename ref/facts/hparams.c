/* SPDX-License-Identifier: MIT
 * The published hyper-parameter files, read and checked by a method's table of keys.   SPEC §9.3 */
#include "ref/facts/hparams.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/facts/easyedit.h"
#include "ref/facts/yaml.h"
#include "tensors/json.h"
#include "tensors/sha256.h"

enum { MAX_COUNT = 1000000000 };

static enum pmet_status wrong_kind(const char *path, const char *key, const json_t *v, const char *expected,
                                   struct pmet_error *err)
{
    return pmet_fail(err, PMET_INPUT, "%s: %s: found %s; expected %s", path, key, pmet_json_kind(v),
                     expected);
}

/* Published values that this program does not compute with. */
static enum pmet_status unsupported(const char *path, const char *key, const json_t *v, const char *expected,
                                    struct pmet_error *err)
{
    return pmet_fail(err, PMET_UNSUPPORTED, "%s: %s: found %s; expected %s", path, key,
                     json_is_string(v) ? json_string_value(v) : pmet_json_kind(v), expected);
}

static bool is_text(const json_t *v, const char *text)
{
    return json_is_string(v) && strcmp(json_string_value(v), text) == 0;
}

static enum pmet_status copy_name(const char *path, const char *key, const json_t *v, bool hole, char *out,
                                  size_t size, struct pmet_error *err)
{
    const char *text = json_string_value(v), *at = text ? strstr(text, "{}") : NULL;
    if (!text)
        return wrong_kind(path, key, v, "a string", err);
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
    return wrong_kind(path, key, v, expected, err);
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

static enum pmet_status read_number(const char *path, const struct pmet_hparam *k, const json_t *v,
                                    struct pmet_hparams *h, struct pmet_error *err)
{
    const double x = json_number_value(v);
    const bool strict = k->kind == PMET_HPARAM_POSITIVE;
    if (!json_is_number(v))
        return wrong_kind(path, k->name, v, "a number", err);
    if (!isfinite(x) || x < 0 || (strict && x == 0))
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %g; expected a number %s", path, k->name, x,
                         strict ? "above 0" : "not below 0");
    memcpy((char *)h + k->offset, &x, sizeof x);
    return PMET_OK;
}

static enum pmet_status read_count(const char *path, const struct pmet_hparam *k, const json_t *v,
                                   struct pmet_hparams *h, struct pmet_error *err)
{
    const json_int_t least = k->kind == PMET_HPARAM_COUNT ? 1 : 0;
    if (!json_is_integer(v))
        return wrong_kind(path, k->name, v, "an integer", err);
    if (json_integer_value(v) < least || json_integer_value(v) > MAX_COUNT)
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %lld; expected %d to %d", path, k->name,
                         (long long)json_integer_value(v), (int)least, MAX_COUNT);
    const size_t n = (size_t)json_integer_value(v);
    memcpy((char *)h + k->offset, &n, sizeof n);
    return PMET_OK;
}

/* context_template_length_params: [[tokens, texts], ...] */
static enum pmet_status read_lengths(const char *path, const struct pmet_hparam *k, const json_t *v,
                                     struct pmet_hparams *h, struct pmet_error *err)
{
    const size_t most = sizeof h->context_length / sizeof *h->context_length;
    if (!json_is_array(v) || json_array_size(v) < 1 || json_array_size(v) > most)
        return wrong_length(path, k->name, v, "an array of 1 to 8 [tokens, texts]", err);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *pair = json_array_get(v, i);
        const json_int_t n_token = json_integer_value(json_array_get(pair, 0)),
                         n_text = json_integer_value(json_array_get(pair, 1));
        if (json_array_size(pair) != 2 || n_token < 2 || n_token > 1000 || n_text < 1 || n_text > 1000)
            return json_array_size(pair) == 2 && json_is_integer(json_array_get(pair, 0)) &&
                           json_is_integer(json_array_get(pair, 1))
                       ? pmet_fail(
                             err, PMET_INPUT,
                             "%s: %s[%zu]: found [%lld, %lld]; expected tokens from 2 and texts from 1, to "
                             "1000",
                             path, k->name, i, (long long)n_token, (long long)n_text)
                       : pmet_fail(err, PMET_INPUT, "%s: %s[%zu]: found %s; expected two integers", path,
                                   k->name, i, json_is_array(pair) ? "another array" : pmet_json_kind(pair));
        h->context_length[i].n_token = (size_t)n_token;
        h->context_length[h->n_length++].n_text = (size_t)n_text;
    }
    return PMET_OK;
}

static enum pmet_status read_key(const char *path, const struct pmet_hparam *k, const json_t *v,
                                 struct pmet_hparams *h, struct pmet_error *err)
{
    char *field = (char *)h + k->offset;
    switch (k->kind) {
    case PMET_HPARAM_LAYERS:
        return read_layers(path, v, h, err);
    case PMET_HPARAM_MODULES:
        return read_modules(path, v, h, err);
    case PMET_HPARAM_REWRITE:
        h->n_module = 1;
        return copy_name(path, k->name, v, true, h->rewrite_module_tmps[0], sizeof h->rewrite_module_tmps[0],
                         err);
    case PMET_HPARAM_MODULE:
    case PMET_HPARAM_NAME:
        return copy_name(path, k->name, v, k->kind == PMET_HPARAM_MODULE, field, k->size, err);
    case PMET_HPARAM_FLAG:
        if (!json_is_boolean(v))
            return wrong_kind(path, k->name, v, "true or false", err);
        *(bool *)(void *)field = json_is_true(v);
        return PMET_OK;
    case PMET_HPARAM_LENGTHS:
        return read_lengths(path, k, v, h, err);
    case PMET_HPARAM_POSITIVE:
    case PMET_HPARAM_NOT_NEGATIVE:
        return read_number(path, k, v, h, err);
    case PMET_HPARAM_COUNT:
    case PMET_HPARAM_INDEX:
        return read_count(path, k, v, h, err);
    case PMET_HPARAM_FACT_TOKEN:
        return is_text(v, "subject_last") ? PMET_OK : unsupported(path, k->name, v, "\"subject_last\"", err);
    case PMET_HPARAM_DTYPE:
        return is_text(v, "float32") || is_text(v, "float64")
                   ? copy_name(path, k->name, v, false, field, k->size, err)
                   : unsupported(path, k->name, v, "\"float32\" or \"float64\"", err);
    case PMET_HPARAM_UNUSED: /* X23 */
        break;
    }
    return PMET_OK;
}

static enum pmet_status refuse_unknown_keys(json_t *root, const char *path, const struct pmet_hparam_set *set,
                                            struct pmet_error *err)
{
    const char **all, *found, *near;
    json_t *ignored;
    enum pmet_status status = PMET_OK;
    PMET_TRY(pmet_calloc(&all, set->n_key, sizeof *all, "the keys", err));
    for (size_t i = 0; i < set->n_key; i++)
        all[i] = set->key[i].name;
    json_object_foreach(root, found, ignored)
    {
        size_t i = 0;
        while (i < set->n_key && strcmp(all[i], found) != 0)
            i++;
        if (i < set->n_key || pmet_easyedit_key(set, found))
            continue;
        near = pmet_nearest(found, all, set->n_key);
        status =
            near ? pmet_fail(err, PMET_INPUT, "%s: unknown key \"%s\"; did you mean \"%s\"?", path, found,
                             near)
                 : pmet_fail(err, PMET_INPUT, "%s: unknown key \"%s\"; expected the %zu keys of %s's files",
                             path, found, set->n_key, set->title);
        break;
    }
    free(all);
    return status;
}

/* The file's object, from JSON or YAML. */
static enum pmet_status parse(const char *text, size_t n, const char *path, json_t **root,
                              struct pmet_error *err)
{
    const size_t bom = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    const char *begin = text + bom + strspn(text + bom, " \t\r\n");
    const bool named_yaml = pmet_ends_with(path, ".yaml") || pmet_ends_with(path, ".yml");
    if (named_yaml || (*begin != '{' && *begin != '['))
        return pmet_yaml_parse(text, n, path, root, err);
    PMET_TRY(pmet_json_parse(text + bom, n - bom, path, 0, root, err));
    if (json_is_object(*root))
        return PMET_OK;
    json_decref(*root);
    *root = NULL;
    return pmet_fail(err, PMET_FORMAT, "%s: found an array; expected an object", path);
}

static enum pmet_status read_text(const char *text, size_t n, const char *path,
                                  const struct pmet_hparam_set *set, struct pmet_hparams *out,
                                  struct pmet_error *err)
{
    struct pmet_sha256 sha;
    json_t *root = NULL;
    enum pmet_status status;
    *out = (struct pmet_hparams){.set = set};
    snprintf(out->path, sizeof out->path, "%s", path);
    pmet_sha256_begin(&sha);
    pmet_sha256_add(&sha, text, n);
    pmet_sha256_hex(&sha, out->sha256);
    PMET_GO(parse(text, n, path, &root, err));
    PMET_GO(pmet_easyedit_take(root, path, out, err));
    PMET_GO(refuse_unknown_keys(root, path, set, err));
    for (size_t i = 0; i < set->n_key; i++) {
        const json_t *v = json_object_get(root, set->key[i].name);
        if (!v)
            PMET_GO(pmet_fail(err, PMET_INPUT, "%s: %s: found nothing; all keys of %s's files are needed",
                              path, set->key[i].name, set->title));
        PMET_GO(read_key(path, &set->key[i], v, out, err));
    }
done:
    json_decref(root);
    return status;
}

enum pmet_status pmet_hparams_load(const struct pmet_io *io, const char *path,
                                   const struct pmet_hparam_set *set, struct pmet_hparams *out,
                                   struct pmet_error *err)
{
    char *text;
    size_t n;
    PMET_TRY(pmet_read_file(io, path, (size_t)1 << 20, &text, &n, err));
    const enum pmet_status status = read_text(text, n, path, set, out, err);
    free(text);
    return status;
}

static const struct pmet_preset *find_preset(const struct pmet_family *family,
                                             const struct pmet_hparam_set *set)
{
    for (size_t i = 0; i < family->n_preset; i++)
        if (strcmp(family->preset[i].method, set->title) == 0)
            return &family->preset[i];
    return NULL;
}

enum pmet_status pmet_hparams_default(const struct pmet_family *family, const struct pmet_hparam_set *set,
                                      size_t n_layer, size_t d_model, struct pmet_hparams *out,
                                      struct pmet_error *err)
{
    const struct pmet_preset *p = find_preset(family, set);
    if (!p || p->n_layer != n_layer || p->d_model != d_model)
        return pmet_fail(err, PMET_INPUT,
                         "no built-in hyper-parameters for a %s model of %zu layers and width %zu; give "
                         "--hparams FILE: `pmet "
                         "hparams --model DIR` writes one to start from",
                         family->name, n_layer, d_model);
    return read_text(p->text, strlen(p->text), "built-in hyper-parameters", set, out, err);
}

/* E180, the published choice scaled: six layers where there are so many, ending about a quarter of
 * the way up; a single one at the same height. */
static void scale_layers(const struct pmet_preset *p, size_t n_layer, char *text, size_t size)
{
    const char *layers = strstr(p->text, "\"layers\": [") + strlen("\"layers\": [");
    if (layers[strcspn(layers, ",]")] == ']') {
        const size_t published = strtoul(layers, NULL, 10);
        snprintf(text, size, "%zu", (published * n_layer + p->n_layer / 2) / p->n_layer);
        return;
    }
    const size_t last = n_layer > 4 ? n_layer / 4 + 1 : n_layer / 2, n = last < 5 ? last + 1 : 6;
    for (size_t i = 0, at = 0; i < n; i++)
        at += (size_t)snprintf(text + at, size - at, i ? ", %zu" : "%zu", last + 1 - n + i);
}

static bool begins_with(const char *text, const char *begin)
{
    return strncmp(text, begin, strlen(begin)) == 0;
}

/* E180: lambda stands for a number of ordinary keys, and fills the d_ff dimensions of C. */
static double scale_lambda(const char *line, const struct pmet_preset *p, size_t d_ff)
{
    char rounded[32];
    const double published = strtod(strchr(line, ':') + 1, NULL);
    snprintf(rounded, sizeof rounded, "%.1e", published * (double)d_ff / (4 * (double)p->d_model));
    return strtod(rounded, NULL);
}

enum pmet_status pmet_hparams_template(const struct pmet_family *family, const struct pmet_hparam_set *set,
                                       size_t n_layer, size_t d_ff, struct pmet_hparams_template *out,
                                       struct pmet_error *err)
{
    const struct pmet_preset *p = find_preset(family, set);
    char layers[160] = "";
    if (!p || n_layer == 0 || d_ff == 0)
        return pmet_fail(err, PMET_UNSUPPORTED, "no hyper-parameters of %s for a %s model of %zu layers",
                         set->title, family->name, n_layer);
    const size_t size = strlen(p->text) + 256;
    PMET_TRY(pmet_calloc(&out->text, size, 1, "hparams", err));
    out->n_layer = p->n_layer;
    out->d_model = p->d_model;
    out->scaled = n_layer != p->n_layer || d_ff != 4 * p->d_model;
    scale_layers(p, n_layer, layers, sizeof layers);
    size_t n = 0;
    for (const char *line = p->text, *end; *line; line = end) {
        end = strchr(line, '\n') + 1;
        if (n_layer != p->n_layer && begins_with(line, "    \"layers\": "))
            n += (size_t)snprintf(out->text + n, size - n, "    \"layers\": [%s],\n", layers);
        else if (begins_with(line, "    \"v_loss_layer\": "))
            n += (size_t)snprintf(out->text + n, size - n, "    \"v_loss_layer\": %zu,\n", n_layer - 1);
        else if (out->scaled && begins_with(line, "    \"mom2_update_weight\": "))
            n += (size_t)snprintf(out->text + n, size - n, "    \"mom2_update_weight\": %.15g,\n",
                                  scale_lambda(line, p, d_ff));
        else
            n += (size_t)snprintf(out->text + n, size - n, "%.*s", (int)(end - line), line);
    }
    return PMET_OK;
}

/* ---- the record ---- */

static json_t *value_json(const struct pmet_hparams *h, const struct pmet_hparam *k)
{
    const char *field = (const char *)h + k->offset;
    json_t *list = NULL;
    double x;
    size_t n;
    switch (k->kind) {
    case PMET_HPARAM_LAYERS:
        list = json_array();
        for (size_t i = 0; i < h->n_layer; i++)
            json_array_append_new(list, json_integer((json_int_t)h->layers[i]));
        return list;
    case PMET_HPARAM_MODULES:
        list = json_array();
        for (size_t q = 0; q < h->n_module; q++)
            json_array_append_new(list, json_string(h->rewrite_module_tmps[q]));
        return list;
    case PMET_HPARAM_POSITIVE:
    case PMET_HPARAM_NOT_NEGATIVE:
        memcpy(&x, field, sizeof x);
        return json_real(x);
    case PMET_HPARAM_COUNT:
    case PMET_HPARAM_INDEX:
        memcpy(&n, field, sizeof n);
        return json_integer((json_int_t)n);
    case PMET_HPARAM_REWRITE:
        return json_string(h->rewrite_module_tmps[0]);
    case PMET_HPARAM_FLAG:
        return json_boolean(*(const bool *)(const void *)field);
    default:
        return json_string(field);
    }
}

json_t *pmet_hparams_json(const struct pmet_hparams *h)
{
    json_t *object = json_pack("{s:s}", "sha256", h->sha256);
    for (const char *const *name = h->set->recorded; *name; name++)
        for (size_t i = 0; i < h->set->n_key; i++)
            if (strcmp(h->set->key[i].name, *name) == 0)
                json_object_set_new(object, *name, value_json(h, &h->set->key[i]));
    return object;
}

/* SPDX-License-Identifier: MIT */
#include "tensors/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/text.h"

const char *pmet_json_kind(const json_t *value)
{
    if (!value)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction or exponent";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

static enum pmet_status parse(const char *text, size_t n, const char *path, size_t line0, size_t flags,
                              json_t **out, struct pmet_error *err)
{
    json_error_t e;
    json_t *value = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | flags, &e);
    if (!value && json_error_code(&e) == json_error_out_of_memory)
        return pmet_fail_memory(err, path, n);
    if (!value) {
        const enum json_error_code code = json_error_code(&e);
        const bool nul = code == json_error_null_character || code == json_error_null_byte_in_key;
        return pmet_fail(err, PMET_FORMAT, "%s: line %zu column %d: %s%s", path, line0 + (size_t)e.line,
                         e.column, nul || code == json_error_duplicate_key ? "" : "not JSON: ",
                         nul ? "found \\u0000 in a string; expected text without it" : e.text);
    }
    *out = value;
    return PMET_OK;
}

enum pmet_status pmet_json_parse(const char *text, size_t n, const char *path, size_t line0, json_t **out,
                                 struct pmet_error *err)
{
    return parse(text, n, path, line0, 0, out, err);
}

static enum pmet_status load(const struct pmet_io *io, const char *path, size_t max_bytes, size_t flags,
                             json_t **out, struct pmet_error *err)
{
    char *text;
    size_t n;
    PMET_TRY(pmet_read_file(io, path, max_bytes, &text, &n, err));
    const size_t n_mark = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* a byte order mark */
    const enum pmet_status status = parse(
        text + n_mark, n - n_mark, strcmp(path, "-") == 0 ? "standard input" : path, 0, flags, out, err);
    free(text);
    return status;
}

enum pmet_status pmet_json_load(const struct pmet_io *io, const char *path, size_t max_bytes, json_t **out,
                                struct pmet_error *err)
{
    return load(io, path, max_bytes, 0, out, err);
}

enum pmet_status pmet_json_load_real(const struct pmet_io *io, const char *path, size_t max_bytes,
                                     json_t **out, struct pmet_error *err)
{
    return load(io, path, max_bytes, JSON_DECODE_INT_AS_REAL, out, err);
}

static enum pmet_status wrong_kind(const json_t *obj, const char *path, const char *key, const char *expected,
                                   struct pmet_error *err)
{
    return pmet_fail(err, PMET_INPUT, "%s: %s: found %s; expected %s", path, key,
                     pmet_json_kind(json_object_get(obj, key)), expected);
}

enum pmet_status pmet_json_size(const json_t *obj, const char *path, const char *key, size_t *out,
                                struct pmet_error *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!json_is_integer(v))
        return wrong_kind(obj, path, key, "an integer", err);
    if (json_integer_value(v) < 0)
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %lld; expected 0 or more", path, key,
                         (long long)json_integer_value(v));
    *out = (size_t)json_integer_value(v);
    return PMET_OK;
}

enum pmet_status pmet_json_number(const json_t *obj, const char *path, const char *key, double *out,
                                  struct pmet_error *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!json_is_number(v))
        return wrong_kind(obj, path, key, "a number", err);
    *out = json_number_value(v);
    return PMET_OK;
}

enum pmet_status pmet_json_bool(const json_t *obj, const char *path, const char *key, bool *out,
                                struct pmet_error *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!json_is_boolean(v))
        return wrong_kind(obj, path, key, "true or false", err);
    *out = json_is_true(v);
    return PMET_OK;
}

enum pmet_status pmet_json_string(const json_t *obj, const char *path, const char *key, const char **out,
                                  struct pmet_error *err)
{
    const json_t *v = json_object_get(obj, key);
    if (!json_is_string(v))
        return wrong_kind(obj, path, key, "a string", err);
    *out = json_string_value(v);
    return PMET_OK;
}

enum pmet_status pmet_json_save(const struct pmet_io *io, const char *path, const json_t *value,
                                unsigned indent, struct pmet_error *err)
{
    char *text = value ? json_dumps(value, JSON_INDENT(indent)) : NULL;
    struct pmet_out *out = NULL;
    enum pmet_status status;
    if (!text)
        return pmet_fail_memory(err, path, 0);
    PMET_GO(pmet_out_open(io, path, &out, err));
    PMET_GO(pmet_out_write(out, text, strlen(text), err));
    PMET_GO(pmet_out_write(out, "\n", 1, err));
    status = pmet_out_commit(out, err);
    out = NULL;
done:
    pmet_out_discard(out);
    free(text);
    return status;
}

json_t *pmet_json_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *pmet_json_ids(const int32_t *id, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer(id[i]));
    return list;
}

json_t *pmet_json_name(const char *name)
{
    const size_t n = strlen(name), size = 10 * n + 1;
    json_t *exact = json_string(name);
    char *shown = exact ? NULL : malloc(size);
    if (shown)
        exact = json_stringn(shown, pmet_escape(shown, size, name, n));
    free(shown);
    return exact;
}

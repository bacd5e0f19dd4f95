/* SPDX-License-Identifier: MIT
 * The reader. A file is 8 bytes N, N bytes of JSON, data; every number in the header is checked
 * before it is used. */
#include "tensors/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/json.h"

bool pmet_tensor_measure(struct pmet_tensor *t)
{
    size_t extent = 1; /* of the dimensions that are not 0 */
    t->n_elem = 1;
    for (size_t i = 0; i < t->n_dim; i++) {
        const size_t s = t->shape[i];
        if (s != 0 && !pmet_mul_size(extent, s, &extent))
            return false;
        t->n_elem = s == 0 ? 0 : t->n_elem * s;
    }
    t->n_bytes = t->n_elem * pmet_dtype_size(t->dtype);
    return pmet_mul_size(extent, pmet_dtype_size(t->dtype), &extent);
}

int pmet_tensor_by_name(const void *a, const void *b)
{
    const struct pmet_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

const struct pmet_tensor *pmet_tensors_find(const struct pmet_tensors *all, const char *name)
{
    const struct pmet_tensor key = {.name = name}, *at = &key;
    const struct pmet_tensor *const *found =
        all->n > 0 ? bsearch(&at, all->by_name, all->n, sizeof *all->by_name, pmet_tensor_by_name) : NULL;
    return found ? *found : NULL;
}

/* Where the header's text says -0 outside a string, or NULL: to the JSON library that is the
 * integer 0, to the format no integer. */
static const char *find_minus_zero(const char *p, const char *end)
{
    bool in_string = false;
    for (; p < end; p++) {
        if (in_string && *p == '\\')
            p++;
        else if (*p == '"')
            in_string = !in_string;
        else if (!in_string && *p == '-' && end - p > 1 && p[1] == '0')
            return p;
    }
    return NULL;
}

static enum pmet_status parse_header(struct pmet_safetensors *st, size_t *n_header, struct pmet_error *err)
{
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | st->map[i];
    if (n > PMET_MAX_HEADER)
        return pmet_fail(err, PMET_FORMAT, "%s: byte 0: header of %" PRIu64 " bytes; expected at most %u",
                         st->all.path, n, PMET_MAX_HEADER);
    if (n > st->n_map - 8)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: byte 0: header of %" PRIu64
                         " bytes; the file holds %zu after byte 8: is it cut "
                         "off? copy or download it again",
                         st->all.path, n, st->n_map - 8);
    *n_header = (size_t)n;
    const char *text = (const char *)st->map + 8;
    PMET_TRY(pmet_json_parse(text, *n_header, st->all.path, 0, &st->header, err));
    const char *bad = find_minus_zero(text, text + *n_header);
    if (bad)
        return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: found -0; expected an integer of 0 or more",
                         st->all.path, (size_t)(bad - text) + 8);
    if (!json_is_object(st->header))
        return pmet_fail(err, PMET_FORMAT, "%s: header: found %s; expected an object", st->all.path,
                         pmet_json_kind(st->header));
    return PMET_OK;
}

static enum pmet_status read_metadata(struct pmet_safetensors *st, json_t *meta, struct pmet_error *err)
{
    const char *key;
    json_t *value;
    if (json_is_null(meta))
        return PMET_OK;
    if (!json_is_object(meta))
        return pmet_fail(err, PMET_FORMAT, "%s: __metadata__: found %s; expected an object", st->all.path,
                         pmet_json_kind(meta));
    PMET_TRY(pmet_calloc(&st->meta, json_object_size(meta), sizeof *st->meta, st->all.path, err));
    json_object_foreach(meta, key, value)
    {
        if (!json_is_string(value))
            return pmet_fail(err, PMET_FORMAT, "%s: __metadata__: \"%s\": found %s; expected a string",
                             st->all.path, key, pmet_json_kind(value));
        st->meta[st->n_meta++] = (struct pmet_pair){key, json_string_value(value)};
    }
    return PMET_OK;
}

/* A non-negative integer of an array, or a refusal naming the tensor's field. */
static enum pmet_status integer(const struct pmet_safetensors *st, const char *name, const char *field,
                                const json_t *v, size_t *out, struct pmet_error *err)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return pmet_fail(
            err, PMET_FORMAT, "%s: tensor \"%s\": %s: found %s; expected an integer from 0 to 2^63-1",
            st->all.path, name, field, json_is_integer(v) ? "a negative integer" : pmet_json_kind(v));
    *out = (size_t)json_integer_value(v);
    return PMET_OK;
}

static enum pmet_status read_dtype(const struct pmet_safetensors *st, const char *name, const json_t *entry,
                                   struct pmet_tensor *t, struct pmet_error *err)
{
    static const char *const others[] = {"F4",          "F6_E2M3",     "F6_E3M2", "F8_E5M2", "F8_E4M3",
                                         "F8_E8M0",     "I8",          "I16",     "U16",     "U32",
                                         "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64",     "U64"};
    const json_t *v = json_object_get(entry, "dtype");
    if (!json_is_string(v))
        return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\": dtype: found %s; expected a string",
                         st->all.path, name, pmet_json_kind(v));
    if (pmet_dtype_parse(json_string_value(v), &t->dtype))
        return PMET_OK;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(json_string_value(v), others[i]) == 0)
            return pmet_fail(
                err, PMET_UNSUPPORTED,
                "%s: tensor \"%s\": dtype %s is not supported; expected F64, F32, F16, BF16, I64, I32, "
                "U8 or BOOL",
                st->all.path, name, others[i]);
    return pmet_fail(
        err, PMET_FORMAT,
        "%s: tensor \"%s\": found dtype \"%s\"; expected F64, F32, F16, BF16, I64, I32, U8 or BOOL",
        st->all.path, name, json_string_value(v));
}

static enum pmet_status read_shape(const struct pmet_safetensors *st, const char *name, const json_t *entry,
                                   struct pmet_tensor *t, struct pmet_error *err)
{
    const json_t *v = json_object_get(entry, "shape");
    if (!json_is_array(v))
        return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\": shape: found %s; expected an array",
                         st->all.path, name, pmet_json_kind(v));
    if (json_array_size(v) > PMET_MAX_DIM)
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: tensor \"%s\": shape: found %zu dimensions; expected at most %d", st->all.path,
                         name, json_array_size(v), PMET_MAX_DIM);
    t->n_dim = json_array_size(v);
    for (size_t i = 0; i < t->n_dim; i++)
        PMET_TRY(integer(st, name, "shape", json_array_get(v, i), &t->shape[i], err));
    if (!pmet_tensor_measure(t))
        return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\": shape: the product overflows", st->all.path,
                         name);
    return PMET_OK;
}

static enum pmet_status read_tensor(const struct pmet_safetensors *st, const char *name, const json_t *entry,
                                    size_t data_at, struct pmet_tensor *t, struct pmet_error *err)
{
    size_t begin = 0, end = 0;
    if (!json_is_object(entry))
        return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\": found %s; expected an object", st->all.path,
                         name, pmet_json_kind(entry));
    t->name = name;
    PMET_TRY(read_dtype(st, name, entry, t, err));
    PMET_TRY(read_shape(st, name, entry, t, err));
    const json_t *v = json_object_get(entry, "data_offsets");
    if (!json_is_array(v) || json_array_size(v) != 2)
        return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\": data_offsets: found %s; expected two integers",
                         st->all.path, name,
                         json_is_array(v) ? "an array of another length" : pmet_json_kind(v));
    PMET_TRY(integer(st, name, "data_offsets", json_array_get(v, 0), &begin, err));
    PMET_TRY(integer(st, name, "data_offsets", json_array_get(v, 1), &end, err));
    const size_t n_data = st->n_map - data_at;
    if (begin > end || end > n_data)
        return pmet_fail(
            err, PMET_FORMAT,
            "%s: tensor \"%s\": data_offsets [%zu,%zu) do not lie within the %zu bytes of data%s",
            st->all.path, name, begin, end, n_data,
            begin > end ? "" : ": is the file cut off? copy or download it again");
    if (end - begin != t->n_bytes)
        return pmet_fail(
            err, PMET_FORMAT,
            "%s: tensor \"%s\": data_offsets [%zu,%zu) hold %zu bytes; its shape and dtype take %zu",
            st->all.path, name, begin, end, end - begin, t->n_bytes);
    t->data = st->map + data_at + begin;
    return PMET_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct pmet_tensor *x = a, *y = b;
    const char *p = x->data, *q = y->data;
    if (p != q)
        return p < q ? -1 : 1;
    return x->n_bytes < y->n_bytes ? -1
                                   : x->n_bytes > y->n_bytes; /* empty ones before what shares their place */
}

/* Tensors in the order of their offsets must follow each other without hole or overlap, and end
 * with the file. */
static enum pmet_status check_cover(const struct pmet_safetensors *st, size_t data_at, struct pmet_error *err)
{
    const unsigned char *at = st->map + data_at;
    for (size_t i = 0; i < st->all.n; i++) {
        const struct pmet_tensor *t = &st->all.tensor[i];
        if (t->data != at)
            return pmet_fail(
                err, PMET_FORMAT,
                "%s: tensor \"%s\" begins at byte %zu of the data; expected %zu, where %s%s%s ends",
                st->all.path, t->name, (size_t)((const unsigned char *)t->data - st->map) - data_at,
                (size_t)(at - st->map) - data_at, i ? "\"" : "",
                i ? st->all.tensor[i - 1].name : "the header", i ? "\"" : "");
        at += t->n_bytes;
    }
    if (at != st->map + st->n_map)
        return pmet_fail(err, PMET_FORMAT, "%s: %zu bytes follow the last tensor; expected none",
                         st->all.path, (size_t)(st->map + st->n_map - at));
    return PMET_OK;
}

static enum pmet_status read_tensors(struct pmet_safetensors *st, size_t data_at, struct pmet_error *err)
{
    PMET_TRY(pmet_calloc(&st->all.tensor, json_object_size(st->header), sizeof *st->all.tensor, st->all.path,
                         err));
    PMET_TRY(pmet_calloc(&st->all.by_name, json_object_size(st->header), sizeof *st->all.by_name,
                         st->all.path, err));
    for (void *it = json_object_iter(st->header); it; it = json_object_iter_next(st->header, it)) {
        const char *name = json_object_iter_key(it);
        json_t *value = json_object_iter_value(it);
        if (strcmp(name, "__metadata__") == 0)
            PMET_TRY(read_metadata(st, value, err));
        else
            PMET_TRY(read_tensor(st, name, value, data_at, &st->all.tensor[st->all.n++], err));
    }
    qsort(st->all.tensor, st->all.n, sizeof *st->all.tensor, by_offset);
    for (size_t i = 0; i < st->all.n; i++)
        st->all.by_name[i] = &st->all.tensor[i];
    qsort(st->all.by_name, st->all.n, sizeof *st->all.by_name, pmet_tensor_by_name);
    return check_cover(st, data_at, err);
}

enum pmet_status pmet_safetensors_open(const struct pmet_io *io, const char *path,
                                       struct pmet_safetensors **out, struct pmet_error *err)
{
    struct pmet_safetensors *st = NULL;
    void *map;
    size_t n_header = 0;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&st, 1, sizeof *st, path, err));
    st->io = io;
    PMET_GO(pmet_copy_text(path, &st->all.path, path, err));
    PMET_GO(pmet_map_file(io, path, &map, &st->n_map, err));
    st->map = map;
    if (st->n_map < 8)
        PMET_GO(pmet_fail(err, PMET_FORMAT,
                          "%s: found %zu bytes; expected at least 8: copy or download it again", path,
                          st->n_map));
    PMET_GO(parse_header(st, &n_header, err));
    PMET_GO(read_tensors(st, 8 + n_header, err));
    *out = st;
    st = NULL;
done:
    pmet_safetensors_close(st);
    return status;
}

void pmet_safetensors_close(struct pmet_safetensors *st)
{
    if (!st)
        return;
    if (st->map)
        st->io->unmap(st->io->user, st->map, st->n_map);
    json_decref(st->header);
    free(st->all.tensor);
    free(st->all.by_name);
    free(st->meta);
    free(st->all.path);
    free(st);
}

const char *pmet_safetensors_metadata(const struct pmet_safetensors *st, const char *key)
{
    return json_string_value(json_object_get(json_object_get(st->header, "__metadata__"), key));
}

/* SPDX-License-Identifier: MIT
 * The object that torch.save wrote holds, maybe deeper down, a dict of calls
 * _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks), maybe each within a
 * _rebuild_parameter. In a zip archive it is data.pkl, and a storage the member data/KEY; before
 * torch 1.6 all stood in one file (tensors/torch_legacy.c).      SPEC §9.12 */
#include "tensors/torch_bin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/torch_private.h"
#include "tensors/zip.h"

#define MAX_KEY 32  /* bytes; torch counts storages, or gives their addresses */
#define MAX_DEPTH 3 /* of dicts around the tensors */

struct pmet_torch_bin {
    const struct pmet_io *io;
    struct pmet_tensors all; /* as in the dict */
    char *where;             /* "path: data.pkl", or the path */
    struct pmet_zip *zip;    /* or NULL: the legacy form, mapped */
    void *map;
    size_t n_map;
    struct pmet_torch_legacy legacy;
    struct pmet_pickle *pickle; /* of the archive */
    char *member;               /* "PREFIX/", and space for "data/" and a key */
    size_t n_prefix;            /* with the slash */
    char *names;                /* of the tensors, each with its NUL */
    void **copy;                /* [n_copy] elements of tensors that the file has in another order */
    size_t n_copy, cap_copy, copied_bytes;
};

struct storage {
    const unsigned char *data;
    size_t n_elem;
};

/* ---- the archive ---- */

/* Why a member is not read in place; or NULL. */
static const char *unreadable(const struct pmet_zip_member *m)
{
    return m->deflated ? "is compressed" : m->unreadable;
}

/* The folder that all members are in, which may have any name, is the one that data.pkl is in. */
static enum pmet_status find_pickle(struct pmet_torch_bin *b, const struct pmet_zip_member **pickle,
                                    struct pmet_error *err)
{
    *pickle = NULL;
    for (size_t i = 0; i < b->zip->n_member; i++) {
        const struct pmet_zip_member *m = &b->zip->member[i];
        const char *slash = strchr(m->name, '/');
        if (!slash || strcmp(slash, "/data.pkl") != 0)
            continue;
        if (*pickle)
            return pmet_fail(err, PMET_FORMAT, "%s: found %s and %s; expected one data.pkl", b->all.path,
                             (*pickle)->name, m->name);
        *pickle = m;
        b->n_prefix = (size_t)(slash - m->name) + 1;
    }
    if (!*pickle)
        return pmet_fail(err, PMET_FORMAT, "%s: holds no data.pkl; expected a file that torch.save wrote",
                         b->all.path);
    if (unreadable(*pickle))
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: data.pkl %s; expected it stored, as torch.save writes it", b->all.path,
                         unreadable(*pickle));
    PMET_TRY(pmet_calloc(&b->member, b->n_prefix + sizeof "byteorder" + MAX_KEY, 1, b->all.path, err));
    memcpy(b->member, (*pickle)->name, b->n_prefix);
    return PMET_OK;
}

static enum pmet_status check_byteorder(struct pmet_torch_bin *b, struct pmet_error *err)
{
    memcpy(b->member + b->n_prefix, "byteorder", sizeof "byteorder");
    const struct pmet_zip_member *m = pmet_zip_find(b->zip, b->member); /* older versions write none */
    if (m && (unreadable(m) || m->n_bytes != 6 || memcmp(m->data, "little", 6) != 0))
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: byteorder: found \"%.*s\"; expected \"little\"",
                         b->all.path, (int)(m->n_bytes < 20 ? m->n_bytes : 20),
                         unreadable(m) ? "" : (const char *)m->data);
    return PMET_OK;
}

/* ---- a tensor ---- */

static enum pmet_status size_of(const struct pmet_torch_bin *b, const struct pmet_tensor *t,
                                const char *field, const struct pmet_pickle_value *v, size_t *out,
                                struct pmet_error *err)
{
    if (v->kind != PMET_PICKLE_INT)
        return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\": %s: found %s; expected an int", b->all.path,
                         t->name, field, pmet_pickle_found(v));
    if (v->number < 0)
        return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\": %s: found %" PRId64 "; expected 0 or more",
                         b->all.path, t->name, field, v->number);
    *out = (size_t)v->number;
    return PMET_OK;
}

/* A tuple of at most PMET_MAX_DIM sizes. */
static enum pmet_status sizes_of(const struct pmet_torch_bin *b, const struct pmet_tensor *t,
                                 const char *field, const struct pmet_pickle_value *v, size_t *out,
                                 struct pmet_error *err)
{
    if (v->kind != PMET_PICKLE_TUPLE)
        return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\": %s: found %s; expected a tuple", b->all.path,
                         t->name, field, pmet_pickle_found(v));
    if (v->n > PMET_MAX_DIM)
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: tensor \"%s\": %s: found %zu dimensions; expected at most %d", b->all.path,
                         t->name, field, v->n, PMET_MAX_DIM);
    for (size_t i = 0; i < v->n; i++)
        PMET_TRY(size_of(b, t, field, v->item[i], &out[i], err));
    return PMET_OK;
}

static enum pmet_status find_member(struct pmet_torch_bin *b, const struct pmet_tensor *t,
                                    const struct pmet_pickle_value *key, struct storage *s,
                                    struct pmet_error *err)
{
    const int n_key = (int)(key->n < MAX_KEY ? key->n : MAX_KEY);
    size_t n_bytes;
    snprintf(b->member + b->n_prefix, sizeof "data/" + MAX_KEY, "data/%.*s", n_key, key->text);
    const struct pmet_zip_member *m =
        key->n <= MAX_KEY && !memchr(key->text, 0, key->n) ? pmet_zip_find(b->zip, b->member) : NULL;
    if (!m)
        return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\": its storage %s is not in the archive",
                         b->all.path, t->name, b->member);
    if (unreadable(m))
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: tensor \"%s\": its storage %s %s; expected it stored, as torch.save writes it",
                         b->all.path, t->name, b->member, unreadable(m));
    if (!pmet_mul_size(s->n_elem, pmet_dtype_size(t->dtype), &n_bytes) || n_bytes != m->n_bytes)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: tensor \"%s\": its storage %s holds %zu bytes; expected %zu elements of %s",
                         b->all.path, t->name, b->member, m->n_bytes, s->n_elem, pmet_dtype_name(t->dtype));
    s->data = m->data;
    return PMET_OK;
}

/* Sets t->dtype, too. */
static enum pmet_status read_storage(struct pmet_torch_bin *b, const struct pmet_pickle_value *v,
                                     struct pmet_tensor *t, struct storage *s, struct pmet_error *err)
{
    struct pmet_torch_id id;
    if (!pmet_torch_read_id(v, &id))
        return pmet_fail(
            err, PMET_FORMAT,
            "%s: tensor \"%s\": found %s; expected a storage (\"storage\", type, key, device, length)",
            b->all.path, t->name, pmet_pickle_found(v));
    t->dtype = id.dtype;
    PMET_TRY(size_of(b, t, "length", id.length, &s->n_elem, err));
    if (b->zip)
        return find_member(b, t, id.key, s, err);
    const struct pmet_torch_stored *stored = pmet_torch_legacy_find(&b->legacy, id.key);
    if (!stored->data || stored->n_elem != s->n_elem)
        return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\": its storage holds %zu elements; expected %zu",
                         b->all.path, t->name, stored->data ? stored->n_elem : 0, s->n_elem);
    s->data = stored->data;
    return PMET_OK;
}

/* Row-major without gaps; the stride of a dimension of one element has no bearing. */
static bool is_contiguous(const struct pmet_tensor *t, const size_t *stride)
{
    size_t expected = 1;
    for (size_t i = t->n_dim; t->n_elem > 0 && i-- > 0; expected *= t->shape[i])
        if (t->shape[i] != 1 && stride[i] != expected)
            return false;
    return true;
}

/* The last element's place behind the first; false where it cannot be told. */
static bool span_of(const struct pmet_tensor *t, const size_t *stride, size_t *span)
{
    size_t step;
    *span = 0;
    for (size_t i = 0; t->n_elem > 0 && i < t->n_dim; i++)
        if (!pmet_mul_size(t->shape[i] - 1, stride[i], &step) || !pmet_add_size(*span, step, span))
            return false;
    return true;
}

/* A tensor that is a view (transposed, cut out, expanded) row-major in memory of its own. A view may
 * repeat elements: all copies together are no larger than twice the file. */
static enum pmet_status gather(struct pmet_torch_bin *b, struct pmet_tensor *t, const unsigned char *from,
                               const size_t *stride, struct pmet_error *err)
{
    const size_t size = pmet_dtype_size(t->dtype), file = b->zip ? b->zip->n_map : b->n_map;
    size_t index[PMET_MAX_DIM] = {0}, at = 0;
    unsigned char *to;
    if (t->n_bytes / 2 > file - b->copied_bytes / 2)
        return pmet_fail(
            err, PMET_UNSUPPORTED,
            "%s: tensor \"%s\": %zu bytes of views, with those before it; expected at most twice "
            "the file's %zu",
            b->all.path, t->name, b->copied_bytes + t->n_bytes, file);
    PMET_TRY(pmet_grow(&b->copy, &b->cap_copy, b->n_copy + 1, sizeof *b->copy, b->all.path, err));
    PMET_TRY(pmet_calloc(&to, t->n_bytes, 1, b->all.path, err));
    b->copy[b->n_copy++] = to;
    b->copied_bytes += t->n_bytes;
    t->data = to;
    for (size_t k = 0; k < t->n_elem; k++) {
        memcpy(to + k * size, from + at * size, size);
        for (size_t i = t->n_dim; i-- > 0;) {
            at += stride[i];
            if (++index[i] < t->shape[i])
                break;
            at -= stride[i] * t->shape[i];
            index[i] = 0;
        }
    }
    return PMET_OK;
}

static enum pmet_status place(struct pmet_torch_bin *b, const struct pmet_pickle_value *const *arg,
                              struct pmet_tensor *t, struct pmet_error *err)
{
    struct storage s = {NULL, 0};
    size_t stride[PMET_MAX_DIM], offset = 0, span, end;
    PMET_TRY(read_storage(b, arg[0], t, &s, err));
    PMET_TRY(size_of(b, t, "offset", arg[1], &offset, err));
    PMET_TRY(sizes_of(b, t, "size", arg[2], t->shape, err));
    PMET_TRY(sizes_of(b, t, "stride", arg[3], stride, err));
    t->n_dim = arg[2]->n;
    if (arg[3]->n != t->n_dim)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: tensor \"%s\": found %zu strides; expected %zu, one a dimension", b->all.path,
                         t->name, arg[3]->n, t->n_dim);
    if (!pmet_tensor_measure(t))
        return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\": size: the product overflows", b->all.path,
                         t->name);
    if (!span_of(t, stride, &span) || !pmet_add_size(offset, span, &end) ||
        !pmet_add_size(end, t->n_elem > 0, &end) || end > s.n_elem)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: tensor \"%s\": %zu elements from element %zu on; its storage holds %zu",
                         b->all.path, t->name, t->n_elem, offset, s.n_elem);
    t->data = s.data + offset * pmet_dtype_size(t->dtype);
    return is_contiguous(t, stride) ? PMET_OK : gather(b, t, t->data, stride, err);
}

static bool is_call(const struct pmet_pickle_value *v, enum pmet_torch_name of, size_t n_arg)
{
    return v->kind == PMET_PICKLE_CALL && v->global == &pmet_torch_names[of] && v->n == n_arg;
}

static bool is_empty_dict(const struct pmet_pickle_value *v)
{
    return v->kind == PMET_PICKLE_DICT && v->n == 0;
}

static enum pmet_status read_tensor(struct pmet_torch_bin *b, const struct pmet_pickle_value *v,
                                    struct pmet_tensor *t, struct pmet_error *err)
{
    if (is_call(v, PMET_TORCH_REBUILD_PARAMETER, 3) && is_empty_dict(v->item[2]))
        v = v->item[0];
    if (is_call(v, PMET_TORCH_REBUILD_TENSOR_V1, 4))
        return place(b, v->item, t, err);
    if (!is_call(v, PMET_TORCH_REBUILD_TENSOR, 6))
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: tensor \"%s\": found %s; expected a plain tensor or parameter", b->all.path,
                         t->name, pmet_pickle_found(v));
    if (v->item[4]->kind != PMET_PICKLE_BOOL || !is_empty_dict(v->item[5]))
        return pmet_fail(
            err, PMET_UNSUPPORTED,
            "%s: tensor \"%s\": found %s and %s as requires_grad and hooks; expected a bool and an "
            "empty dict",
            b->all.path, t->name, pmet_pickle_found(v->item[4]), pmet_pickle_found(v->item[5]));
    return place(b, v->item, t, err);
}

/* ---- the dict of tensors ---- */

/* Of a tensor or a parameter. */
static bool is_tensor(const struct pmet_pickle_value *v)
{
    return v->kind == PMET_PICKLE_CALL;
}

static bool holds_tensors(const struct pmet_pickle_value *v)
{
    if (v->kind == PMET_PICKLE_DICT)
        for (const struct pmet_pickle_entry *e = v->first; e; e = e->next)
            if (is_tensor(e->value))
                return true;
    return false;
}

/* The entries of a dict that may lead to tensors: by the names that trainers use, else by holding
 * some. Two that do are told apart by nothing. */
static enum pmet_status choose_entry(const struct pmet_torch_bin *b, const struct pmet_pickle_value *dict,
                                     const struct pmet_pickle_value **out, struct pmet_error *err)
{
    static const char *const names[] = {"state_dict", "model_state_dict", "model", "module"};
    const struct pmet_pickle_entry *found = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (const struct pmet_pickle_entry *e = dict->first; e; e = e->next)
            if (pmet_pickle_is(e->key, names[i]) && e->value->kind == PMET_PICKLE_DICT) {
                *out = e->value;
                return PMET_OK;
            }
    for (const struct pmet_pickle_entry *e = dict->first; e; e = e->next) {
        if (e->key->kind != PMET_PICKLE_STR || !holds_tensors(e->value))
            continue;
        if (found)
            return pmet_fail(
                err, PMET_INPUT,
                "%s: found tensors in \"%.*s\" and in \"%.*s\"; expected one dict of them, or one "
                "called state_dict",
                b->where, (int)(found->key->n < 60 ? found->key->n : 60), found->key->text,
                (int)(e->key->n < 60 ? e->key->n : 60), e->key->text);
        found = e;
    }
    *out = found ? found->value : NULL;
    return PMET_OK;
}

static enum pmet_status find_dict(const struct pmet_torch_bin *b, const struct pmet_pickle_value *root,
                                  const struct pmet_pickle_value **out, struct pmet_error *err)
{
    const struct pmet_pickle_value *next = root;
    for (int depth = 0; depth < MAX_DEPTH && next && next->kind == PMET_PICKLE_DICT; depth++) {
        *out = next;
        if (next->n == 0 || holds_tensors(next))
            return PMET_OK;
        PMET_TRY(choose_entry(b, *out, &next, err));
    }
    if (root->kind != PMET_PICKLE_DICT)
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: found %s; expected a dict of tensors", b->where,
                         pmet_pickle_found(root));
    const struct pmet_pickle_entry *e = (*out)->first;
    const bool named = e->key->kind == PMET_PICKLE_STR;
    return pmet_fail(err, PMET_UNSUPPORTED,
                     "%s: \"%.*s\": found %s; expected a tensor, or in some entry a dict of tensors",
                     b->where, named ? (int)(e->key->n < 60 ? e->key->n : 60) : 1, named ? e->key->text : "?",
                     pmet_pickle_found(e->value));
}

/* A wrapper's prefix, "module." or "model.", where all names have it. */
static size_t shared_prefix(const struct pmet_pickle_value *dict)
{
    static const char *const prefixes[] = {"module.", "model."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        const size_t n = strlen(prefixes[i]);
        bool all = dict->n > 0;
        for (const struct pmet_pickle_entry *e = dict->first; e && all; e = e->next)
            all = e->key->n > n && memcmp(e->key->text, prefixes[i], n) == 0;
        if (all)
            return n;
    }
    return 0;
}

static enum pmet_status check_keys(const struct pmet_torch_bin *b, const struct pmet_pickle_value *dict,
                                   struct pmet_error *err)
{
    size_t i = 0;
    for (const struct pmet_pickle_entry *e = dict->first; e; e = e->next, i++) {
        if (e->key->kind != PMET_PICKLE_STR)
            return pmet_fail(err, PMET_UNSUPPORTED, "%s: the name of tensor %zu: found %s; expected a str",
                             b->where, i, pmet_pickle_found(e->key));
        if (memchr(e->key->text, 0, e->key->n))
            return pmet_fail(err, PMET_FORMAT, "%s: a NUL in the name of tensor %zu", b->where, i);
    }
    return PMET_OK;
}

static enum pmet_status copy_names(struct pmet_torch_bin *b, const struct pmet_pickle_value *dict,
                                   struct pmet_error *err)
{
    const size_t n_prefix = shared_prefix(dict);
    size_t n = 0;
    for (const struct pmet_pickle_entry *e = dict->first; e; e = e->next)
        n += e->key->n - n_prefix + 1;
    PMET_TRY(pmet_calloc(&b->names, n, 1, b->all.path, err));
    PMET_TRY(pmet_calloc(&b->all.tensor, dict->n, sizeof *b->all.tensor, b->all.path, err));
    PMET_TRY(pmet_calloc(&b->all.by_name, dict->n, sizeof *b->all.by_name, b->all.path, err));
    char *at = b->names;
    for (const struct pmet_pickle_entry *e = dict->first; e; e = e->next) {
        memcpy(at, e->key->text + n_prefix, e->key->n - n_prefix);
        b->all.by_name[b->all.n] = &b->all.tensor[b->all.n];
        b->all.tensor[b->all.n++].name = at;
        at += e->key->n - n_prefix + 1;
    }
    qsort(b->all.by_name, b->all.n, sizeof *b->all.by_name, pmet_tensor_by_name);
    for (size_t i = 1; i < b->all.n; i++)
        if (strcmp(b->all.by_name[i - 1]->name, b->all.by_name[i]->name) == 0)
            return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\" twice", b->where, b->all.by_name[i]->name);
    return PMET_OK;
}

static enum pmet_status read_object(struct pmet_torch_bin *b, const struct pmet_pickle_value *root,
                                    struct pmet_error *err)
{
    const struct pmet_pickle_value *dict = NULL;
    PMET_TRY(find_dict(b, root, &dict, err));
    PMET_TRY(check_keys(b, dict, err));
    PMET_TRY(copy_names(b, dict, err));
    size_t i = 0;
    for (const struct pmet_pickle_entry *e = dict->first; e; e = e->next)
        PMET_TRY(read_tensor(b, e->value, &b->all.tensor[i++], err));
    return PMET_OK;
}

static enum pmet_status open_archive(struct pmet_torch_bin *b, struct pmet_error *err)
{
    const struct pmet_zip_member *m;
    const size_t n_path = strlen(b->all.path);
    PMET_TRY(pmet_calloc(&b->where, n_path + sizeof ": data.pkl", 1, b->all.path, err));
    memcpy(b->where, b->all.path, n_path);
    memcpy(b->where + n_path, ": data.pkl", sizeof ": data.pkl");
    PMET_TRY(pmet_zip_open(b->io, b->all.path, &b->zip, err));
    PMET_TRY(find_pickle(b, &m, err));
    PMET_TRY(check_byteorder(b, err));
    PMET_TRY(pmet_pickle_read(m->data, m->n_bytes, b->where, pmet_torch_names, PMET_TORCH_N_NAME, NULL,
                              &b->pickle, err));
    return read_object(b, pmet_pickle_root(b->pickle), err);
}

/* What is needed until all tensors are placed. */
static void free_pickles(struct pmet_torch_bin *b)
{
    pmet_pickle_free(b->pickle);
    b->pickle = NULL;
    pmet_torch_legacy_close(&b->legacy);
}

enum pmet_status pmet_torch_bin_open(const struct pmet_io *io, const char *path, struct pmet_torch_bin **out,
                                     struct pmet_error *err)
{
    struct pmet_torch_bin *b = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&b, 1, sizeof *b, path, err));
    b->io = io;
    PMET_GO(pmet_copy_text(path, &b->all.path, path, err));
    PMET_GO(pmet_map_file(io, path, &b->map, &b->n_map, err));
    if (pmet_torch_is_legacy(b->map, b->n_map)) {
        PMET_GO(pmet_copy_text(path, &b->where, path, err));
        PMET_GO(pmet_torch_legacy_open(path, b->map, b->n_map, &b->legacy, err));
        PMET_GO(read_object(b, pmet_pickle_root(b->legacy.object), err));
    } else {
        PMET_GO(open_archive(b, err));
    }
    free_pickles(b);
    *out = b;
    b = NULL;
done:
    pmet_torch_bin_close(b);
    return status;
}

void pmet_torch_bin_close(struct pmet_torch_bin *b)
{
    if (!b)
        return;
    free_pickles(b);
    pmet_zip_close(b->zip);
    if (b->map)
        b->io->unmap(b->io->user, b->map, b->n_map);
    for (size_t i = 0; i < b->n_copy; i++)
        free(b->copy[i]);
    free(b->copy);
    free(b->all.by_name);
    free(b->all.tensor);
    free(b->names);
    free(b->member);
    free(b->where);
    free(b->all.path);
    free(b);
}

const struct pmet_tensors *pmet_torch_bin_all(const struct pmet_torch_bin *b)
{
    return &b->all;
}

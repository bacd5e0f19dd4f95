/* SPDX-License-Identifier: MIT
 * data.pkl holds a dict of calls _rebuild_tensor_v2(storage, offset, size, stride, requires_grad,
 * hooks), maybe each within a _rebuild_parameter; a storage is the persistent id ("storage", type,
 * key, device, length), its bytes the member data/KEY.      SPEC §9.12 */
#include "tensors/torch_bin.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/pickle.h"
#include "tensors/zip.h"

#define MAX_KEY 32 /* bytes; torch counts storages */

enum { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGE };

static const struct pmet_pickle_global globals[] = {
    [ORDERED_DICT] = {"collections OrderedDict", PMET_ROLE_DICT},
    [REBUILD_TENSOR] = {"torch._utils _rebuild_tensor_v2", PMET_ROLE_CALL},
    [REBUILD_PARAMETER] = {"torch._utils _rebuild_parameter", PMET_ROLE_CALL},
    [STORAGE + PMET_F64] = {"torch DoubleStorage", PMET_ROLE_NAME},
    [STORAGE + PMET_F32] = {"torch FloatStorage", PMET_ROLE_NAME},
    [STORAGE + PMET_F16] = {"torch HalfStorage", PMET_ROLE_NAME},
    [STORAGE + PMET_BF16] = {"torch BFloat16Storage", PMET_ROLE_NAME},
    [STORAGE + PMET_I64] = {"torch LongStorage", PMET_ROLE_NAME},
    [STORAGE + PMET_I32] = {"torch IntStorage", PMET_ROLE_NAME},
    [STORAGE + PMET_U8] = {"torch ByteStorage", PMET_ROLE_NAME},
    [STORAGE + PMET_BOOL] = {"torch BoolStorage", PMET_ROLE_NAME}};

struct pmet_torch_bin {
    struct pmet_tensors all; /* as in the dict */
    char *where;             /* "path: data.pkl" */
    struct pmet_zip *zip;
    char *member;    /* "PREFIX/", and space for "data/" and a key */
    size_t n_prefix; /* with the slash */
    char *names;     /* of the tensors, each with its NUL */
};

struct storage {
    const struct pmet_zip_member *member;
    size_t n_elem;
};

/* ---- the archive ---- */

/* Before 1.6 a file was five pickles, the first of them this number. */
static enum pmet_status refuse_legacy(const struct pmet_io *io, const char *path, struct pmet_error *err)
{
    static const unsigned char magic[] = {0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c, 0x46,
                                          0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};
    unsigned char head[sizeof magic] = {0};
    const int fd = io->open(io->user, path, O_RDONLY, 0);
    if (fd < 0)
        return pmet_fail_errno(err, path, "open");
    const ssize_t n = io->read(io->user, fd, head, sizeof head);
    enum pmet_status status = n < 0 ? pmet_fail_errno(err, path, "read") : PMET_OK;
    io->close(io->user, fd);
    if (status == PMET_OK && memcmp(head, magic, sizeof magic) == 0)
        status = pmet_fail(err, PMET_UNSUPPORTED,
                           "%s: found the form of torch before 1.6; expected a zip archive (torch.load and "
                           "torch.save of a newer one convert it)",
                           path);
    return status;
}

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

/* Sets t->dtype, too. */
static enum pmet_status read_storage(struct pmet_torch_bin *b, const struct pmet_pickle_value *v,
                                     struct pmet_tensor *t, struct storage *s, struct pmet_error *err)
{
    if (v->kind != PMET_PICKLE_PERSISTENT || v->n != 5 || !pmet_pickle_is(v->item[0], "storage") ||
        v->item[1]->kind != PMET_PICKLE_GLOBAL || v->item[1]->global < globals + STORAGE ||
        v->item[2]->kind != PMET_PICKLE_STR || v->item[3]->kind != PMET_PICKLE_STR)
        return pmet_fail(
            err, PMET_FORMAT,
            "%s: tensor \"%s\": found %s; expected a storage (\"storage\", type, key, device, length)",
            b->all.path, t->name, pmet_pickle_found(v));
    const struct pmet_pickle_value *key = v->item[2];
    t->dtype = (enum pmet_dtype)(v->item[1]->global - globals - STORAGE);
    PMET_TRY(size_of(b, t, "length", v->item[4], &s->n_elem, err));
    const int n_key = (int)(key->n < MAX_KEY ? key->n : MAX_KEY);
    snprintf(b->member + b->n_prefix, sizeof "data/" + MAX_KEY, "data/%.*s", n_key, key->text);
    s->member = key->n <= MAX_KEY && !memchr(key->text, 0, key->n) ? pmet_zip_find(b->zip, b->member) : NULL;
    if (!s->member)
        return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\": its storage %s is not in the archive",
                         b->all.path, t->name, b->member);
    if (unreadable(s->member))
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: tensor \"%s\": its storage %s %s; expected it stored, as torch.save writes it",
                         b->all.path, t->name, b->member, unreadable(s->member));
    size_t n_bytes;
    if (!pmet_mul_size(s->n_elem, pmet_dtype_size(t->dtype), &n_bytes) || n_bytes != s->member->n_bytes)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: tensor \"%s\": its storage %s holds %zu bytes; expected %zu elements of %s",
                         b->all.path, t->name, b->member, s->member->n_bytes, s->n_elem,
                         pmet_dtype_name(t->dtype));
    return PMET_OK;
}

/* Row-major without gaps; the stride of a dimension of one element has no bearing. */
static enum pmet_status check_stride(const struct pmet_torch_bin *b, const struct pmet_tensor *t,
                                     const size_t *stride, struct pmet_error *err)
{
    size_t expected = 1;
    for (size_t i = t->n_dim; t->n_elem > 0 && i-- > 0; expected *= t->shape[i])
        if (t->shape[i] != 1 && stride[i] != expected)
            return pmet_fail(
                err, PMET_UNSUPPORTED,
                "%s: tensor \"%s\": stride %zu of dimension %zu; expected %zu, that of a contiguous "
                "tensor",
                b->all.path, t->name, stride[i], i, expected);
    return PMET_OK;
}

static enum pmet_status place(struct pmet_torch_bin *b, const struct pmet_pickle_value *const *arg,
                              struct pmet_tensor *t, struct pmet_error *err)
{
    struct storage s = {NULL, 0};
    size_t stride[PMET_MAX_DIM], offset = 0, end;
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
    PMET_TRY(check_stride(b, t, stride, err));
    if (!pmet_add_size(offset, t->n_elem, &end) || end > s.n_elem)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: tensor \"%s\": %zu elements from element %zu on; its storage %s holds %zu",
                         b->all.path, t->name, t->n_elem, offset, b->member, s.n_elem);
    t->data = s.member->data + offset * pmet_dtype_size(t->dtype);
    return PMET_OK;
}

static bool is_call(const struct pmet_pickle_value *v, int of, size_t n_arg)
{
    return v->kind == PMET_PICKLE_CALL && v->global == &globals[of] && v->n == n_arg;
}

static bool is_empty_dict(const struct pmet_pickle_value *v)
{
    return v->kind == PMET_PICKLE_DICT && v->n == 0;
}

static enum pmet_status read_tensor(struct pmet_torch_bin *b, const struct pmet_pickle_value *v,
                                    struct pmet_tensor *t, struct pmet_error *err)
{
    if (is_call(v, REBUILD_PARAMETER, 3) && is_empty_dict(v->item[2]))
        v = v->item[0];
    if (!is_call(v, REBUILD_TENSOR, 6))
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

/* ---- all of them ---- */

static enum pmet_status copy_names(struct pmet_torch_bin *b, const struct pmet_pickle_value *dict,
                                   struct pmet_error *err)
{
    size_t n = 0;
    for (const struct pmet_pickle_entry *e = dict->first; e; e = e->next) {
        if (memchr(e->key->text, 0, e->key->n))
            return pmet_fail(err, PMET_FORMAT, "%s: a NUL in the name of tensor %zu", b->where, b->all.n);
        n += e->key->n + 1;
    }
    PMET_TRY(pmet_calloc(&b->names, n, 1, b->all.path, err));
    PMET_TRY(pmet_calloc(&b->all.tensor, dict->n, sizeof *b->all.tensor, b->all.path, err));
    PMET_TRY(pmet_calloc(&b->all.by_name, dict->n, sizeof *b->all.by_name, b->all.path, err));
    char *at = b->names;
    for (const struct pmet_pickle_entry *e = dict->first; e; e = e->next) {
        memcpy(at, e->key->text, e->key->n);
        b->all.by_name[b->all.n] = &b->all.tensor[b->all.n];
        b->all.tensor[b->all.n++].name = at;
        at += e->key->n + 1;
    }
    qsort(b->all.by_name, b->all.n, sizeof *b->all.by_name, pmet_tensor_by_name);
    for (size_t i = 1; i < b->all.n; i++)
        if (strcmp(b->all.by_name[i - 1]->name, b->all.by_name[i]->name) == 0)
            return pmet_fail(err, PMET_FORMAT, "%s: tensor \"%s\" twice", b->where, b->all.by_name[i]->name);
    return PMET_OK;
}

static enum pmet_status read_dict(struct pmet_torch_bin *b, const struct pmet_pickle_value *dict,
                                  struct pmet_error *err)
{
    if (dict->kind != PMET_PICKLE_DICT)
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: found %s; expected a dict of tensors", b->where,
                         pmet_pickle_found(dict));
    PMET_TRY(copy_names(b, dict, err));
    size_t i = 0;
    for (const struct pmet_pickle_entry *e = dict->first; e; e = e->next)
        PMET_TRY(read_tensor(b, e->value, &b->all.tensor[i++], err));
    return PMET_OK;
}

enum pmet_status pmet_torch_bin_open(const struct pmet_io *io, const char *path, struct pmet_torch_bin **out,
                                     struct pmet_error *err)
{
    struct pmet_torch_bin *b = NULL;
    struct pmet_pickle *pickle = NULL;
    const struct pmet_zip_member *m = NULL;
    const size_t n_path = strlen(path);
    enum pmet_status status;
    PMET_GO(refuse_legacy(io, path, err));
    PMET_GO(pmet_calloc(&b, 1, sizeof *b, path, err));
    PMET_GO(pmet_copy_text(path, &b->all.path, path, err));
    PMET_GO(pmet_calloc(&b->where, n_path + sizeof ": data.pkl", 1, path, err));
    memcpy(b->where, path, n_path);
    memcpy(b->where + n_path, ": data.pkl", sizeof ": data.pkl");
    PMET_GO(pmet_zip_open(io, path, &b->zip, err));
    PMET_GO(find_pickle(b, &m, err));
    PMET_GO(check_byteorder(b, err));
    PMET_GO(pmet_pickle_read(m->data, m->n_bytes, b->where, globals, sizeof globals / sizeof *globals,
                             &pickle, err));
    PMET_GO(read_dict(b, pmet_pickle_root(pickle), err));
    *out = b;
    b = NULL;
done:
    pmet_pickle_free(pickle);
    pmet_torch_bin_close(b);
    return status;
}

void pmet_torch_bin_close(struct pmet_torch_bin *b)
{
    if (!b)
        return;
    pmet_zip_close(b->zip);
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

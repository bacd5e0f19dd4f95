/* SPDX-License-Identifier: MIT
 * Files of torch.save before 1.6, which later versions still write when they are asked to.
 * SPEC §9.12 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/pickle_private.h"
#include "tensors/torch_private.h"

enum { PROTOCOL = 1001, FRAME_BYTES = 9 };

/* 0x1950a86a20f9469cfc6c as a pickle, behind its protocol. */
static const unsigned char magic[] = {0x8a, 10,   0x6c, 0xfc, 0x9c, 0x46, 0xf9,
                                      0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

/* Bytes of the pickle of the magic number; 0: it is none. From protocol 4 on it stands in a frame. */
static size_t magic_bytes(const unsigned char *data, size_t n)
{
    const size_t at = n > 2 && data[2] == FRAME ? 2 + FRAME_BYTES : 2;
    const bool found = n >= at + sizeof magic && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5 &&
                       memcmp(data + at, magic, sizeof magic) == 0;
    return found ? at + sizeof magic : 0;
}

bool pmet_torch_is_legacy(const unsigned char *data, size_t n)
{
    return magic_bytes(data, n) > 0;
}

/* ---- the pickles ---- */

struct file {
    const char *path;
    const unsigned char *data;
    size_t n, at;
};

static enum pmet_status read_pickle(struct file *f, const char *what, struct pmet_pickle **out,
                                    struct pmet_error *err)
{
    char where[4300];
    size_t n_used;
    snprintf(where, sizeof where, "%s: %s at byte %zu", f->path, what, f->at);
    PMET_TRY(pmet_pickle_read(f->data + f->at, f->n - f->at, where, pmet_torch_names, PMET_TORCH_N_NAME,
                              &n_used, out, err));
    f->at += n_used;
    return PMET_OK;
}

static enum pmet_status check_protocol(struct file *f, struct pmet_error *err)
{
    struct pmet_pickle *p;
    PMET_TRY(read_pickle(f, "protocol", &p, err));
    const struct pmet_pickle_value *v = pmet_pickle_root(p);
    const bool known = v->kind == PMET_PICKLE_INT && v->number == PROTOCOL;
    pmet_pickle_free(p);
    return known ? PMET_OK
                 : pmet_fail(err, PMET_UNSUPPORTED, "%s: found another version of torch's form; expected %d",
                             f->path, PROTOCOL);
}

static enum pmet_status check_system(struct file *f, struct pmet_error *err)
{
    struct pmet_pickle *p;
    bool little = false;
    PMET_TRY(read_pickle(f, "system", &p, err));
    const struct pmet_pickle_value *v = pmet_pickle_root(p);
    if (v->kind == PMET_PICKLE_DICT)
        for (const struct pmet_pickle_entry *e = v->first; e; e = e->next)
            if (pmet_pickle_is(e->key, "little_endian"))
                little = e->value->kind == PMET_PICKLE_BOOL && e->value->number == 1;
    pmet_pickle_free(p);
    return little ? PMET_OK
                  : pmet_fail(err, PMET_UNSUPPORTED,
                              "%s: little_endian: found none that is True; expected it", f->path);
}

/* ---- the storages ---- */

static int compare_keys(const struct pmet_pickle_value *a, const struct pmet_pickle_value *b)
{
    const int order = memcmp(a->text, b->text, a->n < b->n ? a->n : b->n);
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

static int by_key(const void *a, const void *b)
{
    const struct pmet_torch_stored *x = a, *y = b;
    return compare_keys(x->key, y->key);
}

const struct pmet_torch_stored *pmet_torch_legacy_find(const struct pmet_torch_legacy *l,
                                                       const struct pmet_pickle_value *key)
{
    const struct pmet_torch_stored wanted = {.key = key};
    return l->n_stored > 0 ? bsearch(&wanted, l->stored, l->n_stored, sizeof wanted, by_key) : NULL;
}

/* All storages that the object refers to, each once: their types say how long they are. */
static enum pmet_status list_storages(struct pmet_torch_legacy *l, const char *path, struct pmet_error *err)
{
    const struct pmet_pickle_value *v;
    struct pmet_torch_id id;
    size_t n = 0;
    for (size_t i = 0; (v = pmet_pickle_at(l->object, i)); i++)
        n += v->kind == PMET_PICKLE_PERSISTENT;
    PMET_TRY(pmet_calloc(&l->stored, n, sizeof *l->stored, path, err));
    for (size_t i = 0; (v = pmet_pickle_at(l->object, i)); i++)
        if (v->kind == PMET_PICKLE_PERSISTENT) {
            if (!pmet_torch_read_id(v, &id))
                return pmet_fail(
                    err, PMET_UNSUPPORTED,
                    "%s: found a persistent id of another kind; expected a storage (\"storage\", "
                    "type, key, device, length)",
                    path);
            l->stored[l->n_stored++] = (struct pmet_torch_stored){.key = id.key, .dtype = id.dtype};
        }
    qsort(l->stored, l->n_stored, sizeof *l->stored, by_key);
    n = 0;
    for (size_t i = 0; i < l->n_stored; i++) {
        if (n > 0 && by_key(&l->stored[n - 1], &l->stored[i]) == 0) {
            if (l->stored[n - 1].dtype != l->stored[i].dtype)
                return pmet_fail(err, PMET_FORMAT, "%s: storage %.*s: found two types; expected one", path,
                                 (int)(l->stored[i].key->n < 40 ? l->stored[i].key->n : 40),
                                 l->stored[i].key->text);
        } else {
            l->stored[n++] = l->stored[i];
        }
    }
    l->n_stored = n;
    return PMET_OK;
}

/* The next storage of the file: the number of its elements in 8 bytes, and the elements. */
static enum pmet_status place_storage(struct file *f, struct pmet_torch_stored *s, struct pmet_error *err)
{
    const int n_key = (int)(s->key->n < 40 ? s->key->n : 40);
    size_t n_bytes;
    if (f->n - f->at < 8)
        return pmet_fail(err, PMET_FORMAT, "%s: storage %.*s: found the file's end at byte %zu", f->path,
                         n_key, s->key->text, f->n);
    s->n_elem = pmet_little_endian(f->data + f->at, 8);
    f->at += 8;
    if (!pmet_mul_size(s->n_elem, pmet_dtype_size(s->dtype), &n_bytes) || n_bytes > f->n - f->at)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: byte %zu: storage %.*s of %zu elements of %s runs past the file's %zu bytes",
                         f->path, f->at - 8, n_key, s->key->text, s->n_elem, pmet_dtype_name(s->dtype), f->n);
    s->data = f->data + f->at;
    f->at += n_bytes;
    return PMET_OK;
}

static enum pmet_status place_storages(struct file *f, struct pmet_torch_legacy *l, struct pmet_error *err)
{
    const struct pmet_pickle_value *keys = pmet_pickle_root(l->keys);
    size_t n = 0;
    if (keys->kind != PMET_PICKLE_LIST)
        return pmet_fail(err, PMET_FORMAT, "%s: found %s; expected the list of storages", f->path,
                         pmet_pickle_found(keys));
    for (const struct pmet_pickle_entry *e = keys->first; e; e = e->next, n++) {
        struct pmet_torch_stored *s =
            e->value->kind == PMET_PICKLE_STR
                ? (struct pmet_torch_stored *)(uintptr_t)pmet_torch_legacy_find(l, e->value)
                : NULL;
        if (!s || s->data)
            return pmet_fail(err, PMET_FORMAT,
                             "%s: key %zu of the storages: found %s; expected each storage once", f->path, n,
                             s ? "one again" : "one that no tensor has");
        PMET_TRY(place_storage(f, s, err));
    }
    if (f->at != f->n)
        return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: found %zu bytes behind the last storage", f->path,
                         f->at, f->n - f->at);
    return PMET_OK;
}

enum pmet_status pmet_torch_legacy_open(const char *path, const unsigned char *data, size_t n,
                                        struct pmet_torch_legacy *out, struct pmet_error *err)
{
    struct file f = {path, data, n, magic_bytes(data, n)};
    PMET_TRY(check_protocol(&f, err));
    PMET_TRY(check_system(&f, err));
    PMET_TRY(read_pickle(&f, "object", &out->object, err));
    PMET_TRY(read_pickle(&f, "keys", &out->keys, err));
    PMET_TRY(list_storages(out, path, err));
    return place_storages(&f, out, err);
}

void pmet_torch_legacy_close(struct pmet_torch_legacy *l)
{
    pmet_pickle_free(l->object);
    pmet_pickle_free(l->keys);
    free(l->stored);
    *l = (struct pmet_torch_legacy){.n_stored = 0};
}

/* SPDX-License-Identifier: MIT
 * Members are .npy files: magic, version, length, a Python dict with descr, fortran_order and shape, data. */
#include "tensors/npz.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/zip.h"

struct copy { /* an array that the file holds column-major, turned */
    struct copy *next;
    void *data;
};

struct pmet_npz {
    struct pmet_zip *zip;
    struct copy *copies;
};

enum pmet_status pmet_npz_open(const struct pmet_io *io, const char *path, struct pmet_npz **out,
                               struct pmet_error *err)
{
    struct pmet_npz *z;
    PMET_TRY(pmet_calloc(&z, 1, sizeof *z, path, err));
    const enum pmet_status status = pmet_zip_open(io, path, &z->zip, err);
    if (status == PMET_OK)
        *out = z;
    else
        free(z);
    return status;
}

void pmet_npz_close(struct pmet_npz *z)
{
    if (!z)
        return;
    while (z->copies) {
        struct copy *next = z->copies->next;
        free(z->copies->data);
        free(z->copies);
        z->copies = next;
    }
    pmet_zip_close(z->zip);
    free(z);
}

static const struct pmet_zip_member *member_of(const struct pmet_npz *z, const char *name)
{
    const size_t n = strlen(name);
    for (size_t i = 0; i < pmet_zip_count(z->zip); i++) {
        const struct pmet_zip_member *m = pmet_zip_at(z->zip, i);
        if (strncmp(m->name, name, n) == 0 && strcmp(m->name + n, ".npy") == 0)
            return m;
    }
    return NULL;
}

bool pmet_npz_has(const struct pmet_npz *z, const char *name)
{
    return member_of(z, name) != NULL;
}

/* The text of the dict, read from left to right. */
struct cursor {
    const char *p, *end;
};

static bool take(struct cursor *c, char expected)
{
    while (c->p < c->end && isspace((unsigned char)*c->p))
        c->p++;
    if (c->p == c->end || *c->p != expected)
        return false;
    c->p++;
    return true;
}

/* A quoted string without escapes into buf, cut to its size: names and descrs are short. */
static bool take_string(struct cursor *c, char *buf, size_t size)
{
    const char quote = take(c, '\'') ? '\'' : take(c, '"') ? '"' : '\0';
    size_t n = 0;
    if (!quote)
        return false;
    for (; c->p < c->end && *c->p != quote; c->p++) {
        if (*c->p == '\\')
            return false;
        if (n + 1 < size)
            buf[n++] = *c->p;
    }
    buf[n] = '\0';
    return take(c, quote);
}

static bool take_word(struct cursor *c, const char *word)
{
    const size_t n = strlen(word);
    while (c->p < c->end && *c->p == ' ')
        c->p++;
    if ((size_t)(c->end - c->p) < n || strncmp(c->p, word, n) != 0)
        return false;
    c->p += n;
    return true;
}

/* "()", "(3,)", "(3, 4)"; dimensions past PMET_MAX_DIM are counted, not kept. */
static bool take_shape(struct cursor *c, struct pmet_tensor *t)
{
    t->n_dim = 0;
    if (!take(c, '('))
        return false;
    while (!take(c, ')')) {
        size_t v = 0;
        if (c->p == c->end || !isdigit((unsigned char)*c->p))
            return false;
        for (; c->p < c->end && isdigit((unsigned char)*c->p); c->p++)
            if (!pmet_mul_size(v, 10, &v) || !pmet_add_size(v, (size_t)(*c->p - '0'), &v))
                return false;
        if (t->n_dim < PMET_MAX_DIM)
            t->shape[t->n_dim] = v;
        t->n_dim++;
        if (!take(c, ',')) {
            if (!take(c, ')'))
                return false;
            break;
        }
    }
    return true;
}

struct npy {
    char descr[32];
    bool fortran;
    unsigned seen; /* a bit for each of the three keys */
};

static bool take_dict(struct cursor *c, struct npy *h, struct pmet_tensor *t)
{
    char key[32];
    if (!take(c, '{'))
        return false;
    while (!take(c, '}')) {
        unsigned bit = 0;
        bool ok = take_string(c, key, sizeof key) && take(c, ':');
        if (ok && strcmp(key, "descr") == 0) {
            bit = 1;
            ok = take_string(c, h->descr, sizeof h->descr);
        } else if (ok && strcmp(key, "fortran_order") == 0) {
            bit = 2;
            h->fortran = take_word(c, "True");
            ok = h->fortran || take_word(c, "False");
        } else if (ok && strcmp(key, "shape") == 0) {
            bit = 4;
            ok = take_shape(c, t);
        }
        if (!ok || bit == 0 || h->seen & bit)
            return false;
        h->seen |= bit;
        if (!take(c, ',')) {
            if (!take(c, '}'))
                return false;
            break;
        }
    }
    while (c->p < c->end && isspace((unsigned char)*c->p))
        c->p++;
    return c->p == c->end && h->seen == 7;
}

/* The header's text; *data_at is where the array begins. */
static bool find_header(const struct pmet_zip_member *m, struct cursor *c, size_t *data_at)
{
    const unsigned char *p = m->data;
    if (m->n_bytes < 12 || memcmp(p, "\x93NUMPY", 6) != 0 || p[6] < 1 || p[6] > 3)
        return false;
    const size_t fixed = p[6] == 1 ? 10 : 12;
    size_t n = (size_t)p[8] | (size_t)p[9] << 8;
    if (p[6] > 1)
        n |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (n > m->n_bytes - fixed)
        return false;
    c->p = (const char *)p + fixed;
    c->end = c->p + n;
    *data_at = fixed + n;
    return true;
}

static bool dtype_of(const char *descr, enum pmet_dtype *dtype)
{
    static const struct {
        const char *descr;
        enum pmet_dtype dtype;
    } known[] = {{"<f4", PMET_F32}, {"<f8", PMET_F64}, {"<i8", PMET_I64}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(descr, known[i].descr) == 0) {
            *dtype = known[i].dtype;
            return true;
        }
    return false;
}

/* Column-major to row-major: the source's step of dimension i is the product of the dimensions before it. */
static void turn(unsigned char *dst, const unsigned char *src, const struct pmet_tensor *t)
{
    const size_t size = pmet_dtype_size(t->dtype);
    size_t index[PMET_MAX_DIM] = {0}, step[PMET_MAX_DIM], from = 0;
    for (size_t i = 0, s = 1; i < t->n_dim; s *= t->shape[i++])
        step[i] = s;
    for (size_t k = 0; k < t->n_elem; k++) {
        memcpy(dst + k * size, src + from * size, size);
        for (size_t i = t->n_dim; i-- > 0;) {
            from += step[i];
            if (++index[i] < t->shape[i])
                break;
            from -= step[i] * t->shape[i];
            index[i] = 0;
        }
    }
}

static enum pmet_status keep_turned(struct pmet_npz *z, struct pmet_tensor *t, struct pmet_error *err)
{
    struct copy *copy;
    PMET_TRY(pmet_calloc(&copy, 1, sizeof *copy, pmet_zip_path(z->zip), err));
    copy->next = z->copies;
    z->copies = copy;
    PMET_TRY(pmet_calloc(&copy->data, t->n_bytes, 1, pmet_zip_path(z->zip), err));
    turn(copy->data, t->data, t);
    t->data = copy->data;
    return PMET_OK;
}

static enum pmet_status count_elements(const char *path, const char *name, struct pmet_tensor *t,
                                       size_t n_data, struct pmet_error *err)
{
    size_t extent = 1;
    bool fits = true;
    t->n_elem = 1;
    for (size_t i = 0; i < t->n_dim; i++) {
        fits = fits && (t->shape[i] == 0 || pmet_mul_size(extent, t->shape[i], &extent));
        t->n_elem *= t->shape[i];
    }
    if (!fits || !pmet_mul_size(extent, pmet_dtype_size(t->dtype), &extent))
        return pmet_fail(err, PMET_FORMAT, "%s: array \"%s\": shape: the product overflows", path, name);
    t->n_bytes = t->n_elem * pmet_dtype_size(t->dtype);
    if (t->n_bytes != n_data)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: array \"%s\": found %zu bytes of data; its shape and type take %zu", path, name,
                         n_data, t->n_bytes);
    return PMET_OK;
}

enum pmet_status pmet_npz_find(struct pmet_npz *z, const char *name, struct pmet_tensor *t,
                               struct pmet_error *err)
{
    const char *path = pmet_zip_path(z->zip);
    const struct pmet_zip_member *m = member_of(z, name);
    struct cursor c;
    struct npy h = {.seen = 0};
    size_t data_at;
    if (!m)
        return pmet_fail(err, PMET_INPUT, "%s: holds no array \"%s\"", path, name);
    if (m->unreadable)
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: array \"%s\" %s; expected a stored one, as np.savez writes", path, name,
                         m->unreadable);
    if (!pmet_zip_intact(m))
        return pmet_fail(err, PMET_FORMAT,
                         "%s: array \"%s\": its data do not fit its checksum: the file is damaged", path,
                         name);
    memset(t, 0, sizeof *t);
    t->name = name;
    if (!find_header(m, &c, &data_at) || !take_dict(&c, &h, t)) {
        if (h.seen == 0 && m->n_bytes >= 8 && memcmp(m->data, "\x93NUMPY", 6) == 0 && m->data[6] > 3)
            return pmet_fail(err, PMET_UNSUPPORTED, "%s: array \"%s\": .npy version %u; expected 1, 2 or 3",
                             path, name, (unsigned)m->data[6]);
        return pmet_fail(err, PMET_FORMAT, "%s: array \"%s\": found no .npy header of a plain array", path,
                         name);
    }
    if (!dtype_of(h.descr, &t->dtype))
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: array \"%s\": type \"%s\"; expected <f4, <f8 or <i8",
                         path, name, h.descr);
    if (t->n_dim > PMET_MAX_DIM)
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: array \"%s\": found %zu dimensions; expected at most %d",
                         path, name, t->n_dim, PMET_MAX_DIM);
    PMET_TRY(count_elements(path, name, t, m->n_bytes - data_at, err));
    t->data = m->data + data_at;
    if (h.fortran && t->n_dim > 1 && t->n_elem > 0)
        return keep_turned(z, t, err);
    return PMET_OK;
}

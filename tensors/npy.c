/* SPDX-License-Identifier: MIT
 * .npy: magic, version, length, a Python dict with descr, fortran_order and shape, data. */
#include "tensors/npy.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
static bool find_header(const unsigned char *p, size_t n_bytes, struct cursor *c, size_t *data_at)
{
    if (n_bytes < 12 || memcmp(p, "\x93NUMPY", 6) != 0 || p[6] < 1 || p[6] > 3)
        return false;
    const size_t fixed = p[6] == 1 ? 10 : 12;
    size_t n = (size_t)p[8] | (size_t)p[9] << 8;
    if (p[6] > 1)
        n |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (n > n_bytes - fixed || n > PMET_MAX_NPY_HEADER - fixed)
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
    } known[] = {{"<f4", PMET_F32}, {"<f8", PMET_F64}, {"<f2", PMET_F16}, {"<i8", PMET_I64},
                 {"<i4", PMET_I32}, {"|u1", PMET_U8},  {"|b1", PMET_BOOL}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(descr, known[i].descr) == 0) {
            *dtype = known[i].dtype;
            return true;
        }
    return false;
}

/* "PATH: WHAT", or "PATH: array "NAME": WHAT" of a member. */
static enum pmet_status PMET_PRINTF(5, 6) refuse(const char *path, const char *name, enum pmet_status status,
                                                 struct pmet_error *err, const char *fmt, ...)
{
    char what[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return name ? pmet_fail(err, status, "%s: array \"%s\": %s", path, name, what)
                : pmet_fail(err, status, "%s: %s", path, what);
}

enum pmet_status pmet_npy_parse(const void *data, size_t n_have, size_t n, const char *path, const char *name,
                                struct pmet_tensor *t, bool *column_major, struct pmet_error *err)
{
    const unsigned char *bytes = data;
    struct cursor c;
    struct npy h = {.seen = 0};
    size_t data_at;
    memset(t, 0, sizeof *t);
    t->name = name;
    if (!find_header(bytes, n_have, &c, &data_at) || !take_dict(&c, &h, t)) {
        if (h.seen == 0 && n_have >= 8 && memcmp(bytes, "\x93NUMPY", 6) == 0 && bytes[6] > 3)
            return refuse(path, name, PMET_UNSUPPORTED, err, ".npy version %u; expected 1, 2 or 3",
                          (unsigned)bytes[6]);
        return refuse(path, name, PMET_FORMAT, err, "found no .npy header of a plain array");
    }
    if (!dtype_of(h.descr, &t->dtype))
        return refuse(path, name, PMET_UNSUPPORTED, err,
                      "type \"%s\"; expected <f2, <f4, <f8, <i4, <i8, |u1 or |b1", h.descr);
    if (t->n_dim > PMET_MAX_DIM)
        return refuse(path, name, PMET_UNSUPPORTED, err, "found %zu dimensions; expected at most %d",
                      t->n_dim, PMET_MAX_DIM);
    if (!pmet_tensor_measure(t))
        return refuse(path, name, PMET_FORMAT, err, "shape: the product overflows");
    if (t->n_bytes != n - data_at)
        return refuse(path, name, PMET_FORMAT, err, "found %zu bytes of data; its shape and type take %zu",
                      n - data_at, t->n_bytes);
    t->data = n_have == n ? bytes + data_at : NULL;
    *column_major = h.fortran && t->n_dim > 1 && t->n_elem > 0;
    return PMET_OK;
}

/* The source's step of dimension i is the product of the dimensions before it. */
void pmet_npy_turn(const struct pmet_tensor *t, void *out)
{
    const unsigned char *src = t->data;
    unsigned char *dst = out;
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

/* SPDX-License-Identifier: MIT
 * TF-IDF vectors and their cosine (E91-E93).      SPEC §11.7 */
#include "ref/text/tfidf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "ref/text/snippets_private.h"
#include "ref/text/points.h"
#include "tensors/npy.h"

enum { MAX_FILE = 1 << 28, MIN_SLOTS = 1024 };

struct term {
    size_t at, n; /* its bytes in the pool */
    double idf;
    size_t n_doc, last_doc; /* while it is built: documents that hold it, the last of them, from 1 */
};

/* Terms by hash: slot holds 1 + a term's number, or 0; at least half of the slots are 0. */
struct pmet_tfidf {
    struct pmet_text pool;
    struct term *term;
    size_t n, cap;
    size_t *slot, n_slot; /* a power of 2 */
};

static uint64_t hash(const char *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 0x100000001b3;
    return h ^ h >> 32;
}

/* The slot of a term, or the empty one where it belongs. */
static size_t *slot_of(const struct pmet_tfidf *t, const char *p, size_t n)
{
    for (size_t i = (size_t)hash(p, n);; i++) {
        size_t *slot = &t->slot[i & (t->n_slot - 1)];
        const struct term *term = *slot ? &t->term[*slot - 1] : NULL;
        if (!term || (term->n == n && memcmp(t->pool.data + term->at, p, n) == 0))
            return slot;
    }
}

static enum pmet_status reserve_term(struct pmet_tfidf *t, struct pmet_error *err)
{
    size_t *slot, n_slot = MIN_SLOTS;
    PMET_TRY(pmet_grow(&t->term, &t->cap, t->n + 1, sizeof *t->term, "terms", err));
    if (2 * (t->n + 1) <= t->n_slot)
        return PMET_OK;
    while (n_slot < 2 * t->cap)
        n_slot *= 2;
    PMET_TRY(pmet_calloc(&slot, n_slot, sizeof *slot, "terms", err));
    free(t->slot);
    t->slot = slot;
    t->n_slot = n_slot;
    for (size_t i = 0; i < t->n; i++)
        *slot_of(t, t->pool.data + t->term[i].at, t->term[i].n) = i + 1;
    return PMET_OK;
}

/* The term, entered if it is new. */
static enum pmet_status enter(struct pmet_tfidf *t, const char *p, size_t n, struct term **out,
                              struct pmet_error *err)
{
    PMET_TRY(reserve_term(t, err));
    size_t *slot = slot_of(t, p, n);
    if (*slot == 0) {
        const size_t start = t->pool.n;
        PMET_TRY(pmet_text_append(&t->pool, p, n, err));
        t->term[t->n] = (struct term){.at = start, .n = n};
        *slot = ++t->n;
    }
    *out = &t->term[*slot - 1];
    return PMET_OK;
}

void pmet_tfidf_close(struct pmet_tfidf *t)
{
    if (!t)
        return;
    free(t->pool.data);
    free(t->term);
    free(t->slot);
    free(t);
}

size_t pmet_tfidf_size(const struct pmet_tfidf *t)
{
    return t->n;
}

double pmet_tfidf_weight(const struct pmet_tfidf *t, const char *term)
{
    const size_t slot = t->n ? *slot_of(t, term, strlen(term)) : 0;
    return slot ? t->term[slot - 1].idf : 0;
}

/* ---- from the published files ---- */

static enum pmet_status take_weights(const char *path, const char *data, size_t n_bytes, double **idf,
                                     size_t *n, struct pmet_error *err)
{
    struct pmet_tensor x;
    bool column_major; /* of one row means nothing */
    PMET_TRY(pmet_npy_parse(data, n_bytes, n_bytes, path, NULL, &x, &column_major, err));
    if (x.dtype != PMET_F64)
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: found another type; expected <f8", path);
    if (x.n_dim != 1 && !(x.n_dim == 2 && x.shape[0] == 1))
        return pmet_fail(err, PMET_FORMAT, "%s: found %zu dimensions; expected one row", path, x.n_dim);
    PMET_TRY(pmet_calloc(idf, x.n_elem, sizeof **idf, path, err));
    memcpy(*idf, x.data, x.n_bytes);
    *n = x.n_elem;
    for (size_t i = 0; i < x.n_elem; i++)
        if (!isfinite((*idf)[i]))
            return pmet_fail(err, PMET_FORMAT, "%s: element %zu is not finite", path, i);
    return PMET_OK;
}

/* Sets the weight to NaN once a term has taken it: no other may. */
static enum pmet_status take_vocabulary(struct pmet_tfidf *t, const char *path, json_t *vocabulary,
                                        double *idf, size_t n, struct pmet_error *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(vocabulary))
        return pmet_fail(err, PMET_FORMAT, "%s: found %s; expected an object, term to column", path,
                         pmet_json_kind(vocabulary));
    if (json_object_size(vocabulary) != n)
        return pmet_fail(err, PMET_FORMAT, "%s: found %zu terms; idf.npy has %zu weights", path,
                         json_object_size(vocabulary), n);
    json_object_foreach(vocabulary, key, value)
    {
        struct term *term;
        const json_int_t column = json_integer_value(value);
        if (!json_is_integer(value))
            return pmet_fail(err, PMET_FORMAT, "%s: \"%s\": found %s; expected a column", path, key,
                             pmet_json_kind(value));
        if (column < 0 || (uint64_t)column >= n)
            return pmet_fail(err, PMET_FORMAT, "%s: \"%s\": found column %lld; idf.npy has %zu weights", path,
                             key, (long long)column, n);
        if (isnan(idf[column]))
            return pmet_fail(err, PMET_FORMAT, "%s: \"%s\": found column %lld, which another term has, too",
                             path, key, (long long)column);
        PMET_TRY(enter(t, key, strlen(key), &term, err));
        term->idf = idf[column];
        idf[column] = (double)NAN;
    }
    return PMET_OK;
}

enum pmet_status pmet_tfidf_open(const struct pmet_io *io, const char *dir, struct pmet_tfidf **out,
                                 struct pmet_error *err)
{
    struct pmet_tfidf *t = NULL;
    char *idf_path = NULL, *vocabulary_path = NULL, *data = NULL;
    json_t *vocabulary = NULL;
    double *idf = NULL;
    size_t n_bytes, n = 0;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&t, 1, sizeof *t, dir, err));
    PMET_GO(pmet_path_join(dir, "idf.npy", &idf_path, err));
    PMET_GO(pmet_path_join(dir, "tfidf_vocab.json", &vocabulary_path, err));
    PMET_GO(pmet_read_file(io, idf_path, MAX_FILE, &data, &n_bytes, err));
    PMET_GO(take_weights(idf_path, data, n_bytes, &idf, &n, err));
    PMET_GO(pmet_json_load(io, vocabulary_path, MAX_FILE, &vocabulary, err));
    PMET_GO(take_vocabulary(t, vocabulary_path, vocabulary, idf, n, err));
    *out = t;
    t = NULL;
done:
    pmet_tfidf_close(t);
    json_decref(vocabulary);
    free(idf_path);
    free(vocabulary_path);
    free(data);
    free(idf);
    return status;
}

/* ---- from snippets ---- */

struct building {
    struct pmet_tfidf *t;
    size_t n_doc;
};

static enum pmet_status count_term(void *user, const char *p, size_t n, struct pmet_error *err)
{
    struct building *b = user;
    struct term *term;
    PMET_TRY(enter(b->t, p, n, &term, err));
    term->n_doc += term->last_doc != b->n_doc;
    term->last_doc = b->n_doc;
    return PMET_OK;
}

static enum pmet_status count_text(void *user, const struct pmet_snippet *s, struct pmet_error *err)
{
    struct building *b = user;
    b->n_doc++;
    return pmet_terms(s->text, s->n, count_term, b, err);
}

enum pmet_status pmet_tfidf_build(const struct pmet_io *io, const char *snippets_path,
                                  struct pmet_tfidf **out, struct pmet_error *err)
{
    struct building b = {0};
    enum pmet_status status;
    PMET_GO(pmet_calloc(&b.t, 1, sizeof *b.t, snippets_path, err));
    PMET_GO(pmet_snippets_each(io, snippets_path, count_text, &b, NULL, err));
    if (b.t->n == 0)
        PMET_GO(pmet_fail(err, PMET_INPUT, "%s: holds no words", snippets_path));
    for (size_t i = 0; i < b.t->n; i++) /* E93 */
        b.t->term[i].idf = log((1 + (double)b.n_doc) / (1 + (double)b.t->term[i].n_doc)) + 1;
    *out = b.t;
    b.t = NULL;
done:
    pmet_tfidf_close(b.t);
    return status;
}

/* ---- vectors ---- */

/* The known terms of a text, by number, each as often as it occurs, then sorted. */
struct counts {
    const struct pmet_tfidf *t;
    size_t *id, n, cap;
};

static enum pmet_status note_term(void *user, const char *p, size_t n, struct pmet_error *err)
{
    struct counts *c = user;
    const size_t slot = c->t->n ? *slot_of(c->t, p, n) : 0;
    if (slot == 0)
        return PMET_OK;
    PMET_TRY(pmet_grow(&c->id, &c->cap, c->n + 1, sizeof *c->id, "terms", err));
    c->id[c->n++] = slot - 1;
    return PMET_OK;
}

static int by_number(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

static enum pmet_status count(struct counts *c, const char *text, size_t n, struct pmet_error *err)
{
    PMET_TRY(pmet_terms(text, n, note_term, c, err));
    if (c->n > 0)
        qsort(c->id, c->n, sizeof *c->id, by_number);
    return PMET_OK;
}

/* The component of the term at place i, which is moved past its occurrences. */
static double component(const struct counts *c, size_t *i)
{
    const size_t id = c->id[*i], first = *i;
    while (*i < c->n && c->id[*i] == id)
        ++*i;
    return (double)(*i - first) * c->t->term[id].idf;
}

static double norm(const struct counts *c)
{
    double sum = 0;
    for (size_t i = 0; i < c->n;) {
        const double x = component(c, &i);
        sum += x * x;
    }
    return sqrt(sum);
}

static double dot(const struct counts *a, const struct counts *b)
{
    double sum = 0;
    for (size_t i = 0, j = 0; i < a->n && j < b->n;) {
        if (a->id[i] < b->id[j])
            component(a, &i);
        else if (a->id[i] > b->id[j])
            component(b, &j);
        else
            sum += component(a, &i) * component(b, &j);
    }
    return sum;
}

enum pmet_status pmet_tfidf_cosine(const struct pmet_tfidf *t, const char *a, size_t n_a, const char *b,
                                   size_t n_b, double *out, struct pmet_error *err)
{
    struct counts x = {.t = t}, y = {.t = t};
    enum pmet_status status;
    PMET_GO(count(&x, a, n_a, err));
    PMET_GO(count(&y, b, n_b, err));
    *out = dot(&x, &y) / (norm(&x) * norm(&y)); /* E92: 0 / 0 without a known term */
done:
    free(x.id);
    free(y.id);
    return status;
}

/* SPDX-License-Identifier: MIT
 * Attribute snippets (E94).      SPEC §11.7 */
#include "ref/text/snippets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/text/snippets_private.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

/* ---- the file ---- */

/* Where a message points. */
struct place {
    const char *path;
    const struct pmet_elements *elements;
};

static enum pmet_status refuse(const struct place *at, const char *field, const json_t *found,
                               const char *expected, struct pmet_error *err)
{
    return pmet_fail(err, PMET_INPUT, "%s: record %zu (line %zu): %s: found %s; expected %s", at->path,
                     pmet_elements_record(at->elements), pmet_elements_line(at->elements), field,
                     pmet_json_kind(found), expected);
}

static enum pmet_status take_sample(const struct place *at, const json_t *sample, size_t i,
                                    struct pmet_snippet *s, struct pmet_error *err)
{
    const json_t *name = json_object_get(sample, "name"), *text = json_object_get(sample, "text");
    char field[64];
    if (!json_is_object(sample)) {
        snprintf(field, sizeof field, "samples[%zu]", i);
        return refuse(at, field, sample, "an object", err);
    }
    snprintf(field, sizeof field, "samples[%zu].%s", i, json_is_string(name) ? "text" : "name");
    if (!json_is_string(name) || !json_is_string(text))
        return refuse(at, field, json_is_string(name) ? text : name, "a string", err);
    s->name = json_string_value(name);
    s->text = json_string_value(text);
    s->n = json_string_length(text);
    return PMET_OK;
}

static enum pmet_status take_element(const struct place *at, const json_t *element,
                                     pmet_on_snippet *on_snippet, void *user, struct pmet_error *err)
{
    const json_t *relation = json_object_get(element, "relation_id");
    const json_t *target = json_object_get(element, "target_id");
    const json_t *samples = json_object_get(element, "samples");
    struct pmet_snippet s;
    if (!json_is_string(relation))
        return refuse(at, "relation_id", relation, "a string", err);
    if (!json_is_string(target))
        return refuse(at, "target_id", target, "a string", err);
    if (!json_is_array(samples))
        return refuse(at, "samples", samples, "an array of objects", err);
    s.relation_id = json_string_value(relation);
    s.target_id = json_string_value(target);
    for (size_t i = 0; i < json_array_size(samples); i++) {
        PMET_TRY(take_sample(at, json_array_get(samples, i), i, &s, err));
        PMET_TRY(on_snippet(user, &s, err));
    }
    return PMET_OK;
}

enum pmet_status pmet_snippets_each(const struct pmet_io *io, const char *path, pmet_on_snippet *on_snippet,
                                    void *user, char *sha256, struct pmet_error *err)
{
    struct pmet_elements *elements = NULL;
    json_t *element = NULL;
    bool more = true;
    PMET_TRY(pmet_elements_open(io, path, &elements, err));
    const struct place at = {path, elements};
    enum pmet_status status = PMET_OK;
    while (status == PMET_OK && more) {
        status = pmet_elements_next(elements, &element, &more, err);
        if (status == PMET_OK && more)
            status = take_element(&at, element, on_snippet, user, err);
        json_decref(element);
        element = NULL;
    }
    if (status == PMET_OK && sha256)
        memcpy(sha256, pmet_elements_sha256(elements), 65);
    pmet_elements_close(elements);
    return status;
}

/* ---- queries ---- */

/* A query; sorted by pair, then by subject, those of one pair stand together. */
struct item {
    const struct pmet_snippet_query *query;
    size_t answer;
    struct pmet_text reference; /* of the pair's first item */
    struct pmet_text essence;   /* of the first item with its pair and subject */
    size_t n_essence;
};

struct search {
    struct item *item;
    size_t n;
};

static int compare_pairs(const struct pmet_snippet_query *a, const struct pmet_snippet_query *b)
{
    const int c = strcmp(a->relation_id, b->relation_id);
    return c ? c : strcmp(a->target_id, b->target_id);
}

static int by_pair(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int c = compare_pairs(x->query, y->query);
    if (c == 0)
        c = strcmp(x->query->subject, y->query->subject);
    return c ? c : x->answer < y->answer ? -1 : x->answer > y->answer;
}

static enum pmet_status on_snippet(void *user, const struct pmet_snippet *s, struct pmet_error *err)
{
    const struct search *search = user;
    const struct pmet_snippet_query pair = {s->relation_id, s->target_id, s->name};
    size_t low = 0, high = search->n;
    const char *subject = NULL;
    while (low < high) { /* to the first item that is not before the pair */
        const size_t middle = (low + high) / 2;
        if (compare_pairs(search->item[middle].query, &pair) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; i < search->n; i++) {
        struct item *item = &search->item[i];
        const struct pmet_snippet_query *q = item->query;
        if (compare_pairs(q, &pair) != 0)
            break;
        if (i == low)
            PMET_TRY(pmet_text_join(&item->reference, s->text, s->n, err));
        if (strcmp(q->subject, s->name) == 0 && (!subject || strcmp(subject, q->subject) != 0)) {
            PMET_TRY(pmet_text_append(&item->essence, s->text, s->n + 1, err));
            item->n_essence++;
        }
        subject = q->subject;
    }
    return PMET_OK;
}

/* Texts move to *out, equal queries sharing them. */
static void answer(struct search *search, struct pmet_snippets *out)
{
    struct pmet_snippet_answer a = {0};
    for (size_t i = 0; i < search->n; i++) {
        struct item *item = &search->item[i], *before = i > 0 ? item - 1 : NULL;
        const bool same_pair = before && compare_pairs(before->query, item->query) == 0;
        if (!same_pair)
            a.reference = item->reference.data;
        if (!same_pair || strcmp(before->query->subject, item->query->subject) != 0) {
            a.essence = item->essence.data;
            a.n_essence = item->n_essence;
        }
        out->answer[item->answer] = a;
        out->text[out->n_text++] = item->reference.data;
        out->text[out->n_text++] = item->essence.data;
        item->reference.data = item->essence.data = NULL;
    }
}

enum pmet_status pmet_snippets_load(const struct pmet_io *io, const char *path,
                                    const struct pmet_snippet_query *query, size_t n,
                                    struct pmet_snippets *out, struct pmet_error *err)
{
    struct search search = {.n = n};
    enum pmet_status status;
    memset(out, 0, sizeof *out);
    PMET_GO(pmet_calloc(&search.item, n, sizeof *search.item, path, err));
    PMET_GO(pmet_calloc(&out->answer, n, sizeof *out->answer, path, err));
    PMET_GO(pmet_calloc(&out->text, n, 2 * sizeof *out->text, path, err));
    out->n = n;
    for (size_t i = 0; i < n; i++)
        search.item[i] = (struct item){.query = &query[i], .answer = i};
    qsort(search.item, n, sizeof *search.item, by_pair);
    PMET_GO(pmet_snippets_each(io, path, on_snippet, &search, out->sha256, err));
    answer(&search, out);
done:
    for (size_t i = 0; search.item && i < n; i++) {
        free(search.item[i].reference.data);
        free(search.item[i].essence.data);
    }
    free(search.item);
    if (status != PMET_OK)
        pmet_snippets_free(out);
    return status;
}

void pmet_snippets_free(struct pmet_snippets *s)
{
    for (size_t i = 0; i < s->n_text; i++)
        free(s->text[i]);
    free(s->text);
    free(s->answer);
    memset(s, 0, sizeof *s);
}

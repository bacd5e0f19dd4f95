/* SPDX-License-Identifier: MIT
 * Facts files, read one record at a time.      SPEC §4.1 */
#include "ref/edit/facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/edit/facts_record.h"
#include "tensors/json.h"
#include "tensors/sha256.h"

#define MAX_FILE ((size_t)1 << 32)

struct list {
    struct pmet_facts *facts;
    size_t cap;
    const struct pmet_facts_options *options;
};

static void free_fact(struct pmet_fact *f)
{
    free(f->prompt);
    free(f->subject);
    free(f->target);
    free(f->target_true);
}

static enum pmet_status add_record(struct list *l, const char *text, size_t n, size_t line, size_t record,
                                   struct pmet_error *err)
{
    json_t *json = NULL;
    struct pmet_fact f = {.record = record, .line = line, .case_id = (int64_t)record};
    enum pmet_status status;
    PMET_GO(pmet_json_parse(text, n, l->facts->path, line - 1, &json, err));
    PMET_GO(pmet_fact_read(json, l->facts->path, l->options->zsre_alt, &f, err));
    if (l->facts->n_fact == l->cap) {
        const size_t cap = 2 * l->cap + 64;
        struct pmet_fact *grown = realloc(l->facts->fact, cap * sizeof *grown);
        if (!grown) {
            status = pmet_fail_memory(err, "facts", cap * sizeof *grown);
            goto done;
        }
        l->facts->fact = grown;
        l->cap = cap;
    }
    l->facts->fact[l->facts->n_fact++] = f;
    json_decref(json);
    return PMET_OK;
done:
    free_fact(&f);
    json_decref(json);
    return status;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* End of the JSON value that begins at p: the bracket that closes it, minding strings; NULL if the text ends
 * first. */
static const char *value_end(const char *p, const char *end)
{
    size_t depth = 0;
    bool in_string = false;
    for (; p < end; p++) {
        if (in_string) {
            if (*p == '\\' && p + 1 < end)
                p++;
            else if (*p == '"')
                in_string = false;
            continue;
        }
        if (*p == '"')
            in_string = true;
        else if (*p == '{' || *p == '[')
            depth++;
        else if (*p == '}' || *p == ']') {
            if (depth <= 1)
                return p + 1;
            depth--;
        }
    }
    return NULL;
}

static size_t count_lines(const char *from, const char *to)
{
    size_t n = 0;
    for (const char *p = from; p < to && (p = memchr(p, '\n', (size_t)(to - p))) != NULL; p++)
        n++;
    return n;
}

/* A JSON array of records, or records one after the other (JSON lines). */
static enum pmet_status read_records(struct list *l, const char *text, size_t n, struct pmet_error *err)
{
    const char *p = text, *end = text + n, *counted = text, *path = l->facts->path;
    size_t line = 1, record = 0;
    bool in_array = false, closed = false;
    while (p < end && is_blank(*p))
        p++;
    if (p < end && *p == '[') {
        in_array = true;
        p++;
    }
    for (;; record++) {
        while (p < end && is_blank(*p))
            p++;
        line += count_lines(counted, p);
        counted = p;
        if (in_array && p < end && *p == ']') {
            closed = true;
            p++;
            break;
        }
        if (p == end)
            break;
        if (in_array && record > 0) {
            if (*p != ',')
                return pmet_fail(err, PMET_FORMAT,
                                 "%s: line %zu: record %zu: found '%c'; expected ',' or ']'", path, line,
                                 record, *p);
            for (p++; p < end && is_blank(*p);)
                p++;
            line += count_lines(counted, p);
            counted = p;
        }
        if (p == end || *p != '{')
            return pmet_fail(err, PMET_FORMAT, "%s: line %zu: record %zu: found %s; expected an object", path,
                             line, record, p == end ? "the end of the file" : "something else");
        const char *stop = value_end(p, end);
        if (!stop)
            return pmet_fail(err, PMET_FORMAT,
                             "%s: line %zu: record %zu: the file ends before the record does", path, line,
                             record);
        if (l->options->limit == 0 || l->facts->n_fact < l->options->limit)
            PMET_TRY(add_record(l, p, (size_t)(stop - p), line, record, err));
        p = stop;
    }
    while (p < end && is_blank(*p))
        p++;
    if (in_array && (!closed || p < end))
        return pmet_fail(err, PMET_FORMAT, "%s: line %zu: %s", path, line + count_lines(counted, p),
                         closed ? "text after the array" : "the array is not closed");
    return PMET_OK;
}

enum pmet_status pmet_facts_load(const struct pmet_io *io, const char *path,
                                 struct pmet_facts_options options, struct pmet_facts *out,
                                 struct pmet_error *err)
{
    struct list l = {.facts = out, .options = &options};
    struct pmet_sha256 sha;
    char *text = NULL;
    size_t n;
    enum pmet_status status;
    memset(out, 0, sizeof *out);
    PMET_GO(pmet_calloc(&out->path, strlen(path) + 1, 1, path, err));
    memcpy(out->path, path, strlen(path));
    PMET_GO(pmet_read_file(io, path, MAX_FILE, &text, &n, err));
    pmet_sha256_begin(&sha);
    pmet_sha256_add(&sha, text, n);
    pmet_sha256_hex(&sha, out->sha256);
    PMET_GO(read_records(&l, text, n, err));
    if (out->n_fact == 0) {
        status = pmet_fail(err, PMET_INPUT, "%s: holds no facts", path);
        goto done;
    }
    status = pmet_facts_settle(out, options.conflicts, err);
done:
    free(text);
    if (status != PMET_OK)
        pmet_facts_free(out);
    return status;
}

void pmet_facts_free(struct pmet_facts *facts)
{
    for (size_t i = 0; i < facts->n_fact; i++)
        free_fact(&facts->fact[i]);
    free(facts->fact);
    free(facts->path);
    memset(facts, 0, sizeof *facts);
}

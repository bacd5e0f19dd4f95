/* SPDX-License-Identifier: MIT
 * Facts files, read one record at a time.      SPEC §4.1, §9.1 */
#include "ref/edit/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/edit/facts_record.h"
#include "tensors/json.h"
#include "tensors/sha256.h"

#define MAX_FILE ((size_t)1 << 32)

/* A walk over the file's text, and the facts found so far. */
struct reader {
    const char *p, *end;
    const char *counted; /* `line` is the line of this byte */
    size_t line, record; /* of the record at p */
    struct pmet_facts *facts;
    size_t cap;
    const struct pmet_facts_options *options;
    char *label; /* "PATH: record N", for the parser's messages */
    size_t label_size;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* To the next byte that is not white space; -1 at the end of the file. Lines are counted on the way. */
static int next_byte(struct reader *r)
{
    while (r->p < r->end && is_blank(*r->p))
        r->p++;
    for (const char *nl; (nl = memchr(r->counted, '\n', (size_t)(r->p - r->counted))) != NULL;) {
        r->counted = nl + 1;
        r->line++;
    }
    r->counted = r->p;
    return r->p < r->end ? (unsigned char)*r->p : -1;
}

static enum pmet_status refuse(const struct reader *r, const char *expected, struct pmet_error *err)
{
    char found[32] = "the end of the file";
    const int c = r->p < r->end ? (unsigned char)*r->p : -1;
    if (c > ' ' && c < 0x7f)
        snprintf(found, sizeof found, "'%c'", c);
    else if (c >= 0)
        snprintf(found, sizeof found, "byte 0x%02x", (unsigned)c);
    return pmet_fail(err, PMET_FORMAT, "%s: record %zu (line %zu): found %s; expected %s", r->facts->path,
                     r->record, r->line, found, expected);
}

/* The end of the object that begins at p: past the brace that closes it, minding strings, or past a line
 * break inside a string, which the parser will then refuse; NULL if the file ends first. Counting brackets of
 * both kinds alike is enough: where they do not match, the parser sees it. */
static const char *object_end(const char *p, const char *end)
{
    size_t depth = 0;
    bool in_string = false;
    for (; p < end; p++) {
        if (in_string) {
            if (*p == '\\' && p + 1 < end)
                p++;
            else if (*p == '\n')
                return p + 1;
            else if (*p == '"')
                in_string = false;
        } else if (*p == '"') {
            in_string = true;
        } else if (*p == '{' || *p == '[') {
            depth++;
        } else if ((*p == '}' || *p == ']') && --depth == 0) {
            return p + 1;
        }
    }
    return NULL;
}

static void free_fact(struct pmet_fact *f)
{
    free(f->prompt);
    free(f->subject);
    free(f->target);
    free(f->target_true);
}

static enum pmet_status add_fact(struct reader *r, const struct pmet_fact *f, struct pmet_error *err)
{
    struct pmet_facts *facts = r->facts;
    if (facts->n_fact == r->cap) {
        const size_t cap = 2 * r->cap + 64;
        struct pmet_fact *grown = realloc(facts->fact, cap * sizeof *grown);
        if (!grown)
            return pmet_fail_memory(err, "facts", cap * sizeof *grown);
        facts->fact = grown;
        r->cap = cap;
    }
    facts->fact[facts->n_fact++] = *f;
    return PMET_OK;
}

/* The record at p, and past it. Records beyond the limit are only walked over. */
static enum pmet_status read_record(struct reader *r, struct pmet_error *err)
{
    json_t *json = NULL;
    struct pmet_fact f = {.record = r->record, .line = r->line, .case_id = (int64_t)r->record};
    enum pmet_status status;
    const char *start = r->p;
    if (next_byte(r) != '{')
        return refuse(r, "an object", err);
    if (!(r->p = object_end(start, r->end)))
        return pmet_fail(err, PMET_FORMAT, "%s: record %zu (line %zu): the file ends before the record does",
                         r->facts->path, r->record, r->line);
    if (r->options->limit > 0 && r->record >= r->options->limit)
        return PMET_OK;
    snprintf(r->label, r->label_size, "%s: record %zu", r->facts->path, r->record);
    PMET_GO(pmet_json_parse(start, (size_t)(r->p - start), r->label, r->line - 1, &json, err));
    PMET_GO(pmet_fact_read(json, r->facts->path, r->options->zsre_alt, &f, err));
    status = add_fact(r, &f, err);
done:
    if (status != PMET_OK)
        free_fact(&f);
    json_decref(json);
    return status;
}

/* Records one after the other: JSON lines, or objects with any white space between them. */
static enum pmet_status read_lines(struct reader *r, struct pmet_error *err)
{
    for (; next_byte(r) >= 0; r->record++)
        PMET_TRY(read_record(r, err));
    return PMET_OK;
}

static enum pmet_status read_array(struct reader *r, struct pmet_error *err)
{
    r->p++; /* the bracket */
    for (; next_byte(r) != ']'; r->record++) {
        if (r->record > 0) {
            if (next_byte(r) != ',')
                return refuse(r, "',' or ']'", err);
            r->p++;
            next_byte(r);
        }
        PMET_TRY(read_record(r, err));
    }
    r->p++;
    if (next_byte(r) >= 0)
        return refuse(r, "nothing after the array", err);
    return PMET_OK;
}

static enum pmet_status read_text(struct reader *r, const char *text, size_t n, struct pmet_error *err)
{
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        return pmet_fail(err, PMET_FORMAT, "%s: begins with a byte order mark; expected UTF-8 without one",
                         r->facts->path);
    r->p = r->counted = text;
    r->end = text + n;
    r->line = 1;
    return next_byte(r) == '[' ? read_array(r, err) : read_lines(r, err);
}

enum pmet_status pmet_facts_load(const struct pmet_io *io, const char *path,
                                 struct pmet_facts_options options, struct pmet_facts *out,
                                 struct pmet_error *err)
{
    struct reader r = {.facts = out, .options = &options, .label_size = strlen(path) + 40};
    struct pmet_sha256 sha;
    char *text = NULL;
    size_t n;
    enum pmet_status status;
    memset(out, 0, sizeof *out);
    PMET_GO(pmet_calloc(&out->path, strlen(path) + 1, 1, path, err));
    memcpy(out->path, path, strlen(path));
    PMET_GO(pmet_calloc(&r.label, r.label_size, 1, path, err));
    PMET_GO(pmet_read_file(io, path, MAX_FILE, &text, &n, err));
    pmet_sha256_begin(&sha);
    pmet_sha256_add(&sha, text, n);
    pmet_sha256_hex(&sha, out->sha256);
    PMET_GO(read_text(&r, text, n, err));
    if (out->n_fact == 0)
        status = pmet_fail(err, PMET_INPUT, "%s: holds no facts", path);
    else
        status = pmet_facts_settle(out, options.conflicts, err);
done:
    free(text);
    free(r.label);
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

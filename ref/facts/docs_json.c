/* SPDX-License-Identifier: MIT
 * Documents of a JSON array, or of records over several lines: where each value begins and ends.
 * What stands in it is parsed when it is asked for.      SPEC §7.1 */
#include "ref/facts/docs_scan.h"

#include <stdio.h>
#include <string.h>

enum state { BEGIN, FIRST, VALUE, INSIDE, STRING, AFTER, END }; /* FIRST: of an array, which may be empty */

static bool is_array(const struct pmet_doc_scan *s)
{
    return s->kind != PMET_TEXT_JSON_OBJECTS;
}

static const char *kind_of(char c, char text[16])
{
    static const char *const kinds[] = {"{an object", "\"a string", "[an array",
                                        "nnull",      "ta boolean", "fa boolean"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i][0] == c)
            return kinds[i] + 1;
    if (c == '-' || (c >= '0' && c <= '9'))
        return "a number";
    snprintf(text, 16, c > ' ' && c < 0x7f ? "'%c'" : "byte 0x%02x", (unsigned char)c);
    return text;
}

static enum pmet_status unexpected(const struct pmet_doc_scan *s, char c, const char *expected,
                                   struct pmet_error *err)
{
    char text[16], element[48] = "";
    if (is_array(s) && s->state != END)
        snprintf(element, sizeof element, "element %zu: ", s->n_value - (s->state == AFTER));
    return pmet_fail(err, PMET_FORMAT, "%s: line %llu: %sfound %s; expected %s", s->name,
                     (unsigned long long)s->line, element, kind_of(c, text), expected);
}

/* The byte at `at` ends the value. */
static enum pmet_status end_value(struct pmet_doc_scan *s, uint64_t at, struct pmet_error *err)
{
    s->state = is_array(s) ? AFTER : VALUE;
    s->n_value++;
    return pmet_doc_emit(s, s->start, at + 1, s->start_line, err);
}

static enum pmet_status begin_value(struct pmet_doc_scan *s, uint64_t at, char c, struct pmet_error *err)
{
    const bool string = s->kind == PMET_TEXT_JSON_STRING_ARRAY;
    if (c != (string ? '"' : '{'))
        return unexpected(s, c, string ? "a string" : "an object with \"text\"", err);
    s->start = at;
    s->start_line = s->line;
    s->state = string ? STRING : INSIDE;
    s->depth = string ? 0 : 1;
    return PMET_OK;
}

/* A byte inside a string, or inside an object. */
static enum pmet_status inside(struct pmet_doc_scan *s, uint64_t at, char c, struct pmet_error *err)
{
    if (at - s->start > PMET_DOC_MAX)
        return pmet_doc_emit(s, s->start, at + 1, s->start_line, err); /* refused as too long */
    if (s->state == STRING) {
        if (s->escape || c == '\\')
            s->escape = !s->escape;
        else if (c == '"' && s->depth == 0)
            return end_value(s, at, err);
        else if (c == '"')
            s->state = INSIDE;
        return PMET_OK;
    }
    if (c == '"')
        s->state = STRING;
    s->depth += c == '{' || c == '[';
    s->depth -= c == '}' || c == ']';
    return s->depth == 0 ? end_value(s, at, err) : PMET_OK;
}

static enum pmet_status step(struct pmet_doc_scan *s, uint64_t at, char c, struct pmet_error *err)
{
    if (s->state == INSIDE || s->state == STRING)
        return inside(s, at, c, err);
    if (pmet_text_blanks(&c, 1) == 1)
        return PMET_OK;
    switch (s->state) {
    case BEGIN:
        s->state = is_array(s) ? FIRST : VALUE;
        return is_array(s) ? PMET_OK : begin_value(s, at, c, err); /* the '[' that named the form */
    case FIRST:
        if (c != ']')
            return begin_value(s, at, c, err);
        s->state = END;
        return PMET_OK;
    case VALUE:
        return begin_value(s, at, c, err);
    case AFTER:
        if (c != ',' && c != ']')
            return unexpected(s, c, "',' or ']' behind it", err);
        s->state = c == ',' ? VALUE : END;
        return PMET_OK;
    default:
        return unexpected(s, c, "nothing behind the array", err);
    }
}

enum pmet_status pmet_doc_scan_json(struct pmet_doc_scan *s, const char *p, size_t n, struct pmet_error *err)
{
    for (size_t i = 0; i < n; i++) {
        PMET_TRY(step(s, s->at + i, p[i], err));
        s->line += p[i] == '\r' || (p[i] == '\n' && !s->after_cr);
        s->after_cr = p[i] == '\r';
    }
    s->at += n;
    return PMET_OK;
}

enum pmet_status pmet_doc_scan_json_end(struct pmet_doc_scan *s, struct pmet_error *err)
{
    if (s->state == INSIDE || s->state == STRING)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: line %llu: the value that begins here has no end: is the file cut off?",
                         s->name, (unsigned long long)s->start_line);
    if (is_array(s) && s->state != END)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: line %llu: the array has no end; expected ']': is the file cut off?", s->name,
                         (unsigned long long)s->line);
    return PMET_OK;
}

/* SPDX-License-Identifier: MIT */
#include "ref/facts/yaml.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define TAG "tag:yaml.org,2002:"

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one in hand, if there is one */
    bool has_event;
    const char *path, *text;
    json_t *map, *line; /* the result; the line of each of its keys */
    json_t *anchor;     /* values by the names of their anchors */
};

static size_t line_of(const struct reader *r)
{
    return r->event.start_mark.line + 1;
}

static enum pmet_status refuse(const struct reader *r, const char *found, const char *expected,
                               struct pmet_error *err)
{
    return pmet_fail(err, PMET_FORMAT, "%s: line %zu: found %s; expected %s", r->path, line_of(r), found,
                     expected);
}

static enum pmet_status refuse_syntax(const struct reader *r, struct pmet_error *err)
{
    const yaml_parser_t *p = &r->parser;
    size_t line = p->problem_mark.line + 1;
    if (p->error == YAML_MEMORY_ERROR)
        return pmet_fail_memory(err, r->path, 0);
    if (p->error == YAML_READER_ERROR) { /* it knows the byte only */
        line = 1;
        for (size_t i = 0; i < p->problem_offset && r->text[i]; i++)
            line += r->text[i] == '\n';
    }
    return pmet_fail(err, PMET_FORMAT, "%s: line %zu: not YAML: %s", r->path, line,
                     p->problem ? p->problem : "it cannot be parsed");
}

/* The next event in r->event. */
static enum pmet_status next(struct reader *r, struct pmet_error *err)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = yaml_parser_parse(&r->parser, &r->event) != 0;
    return r->has_event ? PMET_OK : refuse_syntax(r, err);
}

/* ---- scalars ---- */

static bool is_one_of(const char *text, const char *words)
{
    const size_t n = strchr(text, ' ') ? 0 : strlen(text);
    for (const char *at = words; n > 0 && (at = strstr(at, text)) != NULL; at += n)
        if ((at == words || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    return false;
}

/* A copy without underscores between digits, in digits[64]; false if it does not fit. */
static bool without_underscores(const char *text, char *digits)
{
    size_t n = 0;
    for (; *text; text++) {
        if (*text == '_')
            continue;
        if (n == 63)
            return false;
        digits[n++] = *text;
    }
    digits[n] = '\0';
    return n > 0;
}

/* What Python's float() takes, but for infinities and NaN: PyYAML reads 5e-1 as text, and EasyEdit
 * makes a number of such texts. */
static bool as_number(const char *text, double *x)
{
    char digits[64], *end;
    if (text[strspn(text, "+-.0123456789_eE")] != '\0' || !without_underscores(text, digits))
        return false;
    *x = strtod(digits, &end);
    return *end == '\0' && isfinite(*x);
}

/* Whether YAML 1.1 and 1.2 differ: 010 is 8 or 10, 1:30 is 90 or text. */
static bool is_ambiguous(const char *text)
{
    const char *at = text + (*text == '+' || *text == '-');
    const size_t n = strspn(at, "0123456789_");
    return n > 0 && ((at[0] == '0' && n > 1 && at[n] == '\0') ||
                     (at[n] == ':' && at[n + strspn(at + n, ":.0123456789")] == '\0'));
}

static bool as_integer(const char *text, json_int_t *out)
{
    char digits[64], *end;
    const char *at = text + (*text == '+' || *text == '-');
    const bool hex = strncmp(at, "0x", 2) == 0;
    if (at[0] == '\0' || at[0] == '_' ||
        at[hex ? 2 + strspn(at + 2, "0123456789abcdefABCDEF_") : strspn(at, "0123456789_")] != '\0')
        return false;
    if (!without_underscores(text, digits) || strlen(digits) > 17)
        return false;
    *out = strtoll(digits, &end, hex ? 16 : 10);
    return *end == '\0';
}

/* A scalar without quotes; NULL where memory runs out. */
static json_t *plain_json(const char *text, size_t n)
{
    json_int_t whole;
    double x;
    if (n == 0 || is_one_of(text, "~ null Null NULL"))
        return json_null();
    if (is_one_of(text, "yes Yes YES true True TRUE on On ON"))
        return json_true();
    if (is_one_of(text, "no No NO false False FALSE off Off OFF"))
        return json_false();
    if (as_integer(text, &whole))
        return json_integer(whole);
    return as_number(text, &x) ? json_real(x) : json_stringn(text, n);
}

/* Of the scalar in hand. */
static enum pmet_status check_text(const struct reader *r, struct pmet_error *err)
{
    return strlen((const char *)r->event.data.scalar.value) == r->event.data.scalar.length
               ? PMET_OK
               : refuse(r, "\\0 in a text", "text without it", err);
}

static enum pmet_status read_scalar(const struct reader *r, json_t **out, struct pmet_error *err)
{
    const char *text = (const char *)r->event.data.scalar.value,
               *tag = (const char *)r->event.data.scalar.tag;
    const size_t n = r->event.data.scalar.length;
    const bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    double x;
    PMET_TRY(check_text(r, err));
    if (tag && !is_one_of(tag, TAG "str " TAG "int " TAG "float " TAG "bool " TAG "null"))
        return refuse(r, tag, "a plain value", err);
    if ((tag ? strcmp(tag, TAG "str") != 0 : plain) && is_ambiguous(text))
        return pmet_fail(
            err, PMET_FORMAT,
            "%s: line %zu: found %s, which YAML 1.1 and 1.2 read differently; expected a decimal "
            "number without leading zeros or colons",
            r->path, line_of(r), text);
    if (tag && strcmp(tag, TAG "str") == 0)
        *out = json_stringn(text, n);
    else if (tag && strcmp(tag, TAG "float") == 0 && as_number(text, &x))
        *out = json_real(x);
    else if (tag || plain)
        *out = plain_json(text, n);
    else
        *out = as_number(text, &x) ? json_real(x) : json_stringn(text, n);
    return *out ? PMET_OK : pmet_fail_memory(err, r->path, n);
}

/* ---- lists, anchors, the map ---- */

static const char *anchor_of(const struct reader *r)
{
    if (r->event.type == YAML_SCALAR_EVENT)
        return (const char *)r->event.data.scalar.anchor;
    return r->event.type == YAML_SEQUENCE_START_EVENT ? (const char *)r->event.data.sequence_start.anchor
                                                      : NULL;
}

static enum pmet_status take_alias(const struct reader *r, bool inside, json_t **out, struct pmet_error *err)
{
    const char *name = (const char *)r->event.data.alias.anchor;
    json_t *v = json_object_get(r->anchor, name);
    if (!v)
        return pmet_fail(err, PMET_FORMAT, "%s: line %zu: found *%s; expected an anchor &%s before it",
                         r->path, line_of(r), name, name);
    if (inside && json_is_array(v)) /* lists of lists of lists ... */
        return refuse(r, "an alias of a list inside a list", "the list itself", err);
    *out = json_incref(v);
    return PMET_OK;
}

/* A scalar, an alias, or the items of a list of lists; the event in hand is its last. */
static enum pmet_status read_value(struct reader *r, bool inside, json_t **out, struct pmet_error *err);

static enum pmet_status read_rows(struct reader *r, json_t *list, bool inside, struct pmet_error *err)
{
    for (;;) {
        json_t *item = NULL;
        PMET_TRY(next(r, err));
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return PMET_OK;
        if (r->event.type == YAML_SEQUENCE_START_EVENT && inside)
            return refuse(r, "a list in a list of lists", "a plain value", err);
        PMET_TRY(read_value(r, true, &item, err));
        if (json_array_append_new(list, item) != 0)
            return pmet_fail_memory(err, r->path, 0);
    }
}

static enum pmet_status read_value(struct reader *r, bool inside, json_t **out, struct pmet_error *err)
{
    const char *name = anchor_of(r);
    char *anchor = NULL;
    json_t *v = NULL;
    enum pmet_status status = PMET_OK;
    if (name)
        PMET_TRY(pmet_copy_text(name, &anchor, r->path, err));
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        status = read_scalar(r, &v, err);
        break;
    case YAML_ALIAS_EVENT:
        status = take_alias(r, inside, &v, err);
        break;
    case YAML_SEQUENCE_START_EVENT:
        v = json_array();
        status = v ? read_rows(r, v, inside, err) : pmet_fail_memory(err, r->path, 0);
        break;
    default:
        status = refuse(r, "a map inside the map", "a plain value or a list", err);
    }
    if (status == PMET_OK && anchor && json_object_set(r->anchor, anchor, v) != 0)
        status = pmet_fail_memory(err, r->path, 0);
    free(anchor);
    if (status != PMET_OK)
        json_decref(v);
    else
        *out = v;
    return status;
}

/* PyYAML keeps the last of equal names. Files that say a thing twice exist; that say two things are
 * mistakes. */
static enum pmet_status keep(struct reader *r, const char *name, size_t line, json_t *v,
                             struct pmet_error *err)
{
    const json_t *before = json_object_get(r->map, name);
    if (before && !json_equal(before, v))
        return pmet_fail(err, PMET_FORMAT,
                         "%s: line %zu: %s: found another value than in line %lld; expected one", r->path,
                         line, name, (long long)json_integer_value(json_object_get(r->line, name)));
    if (json_object_set(r->map, name, v) != 0 ||
        json_object_set_new(r->line, name, json_integer((json_int_t)line)) != 0)
        return pmet_fail_memory(err, r->path, 0);
    return PMET_OK;
}

/* The event in hand is a key. */
static enum pmet_status read_entry(struct reader *r, struct pmet_error *err)
{
    const size_t line = line_of(r);
    char *name;
    json_t *v = NULL;
    enum pmet_status status;
    if (r->event.type != YAML_SCALAR_EVENT)
        return refuse(r, "a key that is no name", "key: value", err);
    PMET_TRY(check_text(r, err));
    if (strcmp((const char *)r->event.data.scalar.value, "<<") == 0)
        return refuse(r, "a merge key", "a flat map of keys", err);
    PMET_TRY(pmet_copy_text((const char *)r->event.data.scalar.value, &name, r->path, err));
    PMET_GO(next(r, err));
    PMET_GO(read_value(r, false, &v, err));
    status = keep(r, name, line, v, err);
done:
    json_decref(v);
    free(name);
    return status;
}

static enum pmet_status read_document(struct reader *r, struct pmet_error *err)
{
    PMET_TRY(next(r, err)); /* the stream begins */
    PMET_TRY(next(r, err));
    if (r->event.type == YAML_STREAM_END_EVENT)
        return refuse(r, "nothing", "keys and values", err);
    PMET_TRY(next(r, err));
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return refuse(r, r->event.type == YAML_SEQUENCE_START_EVENT ? "a list" : "text without a key",
                      "a map of keys", err);
    for (;;) {
        PMET_TRY(next(r, err));
        if (r->event.type == YAML_MAPPING_END_EVENT)
            break;
        PMET_TRY(read_entry(r, err));
    }
    PMET_TRY(next(r, err)); /* the document ends */
    PMET_TRY(next(r, err));
    return r->event.type == YAML_STREAM_END_EVENT ? PMET_OK
                                                  : refuse(r, "a second document", "one in the file", err);
}

enum pmet_status pmet_yaml_parse(const char *text, size_t n, const char *path, json_t **out,
                                 struct pmet_error *err)
{
    struct reader r = {.path = path, .text = text};
    enum pmet_status status;
    *out = NULL;
    if (!yaml_parser_initialize(&r.parser))
        return pmet_fail_memory(err, path, n);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    r.map = json_object();
    r.line = json_object();
    r.anchor = json_object();
    status = r.map && r.line && r.anchor ? read_document(&r, err) : pmet_fail_memory(err, path, 0);
    if (status == PMET_OK)
        *out = json_incref(r.map);
    json_decref(r.map);
    json_decref(r.line);
    json_decref(r.anchor);
    if (r.has_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return status;
}

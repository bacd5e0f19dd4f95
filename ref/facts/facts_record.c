/* SPDX-License-Identifier: MIT
 * The forms of a record: CounterFact, its bare request, zsRE, and the plain form.
 * SPEC §4.1, §9.1 */
#include "ref/facts/facts_record.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/json.h"

/* Where a field stands, for messages. */
struct place {
    const char *path;
    const char *inside; /* "requested_rewrite." or "" */
    const struct pmet_fact *fact;
};

static enum pmet_status refuse(const struct place *at, const char *field, const char *found,
                               const char *expected, struct pmet_error *err)
{
    return pmet_fail(err, PMET_INPUT, "%s: record %zu (line %zu): %s%s: found %s; expected %s", at->path,
                     at->fact->record, at->fact->line, at->inside, field, found, expected);
}

const json_t *pmet_only(const json_t *v)
{
    return json_array_size(v) == 1 ? json_array_get(v, 0) : v;
}

enum pmet_status pmet_text_check(const json_t *v, const char *where, struct pmet_error *err)
{
    char found[48], expected[96] = "a string";
    snprintf(found, sizeof found, "%s", pmet_json_kind(v));
    if (json_is_string(v))
        return json_string_length(v) > 0
                   ? PMET_OK
                   : pmet_fail(err, PMET_INPUT, "%s: found an empty string; expected text", where);
    if (json_is_null(v))
        snprintf(found, sizeof found, "null or NaN");
    if (json_is_array(v)) {
        snprintf(found, sizeof found, "an array of %zu", json_array_size(v));
        snprintf(expected, sizeof expected, "a string, or an array of one");
    }
    if (json_is_integer(v))
        snprintf(expected, sizeof expected, "a string: \"%lld\"", (long long)json_integer_value(v));
    if (json_is_real(v))
        snprintf(expected, sizeof expected, "a string: the number in quotes");
    if (json_is_object(v))
        snprintf(expected, sizeof expected,
                 "a string (a table: one object a row, as pandas's orient=\"records\")");
    return pmet_fail(err, PMET_INPUT, "%s: found %s; expected %s", where, found, expected);
}

static enum pmet_status copy(const struct place *at, const char *field, const json_t *v, char **out,
                             struct pmet_error *err)
{
    char *where;
    v = pmet_only(v);
    const size_t size = strlen(at->path) + strlen(field) + 100;
    PMET_TRY(pmet_calloc(&where, size, 1, field, err));
    snprintf(where, size, "%s: record %zu (line %zu): %s%s", at->path, at->fact->record, at->fact->line,
             at->inside, field);
    const enum pmet_status status = pmet_text_check(v, where, err);
    free(where);
    PMET_TRY(status);
    PMET_TRY(pmet_calloc(out, json_string_length(v) + 1, 1, field, err));
    memcpy(*out, json_string_value(v), json_string_length(v));
    return PMET_OK;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        n++;
    return n;
}

enum pmet_status pmet_fact_fill(const struct pmet_fact *f, char **out, struct pmet_error *err)
{
    const char *hole = strstr(f->prompt, "{}");
    const size_t before = (size_t)(hole - f->prompt), n = strlen(f->subject);
    PMET_TRY(pmet_calloc(out, strlen(f->prompt) + n + 1, 1, "a prompt", err));
    memcpy(*out, f->prompt, before);
    memcpy(*out + before, f->subject, n);
    memcpy(*out + before + n, hole + 2, strlen(hole + 2));
    return PMET_OK;
}

/* Every occurrence of the subject in the prompt becomes "{}": at worst, one byte becomes two. */
static enum pmet_status punch(struct pmet_fact *f, struct pmet_error *err)
{
    const size_t n = strlen(f->subject);
    char *punched;
    PMET_TRY(pmet_calloc(&punched, 2 * strlen(f->prompt) + 1, 1, "a prompt", err));
    char *to = punched;
    for (const char *from = f->prompt, *hit; *from; from = hit) {
        if (strncmp(from, f->subject, n) == 0) {
            memcpy(to, "{}", 2);
            to += 2;
            hit = from + n;
            continue;
        }
        hit = strstr(from, f->subject);
        hit = hit ? hit : from + strlen(from);
        memcpy(to, from, (size_t)(hit - from));
        to += hit - from;
    }
    free(f->prompt);
    f->prompt = punched;
    return PMET_OK;
}

/* src with every occurrence of the subject replaced: more than one is kept as published, for rows
 * to refuse. The target is the true answer, as published (X20). */
static enum pmet_status read_zsre(const struct place *at, const json_t *r, bool alt, struct pmet_fact *f,
                                  struct pmet_error *err)
{
    PMET_TRY(copy(at, "subject", json_object_get(r, "subject"), &f->subject, err));
    PMET_TRY(copy(at, "src", json_object_get(r, "src"), &f->prompt, err));
    if (alt) {
        PMET_TRY(copy(at, "alt", json_object_get(r, "alt"), &f->target, err));
    } else {
        const json_t *answers = json_object_get(r, "answers");
        if (json_is_string(answers))
            PMET_TRY(copy(at, "answers", answers, &f->target, err));
        else if (json_is_array(answers))
            PMET_TRY(copy(at, "answers[0]", json_array_get(answers, 0), &f->target, err));
        else
            return refuse(at, "answers", pmet_json_kind(answers), "an array of strings", err);
    }
    if (count(f->prompt, f->subject) == 0)
        return pmet_fail(err, PMET_INPUT,
                         "%s: record %zu (line %zu): src: found no \"%s\"; expected the subject in it",
                         at->path, f->record, f->line, f->subject);
    return punch(f, err);
}

/* A target is a string, or an object with one in "str". */
static enum pmet_status read_target(const struct place *at, const json_t *v, const char *field, char **out,
                                    struct pmet_error *err)
{
    char name[32];
    v = pmet_only(v);
    if (!v)
        return refuse(at, field, "nothing", "a string, or an object with \"str\"", err);
    if (!json_is_object(v))
        return copy(at, field, v, out, err);
    snprintf(name, sizeof name, "%s.str", field);
    return copy(at, name, json_object_get(v, "str"), out, err);
}

/* The first of a list of answers, and of each list in it (names of one thing), as EasyEdit's
 * scripts take it. */
static const json_t *first_of(const json_t *v)
{
    while (json_is_array(v))
        v = json_array_get(v, 0);
    return v;
}

enum pmet_status pmet_fact_read_true(const json_t *r, const char *path, struct pmet_fact *f,
                                     struct pmet_error *err)
{
    const json_t *request = pmet_only(json_object_get(r, "requested_rewrite"));
    const struct place at = {path, request ? "requested_rewrite." : "", f};
    const json_t *v = json_object_get(request ? request : r, "target_true");
    const char *field = "target_true";
    if (!v || json_is_null(v)) {
        field = "ground_truth";
        v = first_of(json_object_get(request ? request : r, field));
    }
    return !v || json_is_null(v) ? PMET_OK : read_target(&at, v, field, &f->target_true, err);
}

static enum pmet_status read_request(const struct place *at, const json_t *r, struct pmet_fact *f,
                                     struct pmet_error *err)
{
    const char *target =
        json_object_get(r, "target_new") || !json_object_get(r, "target") ? "target_new" : "target";
    PMET_TRY(copy(at, "prompt", json_object_get(r, "prompt"), &f->prompt, err));
    PMET_TRY(copy(at, "subject", json_object_get(r, "subject"), &f->subject, err));
    PMET_TRY(read_target(at, json_object_get(r, target), target, &f->target, err));
    if (count(f->prompt, "{}") > 0)
        return PMET_OK;
    const size_t n = count(f->prompt, f->subject);
    if (n != 1)
        return pmet_fail(
            err, PMET_INPUT,
            "%s: record %zu (line %zu): %sprompt: found no \"{}\", and the subject \"%s\" %zu times; "
            "expected one or the other, once",
            at->path, f->record, f->line, at->inside, f->subject, n);
    return punch(f, err);
}

/* A number, or a name, which is kept as text: NaN, as pandas writes it, is none. */
static enum pmet_status read_id(const struct place *at, const json_t *id, struct pmet_fact *f,
                                struct pmet_error *err)
{
    id = pmet_only(id);
    const double x = json_real_value(id);
    if (!id || json_is_null(id) || (json_is_string(id) && json_string_length(id) == 0))
        return PMET_OK;
    if (json_is_string(id))
        return copy(at, "case_id", id, &f->case_name, err);
    if (json_is_real(id) && x == rint(x) && fabs(x) < 0x1p53)
        f->case_id = (int64_t)x;
    else if (json_is_integer(id))
        f->case_id = json_integer_value(id);
    else
        return refuse(at, "case_id", pmet_json_kind(id), "an integer or a string", err);
    return PMET_OK;
}

/* None of the forms: perhaps the facts are one level further down. */
static enum pmet_status refuse_form(json_t *r, const struct place *at, struct pmet_error *err)
{
    const char *key;
    json_t *v;
    json_object_foreach(r, key, v)
    {
        const json_t *inner = json_is_array(v) ? json_array_get(v, 0) : v;
        if (json_object_get(inner, "subject") || json_object_get(inner, "requested_rewrite"))
            return pmet_fail(
                err, PMET_INPUT,
                "%s: record %zu (line %zu): found no prompt, src or requested_rewrite; expected a "
                "fact: are the facts inside \"%s\"? then write these alone, as an array",
                at->path, at->fact->record, at->fact->line, key);
    }
    return pmet_fail(err, PMET_INPUT,
                     "%s: record %zu (line %zu): found no prompt, src or requested_rewrite; expected a fact",
                     at->path, at->fact->record, at->fact->line);
}

enum pmet_status pmet_fact_read(json_t *r, const char *path, bool zsre_alt, struct pmet_fact *f,
                                struct pmet_error *err)
{
    const json_t *request = json_object_get(r, "requested_rewrite");
    const struct place outside = {path, "", f}, inside = {path, "requested_rewrite.", f};
    PMET_TRY(read_id(&outside, json_object_get(r, "case_id"), f, err));
    if (json_array_size(request) > 1)
        return pmet_fail(err, PMET_INPUT,
                         "%s: record %zu (line %zu): requested_rewrite: found an array of %zu; expected an "
                         "object: one record each",
                         path, f->record, f->line, json_array_size(request));
    request = pmet_only(request);
    if (request && !json_is_object(request))
        return refuse(&outside, "requested_rewrite", pmet_json_kind(request), "an object", err);
    if (request)
        return read_request(&inside, request, f, err);
    if (json_object_get(r, "src"))
        return read_zsre(&outside, r, zsre_alt, f, err);
    return json_object_get(r, "prompt") ? read_request(&outside, r, f, err) : refuse_form(r, &outside, err);
}

json_t *pmet_fact_id(const struct pmet_fact *f)
{
    return f->case_name ? json_string(f->case_name) : json_integer(f->case_id);
}

void pmet_fact_free(struct pmet_fact *f)
{
    free(f->prompt);
    free(f->subject);
    free(f->target);
    free(f->target_true);
    free(f->case_name);
    memset(f, 0, sizeof *f);
}

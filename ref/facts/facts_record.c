/* SPDX-License-Identifier: MIT
 * The forms of a record: CounterFact, its bare request, zsRE, and the plain form.
 * SPEC §4.1, §9.1 */
#include "ref/facts/facts_record.h"

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

static enum pmet_status copy(const struct place *at, const char *field, const json_t *v, char **out,
                             struct pmet_error *err)
{
    const size_t n = json_string_length(v);
    if (!json_is_string(v))
        return refuse(at, field, pmet_json_kind(v), "a string", err);
    if (n == 0)
        return refuse(at, field, "an empty string", "text", err);
    PMET_TRY(pmet_calloc(out, n + 1, 1, field, err));
    memcpy(*out, json_string_value(v), n);
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
        if (!json_is_array(answers))
            return refuse(at, "answers", pmet_json_kind(answers), "an array of strings", err);
        PMET_TRY(copy(at, "answers[0]", json_array_get(answers, 0), &f->target, err));
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
    if (!json_is_object(v) && !json_is_string(v))
        return refuse(at, field, pmet_json_kind(v), "a string, or an object with \"str\"", err);
    if (json_is_string(v))
        return copy(at, field, v, out, err);
    snprintf(name, sizeof name, "%s.str", field);
    return copy(at, name, json_object_get(v, "str"), out, err);
}

static enum pmet_status read_request(const struct place *at, const json_t *r, struct pmet_fact *f,
                                     struct pmet_error *err)
{
    const json_t *was = json_object_get(r, "target_true");
    const char *target =
        json_object_get(r, "target_new") || !json_object_get(r, "target") ? "target_new" : "target";
    PMET_TRY(copy(at, "prompt", json_object_get(r, "prompt"), &f->prompt, err));
    PMET_TRY(copy(at, "subject", json_object_get(r, "subject"), &f->subject, err));
    PMET_TRY(read_target(at, json_object_get(r, target), target, &f->target, err));
    if (was && !json_is_null(was))
        PMET_TRY(read_target(at, was, "target_true", &f->target_true, err));
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

enum pmet_status pmet_fact_read(const json_t *r, const char *path, bool zsre_alt, struct pmet_fact *f,
                                struct pmet_error *err)
{
    const json_t *id = json_object_get(r, "case_id"), *request = json_object_get(r, "requested_rewrite");
    const struct place outside = {path, "", f}, inside = {path, "requested_rewrite.", f};
    if (id && !json_is_null(id)) {
        if (!json_is_integer(id))
            return refuse(&outside, "case_id", pmet_json_kind(id), "an integer", err);
        f->case_id = json_integer_value(id);
    }
    if (request && !json_is_object(request))
        return refuse(&outside, "requested_rewrite", pmet_json_kind(request), "an object", err);
    if (request)
        return read_request(&inside, request, f, err);
    if (json_object_get(r, "src"))
        return read_zsre(&outside, r, zsre_alt, f, err);
    return read_request(&outside, r, f, err);
}

/* SPDX-License-Identifier: MIT
 * The forms of a record: CounterFact, its bare request, zsRE, and the plain form.      SPEC §4.1 */
#include "ref/edit/facts_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/json.h"

static enum pmet_status refuse(const struct pmet_fact *f, const char *path, const char *field,
                               const json_t *v, const char *expected, struct pmet_error *err)
{
    return pmet_fail(err, PMET_INPUT, "%s: record %zu (line %zu): %s: found %s; expected %s", path, f->record,
                     f->line, field, pmet_json_kind(v), expected);
}

static enum pmet_status copy(const struct pmet_fact *f, const char *path, const char *field, const json_t *v,
                             char **out, struct pmet_error *err)
{
    if (!json_is_string(v))
        return refuse(f, path, field, v, "a string", err);
    if (json_string_length(v) == 0)
        return pmet_fail(err, PMET_INPUT, "%s: record %zu (line %zu): %s: is empty", path, f->record, f->line,
                         field);
    PMET_TRY(pmet_calloc(out, json_string_length(v) + 1, 1, field, err));
    memcpy(*out, json_string_value(v), json_string_length(v));
    return PMET_OK;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (; *part && (text = strstr(text, part)) != NULL; text += strlen(part))
        n++;
    return n;
}

/* text with every `part` replaced by "{}", in place: the hole is no longer than what it replaces, or the
 * buffer has room. */
static enum pmet_status punch(char **text, const char *part, struct pmet_error *err)
{
    const size_t n_part = strlen(part), n = count(*text, part), size = strlen(*text) + 2 * n + 1;
    char *out;
    PMET_TRY(pmet_calloc(&out, size, 1, "a prompt", err));
    char *to = out;
    for (const char *p = *text; *p;) {
        if (strncmp(p, part, n_part) == 0) {
            memcpy(to, "{}", 2);
            to += 2;
            p += n_part;
        } else {
            *to++ = *p++;
        }
    }
    free(*text);
    *text = out;
    return PMET_OK;
}

static enum pmet_status read_zsre(const json_t *r, const char *path, bool alt, struct pmet_fact *f,
                                  struct pmet_error *err)
{
    PMET_TRY(copy(f, path, "subject", json_object_get(r, "subject"), &f->subject, err));
    PMET_TRY(copy(f, path, "src", json_object_get(r, "src"), &f->prompt, err));
    if (alt) {
        PMET_TRY(copy(f, path, "alt", json_object_get(r, "alt"), &f->target, err));
    } else {
        const json_t *answers = json_object_get(r, "answers");
        if (!json_is_array(answers) || json_array_size(answers) == 0)
            return refuse(f, path, "answers", answers, "an array of strings", err);
        PMET_TRY(copy(f, path, "answers[0]", json_array_get(answers, 0), &f->target, err));
    }
    if (count(f->prompt, f->subject) == 0)
        return pmet_fail(err, PMET_INPUT, "%s: record %zu (line %zu): src: does not hold the subject \"%s\"",
                         path, f->record, f->line, f->subject);
    return punch(&f->prompt, f->subject, err);
}

/* A target is a string, or an object with one in "str". */
static enum pmet_status read_target(const json_t *v, const char *path, const char *field, struct pmet_fact *f,
                                    char **out, struct pmet_error *err)
{
    char name[64];
    if (json_is_string(v))
        return copy(f, path, field, v, out, err);
    if (!json_is_object(v))
        return refuse(f, path, field, v, "a string, or an object with \"str\"", err);
    snprintf(name, sizeof name, "%s.str", field);
    return copy(f, path, name, json_object_get(v, "str"), out, err);
}

static enum pmet_status read_request(const json_t *r, const char *path, struct pmet_fact *f,
                                     struct pmet_error *err)
{
    const json_t *target = json_object_get(r, "target_new"), *was = json_object_get(r, "target_true");
    PMET_TRY(copy(f, path, "prompt", json_object_get(r, "prompt"), &f->prompt, err));
    PMET_TRY(copy(f, path, "subject", json_object_get(r, "subject"), &f->subject, err));
    if (target || !json_object_get(r, "target"))
        PMET_TRY(read_target(target, path, "target_new", f, &f->target, err));
    else
        PMET_TRY(read_target(json_object_get(r, "target"), path, "target", f, &f->target, err));
    if (was && !json_is_null(was))
        PMET_TRY(read_target(was, path, "target_true", f, &f->target_true, err));
    if (count(f->prompt, "{}") > 0)
        return PMET_OK;
    const size_t n = count(f->prompt, f->subject);
    if (n != 1)
        return pmet_fail(err, PMET_INPUT,
                         "%s: record %zu (line %zu): prompt: holds no \"{}\" and the subject \"%s\" %zu "
                         "times; expected once",
                         path, f->record, f->line, f->subject, n);
    return punch(&f->prompt, f->subject, err);
}

enum pmet_status pmet_fact_read(const json_t *r, const char *path, bool zsre_alt, struct pmet_fact *f,
                                struct pmet_error *err)
{
    const json_t *id = json_object_get(r, "case_id"), *request = json_object_get(r, "requested_rewrite");
    if (id && !json_is_null(id) && !json_is_integer(id))
        return refuse(f, path, "case_id", id, "an integer", err);
    if (json_is_integer(id))
        f->case_id = json_integer_value(id);
    if (request) {
        if (!json_is_object(request))
            return refuse(f, path, "requested_rewrite", request, "an object", err);
        return read_request(request, path, f, err);
    }
    if (json_object_get(r, "src"))
        return read_zsre(r, path, zsre_alt, f, err);
    return read_request(r, path, f, err);
}

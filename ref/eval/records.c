/* SPDX-License-Identifier: MIT
 * CounterFact, zsRE and plain records (E78).      SPEC §11.1 */
#include "ref/eval/records.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "ref/facts/facts_record.h"

struct pmet_records {
    struct pmet_elements *elements;
    char *path;
    size_t limit, n; /* n: records so far, with those passed over */
    bool skip_invalid;
    struct pmet_skipped skipped;
};

/* A refusal that names the place: "PATH: record N (line M): FIELD: found X; expected Y". */
static enum pmet_status refuse(const struct pmet_records *r, const char *field, const char *found,
                               const char *expected, struct pmet_error *err)
{
    return pmet_fail(err, PMET_INPUT, "%s: record %zu (line %zu): %s: found %s; expected %s", r->path,
                     pmet_elements_record(r->elements), pmet_elements_line(r->elements), field, found,
                     expected);
}

static enum pmet_status take_text(const struct pmet_records *r, const char *field, const json_t *v,
                                  const char **out, struct pmet_error *err)
{
    char *where;
    v = pmet_only(v);
    const size_t size = strlen(r->path) + strlen(field) + 100;
    PMET_TRY(pmet_calloc(&where, size, 1, field, err));
    snprintf(where, size, "%s: record %zu (line %zu): %s", r->path, pmet_elements_record(r->elements),
             pmet_elements_line(r->elements), field);
    const enum pmet_status status = pmet_text_check(v, where, err);
    free(where);
    PMET_TRY(status);
    *out = json_string_value(v);
    return PMET_OK;
}

/* A list of prompts, or one; none where the record lacks it. */
static enum pmet_status take_prompts(const struct pmet_records *r, const json_t *record, const char *field,
                                     struct pmet_prompts *out, struct pmet_error *err)
{
    const json_t *list = json_object_get(record, field);
    const bool one = json_is_string(list);
    if (!list || json_is_null(list))
        return PMET_OK;
    if (!one && !json_is_array(list))
        return refuse(r, field, pmet_json_kind(list), "an array of strings", err);
    const size_t n = one ? 1 : json_array_size(list);
    free(out->text); /* an empty list under another name */
    PMET_TRY(pmet_calloc(&out->text, n, sizeof *out->text, field, err));
    for (; out->n < n; out->n++) {
        char name[64];
        snprintf(name, sizeof name, one ? "%s" : "%s[%zu]", field, out->n);
        PMET_TRY(take_text(r, name, one ? list : json_array_get(list, out->n), &out->text[out->n], err));
    }
    return PMET_OK;
}

static enum pmet_status add_prompt(const char *text, const char *answer, struct pmet_prompts *out,
                                   struct pmet_error *err)
{
    size_t cap = out->n, cap_answer = out->n;
    PMET_TRY(pmet_grow(&out->text, &cap, out->n + 1, sizeof *out->text, "prompts", err));
    if (answer)
        PMET_TRY(pmet_grow(&out->answer, &cap_answer, out->n + 1, sizeof *out->answer, "prompts", err));
    out->text[out->n] = text;
    if (answer)
        out->answer[out->n] = answer;
    out->n++;
    return PMET_OK;
}

/* Prompts with answers of their own, as EasyEdit and KnowEdit write them. */
struct answered {
    const struct pmet_records *r;
    const char *field; /* "locality" */
    struct pmet_prompts *out;
};

/* Of several answers the first, of several names the first. Pairs without a prompt or without an
 * answer stand for questions that there are none of. */
static enum pmet_status take_pair(const struct answered *a, const json_t *prompt, const json_t *answer,
                                  struct pmet_error *err)
{
    const char *text, *said;
    char name[64];
    while (json_is_array(answer))
        answer = json_array_get(answer, 0);
    if (!prompt || !answer || json_is_null(prompt) || json_is_null(answer) ||
        (json_is_string(prompt) && json_string_length(prompt) == 0) ||
        (json_is_string(answer) && json_string_length(answer) == 0))
        return PMET_OK;
    snprintf(name, sizeof name, "%s: prompt", a->field);
    PMET_TRY(take_text(a->r, name, prompt, &text, err));
    snprintf(name, sizeof name, "%s: answer", a->field);
    PMET_TRY(take_text(a->r, name, answer, &said, err));
    return add_prompt(text, said, a->out, err);
}

/* {"prompt", "ground_truth"}, each a text or a list of the same length; lists of these; objects of
 * those, by the names of what they test. */
static enum pmet_status take_answered(const struct answered *a, json_t *v, size_t depth,
                                      struct pmet_error *err)
{
    const bool is_pairs = json_is_array(v) || json_is_object(v),
               is_nothing = !v || json_is_null(v) || (json_is_real(v) && isnan(json_real_value(v))) ||
                            (json_is_string(v) && json_string_length(v) == 0);
    const json_t *prompt = json_object_get(v, "prompt"), *answer = json_object_get(v, "ground_truth");
    const char *key;
    json_t *inner;
    size_t i;
    if (!is_pairs)
        return is_nothing ? PMET_OK
                          : refuse(a->r, a->field, pmet_json_kind(v), "prompts and their ground_truth", err);
    if (depth > 4)
        return refuse(a->r, a->field, "lists in lists", "prompts and their ground_truth", err);
    if (json_object_get(v, "New Question"))
        return take_pair(a, json_object_get(v, "New Question"), json_object_get(v, "New Answer"), err);
    if (json_is_array(prompt) && json_array_size(prompt) != json_array_size(answer))
        return refuse(a->r, a->field, "prompts and ground_truth of different lengths", "an answer a prompt",
                      err);
    if (json_is_array(prompt))
        for (i = 0; i < json_array_size(prompt); i++)
            PMET_TRY(take_pair(a, json_array_get(prompt, i), json_array_get(answer, i), err));
    else if (prompt || answer)
        return take_pair(a, prompt, answer, err);
    else if (json_is_array(v))
        json_array_foreach(v, i, inner) PMET_TRY(take_answered(a, inner, depth + 1, err));
    else
        json_object_foreach(v, key, inner) PMET_TRY(take_answered(a, inner, depth + 1, err));
    return PMET_OK;
}

static enum pmet_status take_portability(const struct pmet_records *r, struct pmet_eval_record *out,
                                         struct pmet_error *err)
{
    static const char *const field[] = {"portability", "portability_r", "portability_s"};
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        PMET_TRY(take_answered(&(struct answered){r, field[i], &out->portability},
                               json_object_get(out->json, field[i]), 0, err));
    return PMET_OK;
}

static enum pmet_status take_locality(const struct pmet_records *r, struct pmet_eval_record *out,
                                      struct pmet_error *err)
{
    static const char *const field[] = {"locality", "locality_rs", "locality_f"};
    static const char *const pair[][2] = {{"locality_prompt", "locality_ground_truth"}, {"loc", "loc_ans"}};
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        PMET_TRY(take_answered(&(struct answered){r, field[i], &out->neighborhood},
                               json_object_get(out->json, field[i]), 0, err));
    for (size_t i = 0; i < 2 && out->neighborhood.n == 0; i++)
        PMET_TRY(take_pair(&(struct answered){r, pair[i][0], &out->neighborhood},
                           json_object_get(out->json, pair[i][0]), json_object_get(out->json, pair[i][1]),
                           err));
    return PMET_OK;
}

/* Ids serve the look-up of reference texts only: absent or null they are NULL. */
static enum pmet_status take_id(const struct pmet_records *r, const char *field, const json_t *v,
                                const char **out, struct pmet_error *err)
{
    return !v || json_is_null(v) ? PMET_OK : take_text(r, field, v, out, err);
}

/* The edited prompt, and the lists that CounterFact has. */
static enum pmet_status read_lists(const struct pmet_records *r, struct pmet_eval_record *out,
                                   struct pmet_error *err)
{
    const char *hole = strstr(out->fact.prompt, "{}");
    if (strstr(hole + 2, "{}"))
        return refuse(r, out->kind == PMET_COUNTERFACT ? "requested_rewrite.prompt" : "prompt",
                      "\"{}\" twice", "it once", err);
    PMET_TRY(pmet_fact_read_true(out->json, r->path, &out->fact, err));
    PMET_TRY(pmet_fact_fill(&out->fact, &out->rewrite, err));
    PMET_TRY(take_prompts(r, out->json, "paraphrase_prompts", &out->paraphrase, err));
    PMET_TRY(take_prompts(r, out->json, "neighborhood_prompts", &out->neighborhood, err));
    return take_prompts(r, out->json, "generation_prompts", &out->generation, err);
}

static enum pmet_status read_counterfact(const struct pmet_records *r, struct pmet_eval_record *out,
                                         struct pmet_error *err)
{
    const json_t *request = pmet_only(json_object_get(out->json, "requested_rewrite"));
    PMET_TRY(read_lists(r, out, err));
    PMET_TRY(take_id(r, "requested_rewrite.relation_id", json_object_get(request, "relation_id"),
                     &out->relation_id, err));
    return take_id(r, "requested_rewrite.target_new.id",
                   json_object_get(json_object_get(request, "target_new"), "id"), &out->target_id, err);
}

static enum pmet_status read_plain(const struct pmet_records *r, struct pmet_eval_record *out,
                                   struct pmet_error *err)
{
    static const char *const rephrased[] = {"rephrase_prompt", "rephrase_prompts", "rephrase"};
    PMET_TRY(read_lists(r, out, err));
    for (size_t i = 0; i < sizeof rephrased / sizeof *rephrased && out->paraphrase.n == 0; i++)
        PMET_TRY(take_prompts(r, out->json, rephrased[i], &out->paraphrase, err));
    return out->neighborhood.n > 0 ? PMET_OK : take_locality(r, out, err);
}

static enum pmet_status read_zsre(const struct pmet_records *r, struct pmet_eval_record *out,
                                  struct pmet_error *err)
{
    const char *src, *loc, *answer;
    PMET_TRY(take_text(r, "src", json_object_get(out->json, "src"), &src, err));
    PMET_TRY(pmet_copy_text(src, &out->rewrite, "a prompt", err));
    PMET_TRY(take_prompts(r, out->json, "rephrase", &out->paraphrase, err));
    if (!json_object_get(out->json, "loc"))
        return PMET_OK;
    PMET_TRY(take_text(r, "loc", json_object_get(out->json, "loc"), &loc, err));
    PMET_TRY(take_text(r, "loc_ans", json_object_get(out->json, "loc_ans"), &answer, err));
    if (!strstr(loc, "nq question: "))
        return refuse(r, "loc", "no \"nq question: \"", "it in the text", err);
    const size_t n = strlen(loc) + sizeof "?";
    PMET_TRY(pmet_calloc(&out->loc, n, 1, "a prompt", err));
    snprintf(out->loc, n, "%s?", loc);
    return add_prompt(out->loc, answer, &out->neighborhood, err);
}

/* The next record; `whole` once all of it was read, whatever is wrong with it. */
static enum pmet_status read_record(struct pmet_records *r, struct pmet_eval_record *out, bool *more,
                                    bool *whole, struct pmet_error *err)
{
    const bool past = r->limit > 0 && r->n >= r->limit;
    do /* past the limit records are only walked over, to the end of the file and its hash */
        PMET_TRY(pmet_elements_next(r->elements, past ? NULL : &out->json, more, err));
    while (past && *more);
    if (!*more)
        return PMET_OK;
    *whole = true;
    out->fact.record = pmet_elements_record(r->elements);
    out->fact.line = pmet_elements_line(r->elements);
    out->fact.case_id = (int64_t)out->fact.record;
    out->kind = json_object_get(out->json, "requested_rewrite") ? PMET_COUNTERFACT
                : json_object_get(out->json, "src")             ? PMET_ZSRE
                                                                : PMET_PLAIN;
    PMET_TRY(pmet_fact_read(out->json, r->path, false, &out->fact, err));
    PMET_TRY(out->kind == PMET_COUNTERFACT ? read_counterfact(r, out, err)
             : out->kind == PMET_ZSRE      ? read_zsre(r, out, err)
                                           : read_plain(r, out, err));
    PMET_TRY(take_portability(r, out, err));
    return PMET_OK;
}

enum pmet_status pmet_records_next(struct pmet_records *r, struct pmet_eval_record *out, bool *more,
                                   struct pmet_error *err)
{
    for (;;) {
        bool whole = false;
        memset(out, 0, sizeof *out);
        const enum pmet_status status = read_record(r, out, more, &whole, err);
        r->n++;
        if (status == PMET_OK)
            return PMET_OK;
        pmet_eval_record_free(out);
        const size_t record = pmet_elements_record(r->elements), line = pmet_elements_line(r->elements);
        if (!r->skip_invalid || !pmet_skipped_may(status) || (!whole && !pmet_elements_skip(r->elements)))
            return status;
        PMET_TRY(pmet_skipped_add(&r->skipped, record, line, err));
    }
}

struct pmet_skipped *pmet_records_skipped(struct pmet_records *r)
{
    return &r->skipped;
}

enum pmet_status pmet_records_open(const struct pmet_io *io, const char *path, size_t limit,
                                   bool skip_invalid, struct pmet_records **out, struct pmet_error *err)
{
    struct pmet_records *r;
    enum pmet_status status;
    PMET_TRY(pmet_calloc(&r, 1, sizeof *r, path, err));
    r->limit = limit;
    r->skip_invalid = skip_invalid;
    PMET_GO(pmet_copy_text(path, &r->path, "a prompt", err));
    PMET_GO(pmet_elements_open(io, path, &r->elements, err));
    *out = r;
    return PMET_OK;
done:
    pmet_records_close(r);
    return status;
}

const char *pmet_records_sha256(struct pmet_records *r)
{
    return pmet_elements_sha256(r->elements);
}

void pmet_records_close(struct pmet_records *r)
{
    if (!r)
        return;
    pmet_elements_close(r->elements);
    pmet_skipped_free(&r->skipped);
    free(r->path);
    free(r);
}

void pmet_eval_record_free(struct pmet_eval_record *record)
{
    pmet_fact_free(&record->fact);
    free(record->rewrite);
    free(record->loc);
    free(record->paraphrase.text);
    free(record->neighborhood.text);
    free(record->neighborhood.answer);
    free(record->generation.text);
    free(record->portability.text);
    free(record->portability.answer);
    json_decref(record->json);
    memset(record, 0, sizeof *record);
}

/* SPDX-License-Identifier: MIT
 * CounterFact and zsRE records (E78).      SPEC §11.1 */
#include "ref/eval/records.h"

#include <stdlib.h>
#include <string.h>
#include "ref/facts/facts_record.h"

struct pmet_records {
    struct pmet_elements *elements;
    char *path;
    size_t limit, n;
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
    if (!json_is_string(v))
        return refuse(r, field, pmet_json_kind(v), "a string", err);
    if (json_string_length(v) == 0)
        return refuse(r, field, "an empty string", "text", err);
    *out = json_string_value(v);
    return PMET_OK;
}

static enum pmet_status take_prompts(const struct pmet_records *r, const json_t *record, const char *field,
                                     struct pmet_prompts *out, struct pmet_error *err)
{
    const json_t *list = json_object_get(record, field);
    if (!json_is_array(list))
        return refuse(r, field, pmet_json_kind(list), "an array of strings", err);
    PMET_TRY(pmet_calloc(&out->text, json_array_size(list), sizeof *out->text, field, err));
    for (; out->n < json_array_size(list); out->n++) {
        char name[64];
        snprintf(name, sizeof name, "%s[%zu]", field, out->n);
        PMET_TRY(take_text(r, name, json_array_get(list, out->n), &out->text[out->n], err));
    }
    return PMET_OK;
}

static enum pmet_status one_prompt(const char *text, struct pmet_prompts *out, struct pmet_error *err)
{
    PMET_TRY(pmet_calloc(&out->text, 1, sizeof *out->text, "a prompt", err));
    out->text[0] = text;
    out->n = 1;
    return PMET_OK;
}

/* Ids serve the look-up of reference texts only: absent or null they are NULL. */
static enum pmet_status take_id(const struct pmet_records *r, const char *field, const json_t *v,
                                const char **out, struct pmet_error *err)
{
    return !v || json_is_null(v) ? PMET_OK : take_text(r, field, v, out, err);
}

static enum pmet_status read_counterfact(const struct pmet_records *r, struct pmet_eval_record *out,
                                         struct pmet_error *err)
{
    const json_t *request = json_object_get(out->json, "requested_rewrite");
    const char *hole = strstr(out->fact.prompt, "{}");
    if (strstr(hole + 2, "{}"))
        return refuse(r, "requested_rewrite.prompt", "\"{}\" twice", "it once", err);
    if (!out->fact.target_true)
        return refuse(r, "requested_rewrite.target_true", "nothing", "a string, or an object with \"str\"",
                      err);
    PMET_TRY(pmet_fact_fill(&out->fact, &out->rewrite, err));
    PMET_TRY(take_prompts(r, out->json, "paraphrase_prompts", &out->paraphrase, err));
    PMET_TRY(take_prompts(r, out->json, "neighborhood_prompts", &out->neighborhood, err));
    PMET_TRY(take_prompts(r, out->json, "generation_prompts", &out->generation, err));
    PMET_TRY(take_id(r, "requested_rewrite.relation_id", json_object_get(request, "relation_id"),
                     &out->relation_id, err));
    return take_id(r, "requested_rewrite.target_new.id",
                   json_object_get(json_object_get(request, "target_new"), "id"), &out->target_id, err);
}

static enum pmet_status read_zsre(const struct pmet_records *r, struct pmet_eval_record *out,
                                  struct pmet_error *err)
{
    const char *src, *rephrase, *loc;
    PMET_TRY(take_text(r, "src", json_object_get(out->json, "src"), &src, err));
    PMET_TRY(take_text(r, "rephrase", json_object_get(out->json, "rephrase"), &rephrase, err));
    PMET_TRY(take_text(r, "loc", json_object_get(out->json, "loc"), &loc, err));
    PMET_TRY(take_text(r, "loc_ans", json_object_get(out->json, "loc_ans"), &out->loc_answer, err));
    if (!strstr(loc, "nq question: "))
        return refuse(r, "loc", "no \"nq question: \"", "it in the text", err);
    PMET_TRY(pmet_copy_text(src, &out->rewrite, "a prompt", err));
    const size_t n = strlen(loc) + sizeof "?";
    PMET_TRY(pmet_calloc(&out->loc, n, 1, "a prompt", err));
    snprintf(out->loc, n, "%s?", loc);
    PMET_TRY(one_prompt(rephrase, &out->paraphrase, err));
    return one_prompt(out->loc, &out->neighborhood, err);
}

enum pmet_status pmet_records_next(struct pmet_records *r, struct pmet_eval_record *out, bool *more,
                                   struct pmet_error *err)
{
    enum pmet_status status;
    const bool past = r->limit > 0 && r->n >= r->limit;
    memset(out, 0, sizeof *out);
    do /* past the limit records are only walked over, to the end of the file and its hash */
        PMET_GO(pmet_elements_next(r->elements, past ? NULL : &out->json, more, err));
    while (past && *more);
    if (!*more)
        return PMET_OK;
    out->fact.record = pmet_elements_record(r->elements);
    out->fact.line = pmet_elements_line(r->elements);
    out->fact.case_id = (int64_t)out->fact.record;
    out->kind = json_object_get(out->json, "requested_rewrite") ? PMET_COUNTERFACT : PMET_ZSRE;
    if (out->kind == PMET_ZSRE && !json_object_get(out->json, "src"))
        PMET_GO(
            refuse(r, "requested_rewrite", "nothing, and no \"src\"", "a CounterFact or a zsRE record", err));
    PMET_GO(pmet_fact_read(out->json, r->path, false, &out->fact, err));
    PMET_GO(out->kind == PMET_COUNTERFACT ? read_counterfact(r, out, err) : read_zsre(r, out, err));
    r->n++;
    return PMET_OK;
done:
    pmet_eval_record_free(out);
    return status;
}

enum pmet_status pmet_records_open(const struct pmet_io *io, const char *path, size_t limit,
                                   struct pmet_records **out, struct pmet_error *err)
{
    struct pmet_records *r;
    enum pmet_status status;
    PMET_TRY(pmet_calloc(&r, 1, sizeof *r, path, err));
    r->limit = limit;
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
    free(r->path);
    free(r);
}

void pmet_eval_record_free(struct pmet_eval_record *record)
{
    free(record->fact.prompt);
    free(record->fact.subject);
    free(record->fact.target);
    free(record->fact.target_true);
    free(record->rewrite);
    free(record->loc);
    free(record->paraphrase.text);
    free(record->neighborhood.text);
    free(record->generation.text);
    json_decref(record->json);
    memset(record, 0, sizeof *record);
}

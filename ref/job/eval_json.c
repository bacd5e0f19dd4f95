/* SPDX-License-Identifier: MIT
 * Results of an evaluation as JSON, under the published keys.      SPEC §11.6 */
#include <stdlib.h>
#include <string.h>
#include "ref/facts/facts_record.h"
#include "ref/job/eval_job.h"
#include "tensors/json.h"

enum { N_LIST = 4 };
static const char *const lists[N_LIST] = {"rewrite_prompts", "paraphrase_prompts", "neighborhood_prompts",
                                          "portability_prompts"};

static void set(json_t *object, const char *list, const char *end, json_t *value)
{
    char key[64];
    snprintf(key, sizeof key, "%s_%s", list, end);
    json_object_set_new(object, key, value);
}

static const json_t *get(const json_t *object, const char *list, const char *end)
{
    char key[64];
    snprintf(key, sizeof key, "%s_%s", list, end);
    return json_object_get(object, key);
}

static json_t *flags(const bool *flag, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_boolean(flag[i]));
    return list;
}

static void add_texts(json_t *side, const struct pmet_texts *texts)
{
    json_t *text = json_array(), *essence = json_array();
    for (size_t i = 0; i < texts->n; i++)
        json_array_append_new(text, json_string(texts->text[i]));
    const char *at = texts->essence;
    for (size_t i = 0; at && i < texts->n_essence; i++, at += strlen(at) + 1)
        json_array_append_new(essence, json_string(at));
    json_object_set_new(side, "ngram_entropy", json_real(texts->ngram_entropy));
    if (texts->has_reference)
        json_object_set_new(side, "reference_score", pmet_json_real(texts->reference_score));
    json_object_set_new(side, "text", text);
    if (texts->essence) {
        json_object_set_new(side, "essence_score", json_real(texts->essence_score));
        json_object_set(side, "essence_text", essence);
    }
    json_decref(essence);
}

static json_t *probs_json(const struct pmet_answers *a)
{
    json_t *list = json_array();
    for (size_t i = 0; i < a->n; i++) {
        json_t *probs = json_pack("{s:f}", "target_new", a->nll_new[i]);
        if (a->nll_true)
            json_object_set_new(probs, "target_true", json_real(a->nll_true[i]));
        json_array_append_new(list, probs);
    }
    return list;
}

static json_t *side_json(const struct pmet_case *c)
{
    const struct pmet_answers *const a[N_LIST] = {&c->verdict.rewrite, &c->verdict.paraphrase,
                                                  &c->verdict.neighborhood, &c->verdict.portability};
    json_t *side = json_object();
    for (size_t k = 0; k < N_LIST; k++)
        if (a[k]->nll_new)
            set(side, lists[k], "probs", probs_json(a[k]));
    for (size_t k = 0; k < N_LIST; k++)
        if (a[k]->correct)
            set(side, lists[k], "correct", flags(a[k]->correct, a[k]->n));
    for (size_t k = 0; k < N_LIST; k++)
        if (a[k]->greedy)
            set(side, lists[k], "greedy", flags(a[k]->greedy, a[k]->n_prompt));
    if (c->texts.n > 0)
        add_texts(side, &c->texts);
    return side;
}

/* zsRE's request as the published code converts it, a plain fact's in the same form. */
static json_t *request_json(const struct pmet_eval_record *r)
{
    if (r->kind == PMET_COUNTERFACT)
        return json_incref(json_object_get(r->json, "requested_rewrite"));
    const char *was = r->kind == PMET_ZSRE ? "<|endoftext|>" : r->fact.target_true;
    json_t *request = json_pack("{s:s, s:s, s:{s:s}}", "prompt", r->fact.prompt, "subject", r->fact.subject,
                                "target_new", "str", r->fact.target);
    if (was)
        json_object_set_new(request, "target_true", json_pack("{s:s}", "str", was));
    return request;
}

json_t *pmet_eval_case_json(const struct pmet_eval_record *record, const struct pmet_case *after,
                            const struct pmet_case *before)
{
    json_t *line = json_pack("{s:o, s:o}", "case_id", pmet_fact_id(&record->fact), "requested_rewrite",
                             request_json(record));
    if (before)
        json_object_set_new(line, "pre", side_json(before));
    json_object_set_new(line, "post", side_json(after));
    return line;
}

/* What a model's folder says of how it was made; nulls for one that was never edited. */
static json_t *model_json(const struct pmet_session *s, const struct pmet_record *record)
{
    static const char *const key[] = {"method", "base", "hparams", "seed", "facts"};
    json_t *model = json_pack("{s:s}", "fingerprint", s->fingerprint);
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) {
        json_t *value = json_object_get(record->json, key[i]);
        json_object_set_new(model, key[i], value ? json_incref(value) : json_null());
    }
    return model;
}

static json_t *facts_json(const struct pmet_eval_job *j)
{
    json_t *facts = json_pack("{s:s, s:I}", "sha256", j->facts_sha256, "count", (json_int_t)j->n_record);
    if (j->skipped.n > 0)
        json_object_set_new(facts, "skipped", pmet_skipped_json(&j->skipped));
    return facts;
}

json_t *pmet_eval_header_json(const struct pmet_eval_job *j, const struct pmet_record *record,
                              const struct pmet_record *before)
{
    const struct pmet_evaluate_request *r = &j->request;
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:s, s:s?, s:s?}", "pmet", PMET_VERSION,
                     "device", j->s->op->kind, "model", model_json(j->s, record), "before",
                     j->before ? model_json(j->before, before) : json_null(), "facts", facts_json(j), "seed",
                     (json_int_t)r->seed, "generate", (json_int_t)r->n_generate, "top_k",
                     (json_int_t)r->top_k, "decode", r->greedy ? "greedy" : "published", "snippets",
                     r->snippets ? j->snippets.sha256 : NULL, "idf", r->idf ? j->idf_sha256 : NULL);
}

/* ---- and back, for the summary ---- */

static enum pmet_status sum_probs(struct pmet_summary *s, size_t k, const json_t *probs, const char *path,
                                  struct pmet_error *err)
{
    const size_t n = json_array_size(probs);
    enum pmet_status status = PMET_OK;
    double *nll;
    PMET_TRY(pmet_calloc(&nll, n, 2 * sizeof *nll, path, err));
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(probs, i);
        if (!json_object_get(pair, "target_true")) /* nothing to compare with: E86 has no value */
            goto done;
        PMET_GO(pmet_json_number(pair, path, "target_new", &nll[i], err));
        PMET_GO(pmet_json_number(pair, path, "target_true", &nll[n + i], err));
    }
    pmet_summary_probs(s, k, nll, nll + n, n);
done:
    free(nll);
    return status;
}

static void sum_flags(struct pmet_summary *s, enum pmet_metric_kind kind, size_t k, const json_t *list)
{
    size_t n_set = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        n_set += json_is_true(json_array_get(list, i));
    pmet_summary_flags(s, kind, k, n_set, json_array_size(list));
}

enum pmet_status pmet_eval_sum_up(struct pmet_summary *summary, const json_t *line, const char *side,
                                  const char *path, struct pmet_error *err)
{
    static const struct {
        const char *key;
        size_t metric;
    } scores[] = {{"ngram_entropy", PMET_NGRAM_ENTROPY},
                  {"reference_score", PMET_REFERENCE_SCORE},
                  {"essence_score", PMET_ESSENCE_SCORE}};
    const json_t *results = json_object_get(line, side);
    if (!json_is_object(results))
        return pmet_fail(err, PMET_FORMAT, "%s: %s: found %s; expected an object", path, side,
                         pmet_json_kind(results));
    for (size_t k = 0; k < N_LIST; k++) {
        PMET_TRY(sum_probs(summary, k, get(results, lists[k], "probs"), path, err));
        sum_flags(summary, PMET_ACC, k, get(results, lists[k], "correct"));
        sum_flags(summary, PMET_GREEDY, k, get(results, lists[k], "greedy"));
    }
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++)
        if (json_is_number(json_object_get(results, scores[i].key)))
            pmet_summary_add(summary, scores[i].metric,
                             json_number_value(json_object_get(results, scores[i].key)));
    return PMET_OK;
}

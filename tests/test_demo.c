/* SPDX-License-Identifier: MIT
 * The demo's files belong together: records, snippets, contexts, hyper-parameters, and models that
 * know the facts. */
#include <jansson.h>
#include "ref/method/keys.h"
#include "ref/method/method.h"
#include "ref/method/pmet_hparams.h"
#include "ref/method/stats.h"
#include "ref/cpu/table.h"
#include "ref/eval/probs.h"
#include "tests/test.h"

#define DEMO "golden/demo/"
#define N_ASKED 10 /* records that the models are asked about */

static const char *const models[] = {"gptj", "neox"};

static bool has_snippet(const json_t *snippets, const struct pmet_eval_record *r)
{
    size_t i;
    const json_t *s;
    json_array_foreach(snippets, i, s)
    {
        const char *relation = json_string_value(json_object_get(s, "relation_id")),
                   *target = json_string_value(json_object_get(s, "target_id"));
        const json_t *first = json_array_get(json_object_get(s, "samples"), 0);
        if (relation && target && strcmp(relation, r->relation_id) == 0 && strcmp(target, r->target_id) == 0)
            return json_string_length(json_object_get(first, "text")) > 0;
    }
    return false;
}

TEST(every_record_can_be_edited_and_evaluated)
{
    struct pmet_records *records = NULL;
    struct pmet_facts facts = {0};
    json_t *snippets = test_json(t, json_load_file(DEMO "snippets.json", 0, NULL));
    size_t n = 0;
    CHECK(json_array_size(snippets) > 0);
    if (!CHECK_DONE(
            pmet_records_open(pmet_io_system(), DEMO "counterfact.json", 0, false, &records, &t->err)))
        return;
    for (bool more = true; more; n += more) {
        struct pmet_eval_record r = {0};
        if (!CHECK_DONE(pmet_records_next(records, &r, &more, &t->err)))
            break;
        if (more && !CHECK(r.kind == PMET_COUNTERFACT && r.paraphrase.n == 2 && r.neighborhood.n > 0 &&
                           r.generation.n > 0 && r.relation_id && r.target_id && has_snippet(snippets, &r)))
            test_fail(t, "record %zu", n);
        pmet_eval_record_free(&r);
    }
    pmet_records_close(records);
    CHECK(n == 640);
    if (CHECK_DONE(pmet_facts_load(pmet_io_system(), DEMO "counterfact.json", (struct pmet_facts_options){0},
                                   &facts, &t->err)))
        CHECK(facts.n_fact == n);
    pmet_facts_free(&facts);
    if (CHECK_DONE(pmet_facts_load(pmet_io_system(), DEMO "zsre.json", (struct pmet_facts_options){0}, &facts,
                                   &t->err)))
        CHECK(facts.n_fact == 100);
    pmet_facts_free(&facts);
}

struct knower {
    struct pmet_ops *op;
    struct pmet_checkpoint *ck;
    struct pmet_model *model;
    struct pmet_tokenizer *tk;
};

static bool open_knower(struct test *t, const char *name, struct knower *k)
{
    char path[64];
    struct pmet_contexts contexts = {0};
    struct pmet_hparams hp;
    *k = (struct knower){0};
    snprintf(path, sizeof path, DEMO "%s", name);
    if (!CHECK_DONE(pmet_ops_cpu(2, &k->op, &t->err)) ||
        !CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), path, &k->ck, &t->err)) ||
        !CHECK_DONE(pmet_model_open(k->ck, k->op, &k->model, &t->err)) ||
        !CHECK_DONE(pmet_tokenizer_open(pmet_io_system(), path, &k->tk, &t->err)) ||
        !CHECK_DONE(pmet_contexts_load(pmet_io_system(), DEMO "contexts.json", &contexts, &t->err)))
        return false;
    pmet_contexts_free(&contexts);
    snprintf(path, sizeof path, DEMO "%s/hparams.json", name);
    return CHECK_DONE(pmet_hparams_load(pmet_io_system(), path, &pmet_hparams_pmet, &hp, &t->err));
}

static void close_knower(struct knower *k)
{
    pmet_tokenizer_close(k->tk);
    pmet_model_close(k->model);
    pmet_checkpoint_close(k->ck);
    pmet_ops_free(k->op);
}

static size_t n_true_wins(const struct pmet_answers *a)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n; i++)
        n += a->nll_true[i] < a->nll_new[i];
    return n;
}

TEST(the_models_know_the_facts)
{
    for (size_t m = 0; m < 2; m++) {
        struct knower k;
        struct pmet_records *records = NULL;
        struct pmet_eval_record record[N_ASKED];
        struct pmet_verdict verdict[N_ASKED] = {0};
        size_t n = 0, n_prompt = 0, n_known = 0;
        bool more = true;
        if (open_knower(t, models[m], &k) &&
            CHECK_DONE(pmet_records_open(pmet_io_system(), DEMO "counterfact.json", N_ASKED, false, &records,
                                         &t->err))) {
            struct pmet_questions q = {.tk = k.tk, .config = &k.model->config, .path = "counterfact.json"};
            while (n < N_ASKED && CHECK_DONE(pmet_records_next(records, &record[n], &more, &t->err)) &&
                   more) {
                CHECK_DONE(pmet_ask(&q, &record[n], false, &verdict[n], &t->err));
                n++;
            }
            CHECK_DONE(pmet_answer(&q, k.model, (size_t)1 << 28, &t->err));
            pmet_questions_free(&q);
        }
        for (size_t i = 0; i < n; i++) {
            const struct pmet_verdict *v = &verdict[i];
            n_prompt += v->rewrite.n + v->paraphrase.n + v->neighborhood.n;
            n_known += n_true_wins(&v->rewrite) + n_true_wins(&v->paraphrase) + n_true_wins(&v->neighborhood);
            pmet_eval_record_free(&record[i]);
            pmet_verdict_free(&verdict[i]);
        }
        CHECK(n == N_ASKED && n_prompt > 5 * N_ASKED);
        if (!CHECK(20 * n_known >= 19 * n_prompt))
            test_fail(t, "%s: the true object wins in %zu of %zu prompts", models[m], n_known, n_prompt);
        pmet_records_close(records);
        close_knower(&k);
    }
}

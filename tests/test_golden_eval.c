/* SPDX-License-Identifier: MIT
 * The published evaluation of the golden models, unedited and edited: probabilities, right tokens,
 * choices, perplexity. */
#include "ref/job/eval_job.h"
#include "tensors/dtype.h"
#include "tests/golden.h"

#define MAX_BYTES ((size_t)1 << 30)

/* Overlays W + dW of the float64 run for the edited matrices, and takes them away again. */
struct overlay {
    struct pmet_weight was[8], *w[8];
    real *data[8];
    size_t n;
};

static bool overlay(struct test *t, struct golden *g, struct overlay *o)
{
    struct golden_pair pair;
    o->n = 0;
    if (!golden_pair_open(t, &pair, g, "execute.pmet"))
        return false;
    for (size_t l = 0; l < g->model->config.n_layer && o->n < 8; l++) {
        char module[120];
        size_t n = 0;
        pmet_module_name(module, sizeof module, g->model->config.family->module[PMET_MODULE_MLP], l);
        double *upd = golden_tensor(t, pair.p[1], test_text(t, "upd_matrix.%s", module), &n);
        if (!upd)
            continue;
        struct pmet_weight *w = pmet_model_module(g->model, PMET_MODULE_MLP, l);
        CHECK(n == w->n_out * w->n_in);
        double *base = test_alloc(t, n * sizeof *base);
        real *sum = malloc(n * sizeof *sum);
        pmet_to_f64(base, w->data, w->dtype, n);
        for (size_t i = 0; i < n; i++)
            sum[i] = (real)(base[i] + upd[i]);
        o->was[o->n] = *w;
        o->w[o->n] = w;
        o->data[o->n++] = sum;
        w->data = sum;
        w->dtype = PMET_REAL;
    }
    return CHECK(o->n > 1);
}

static void take_away(struct overlay *o)
{
    for (size_t k = 0; k < o->n; k++) {
        *o->w[k] = o->was[k];
        free(o->data[k]);
    }
    o->n = 0;
}

/* All values of one field of a model, for the rule that takes them together. */
struct field {
    double got[400], fp32[400], fp64[400];
    size_t n;
};

/* One a model and state: of all of them, since the distance of a single float32 number from its
 * float64 is luck. */
static struct field perplexities;

static void keep(struct test *t, struct field *f, double got, const json_t *a, const json_t *b)
{
    if (!CHECK(json_is_number(a) && json_is_number(b) && f->n < 400))
        return;
    f->got[f->n] = got;
    f->fp32[f->n] = json_number_value(a);
    f->fp64[f->n++] = json_number_value(b);
}

static void check_probs(struct test *t, struct field *f, const struct pmet_answers *got, const json_t *a,
                        const json_t *b)
{
    CHECK(got->n == json_array_size(a) && got->n == json_array_size(b));
    for (size_t i = 0; i < got->n; i++) {
        const json_t *x = json_array_get(a, i), *y = json_array_get(b, i);
        keep(t, f, got->nll_new[i], json_object_get(x, "target_new"), json_object_get(y, "target_new"));
        keep(t, f, got->nll_true[i], json_object_get(x, "target_true"), json_object_get(y, "target_true"));
    }
}

static void check_flags(struct test *t, const char *where, const struct pmet_answers *got,
                        const json_t *flags)
{
    CHECK(got->n == json_array_size(flags));
    for (size_t i = 0; i < got->n; i++)
        if (!CHECK(got->correct[i] == json_is_true(json_array_get(flags, i))))
            test_fail(t, "%s: flag %zu differs", where, i);
}

static const char *const lists[3] = {"rewrite_prompts", "paraphrase_prompts", "neighborhood_prompts"};

static const json_t *post(const json_t *root, const char *set, size_t i)
{
    return json_object_get(json_array_get(json_object_get(root, set), i), "post");
}

static const json_t *under(const json_t *object, const char *list, const char *end)
{
    char key[64];
    snprintf(key, sizeof key, "%s_%s", list, end);
    return json_object_get(object, key);
}

/* One file of records, all questions asked at once. */
struct asked {
    struct pmet_eval_record record[16];
    struct pmet_verdict verdict[16];
    size_t n;
};

static void ask_all(struct test *t, const struct golden *g, const char *file, struct asked *out)
{
    char path[128];
    struct pmet_records *records = NULL;
    struct pmet_questions q = {.tk = g->tk, .config = &g->model->config, .path = path};
    bool more = true;
    out->n = 0;
    snprintf(path, sizeof path, "golden/%s/%s", g->name, file);
    if (!CHECK_DONE(pmet_records_open(pmet_io_system(), path, 0, false, &records, &t->err)))
        return;
    while (CHECK(out->n < 16) &&
           CHECK_DONE(pmet_records_next(records, &out->record[out->n], &more, &t->err)) && more) {
        const size_t i = out->n++;
        CHECK_DONE(pmet_ask(&q, &out->record[i], true, &out->verdict[i], &t->err));
    }
    pmet_records_close(records);
    CHECK_DONE(pmet_answer(&q, g->model, MAX_BYTES, &t->err));
}

static void asked_free(struct asked *a)
{
    for (size_t i = 0; i < a->n; i++) {
        pmet_eval_record_free(&a->record[i]);
        pmet_verdict_free(&a->verdict[i]);
    }
}

/* E83 against generation itself: |a| tokens, one after the other. */
static void check_greedy(struct test *t, const struct golden *g, const char *prompt, const char *target,
                         bool got)
{
    struct pmet_ids row = {0}, label = {0};
    struct pmet_rng rng;
    const char *spaced = test_text(t, " %s", target);
    CHECK_DONE(pmet_tokenizer_encode(g->tk, prompt, strlen(prompt), &row, &t->err));
    CHECK_DONE(pmet_tokenizer_encode(g->tk, spaced, strlen(spaced), &label, &t->err));
    const size_t n = row.n;
    const struct pmet_generate_options options = {.n_total = n + label.n, .top_k = 1};
    pmet_rng_seed(&rng, 1);
    CHECK_DONE(pmet_generate(g->model, &row, 1, &options, &rng, NULL, NULL, &t->err));
    const bool same = row.n == n + label.n && memcmp(row.id + n, label.id, label.n * sizeof *label.id) == 0;
    if (!CHECK(got == same))
        test_fail(t, "%s: \"%s\": greedy %d, generated %d", g->name, prompt, got, same);
    free(row.id);
    free(label.id);
}

static size_t check_greedy_answers(struct test *t, const struct golden *g, const struct asked *a)
{
    size_t n_greedy = 0;
    for (size_t i = 0; i < a->n; i++) {
        const struct pmet_eval_record *r = &a->record[i];
        const struct pmet_verdict *v = &a->verdict[i];
        check_greedy(t, g, r->rewrite, r->fact.target, v->rewrite.greedy[0]);
        check_greedy(t, g, r->paraphrase.text[0], r->fact.target, v->paraphrase.greedy[0]);
        check_greedy(t, g, r->neighborhood.text[0],
                     r->kind == PMET_ZSRE ? r->neighborhood.answer[0] : r->fact.target_true,
                     v->neighborhood.greedy[0]);
        n_greedy += v->rewrite.greedy[0] + v->neighborhood.greedy[0];
    }
    return n_greedy;
}

/* Weights of terms as published, and the snippets of the first records. */
static bool open_snippets(struct test *t, const struct golden *g, const struct asked *a, size_t n,
                          struct pmet_tfidf **tfidf, struct pmet_snippets *snippets)
{
    struct pmet_snippet_query query[16];
    for (size_t i = 0; i < n; i++)
        query[i] = (struct pmet_snippet_query){a->record[i].relation_id, a->record[i].target_id,
                                               a->record[i].fact.subject};
    return CHECK_DONE(
               pmet_tfidf_open(pmet_io_system(), test_text(t, "golden/%s", g->name), tfidf, &t->err)) &&
           CHECK_DONE(pmet_snippets_load(pmet_io_system(),
                                         test_text(t, "golden/%s/attribute_snippets.json", g->name), query, n,
                                         snippets, &t->err));
}

static void check_score(struct test *t, double got, const json_t *expected)
{
    const double want = json_number_value(expected);
    CHECK(json_is_number(expected));
    CHECK_CLOSE(&got, &want, 1, 1e-12);
}

/* E85 with k = 1, E90, E92: texts of the first records and what they are worth; the goldens have
 * those of records 0, 1 and 3. */
static void check_texts(struct test *t, const struct golden *g, const struct asked *a, const json_t *root,
                        const json_t *root64)
{
    enum { N = 4 };
    struct pmet_case got[N];
    struct pmet_tfidf *tfidf = NULL;
    struct pmet_snippets snippets = {0};
    size_t n_text = 0;
    if (!open_snippets(t, g, a, N, &tfidf, &snippets))
        return;
    const struct pmet_evaluate_options options = {.n_generate = N,
                                                  .top_k = 1,
                                                  .max_bytes = MAX_BYTES,
                                                  .path = "records",
                                                  .tfidf = tfidf,
                                                  .answer = snippets.answer,
                                                  .n_answer = N};
    CHECK_DONE(pmet_evaluate_records(g->model, g->tk, a->record, N, &options, got, &t->err));
    for (size_t i = 0; i < N; i++) {
        const json_t *x = post(root, "counterfact", i), *text = json_object_get(x, "text"),
                     *essence = json_object_get(x, "essence_text");
        const struct pmet_texts *texts = &got[i].texts;
        CHECK(texts->n == 3 &&
              memcmp(got[i].verdict.rewrite.nll_new, a->verdict[i].rewrite.nll_new, sizeof(double)) == 0);
        for (size_t j = 0; j < json_array_size(text) && j < texts->n; j++, n_text++)
            CHECK_STR(texts->text[j], json_string_value(json_array_get(text, j)));
        if (text) {
            CHECK(texts->has_reference && (essence != NULL) == (texts->essence != NULL));
            check_score(t, texts->ngram_entropy, json_object_get(x, "ngram_entropy"));
            check_score(t, texts->reference_score, json_object_get(x, "reference_score"));
        }
        if (essence) {
            CHECK_STR(texts->essence, json_string_value(json_array_get(essence, 0)));
            keep(t, &perplexities, texts->essence_score, json_object_get(x, "essence_score"),
                 json_object_get(post(root64, "counterfact", i), "essence_score"));
        }
        pmet_case_free(&got[i]);
    }
    CHECK(n_text == 9);
    pmet_snippets_free(&snippets);
    pmet_tfidf_close(tfidf);
}

static void check_probs_and_flags(struct test *t, const struct golden *g, const struct asked *asked,
                                  const json_t *a, const json_t *b)
{
    static struct field field[3];
    memset(field, 0, sizeof field);
    CHECK(asked->n == json_array_size(json_object_get(a, "counterfact")));
    for (size_t i = 0; i < asked->n; i++) {
        const struct pmet_answers *const got[3] = {&asked->verdict[i].rewrite, &asked->verdict[i].paraphrase,
                                                   &asked->verdict[i].neighborhood};
        const json_t *x = post(a, "counterfact", i), *y = post(b, "counterfact", i);
        for (size_t k = 0; k < 3; k++) {
            check_probs(t, &field[k], got[k], under(x, lists[k], "probs"), under(y, lists[k], "probs"));
            check_flags(t, g->name, got[k], under(x, lists[k], "correct"));
        }
    }
    for (size_t k = 0; k < 3; k++) {
        CHECK(field[k].n > 0);
        golden_smooth_values(t, test_text(t, "eval %s", lists[k]), g->name, field[k].got, field[k].fp32,
                             field[k].fp64, field[k].n);
    }
}

static void check_counterfact(struct test *t, const struct golden *g, const json_t *a, const json_t *b)
{
    static struct asked asked;
    ask_all(t, g, "counterfact.json", &asked);
    CHECK(asked.n == 10);
    check_probs_and_flags(t, g, &asked, a, b);
    CHECK(check_greedy_answers(t, g, &asked) > 0);
    check_texts(t, g, &asked, a, b);
    asked_free(&asked);
}

static void check_record(struct test *t, const struct pmet_eval_record *got, const json_t *record)
{
    const json_t *request = json_object_get(record, "requested_rewrite"),
                 *near = json_array_get(json_object_get(record, "neighborhood_prompts"), 0);
    CHECK_STR(got->fact.prompt, json_string_value(json_object_get(request, "prompt")));
    CHECK_STR(got->fact.target,
              json_string_value(json_object_get(json_object_get(request, "target_new"), "str")));
    CHECK_STR(got->paraphrase.text[0],
              json_string_value(json_array_get(json_object_get(record, "paraphrase_prompts"), 0)));
    CHECK_STR(got->neighborhood.text[0], json_string_value(json_object_get(near, "prompt")));
    CHECK(got->fact.case_id == json_integer_value(json_object_get(record, "case_id")));
}

/* With the converted record where the golden has it. */
static void check_zsre(struct test *t, const struct golden *g, const char *file, const json_t *root)
{
    static struct asked asked;
    ask_all(t, g, file, &asked);
    CHECK(asked.n > 1 && asked.n == json_array_size(json_object_get(root, "zsre")));
    check_greedy_answers(t, g, &asked);
    for (size_t i = 0; i < asked.n; i++) {
        const json_t *x = post(root, "zsre", i),
                     *record = json_object_get(json_array_get(json_object_get(root, "zsre"), i), "record");
        if (record)
            check_record(t, &asked.record[i], record);
        check_flags(t, g->name, &asked.verdict[i].rewrite, json_object_get(x, "rewrite_prompts_correct"));
        check_flags(t, g->name, &asked.verdict[i].paraphrase,
                    json_object_get(x, "paraphrase_prompts_correct"));
        check_flags(t, g->name, &asked.verdict[i].neighborhood,
                    json_object_get(x, "neighborhood_prompts_correct"));
    }
    asked_free(&asked);
}

static void check_state(struct test *t, size_t m, const char *state)
{
    struct golden g;
    struct overlay o = {.n = 0};
    if (!golden_open(t, &g, m))
        return;
    json_t *a = golden_json(t, &g, test_text(t, "eval.%s.fp32.json", state));
    json_t *b = golden_json(t, &g, test_text(t, "eval.%s.fp64.json", state));
    if (strcmp(state, "base") == 0 || overlay(t, &g, &o)) {
        check_counterfact(t, &g, a, b);
        check_zsre(t, &g, "zsre_mend_eval.json", a);
    }
    take_away(&o);
}

/* E78, E80..E82: probabilities by the rule for scalars, flags and choices equal. */
TEST(the_unedited_model_is_judged_as_by_the_published_code)
{
    EACH_GOLDEN (m)
        check_state(t, m, "base");
}

TEST(the_edited_model_is_judged_as_by_the_published_code)
{
    EACH_GOLDEN (m)
        check_state(t, m, "pmet");
}

/* The summary of frozen evaluations: what summarize.py makes of the same file. */
static void check_summary(struct test *t, const json_t *records, const json_t *expected)
{
    struct pmet_summary s = {0};
    struct pmet_evaluation e = {0};
    const char *name;
    json_t *value;
    for (size_t i = 0; i < json_array_size(records); i++)
        CHECK_DONE(pmet_eval_sum_up(&s, json_array_get(records, i), "post", "golden", &t->err));
    pmet_summary_report(&s, "post", &e);
    CHECK(e.n_metric == json_object_size(expected) && e.n_metric > 2);
    json_object_foreach((json_t *)(uintptr_t)expected, name, value)
    {
        const struct pmet_metric *m = NULL;
        for (size_t k = 0; k < e.n_metric; k++)
            if (strcmp(e.metric[k].name + strlen("post_"), name) == 0)
                m = &e.metric[k];
        if (!CHECK(m != NULL))
            continue;
        const bool score = json_is_number(value), plain = strcmp(name, "essence_score") == 0;
        const double mean = json_number_value(score ? value : json_object_get(value, "mean")),
                     std = json_number_value(json_object_get(value, "std")),
                     tol = plain ? 1e-12 * mean : 1e-9;
        CHECK_CLOSE(&m->mean, &mean, 1, tol); /* two decimals: equal but for the last bit of a double */
        if (!score)
            CHECK_CLOSE(&m->std, &std, 1, tol);
        CHECK(score || m->n == (size_t)json_integer_value(json_object_get(value, "records")));
    }
}

/* E86, E87 */
TEST(the_summary_of_frozen_evaluations_is_the_published_one)
{
    static const char *const state[] = {"base", "pmet"}, *const kind[] = {"counterfact", "zsre"};
    EACH_GOLDEN (m) {
        struct golden g;
        if (!golden_open(t, &g, m))
            continue;
        const json_t *all = golden_json(t, &g, "summary.json");
        for (size_t i = 0; i < 2; i++) {
            const json_t *found = golden_json(t, &g, test_text(t, "eval.%s.fp64.json", state[i]));
            for (size_t k = 0; k < 2; k++)
                check_summary(t, json_object_get(found, kind[k]),
                              json_object_get(json_object_get(all, state[i]), kind[k]));
        }
    }
}

/* Prompt and target that share a token: rows are tokenised whole, places are not (E80). Targets
 * whose text is cleaned up, or is a part of a character (E82). */
TEST(border_cases_are_judged_by_the_published_rules)
{
    EACH_GOLDEN (m) {
        static struct asked asked;
        struct golden g;
        if (!golden_open(t, &g, m))
            continue;
        json_t *a = golden_json(t, &g, "eval.border.fp32.json"),
               *b = golden_json(t, &g, "eval.border.fp64.json");
        ask_all(t, &g, "border_counterfact.json", &asked);
        CHECK(asked.n == 2);
        check_probs_and_flags(t, &g, &asked, a, b);
        check_greedy_answers(t, &g, &asked);
        asked_free(&asked);
        check_zsre(t, &g, "border_zsre.json", a);
    }
}

/* E84 */
TEST(perplexities_are_the_published_codes)
{
    CHECK(perplexities.n >= 4);
    golden_smooth_values(t, "eval essence_score", "all models", perplexities.got, perplexities.fp32,
                         perplexities.fp64, perplexities.n);
}

TEST(table)
{
    golden_table();
    CHECK(true);
}

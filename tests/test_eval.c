/* SPDX-License-Identifier: MIT
 * Records refused in one line, streams, the summary by hand; pmet eval: its results and its usage. */
#include <unistd.h>
#include "ref/job/eval_job.h"
#include "tests/cli.h"
#include "tests/golden.h"

/* E85: the definition once more. */
static uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

TEST(each_text_has_its_own_stream)
{
    static const uint64_t gamma = 0x9e3779b97f4a7c15u;
    uint64_t first[64];
    size_t n = 0;
    for (uint64_t i = 0; i < 8; i++)
        for (uint64_t j = 0; j < 8; j++) {
            struct pmet_rng a, b;
            pmet_rng_seed_stream(&a, 7, i, j);
            pmet_rng_seed(&b, mixed(mixed(7 + gamma) + i + gamma) + j);
            CHECK(memcmp(&a, &b, sizeof a) == 0);
            first[n++] = pmet_rng_next(&a);
        }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            CHECK(first[i] != first[j]);
}

static const struct pmet_metric *metric(const struct pmet_evaluation *e, const char *name)
{
    for (size_t i = 0; i < e->n_metric; i++)
        if (strcmp(e->metric[i].name, name) == 0)
            return &e->metric[i];
    return NULL;
}

static void check_metric(struct test *t, const struct pmet_evaluation *e, const char *name, double mean,
                         double std, size_t n)
{
    const struct pmet_metric *m = metric(e, name);
    if (!CHECK(m != NULL)) {
        test_fail(t, "no %s", name);
        return;
    }
    CHECK_CLOSE(&m->mean, &mean, 1, 1e-12);
    if (isnan(std))
        CHECK(isnan(m->std));
    else
        CHECK_CLOSE(&m->std, &std, 1, 1e-12);
    CHECK(m->n == n);
}

/* E86, E87: three records, worked out by hand. Record 1 has a tie, which is no success on either
 * side; record 2 has no paraphrases and no text. */
TEST(the_summary_is_the_published_one)
{
    struct pmet_summary s = {0};
    struct pmet_evaluation e = {0};
    static const double low[3] = {0, 0, 0}, high[3] = {1, 1, 1};
    const double mixed_new[3] = {0, 1, 1}, mixed_true[3] = {1, 0, 1};
    for (size_t list = 0; list < 3; list++) { /* record 0: right everywhere */
        pmet_summary_probs(&s, list, list < 2 ? low : high, list < 2 ? high : low, 2);
        pmet_summary_flags(&s, PMET_ACC, list, 2, 2);
    }
    for (size_t list = 0; list < 3; list++) { /* record 1: right, wrong, a tie */
        pmet_summary_probs(&s, list, mixed_new, mixed_true, 3);
        pmet_summary_flags(&s, PMET_ACC, list, 1, 3);
    }
    pmet_summary_probs(&s, 0, high, low, 1); /* record 2: wrong */
    pmet_summary_probs(&s, 1, high, low, 0);
    pmet_summary_probs(&s, 2, low, high, 1);
    pmet_summary_flags(&s, PMET_ACC, 0, 0, 1);
    pmet_summary_flags(&s, PMET_ACC, 1, 0, 0);
    pmet_summary_flags(&s, PMET_ACC, 2, 0, 1);
    pmet_summary_add(&s, PMET_NGRAM_ENTROPY, 6);
    pmet_summary_add(&s, PMET_NGRAM_ENTROPY, 6.5);
    pmet_summary_add(&s, PMET_ESSENCE_SCORE, 12.3456);
    pmet_summary_report(&s, "post", &e);
    /* 1, 1/3, 0: mean 4/9, deviations 5/9, -1/9, -4/9: std sqrt(42/243) = 0.41574 */
    check_metric(t, &e, "post_rewrite_success", 44.44, 41.57, 3);
    check_metric(t, &e, "post_paraphrase_success", 66.67, 33.33, 2);
    check_metric(t, &e, "post_neighborhood_success", 44.44, 41.57, 3);
    /* (1 - 1/e) of records 0 and 2 cancel, record 1's right and wrong cancel */
    check_metric(t, &e, "post_rewrite_diff", 0, 51.61, 3);
    check_metric(t, &e, "post_paraphrase_diff", 31.61, 31.61, 2);
    check_metric(t, &e, "post_rewrite_acc", 44.44, 41.57, 3);
    check_metric(t, &e, "post_ngram_entropy", 625, 25, 2);
    check_metric(t, &e, "post_essence_score", 12.3456, 0, 1);
    check_metric(t, &e, "post_score", 3 / (1 / 44.44 + 1 / 66.67 + 1 / 44.44), (double)NAN, 3);
    CHECK(!metric(&e, "post_reference_score") && !metric(&e, "post_rewrite_greedy"));
    s = (struct pmet_summary){0};
    e = (struct pmet_evaluation){0};
    for (size_t list = 0; list < 3; list++) /* one success is 0, and so is their harmonic mean */
        pmet_summary_probs(&s, list, list == 1 ? high : low, list == 1 ? low : high, 1);
    pmet_summary_report(&s, "post", &e);
    check_metric(t, &e, "post_score", 0, (double)NAN, 1);
}

/* ---- records ---- */

#define REQUEST(prompt)                                                                                      \
    "\"requested_rewrite\":{\"prompt\":\"" prompt "\",\"subject\":\"b\",\"target_new\":{\"str\":\"c\"},"     \
    "\"target_true\":{\"str\":\"d\"}}"
#define PROMPTS(name, list) "\"" name "_prompts\":" list
#define GOOD                                                                                                 \
    "{\"case_id\":7," REQUEST("{} is") "," PROMPTS("paraphrase", "[\"x b\"]") "," PROMPTS(                   \
        "neighborhood", "[\"y\",\"z\"]") "," PROMPTS("generation", "[]") "}"
#define ZSRE(rest) "{\"subject\":\"b\",\"src\":\"Who is b?\",\"answers\":[\"a\"]" rest "}"

#define PLAIN(rest) "{\"prompt\":\"b is\",\"subject\":\"b\",\"target_new\":\"c\"" rest "}"

static enum pmet_status read_text(const char *text, size_t limit, size_t *n, struct pmet_error *err)
{
    const char *path = test_path("records.json");
    struct pmet_records *records = NULL;
    enum pmet_status status;
    bool more = true;
    *err = (struct pmet_error){PMET_OK, ""};
    test_write_file(path, text, strlen(text));
    status = pmet_records_open(pmet_io_system(), path, limit, false, &records, err);
    for (*n = 0; status == PMET_OK;) {
        struct pmet_eval_record record;
        status = pmet_records_next(records, &record, &more, err);
        if (status != PMET_OK || !more)
            break;
        ++*n;
        pmet_eval_record_free(&record);
    }
    pmet_records_close(records);
    return status;
}

TEST(records_that_cannot_be_evaluated_are_refused_by_place)
{
    static const struct {
        const char *text, *message; /* after the file's name */
    } cases[] = {
        {"{\"target_new\":\"c\"}",
         "record 0 (line 1): found no prompt, src or requested_rewrite; expected a fact"},
        {"{" REQUEST("{} is") "," PROMPTS("paraphrase", "7") "}",
         "record 0 (line 1): paraphrase_prompts: found an integer; expected an array of strings"},
        {"{" REQUEST("{} is") "," PROMPTS("paraphrase", "[\"x\",7]") "}",
         "record 0 (line 1): paraphrase_prompts[1]: found an integer; expected a string: \"7\""},
        {"{" REQUEST("{} is") "," PROMPTS("paraphrase", "[\"\"]") "}",
         "record 0 (line 1): paraphrase_prompts[0]: found an empty string; expected text"},
        {"{" REQUEST("{} is {}") "}",
         "record 0 (line 1): requested_rewrite.prompt: found \"{}\" twice; expected it once"},
        {"{\"requested_rewrite\":{\"prompt\":\"{}\",\"subject\":\"b\",\"target_new\":\"c\",\"target_true\":7}"
         "}",
         "record 0 (line 1): requested_rewrite.target_true: found an integer; expected a string: \"7\""},
        {PLAIN(",\"ground_truth\":{\"a\":1}"),
         "record 0 (line 1): ground_truth.str: found nothing; expected a string"},
        {PLAIN(",\"locality\":{\"n\":{\"prompt\":[\"x\",\"y\"],\"ground_truth\":[\"a\"]}}"),
         "record 0 (line 1): locality: found prompts and ground_truth of different lengths; expected an "
         "answer a "
         "prompt"},
        {PLAIN(",\"portability\":\"text\""),
         "record 0 (line 1): portability: found a string; expected prompts and their ground_truth"},
        {PLAIN(",\"locality\":{\"n\":17}"),
         "record 0 (line 1): locality: found an integer; expected prompts and their ground_truth"},
        {PLAIN(",\"portability\":[{\"prompt\":7,\"ground_truth\":\"a\"}]"),
         "record 0 (line 1): portability: prompt: found an integer; expected a string: \"7\""},
        {PLAIN(",\"rephrase_prompt\":{}"),
         "record 0 (line 1): rephrase_prompt: found an object; expected an array of strings"},
        {"{\"requested_rewrite\":{\"prompt\":\"{}\",\"subject\":\"b\",\"target_new\":{\"str\":\"\"}}}",
         "record 0 (line 1): requested_rewrite.target_new.str: found an empty string; expected text"},
        {ZSRE(",\"rephrase\":\"r\",\"loc\":\"who\",\"loc_ans\":\"x\""),
         "record 0 (line 1): loc: found no \"nq question: \"; expected it in the text"},
        {ZSRE(",\"rephrase\":\"r\",\"loc\":\"nq question: who\""),
         "record 0 (line 1): loc_ans: found nothing; expected a string"},
        {ZSRE(",\"rephrase\":\"\xff\""),
         "record 0: line 1 column 61: not JSON: unable to decode byte 0xff near '\"'"},
        {"[" GOOD ",", "record 1 (line 1): found the end of the file; expected an object"},
    };
    struct pmet_error err;
    size_t n;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = test_path("records.json");
        CHECK(read_text(cases[i].text, 0, &n, &err) != PMET_OK);
        CHECK(strncmp(err.message, path, strlen(path)) == 0);
        CHECK_STR(err.message + (strlen(err.message) > strlen(path) + 2 ? strlen(path) + 2 : 0),
                  cases[i].message);
    }
    CHECK_OK(read_text(GOOD GOOD
                       "\n" ZSRE(",\"rephrase\":\"r\",\"loc\":\"nq question: {\",\"loc_ans\":\"x\""),
                       0, &n, &err),
             &err);
    CHECK(n == 3);
    CHECK_OK(read_text(GOOD "{}", 1, &n, &err), &err);
    CHECK(n == 1); /* what comes after the limit is walked over */
}

/* "prompt=answer|..." of a list, "none" where the record does not have it. */
static const char *show(struct test *t, const struct pmet_prompts *list)
{
    const char *text = "";
    if (!list->text)
        return "none";
    for (size_t i = 0; i < list->n; i++)
        text = test_text(t, "%s%s%s%s%s", text, i ? "|" : "", list->text[i], list->answer ? "=" : "",
                         list->answer ? list->answer[i] : "");
    return text;
}

/* The forms of EasyEdit's data: of its README, of KnowEdit (two generations), of its zsRE. */
TEST(a_record_is_read_for_what_it_has)
{
    static const struct {
        const char *text, *was, *paraphrase, *neighborhood, *portability;
    } cases[] = {
        {PLAIN(""), NULL, "none", "none", "none"},
        {"{" REQUEST("{} is") "}", "d", "none", "none", "none"},
        {"{\"requested_rewrite\":" PLAIN("") "}", NULL, "none", "none", "none"},
        {ZSRE(""), NULL, "none", "none", "none"},
        {ZSRE(",\"rephrase\":\"r\""), NULL, "r", "none", "none"},
        {ZSRE(",\"loc\":\"nq question: who\",\"loc_ans\":\"x\",\"portability\":{\"Recalled "
              "Relation\":\"q\",\"New Question\":\"n\",\"New Answer\":\"m\"}"),
         NULL, "none", "nq question: who?=x", "n=m"},
        {PLAIN(",\"ground_truth\":\"d\",\"rephrase_prompt\":\"r\""), "d", "r", "none", "none"},
        {PLAIN(",\"ground_truth\":[[\"d\",\"e\"],[\"f\"]],\"rephrase_prompt\":[\"r\",\"s\"]"), "d", "r|s",
         "none", "none"},
        {PLAIN(",\"ground_truth\":null,\"paraphrase_prompts\":[],\"locality_prompt\":\"l\","
               "\"locality_ground_truth\":\"a\""),
         NULL, "", "l=a", "none"},
        {PLAIN(",\"locality\":{\"neighborhood\":{\"prompt\":[\"l\",\"\",\"m\"],\"ground_truth\":[\"a\",\"\",["
               "\"b\",\"c\"]]"
               "},\"distracting\":{\"prompt\":\"o\",\"ground_truth\":\"p\"}}"),
         NULL, "none", "l=a|m=b|o=p", "none"},
        {PLAIN(",\"locality\":{\"Relation_Specificity\":[{\"prompt\":\"l\",\"ground_truth\":[[\"a\",\"A\"],["
               "\"b\"]]}],"
               "\"Forgetfulness\":[]},\"portability\":{\"Reasoning\":[{\"prompt\":\"p\",\"ground_truth\":[["
               "\"q\"]]},"
               "{\"prompt\":\"r\",\"ground_truth\":[]}],\"Subject_Aliasing\":null}"),
         NULL, "none", "l=a", "p=q"},
        {PLAIN(",\"locality_rs\":[{\"prompt\":\"l\",\"ground_truth\":[[\"a\"]]}],\"locality_f\":NaN,"
               "\"portability_r\":"
               "[{\"prompt\":\"p\",\"ground_truth\":[\"q\"]}],\"portability_s\":\"\""),
         NULL, "none", "l=a", "p=q"},
        {PLAIN(
             ",\"paraphrase_prompts\":[],\"rephrase_prompt\":\"r\",\"neighborhood_prompts\":[],\"loc\":\"l\","
             "\"loc_ans\":\"a\""),
         NULL, "r", "l=a", "none"},
        {PLAIN(",\"portability\":{\"a\":{\"ground_truth\":\"q\"}},\"locality\":\"\""), NULL, "none", "none",
         "none"},
        {PLAIN(",\"target_true\":\"d\",\"neighborhood_prompts\":[\"n\"],\"locality_prompt\":\"l\",\"locality_"
               "ground_truth\":"
               "\"a\""),
         "d", "none", "n", "none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = test_path("records.json");
        struct pmet_records *records = NULL;
        struct pmet_eval_record r;
        bool more;
        test_write_file(path, cases[i].text, strlen(cases[i].text));
        if (!CHECK_DONE(pmet_records_open(pmet_io_system(), path, 0, false, &records, &t->err)))
            continue;
        if (CHECK_DONE(pmet_records_next(records, &r, &more, &t->err)) && CHECK(more)) {
            CHECK_STR(r.fact.target_true ? r.fact.target_true : "none", cases[i].was ? cases[i].was : "none");
            CHECK_STR(show(t, &r.paraphrase), cases[i].paraphrase);
            CHECK_STR(show(t, &r.neighborhood), cases[i].neighborhood);
            CHECK_STR(show(t, &r.portability), cases[i].portability);
        } else
            test_fail(t, "%s", cases[i].text);
        pmet_eval_record_free(&r);
        pmet_records_close(records);
    }
}

TEST(prompts_that_the_model_cannot_take_are_refused_by_place)
{
    struct golden g;
    if (!golden_open(t, &g, 1))
        return;
    const char *path = test_path("long.json");
    char *text = test_alloc(t, 4096);
    snprintf(text, 4096, "%s", "{" REQUEST("{} is") ",\"paraphrase_prompts\":[\"");
    for (size_t i = 0; i < 200; i++)
        strcat(text, " a");
    strcat(text, "\"]," PROMPTS("neighborhood", "[]") "," PROMPTS("generation", "[]") "}");
    test_write_file(path, text, strlen(text));
    struct pmet_records *records = NULL;
    struct pmet_eval_record record;
    struct pmet_verdict verdict;
    struct pmet_questions q = {.tk = g.tk, .config = &g.model->config, .path = "long.json"};
    bool more;
    CHECK_DONE(pmet_records_open(pmet_io_system(), path, 0, false, &records, &t->err));
    CHECK_DONE(pmet_records_next(records, &record, &more, &t->err));
    CHECK_REFUSED(
        pmet_ask(&q, &record, true, &verdict, &t->err), PMET_INPUT,
        "long.json: record 0 (line 1): found a prompt of 200 tokens; the model takes 192: shorten it");
    pmet_verdict_free(&verdict);
    pmet_eval_record_free(&record);
    pmet_records_close(records);
    pmet_questions_free(&q);
}

/* ---- the command ---- */

#define RUN "eval -q --threads 1 --model golden/gptj-C/model --facts golden/gptj-C/counterfact.json"

/* Lines of a file; *n of them. */
static void lines_of(struct test *t, const char *path, char **line, size_t *n)
{
    char *text = test_slurp(t, path, NULL), *save = NULL;
    *n = 0;
    for (char *at = strtok_r(text, "\n", &save); at && *n < 64; at = strtok_r(NULL, "\n", &save))
        line[(*n)++] = at;
}

TEST(results_have_a_header_and_a_line_a_record)
{
    const char *out = test_path("results.jsonl");
    char *line[64] = {NULL};
    size_t n;
    CHECK(cli(NULL, RUN " --decode greedy --generate 1 --top-k 1 --limit 3 --out %s", out) == 0);
    lines_of(t, out, line, &n);
    json_t *header = test_json(t, json_loads(line[0], 0, NULL)),
           *first = test_json(t, json_loads(line[1], 0, NULL)),
           *golden = test_json(t, json_load_file("golden/gptj-C/eval.base.fp64.json", 0, NULL));
    const json_t *post = json_object_get(first, "post"),
                 *expected =
                     json_object_get(json_array_get(json_object_get(golden, "counterfact"), 0), "post");
    CHECK(n == 4 && json_is_object(header) && json_is_object(first));
    CHECK_STR(json_string_value(json_object_get(header, "pmet")), PMET_VERSION);
    CHECK(json_integer_value(json_object_get(json_object_get(header, "facts"), "count")) == 3);
    CHECK(json_equal(json_object_get(post, "text"), json_object_get(expected, "text")));
    CHECK(json_equal(json_object_get(post, "paraphrase_prompts_correct"),
                     json_object_get(expected, "paraphrase_prompts_correct")));
    CHECK(json_array_size(json_object_get(post, "neighborhood_prompts_greedy")) ==
          json_array_size(json_object_get(expected, "neighborhood_prompts_correct")));
    const double got = json_number_value(json_object_get(
                     json_array_get(json_object_get(post, "rewrite_prompts_probs"), 0), "target_new")),
                 want = json_number_value(json_object_get(
                     json_array_get(json_object_get(expected, "rewrite_prompts_probs"), 0), "target_new"));
    CHECK_CLOSE(&got, &want, 1, 1e-4);
    CHECK(access(test_path("results.jsonl.partial"), F_OK) != 0);
}

/* E94: those whose name is the subject, as many as there are. */
TEST(essence_texts_are_a_list)
{
    static const char snippets[] =
        "[{\"relation_id\": \"P36\", \"target_id\": \"Q11633092\", \"samples\": [{\"name\": \"France\", "
        "\"text\": \"Lima is near.\"}, {\"name\": \"Iceland\", \"text\": \"No.\"}, {\"name\": \"France\", "
        "\"text\": \"It is.\"}]}]";
    const char *path = test_path("essence.json"), *out = test_path("essence.jsonl");
    char *line[64] = {NULL};
    size_t n;
    test_write_file(path, snippets, sizeof snippets - 1);
    CHECK(cli(NULL, RUN " --generate 1 --limit 1 --snippets %s --out %s", path, out) == 0);
    lines_of(t, out, line, &n);
    json_t *record = test_json(t, json_loads(line[1], 0, NULL)),
           *want = test_json(t, json_pack("[s, s]", "Lima is near.", "It is."));
    const json_t *post = json_object_get(record, "post");
    CHECK(n == 2 && json_equal(json_object_get(post, "essence_text"), want));
    CHECK(json_number_value(json_object_get(post, "essence_score")) > 1);
}

/* E87 from the published evaluation's own numbers: the mean of the goldens' flags is what the
 * command prints. */
TEST(two_models_are_set_side_by_side)
{
    CHECK(cli(NULL, RUN " --before golden/gptj-C/model --json") == 0);
    json_t *result = test_json(t, json_loads(cli_out(), 0, NULL));
    const json_t *metrics = json_object_get(result, "metrics"),
                 *post = json_object_get(metrics, "post_neighborhood_acc"),
                 *pre = json_object_get(metrics, "pre_neighborhood_acc");
    CHECK(json_is_object(metrics) && json_array_size(post) == 2 && json_equal(post, pre));
    const json_t *change = json_object_get(json_object_get(result, "change"), "neighborhood_acc");
    CHECK(json_is_real(change) && json_real_value(change) == 0);
    json_t *golden = test_json(t, json_load_file("golden/gptj-C/eval.base.fp32.json", 0, NULL));
    const json_t *cases = json_object_get(golden, "counterfact");
    double mean = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *flags = json_object_get(json_object_get(json_array_get(cases, i), "post"),
                                              "neighborhood_prompts_correct");
        double right = 0;
        for (size_t k = 0; k < json_array_size(flags); k++)
            right += json_is_true(json_array_get(flags, k));
        mean += right / (double)json_array_size(flags) / (double)json_array_size(cases);
    }
    const double got = json_number_value(json_array_get(post, 0)), want = 100 * mean;
    CHECK_CLOSE(&got, &want, 1, 0.005 + 1e-9);
    CHECK(cli(NULL, RUN " --before golden/gptj-C/model --limit 2") == 0);
    CHECK(strstr(cli_out(), "change") && strstr(cli_out(), "rewrite_success        efficacy"));
}

/* Four records with less and less, and three that cannot be used: one in each way. */
TEST(metrics_of_nothing_are_absent)
{
    static const char text[] = PLAIN(
        ",\"case_id\":\"q\",\"ground_truth\":\"d\",\"rephrase_prompt\":\"b "
        "was\",\"locality_prompt\":\"e is\","
        "\"locality_ground_truth\":\"f\",\"portability\":[{\"prompt\":\"g "
        "is\",\"ground_truth\":\"h\"}]") "\n"
                                         "{\"a\":nan}\n" PLAIN("") "\n{\"prompt\":7}\n" PLAIN(
                                             ",\"ground_truth\":\"d\"") "\n"
                                                                        "{" REQUEST("{} is") "," PROMPTS(
                                                                            "paraphrase",
                                                                            "[\"\\n\"]") "}\n"
                                                                                         "{\"prompt\":"
                                                                                         "\"b is "
                                                                                         "{}\","
                                                                                         "\"subject\":"
                                                                                         "\"b "
                                                                                         "{}\","
                                                                                         "\"target_"
                                                                                         "new\":\"c\","
                                                                                         "\"rephrase_"
                                                                                         "prompt\":\"%"
                                                                                         "s\"}\n";
    char *all = test_alloc(t, sizeof text + 1024), *many = test_alloc(t, 513);
    for (size_t i = 0; i < 256; i++)
        memcpy(many + 2 * i, " a", 2);
    const int n = snprintf(all, sizeof text + 1024, text, many);
    const char *path = test_path("less.jsonl"), *out = test_path("less.out");
    test_write_file(path, all, (size_t)n);
    CHECK(cli(NULL, "eval -q --model golden/gptj-C/model --facts %s", path) == 1);
    CHECK(strstr(cli_err(), "less.jsonl: record 1: line 2 column 8: not JSON"));
    CHECK(cli(NULL,
              "eval -q --json --decode greedy --skip-invalid --model golden/gptj-C/model --facts %s --out %s",
              path, out) == 0);
    CHECK(strstr(cli_err(), "less.jsonl: record 6 (line 7): left out: found a prompt of "));
    CHECK(strstr(cli_err(), "less.jsonl: 3 invalid records are left out (--skip-invalid)\n"));
    json_t *report = test_json(t, json_loads(cli_out(), 0, NULL));
    const json_t *metrics = json_object_get(report, "metrics"),
                 *facts = json_object_get(json_object_get(report, "header"), "facts");
    CHECK(json_integer_value(json_object_get(report, "records")) == 4);
    CHECK(json_integer_value(json_object_get(facts, "count")) == 4);
    CHECK(json_array_size(json_object_get(facts, "skipped")) == 3);
    CHECK(json_object_get(metrics, "post_rewrite_acc") && json_object_get(metrics, "post_rewrite_success"));
    CHECK(json_object_get(metrics, "post_portability_acc") &&
          json_object_get(metrics, "post_portability_greedy"));
    CHECK(json_object_get(metrics, "post_neighborhood_acc") &&
          json_object_get(metrics, "post_paraphrase_acc"));
    CHECK(!json_object_get(metrics, "post_neighborhood_success") && !json_object_get(metrics, "post_score"));
    cli_shell("grep -q '^{\"case_id\":\"q\".*\"portability_prompts_correct\":\\[' %s", out);
    cli_shell("test $(grep -c 'paraphrase_prompts_correct' %s) = 2", out);
    cli_shell("test $(grep -c 'rewrite_prompts_probs.*target_true' %s) = 3", out);
    cli_shell("test $(grep -c 'neighborhood_prompts_probs' %s) = 0", out);
    CHECK(cli(NULL, "eval -q --skip-invalid --model golden/gptj-C/model --facts %s", path) == 0);
    CHECK(strstr(cli_out(), "rewrite_acc ") && strstr(cli_out(), "       4\n"));
    CHECK(strstr(cli_out(), "rewrite_success ") && strstr(cli_out(), "       3\n"));
    CHECK(!strstr(cli_out(), "neighborhood_success"));
    /* texts without ids by which snippets are found: written, and not compared */
    test_write_text(path, PLAIN(",\"generation_prompts\":[\"b was\"]"));
    CHECK(cli(NULL,
              "eval -q --generate 1 --snippets golden/gptj-C/attribute_snippets.json --model "
              "golden/gptj-C/model --facts %s",
              path) == 0);
    CHECK(strstr(cli_err(),
                 "has nothing about the new object of 1 of 1 records; they get no reference_score\n"));
    CHECK(strstr(cli_out(), "ngram_entropy") && !strstr(cli_out(), "reference_score"));
}

TEST(usage)
{
    static const struct {
        const char *line, *message;
        int status;
    } cases[] = {
        {"eval --facts f", "--model DIR is missing; see pmet eval --help", 2},
        {"eval --model m", "--facts FILE is missing; see pmet eval --help", 2},
        {"eval --model m --after n --facts f",
         "--after n: is the same as --model; found both; see pmet eval --help", 2},
        {"eval --model m --facts f --top-k 0", "--top-k: found 0; expected at least 1; see pmet eval --help",
         2},
        {"eval --model m --facts f --decode beam",
         "--decode: found \"beam\"; expected published|greedy; see pmet eval --help", 2},
        {RUN " --out golden/gptj-C/counterfact.json",
         "golden/gptj-C/counterfact.json: is used for the facts; expected another path", 1},
        {"eval -q --model golden/gptj-C/model --facts -",
         "standard input: found a pipe or a device; expected a file, since records are read twice: write "
         "them to "
         "one first",
         1},
        {"eval -q --model golden/gptj-C/model --facts /dev/null",
         "/dev/null: found a pipe or a device; expected a file, since records are read twice: write them to "
         "one "
         "first",
         1},
        {"eval -q --model golden/gptj-C/model --facts golden/gptj-C/none.json",
         "golden/gptj-C/none.json: open: No such file or directory", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(cli(NULL, "%s", cases[i].line) == cases[i].status);
        CHECK_STR(cli_err(), test_text(t, "pmet eval: %s\n", cases[i].message));
        CHECK_STR(cli_out(), "");
    }
    CHECK(cli(NULL, "eval --help") == 0 && strstr(cli_out(), "--before DIR"));
}

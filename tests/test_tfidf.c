/* SPDX-License-Identifier: MIT
 * TF-IDF and attribute snippets: the goldens' similarities, weights made anew, what is refused in
 * which words. SPEC §11.7 */
#include <errno.h>
#include <jansson.h>
#include "ref/text/entropy.h"
#include "ref/text/snippets.h"
#include "ref/text/tfidf.h"
#include "tests/fault.h"
#include "tests/fuzz.h"

static const char *const models[] = {"gptj-A", "gptj-C", "neox-A", "neox-C"};

static const char *golden_path(struct test *t, size_t m, const char *file)
{
    return test_text(t, "golden/%s/%s", models[m], file);
}

static void close_tfidf(void *tfidf)
{
    pmet_tfidf_close(tfidf);
}

/* Closed when the claim ends. */
static struct pmet_tfidf *open_golden(struct test *t, size_t m)
{
    struct pmet_tfidf *tfidf = NULL;
    CHECK_DONE(pmet_tfidf_open(pmet_io_system(), golden_path(t, m, ""), &tfidf, &t->err));
    return test_own(t, tfidf, close_tfidf);
}

static double cosine(struct test *t, const struct pmet_tfidf *tfidf, const char *a, const char *b)
{
    double value = 0;
    CHECK_DONE(pmet_tfidf_cosine(tfidf, a, strlen(a), b, strlen(b), &value, &t->err));
    return value;
}

static const char *string(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

/* E91, E92. */
TEST(similarities_are_the_published_ones)
{
    for (size_t m = 0; m < 4; m++) {
        struct pmet_tfidf *tfidf = open_golden(t, m);
        json_t *g = test_json(t, json_load_file(golden_path(t, m, "text_metrics.fp32.json"), 0, NULL)), *one;
        size_t i;
        CHECK(json_array_size(json_object_get(g, "tfidf")) == 5);
        json_array_foreach(json_object_get(g, "tfidf"), i, one)
        {
            const double got = cosine(t, tfidf, string(one, "a"), string(one, "b")),
                         expected = json_number_value(json_object_get(one, "value"));
            CHECK_CLOSE(&got, &expected, 1, 1e-12);
        }
    }
}

/* E93: what scikit-learn made of the same snippets. */
TEST(weights_made_of_the_snippets_are_the_published_ones)
{
    for (size_t m = 0; m < 4; m++) {
        struct pmet_tfidf *published = open_golden(t, m), *made = NULL;
        json_t *vocabulary = test_json(t, json_load_file(golden_path(t, m, "tfidf_vocab.json"), 0, NULL)),
               *column;
        const char *term;
        CHECK_DONE(
            pmet_tfidf_build(pmet_io_system(), golden_path(t, m, "attribute_snippets.json"), &made, &t->err));
        CHECK(pmet_tfidf_size(made) == pmet_tfidf_size(published) && json_object_size(vocabulary) > 300);
        json_object_foreach(vocabulary, term, column)
        {
            const double got = pmet_tfidf_weight(made, term), expected = pmet_tfidf_weight(published, term);
            CHECK(expected > 0);
            CHECK_CLOSE(&got, &expected, 1, 1e-14);
        }
        pmet_tfidf_close(made);
    }
}

/* The published evaluation from its own texts on: fluency and consistency of the records that have
 * them, and the essence texts. */
TEST(texts_of_the_published_evaluation_score_as_published)
{
    for (size_t m = 0; m < 4; m++)
        for (size_t state = 0; state < 2; state++) {
            struct pmet_tfidf *tfidf = open_golden(t, m);
            json_t *cases = test_json(t, json_load_file(golden_path(t, m, "counterfact.json"), 0, NULL));
            json_t *eval = test_json(
                t, json_load_file(golden_path(t, m, state ? "eval.pmet.fp32.json" : "eval.base.fp32.json"), 0,
                                  NULL));
            json_t *one;
            struct pmet_snippet_query query[16];
            struct pmet_snippets s = {0};
            size_t i, n_scored = 0, n_essence = 0;
            if (!CHECK(json_array_size(cases) == 10))
                return;
            json_array_foreach(cases, i, one)
            {
                const json_t *r = json_object_get(one, "requested_rewrite");
                query[i] = (struct pmet_snippet_query){string(r, "relation_id"),
                                                       string(json_object_get(r, "target_new"), "id"),
                                                       string(r, "subject")};
            }
            CHECK_DONE(pmet_snippets_load(pmet_io_system(), golden_path(t, m, "attribute_snippets.json"),
                                          query, 10, &s, &t->err));
            json_array_foreach(json_object_get(eval, "counterfact"), i, one)
            {
                const json_t *post = json_object_get(one, "post"), *texts = json_object_get(post, "text");
                const json_t *essence = json_object_get(post, "essence_text");
                const double fluency = json_number_value(json_object_get(post, "ngram_entropy")),
                             consistency = json_number_value(json_object_get(post, "reference_score"));
                char joined[4096] = "";
                double mean = 0;
                if (!texts)
                    continue;
                for (size_t k = 0; k < json_array_size(texts); k++) {
                    const char *text = json_string_value(json_array_get(texts, k));
                    struct pmet_words w;
                    double value = 0;
                    snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", k ? " " : "",
                             text);
                    CHECK_DONE(pmet_words(text, strlen(text), &w, &t->err));
                    CHECK_DONE(pmet_ngram_entropy(&w, &value, &t->err));
                    mean += value / (double)json_array_size(texts);
                    pmet_words_free(&w);
                }
                const double got =
                    s.answer[i].reference ? cosine(t, tfidf, joined, s.answer[i].reference) : -1;
                CHECK_CLOSE(&mean, &fluency, 1, 1e-12);
                CHECK_CLOSE(&got, &consistency, 1, 1e-12);
                CHECK(!essence == !s.answer[i].essence);
                if (essence)
                    CHECK_STR(s.answer[i].essence, json_string_value(json_array_get(essence, 0)));
                n_scored++;
                n_essence += essence != NULL;
            }
            CHECK(n_scored == 3 && n_essence == 1);
            pmet_snippets_free(&s);
        }
}

static const char *file_of(const char *name, const void *data, size_t n)
{
    const char *path = test_path("%s", name);
    test_write_file(path, data, n);
    return path;
}

static const char small[] =
    "[{\"relation_id\": \"P1\", \"target_id\": \"Q1\", \"samples\": [{\"name\": \"a\", \"text\": "
    "\"Caf\xc3\xa9 noir\", \"id\": 3}, {\"name\": \"b\", \"text\": \"x1\"}]},\n"
    " {\"relation_id\": \"P1\", \"target_id\": \"Q2\", \"samples\": []},\n"
    " {\"relation_id\": \"P1\", \"target_id\": \"Q1\", \"samples\": [{\"name\": \"a\", \"text\": \"\"}, "
    "{\"name\": \"a\", \"text\": \"noir NOIR\"}]},\n"
    " {\"relation_id\": \"P2\", \"target_id\": \"Q1\", \"samples\": [{\"name\": \"\\u03a3\", \"text\": "
    "\"\\u039f\\u03a3 \\u0130x_1 e\\u0301t\\u00e9\"}]}]";

/* E94: in the file's order, over all elements of the pair. */
TEST(snippets_are_joined_in_the_files_order)
{
    static const struct pmet_snippet_query query[] = {{"P1", "Q1", "b"}, {"P1", "Q1", "a"}, {"P1", "Q2", "a"},
                                                      {"P3", "Q1", "a"}, {"P1", "Q1", "a"}, {"P1", "Q1", "c"},
                                                      {"P2", "Q1", "a"}};
    struct pmet_snippets s;
    const char *path = file_of("snippets.json", small, sizeof small - 1);
    if (!CHECK_DONE(pmet_snippets_load(pmet_io_system(), path, query, 7, &s, &t->err)))
        return;
    for (size_t i = 0; i < 7; i++) {
        const bool same = strcmp(query[i].relation_id, "P1") == 0 && strcmp(query[i].target_id, "Q1") == 0;
        if (same)
            CHECK_STR(s.answer[i].reference, "Caf\xc3\xa9 noir x1  noir NOIR");
        else
            CHECK(!s.answer[i].reference == (i != 6));
    }
    CHECK_STR(s.answer[0].essence, "x1");
    CHECK(s.answer[0].n_essence == 1 && s.answer[1].n_essence == 3);
    CHECK(memcmp(s.answer[1].essence, "Caf\xc3\xa9 noir\0\0noir NOIR", 22) == 0);
    CHECK(s.answer[4].essence == s.answer[1].essence && s.answer[4].reference == s.answer[0].reference);
    CHECK(!s.answer[2].essence && !s.answer[3].essence && !s.answer[5].essence && !s.answer[6].essence);
    CHECK(strlen(s.sha256) == 64);
    pmet_snippets_free(&s);
    CHECK_DONE(pmet_snippets_load(pmet_io_system(), path, NULL, 0, &s, &t->err));
    CHECK(s.n == 0);
    pmet_snippets_free(&s);
}

/* E91, E93 by hand: five texts; \w\w+ in lower case, a final sigma, a capital I with a dot (two
 * points, the second no word), a combining accent (no word, either). */
TEST(terms_and_weights_by_hand)
{
    struct pmet_tfidf *tfidf = NULL;
    const char *path = file_of("snippets.json", small, sizeof small - 1);
    static const struct {
        const char *term;
        double n_doc;
    } terms[] = {{"caf\xc3\xa9", 1},      {"noir", 2}, {"x1", 1},
                 {"\xce\xbf\xcf\x82", 1}, {"x_1", 1},  {"t\xc3\xa9", 1}};
    if (!CHECK_DONE(pmet_tfidf_build(pmet_io_system(), path, &tfidf, &t->err)))
        return;
    CHECK(pmet_tfidf_size(tfidf) == 6);
    for (size_t i = 0; i < 6; i++) {
        const double got = pmet_tfidf_weight(tfidf, terms[i].term),
                     expected = log(6 / (1 + terms[i].n_doc)) + 1;
        CHECK_CLOSE(&got, &expected, 1, 1e-15);
    }
    CHECK(pmet_tfidf_weight(tfidf, "i") == 0 && pmet_tfidf_weight(tfidf, "cafe") == 0);
    const double one = 1, zero = 0, a = log(3.0) + 1, b = log(2.0) + 1,
                 expected = 2 * b / sqrt(a * a + 4 * b * b);
    double got = cosine(t, tfidf, "Noir: CAF\xc3\x89, noir!", "noir");
    CHECK_CLOSE(&got, &expected, 1, 1e-15);
    got = cosine(t, tfidf, "x1 and x1", "X1");
    CHECK_CLOSE(&got, &one, 1, 1e-15);
    got = cosine(t, tfidf, "x1", "noir noir");
    CHECK_CLOSE(&got, &zero, 1, 0);
    CHECK(isnan(cosine(t, tfidf, "nothing known", "noir")) && isnan(cosine(t, tfidf, "", "")));
    pmet_tfidf_close(tfidf);
    pmet_tfidf_close(NULL);
}

/* ---- refusals ---- */

static void refuse_snippets(struct test *t, const char *text, enum pmet_status status, const char *message)
{
    static const struct pmet_snippet_query query = {"P1", "Q1", "a"};
    struct pmet_snippets s;
    struct pmet_tfidf *tfidf = NULL;
    const char *path = file_of("snippets.json", text, strlen(text));
    for (size_t k = 0; k < 2; k++) {
        struct pmet_error err = {PMET_OK, ""};
        CHECK((k ? pmet_tfidf_build(pmet_io_system(), path, &tfidf, &err)
                 : pmet_snippets_load(pmet_io_system(), path, &query, 1, &s, &err)) == status);
        CHECK_STR(strstr(err.message, "snippets.json"), message);
    }
    CHECK(!tfidf && !s.answer && !s.text);
}

TEST(snippets_that_are_broken_are_refused)
{
    refuse_snippets(t, "[{\"relation_id\": \"P1\", \"target_id\": \"Q1\", \"samples\": [}]", PMET_FORMAT,
                    "snippets.json: record 0: line 1 column 54: not JSON: unexpected token near '}'");
    refuse_snippets(t, "[{\"relation_id\": \"P1\", \"target_id\": \"Q1\", \"samples\": []}", PMET_FORMAT,
                    "snippets.json: record 1 (line 1): found the end of the file; expected ',' or ']'");
    refuse_snippets(t, "[7]", PMET_FORMAT, "snippets.json: record 0 (line 1): found '7'; expected an object");
    refuse_snippets(
        t, "[{\"relation_id\": \"P1\", \"target_id\": \"Q1\", \"samples\": []},\n {\"target_id\": \"Q1\"}]",
        PMET_INPUT, "snippets.json: record 1 (line 2): relation_id: found nothing; expected a string");
    refuse_snippets(t, "[{\"relation_id\": \"P1\", \"target_id\": 1}]", PMET_INPUT,
                    "snippets.json: record 0 (line 1): target_id: found an integer; expected a string");
    refuse_snippets(
        t, "[{\"relation_id\": \"P1\", \"target_id\": \"Q1\", \"samples\": {}}]", PMET_INPUT,
        "snippets.json: record 0 (line 1): samples: found an object; expected an array of objects");
    refuse_snippets(t, "[{\"relation_id\": \"P1\", \"target_id\": \"Q1\", \"samples\": [\"x\"]}]", PMET_INPUT,
                    "snippets.json: record 0 (line 1): samples[0]: found a string; expected an object");
    refuse_snippets(t,
                    "[{\"relation_id\": \"P1\", \"target_id\": \"Q1\", \"samples\": [{\"name\": \"a\", "
                    "\"text\": \"b\"}, {\"name\": \"a\"}]}]",
                    PMET_INPUT,
                    "snippets.json: record 0 (line 1): samples[1].text: found nothing; expected a string");
    refuse_snippets(t, "[{\"relation_id\": \"P1\", \"target_id\": \"Q1\", \"samples\": [{\"text\": \"b\"}]}]",
                    PMET_INPUT,
                    "snippets.json: record 0 (line 1): samples[0].name: found nothing; expected a string");
    refuse_snippets(
        t,
        "[{\"relation_id\": \"P1\", \"target_id\": \"Q1\", \"samples\": [{\"name\": \"a\", \"text\": "
        "\"\xff\"}]}]",
        PMET_FORMAT,
        "snippets.json: record 0: line 1 column 76: not JSON: unable to decode byte 0xff near '\"'");
}

TEST(snippets_without_words_make_no_weights)
{
    struct pmet_tfidf *tfidf = NULL;
    const char *path = file_of("snippets.json", "[]", 2);
    CHECK(pmet_tfidf_build(pmet_io_system(), path, &tfidf, &t->err) == PMET_INPUT && !tfidf);
    CHECK_STR(strstr(t->err.message, "snippets.json"), "snippets.json: holds no words");
}

/* idf.npy of n elements of a type, in the shape given; "weights" of which 1 + i / 2. */
static void write_weights(const char *descr, const char *shape, size_t n, double last)
{
    char file[80 + 8 * 16] = "\x93NUMPY\x01";
    const size_t n_header = 70;
    double weight[16];
    for (size_t i = 0; i < n; i++)
        weight[i] = 1 + (double)i / 2;
    weight[n - 1] = last;
    file[8] = (char)n_header;
    memset(file + 10, ' ', n_header);
    const int length =
        snprintf(file + 10, n_header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);
    file[10 + length] = ' ';
    file[10 + n_header - 1] = '\n';
    memcpy(file + 10 + n_header, weight, n * sizeof *weight);
    test_write_file(test_path("idf.npy"), file, 10 + n_header + n * sizeof *weight);
}

static enum pmet_status open_written(const char *vocabulary, struct pmet_error *err)
{
    struct pmet_tfidf *tfidf = NULL;
    test_write_file(test_path("tfidf_vocab.json"), vocabulary, strlen(vocabulary));
    *err = (struct pmet_error){PMET_OK, ""};
    const enum pmet_status status = pmet_tfidf_open(pmet_io_system(), test_tmpdir(), &tfidf, err);
    pmet_tfidf_close(tfidf);
    return status;
}

static void refuse_tfidf(struct test *t, const char *vocabulary, enum pmet_status status, const char *message)
{
    struct pmet_error err;
    CHECK(open_written(vocabulary, &err) == status);
    const char *file = strstr(err.message, strncmp(message, "idf", 3) == 0 ? "idf.npy" : "tfidf_vocab.json");
    CHECK_STR(file ? file : err.message, message);
}

TEST(weights_and_vocabularies_that_do_not_fit_are_refused)
{
    struct pmet_error err;
    write_weights("<f8", "(2,)", 2, 5);
    CHECK_OK(open_written("{\"a\": 0, \"b\": 1}", &err), &err);
    refuse_tfidf(t, "[1]", PMET_FORMAT,
                 "tfidf_vocab.json: found an array; expected an object, term to column");
    refuse_tfidf(t, "{\"a\": 0}", PMET_FORMAT, "tfidf_vocab.json: found 1 terms; idf.npy has 2 weights");
    refuse_tfidf(t, "{\"a\": 0, \"b\": \"1\"}", PMET_FORMAT,
                 "tfidf_vocab.json: \"b\": found a string; expected a column");
    refuse_tfidf(t, "{\"a\": 0, \"b\": 2}", PMET_FORMAT,
                 "tfidf_vocab.json: \"b\": found column 2; idf.npy has 2 weights");
    refuse_tfidf(t, "{\"a\": 0, \"b\": -1}", PMET_FORMAT,
                 "tfidf_vocab.json: \"b\": found column -1; idf.npy has 2 weights");
    refuse_tfidf(t, "{\"a\": 1, \"b\": 1}", PMET_FORMAT,
                 "tfidf_vocab.json: \"b\": found column 1, which another term has, too");
    write_weights("<f8", "(1, 2)", 2, 5);
    CHECK_OK(open_written("{\"a\": 0, \"b\": 1}", &err), &err);
    write_weights("<f8", "(2, 1)", 2, 5);
    refuse_tfidf(t, "{\"a\": 0, \"b\": 1}", PMET_FORMAT, "idf.npy: found 2 dimensions; expected one row");
    write_weights("<f8", "(3,)", 2, 5);
    refuse_tfidf(t, "{\"a\": 0, \"b\": 1}", PMET_FORMAT,
                 "idf.npy: found 16 bytes of data; its shape and type take 24");
    write_weights("<f4", "(4,)", 2, 5);
    refuse_tfidf(t, "{\"a\": 0, \"b\": 1}", PMET_UNSUPPORTED, "idf.npy: found another type; expected <f8");
    write_weights("<f8", "(2,)", 2, (double)INFINITY);
    refuse_tfidf(t, "{\"a\": 0, \"b\": 1}", PMET_FORMAT, "idf.npy: element 1 is not finite");
    test_write_file(test_path("idf.npy"), "numbers", 7);
    refuse_tfidf(t, "{\"a\": 0, \"b\": 1}", PMET_FORMAT, "idf.npy: found no .npy header of a plain array");
}

/* ---- damage and failing calls ---- */

static enum pmet_status load_snippets(const char *path, struct pmet_error *err)
{
    static const struct pmet_snippet_query query[] = {{"P1", "Q1", "a"}, {"P2", "Q1", "a"}};
    struct pmet_snippets s;
    const enum pmet_status status = pmet_snippets_load(pmet_io_system(), path, query, 2, &s, err);
    if (status == PMET_OK)
        pmet_snippets_free(&s);
    return status;
}

static enum pmet_status build(const char *path, struct pmet_error *err)
{
    struct pmet_tfidf *tfidf = NULL;
    PMET_TRY(pmet_tfidf_build(pmet_io_system(), path, &tfidf, err));
    pmet_tfidf_close(tfidf);
    return PMET_OK;
}

/* The file takes the place of one of the two; the other is neox-A's. */
static enum pmet_status open_beside(const char *name, const char *path, struct pmet_error *err)
{
    struct pmet_tfidf *tfidf = NULL;
    rename(path, test_path("%s", name));
    PMET_TRY(pmet_tfidf_open(pmet_io_system(), test_tmpdir(), &tfidf, err));
    pmet_tfidf_close(tfidf);
    return PMET_OK;
}

static enum pmet_status open_weights(const char *path, struct pmet_error *err)
{
    return open_beside("idf.npy", path, err);
}

static enum pmet_status open_vocabulary(const char *path, struct pmet_error *err)
{
    return open_beside("tfidf_vocab.json", path, err);
}

static char *read_golden(struct test *t, const char *file, size_t *n)
{
    char *text = NULL;
    CHECK_DONE(pmet_read_file(pmet_io_system(), golden_path(t, 2, file), SIZE_MAX, &text, n, &t->err));
    return text;
}

TEST(damaged_files_are_refused_in_one_line_or_read)
{
    size_t n_idf, n_vocabulary;
    char *idf = read_golden(t, "idf.npy", &n_idf);
    char *vocabulary = read_golden(t, "tfidf_vocab.json", &n_vocabulary);
    test_write_file(test_path("tfidf_vocab.json"), vocabulary, n_vocabulary);
    CHECK(fuzz(t, idf, n_idf, 300, 1, open_weights) < 300);
    test_write_file(test_path("idf.npy"), idf, n_idf);
    CHECK(fuzz(t, vocabulary, n_vocabulary, 200, 2, open_vocabulary) < 200);
    CHECK(fuzz(t, small, sizeof small - 1, 300, 3, load_snippets) < 300);
    CHECK(fuzz(t, small, sizeof small - 1, 300, 4, build) < 300);
    free(idf);
    free(vocabulary);
}

TEST(a_system_call_that_fails_is_reported)
{
    for (size_t what = 0; what < 3; what++)
        for (size_t k = 0; k < 100; k++) {
            static const struct pmet_snippet_query query = {"P1", "Q1", "a"};
            struct fault f;
            struct pmet_error err = {PMET_OK, ""};
            struct pmet_tfidf *tfidf = NULL;
            struct pmet_snippets s = {0};
            const char *path = golden_path(t, 0, "attribute_snippets.json");
            fault_begin(&f, k, EIO);
            const enum pmet_status status = what == 0 ? pmet_tfidf_open(&f.io, "golden/gptj-A", &tfidf, &err)
                                            : what == 1
                                                ? pmet_tfidf_build(&f.io, path, &tfidf, &err)
                                                : pmet_snippets_load(&f.io, path, &query, 1, &s, &err);
            if (status == PMET_OK) {
                pmet_tfidf_close(tfidf);
                pmet_snippets_free(&s);
            }
            if (!f.fired) {
                CHECK(status == PMET_OK && k >= 2);
                break;
            }
            CHECK(status == PMET_IO && strstr(err.message, strerror(EIO)));
        }
}

/* SPDX-License-Identifier: MIT
 * Words, sentences and n-gram entropy: what nltk makes of the same texts.      SPEC §11.7 */
#include <jansson.h>
#include "ref/text/entropy.h"
#include "ref/text/points.h"
#include "tests/test.h"

enum { N_BORDER = 66 }; /* texts of golden/nltk/borders.json */

typedef enum pmet_status cutter(const char *text, size_t n, struct pmet_words *out, struct pmet_error *err);

static bool equals(const struct pmet_words *w, const json_t *expected)
{
    bool same = json_is_array(expected) && json_array_size(expected) == w->n;
    for (size_t i = 0; same && i < w->n; i++) {
        const json_t *e = json_array_get(expected, i);
        same = json_string_length(e) == w->piece[i].n &&
               memcmp(json_string_value(e), w->text.data + w->piece[i].start, w->piece[i].n) == 0;
    }
    return same;
}

static bool cut_equals(struct test *t, cutter *cut, const json_t *text, const json_t *expected)
{
    struct pmet_words w;
    bool same = CHECK_DONE(cut(json_string_value(text), json_string_length(text), &w, &t->err));
    same = same && equals(&w, expected);
    pmet_words_free(&w);
    return same;
}

static void check_texts(struct test *t, const char *path, size_t n)
{
    json_t *all = test_json(t, json_load_file(path, 0, NULL)), *one;
    size_t i;
    CHECK(json_array_size(all) == n);
    json_array_foreach(all, i, one)
    {
        const json_t *text = json_object_get(one, "text");
        if (!cut_equals(t, pmet_treebank, text, json_object_get(one, "treebank")))
            test_fail(t, "text %zu: other words by the rules alone", i);
        if (!cut_equals(t, pmet_sentences, text, json_object_get(one, "sentences")))
            test_fail(t, "text %zu: other sentences", i);
        if (!cut_equals(t, pmet_words, text, json_object_get(one, "words")))
            test_fail(t, "text %zu: other words", i);
    }
}

/* E88, E89: texts full of marks, quotes, contractions and abbreviations, and speeches, as nltk
 * 3.8.1 cut them. */
TEST(words_and_sentences_are_those_of_nltk)
{
    check_texts(t, "golden/nltk/words.json", 197);
}

/* Each tells one reading of a rule from another: what a match takes with it, which case, which
 * order. */
TEST(border_cases_are_cut_as_nltk_does)
{
    check_texts(t, "golden/nltk/borders.json", N_BORDER);
}

static const char *const models[] = {"gptj-A", "gptj-C", "neox-A", "neox-C"};

static json_t *text_metrics(struct test *t, size_t m)
{
    json_t *g = json_load_file(test_text(t, "golden/%s/text_metrics.fp32.json", models[m]), 0, NULL);
    CHECK(json_is_object(g));
    return g;
}

/* Those goldens were made with nltk 3.10.4, which leaves 'tis whole. */
TEST(words_of_the_goldens_differ_by_the_known_contraction_only)
{
    for (size_t m = 0; m < 4; m++) {
        json_t *g = text_metrics(t, m), *one;
        size_t i, n_other = 0;
        CHECK(json_array_size(json_object_get(g, "texts")) == 15);
        json_array_foreach(json_object_get(g, "texts"), i, one)
        {
            const json_t *text = json_object_get(one, "text");
            const bool tis = strstr(json_string_value(text), "'tis") != NULL;
            CHECK(cut_equals(t, pmet_sentences, text, json_object_get(one, "sentences")));
            CHECK(cut_equals(t, pmet_treebank, text, json_object_get(one, "treebank_only")));
            CHECK(cut_equals(t, pmet_words, text, json_object_get(one, "tokens")) == !tis);
            n_other += tis;
        }
        CHECK(n_other == 1);
        json_decref(g);
    }
}

/* Words given as JSON strings. */
static double entropy_of(struct test *t, const json_t *words)
{
    struct pmet_words w = {0};
    double value = -1;
    for (size_t i = 0; i < json_array_size(words); i++) {
        struct pmet_points p = {0};
        const json_t *word = json_array_get(words, i);
        CHECK_DONE(pmet_points_decode(json_string_value(word), json_string_length(word), &p, &t->err));
        CHECK_DONE(pmet_words_add(&w, p.c, p.n, &t->err));
        free(p.c);
    }
    CHECK_DONE(pmet_ngram_entropy(&w, &value, &t->err));
    pmet_words_free(&w);
    return value;
}

/* E90 on the goldens' own words, then on their texts: 'tis apart from the rest changes no count. */
TEST(entropies_are_the_published_ones)
{
    for (size_t m = 0; m < 4; m++) {
        json_t *g = text_metrics(t, m), *one;
        size_t i;
        double mean = 0, expected = json_real_value(json_object_get(g, "mean_entropy_of_first_3"));
        json_array_foreach(json_object_get(g, "texts"), i, one)
        {
            const json_t *text = json_object_get(one, "text");
            const double value = json_number_value(json_object_get(one, "n_gram_entropy"));
            double got = entropy_of(t, json_object_get(one, "tokens"));
            struct pmet_words w;
            CHECK_CLOSE(&got, &value, 1, 1e-12);
            CHECK_DONE(pmet_words(json_string_value(text), json_string_length(text), &w, &t->err));
            CHECK_DONE(pmet_ngram_entropy(&w, &got, &t->err));
            CHECK_CLOSE(&got, &value, 1, 1e-12);
            mean += i < 3 ? got / 3 : 0;
            pmet_words_free(&w);
        }
        CHECK_CLOSE(&mean, &expected, 1, 1e-12);
        json_decref(g);
    }
}

TEST(short_texts_have_the_entropy_of_the_orders_they_reach)
{
    static const struct {
        const char *text;
        double entropy;
    } vectors[] = {{"", 0},
                   {"a", 0},
                   {"a b", 0},
                   {"a b c", 1 / 3.0},
                   {"a b a", 1 / 3.0},
                   {"a a a a", 0},
                   {"a b a b a b c", 1.4591479170272448 / 3 + 1.5219280948873621 / 1.5}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct pmet_words w;
        double got = -1;
        CHECK_DONE(pmet_words(vectors[i].text, strlen(vectors[i].text), &w, &t->err));
        CHECK_DONE(pmet_ngram_entropy(&w, &got, &t->err));
        CHECK_CLOSE(&got, &vectors[i].entropy, 1, 1e-12);
        pmet_words_free(&w);
    }
}

/* E91 */
static enum pmet_status keep_term(void *user, const char *term, size_t n, struct pmet_error *err)
{
    (void)err;
    json_array_append_new(user, json_stringn(term, n));
    return PMET_OK;
}

TEST(terms_are_those_of_the_reference)
{
    json_t *root = test_json(t, json_load_file("golden/unicode/terms.json", 0, NULL)), *one;
    size_t i;
    CHECK(json_array_size(json_object_get(root, "texts")) == 8);
    json_array_foreach(json_object_get(root, "texts"), i, one)
    {
        const json_t *text = json_object_get(one, "text");
        json_t *got = test_json(t, json_array());
        CHECK_DONE(pmet_terms(json_string_value(text), json_string_length(text), keep_term, got, &t->err));
        if (!CHECK(json_equal(got, json_object_get(one, "terms"))))
            test_fail(t, "text %zu: other terms", i);
    }
}

TEST(classes_hold_as_many_points_as_those_of_the_reference)
{
    json_t *root = test_json(t, json_load_file("golden/unicode/terms.json", 0, NULL));
    const json_t *counts = json_object_get(root, "counts");
    json_int_t n[6] = {0};
    static const char *const class[6] = {"\\w", "\\s", "\\d", "capital", "small", "lower differs"};
    for (int32_t c = 0; c < 0x110000; c++) {
        int32_t second = 0;
        if (c >= 0xd800 && c < 0xe000)
            continue;
        n[0] += pmet_is_wordlike(c);
        n[1] += pmet_is_blank(c);
        n[2] += pmet_is_decimal(c);
        n[3] += pmet_is_upper(c);
        n[4] += pmet_is_lower(c);
        n[5] += pmet_lower(&c, 1, 0, &second) != c;
    }
    for (size_t k = 0; k < 6; k++)
        if (!CHECK(n[k] == json_integer_value(json_object_get(counts, class[k]))))
            test_fail(t, "%s: %d points", class[k], (int)n[k]);
}

/* Every code point: \w, \d, \s, capital, small, and lower case, hashed; the number is Python
 * 3.11's. */
TEST(classes_and_lower_case_are_those_of_the_reference)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (int32_t c = 0; c < 0x110000; c++) {
        int32_t second = 0;
        if (c >= 0xd800 && c < 0xe000)
            continue;
        const uint64_t bits = (uint64_t)pmet_is_wordlike(c) | (uint64_t)pmet_is_decimal(c) << 1 |
                              (uint64_t)pmet_is_blank(c) << 2 | (uint64_t)pmet_is_upper(c) << 3 |
                              (uint64_t)pmet_is_lower(c) << 4;
        hash = (hash ^ bits) * 0x100000001b3;
        hash = (hash ^ (uint64_t)pmet_lower(&c, 1, 0, &second)) * 0x100000001b3;
        hash = (hash ^ (uint64_t)second) * 0x100000001b3;
    }
    CHECK(hash == 0xba51b7c1a95f7da6);
}

/* E40: every code point before U+0327 U+0301, as NFKD, hashed; the number is Python 3.11's (Unicode
 * 14.0). */
TEST(nfkd_of_every_point_is_the_references)
{
    uint64_t hash = 0xcbf29ce484222325;
    struct pmet_text in = {0}, out = {0};
    for (int32_t c = 1; c < 0x110000; c++) {
        const int32_t points[3] = {c, 0x327, 0x301};
        if (c >= 0xd800 && c < 0xe000)
            continue;
        in.n = out.n = 0;
        if (!CHECK_DONE(pmet_points_encode(points, 3, &in, &t->err)) ||
            !CHECK_DONE(pmet_nfkd(in.data, in.n, &out, &t->err)))
            break;
        for (size_t i = 0; i < out.n; i++)
            hash = (hash ^ (unsigned char)out.data[i]) * 0x100000001b3;
    }
    CHECK(hash == 0xc2c0f9281cbe48d8);
    free(in.data);
    free(out.data);
}

/* Python's answers. A combining accent, an apostrophe and a period are looked through. */
TEST(a_final_sigma_is_one_behind_a_letter_and_before_none)
{
    static const struct {
        const char *text, *lower;
    } vectors[] = {{"\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3",
                    "\u03bf\u03b4\u03c5\u03c3\u03c3\u03b5\u03c5\u03c2"},
                   {"\u03a3", "\u03c3"},
                   {"\u0391\u03a3.", "\u03b1\u03c2."},
                   {"\u0391\u03a3.\u0392", "\u03b1\u03c3.\u03b2"},
                   {"\u0391'\u03a3", "\u03b1'\u03c2"},
                   {"A\u0301\u03a3\u0301", "a\u0301\u03c2\u0301"},
                   {"A\u03a3\u0301B", "a\u03c3\u0301b"},
                   {"1\u03a3 \u03a3", "1\u03c3 \u03c3"},
                   {"a\u03a31", "a\u03c21"}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct pmet_points p = {0};
        struct pmet_text got = {0};
        int32_t second;
        CHECK_DONE(pmet_points_decode(vectors[i].text, strlen(vectors[i].text), &p, &t->err));
        for (size_t k = 0; k < p.n; k++) {
            const int32_t c = pmet_lower(p.c, p.n, k, &second);
            CHECK_DONE(pmet_points_encode(&c, 1, &got, &t->err));
        }
        CHECK_STR(got.data, vectors[i].lower);
        free(p.c);
        free(got.data);
    }
}

/* Bytes that are no UTF-8 pass through: the words hold the text's bytes that are not blank, in
 * their order. */
TEST(stray_bytes_stay_in_their_words)
{
    struct test_rng r = {20};
    for (size_t round = 0; round < 2000; round++) {
        char text[64], got[64 + 1] = "", expected[64 + 1] = "";
        const size_t n = test_rng_next(&r) % sizeof text;
        size_t n_got = 0, n_expected = 0;
        struct pmet_words w;
        for (size_t i = 0; i < n;
             i++) /* no quotes, which change, and none of the bytes that make other blanks */
            text[i] = "\xff\xe0\x80\xf8\xc3\xa9.?! -ab,S("[test_rng_next(&r) % 16];
        for (size_t i = 0; i < n; i++)
            if (text[i] != ' ')
                expected[n_expected++] = text[i];
        CHECK_DONE(pmet_words(text, n, &w, &t->err));
        for (size_t i = 0; i < w.n && n_got + w.piece[i].n < sizeof got; i++) {
            memcpy(got + n_got, w.text.data + w.piece[i].start, w.piece[i].n);
            n_got += w.piece[i].n;
        }
        if (strcmp(got, expected) != 0)
            test_fail(t, "round %zu: other bytes", round);
        pmet_words_free(&w);
    }
}

/* SPDX-License-Identifier: MIT
 * Documents of text files and the published order of sampling.      SPEC E64 */
#include <errno.h>
#include <jansson.h>
#include "ref/facts/docs.h"
#include "tests/fault.h"
#include "tests/fuzz.h"

static bool is_order(const size_t *order, const size_t *expected, size_t n)
{
    return memcmp(order, expected, n * sizeof *order) == 0;
}

/* Printed by CPython 3: o = list(range(n)); random.Random(seed).shuffle(o). */
TEST(the_shuffle_is_cpythons)
{
    static const size_t ten[] = {6, 8, 9, 7, 5, 3, 0, 4, 1, 2},
                        thousand[] = {852, 836, 280, 575, 208, 609, 932, 725}, two[] = {1, 0},
                        three[] = {1, 2, 0}, five[] = {2, 3, 4, 0, 1},
                        sixteen[] = {2, 10, 0, 14, 6, 5, 3, 8, 7, 11, 15, 1, 12, 13, 9, 4},
                        seventeen[] = {10, 5, 15, 14, 9, 0, 8, 13, 3, 6, 11, 12, 7, 1, 16, 2, 4},
                        many[] = {63229, 7871, 74588, 59445, 71381}, many_end[] = {8271, 74606, 17611};
    static const struct {
        uint32_t seed;
        size_t n, n_known;
        const size_t *order;
    } cases[] = {{1, 10, 10, ten}, {1, 1000, 8, thousand}, {1, 2, 2, two},         {1, 3, 3, three},
                 {1, 5, 5, five},  {1, 16, 16, sixteen},   {1, 17, 17, seventeen}, {1, 100003, 5, many}};
    static const struct {
        uint32_t seed;
        size_t order[10];
    } seeds[] = {{0, {7, 8, 1, 5, 3, 4, 2, 0, 9, 6}},
                 {2, {5, 9, 3, 4, 6, 7, 2, 8, 1, 0}},
                 {12345, {8, 7, 3, 5, 1, 2, 9, 4, 0, 6}},
                 {4294967295u, {0, 7, 1, 5, 2, 6, 4, 8, 3, 9}}};
    size_t *order = test_alloc(t, 100003 * sizeof *order);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pmet_shuffle(order, cases[i].n, cases[i].seed);
        CHECK(is_order(order, cases[i].order, cases[i].n_known));
    }
    CHECK(is_order(order + 100000, many_end, 3));
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        pmet_shuffle(order, 10, seeds[i].seed);
        CHECK(is_order(order, seeds[i].order, 10));
    }
    order[0] = 7;
    pmet_shuffle(order, 0, 1); /* writes nothing */
    CHECK(order[0] == 7);
    pmet_shuffle(order, 1, 1);
    CHECK(order[0] == 0);
}

TEST(a_shuffle_loses_no_document)
{
    const size_t n = 65537;
    size_t *order = test_alloc(t, n * sizeof *order), n_seen = 0;
    char *seen = test_alloc(t, n * 1);
    pmet_shuffle(order, n, 1);
    for (size_t i = 0; i < n; i++)
        if (order[i] < n && !seen[order[i]]) {
            seen[order[i]] = 1;
            n_seen++;
        }
    CHECK(n_seen == n);
}

static const char *const models[] = {"gptj-A", "gptj-C", "neox-A", "neox-C"};

/* layer_stats.json: the documents that the published sampler drew, 180 of 240. */
TEST(documents_are_sampled_in_the_published_order)
{
    for (size_t m = 0; m < 4; m++) {
        char path[64];
        struct pmet_docs *docs = NULL;
        const char *paths[] = {path};
        snprintf(path, sizeof path, "golden/%s/layer_stats.json", models[m]);
        json_t *g = test_json(t, json_load_file(path, 0, NULL));
        const json_t *expected = json_object_get(g, "sampled_order");
        snprintf(path, sizeof path, "golden/%s/stats_text.jsonl", models[m]);
        if (CHECK_DONE(pmet_docs_open(pmet_io_system(), paths, 1, &docs, &t->err))) {
            const size_t n = pmet_docs_count(docs);
            size_t *order = test_alloc(t, n * sizeof *order), n_same = 0;
            CHECK(n == 240 && (json_int_t)n == json_integer_value(json_object_get(g, "n_docs")));
            pmet_shuffle(order, n, 1);
            for (size_t i = 0; i < n && i < json_array_size(expected); i++)
                n_same += (json_int_t)order[i] == json_integer_value(json_array_get(expected, i));
            CHECK(n_same == 180);
        }
        pmet_docs_close(docs);
    }
}

static void close_docs(void *docs)
{
    pmet_docs_close(docs);
}

/* Closed when the claim ends. */
static struct pmet_docs *open_texts(struct test *t, const char *const *texts, const size_t *sizes, size_t n)
{
    const char *paths[4];
    struct pmet_docs *docs = NULL;
    for (size_t i = 0; i < n; i++) {
        paths[i] = test_path("text.%zu", i);
        test_write_file(paths[i], texts[i], sizes ? sizes[i] : strlen(texts[i]));
    }
    CHECK_DONE(pmet_docs_open(pmet_io_system(), paths, n, &docs, &t->err));
    return test_own(t, docs, close_docs);
}

static void check_document(struct test *t, const struct pmet_docs *docs, size_t i, const char *expected)
{
    char *text = NULL;
    size_t n = 0;
    if (CHECK_DONE(pmet_docs_get(docs, i, &text, &n, &t->err))) {
        CHECK_STR(text, expected);
        CHECK(n == strlen(expected));
    }
    free(text);
}

TEST(a_document_is_what_stands_between_blank_lines_or_in_text)
{
    static const struct {
        const char *text, *docs[5];
    } cases[] = {
        {"one", {"one"}},
        {"one\n", {"one"}},
        {"\n\n one\ntwo \n\n\n \t\nthree\n\n", {" one\ntwo ", "three"}},
        {"one\n\ntwo", {"one", "two"}},
        {"one\n \ntwo\n ", {"one", "two"}},
        {"one\r\ntwo\r\n\r\nthree\r\n", {"one\r\ntwo", "three"}},
        {"one\rtwo\n\nthree\n", {"one\rtwo", "three"}},
        {"[1] a list\n\n[2]", {"[1] a list", "[2]"}},
        {"a {\"text\": 1}\n\n{\"text\": \"b\"}", {"a {\"text\": 1}", "{\"text\": \"b\"}"}},
        {"{\"text\": \"one\"}", {"one"}},
        {"{\"text\": \"one\"}\n{\"text\": \"two\\n\\nthree\", \"id\": 7}\n", {"one", "two\n\nthree"}},
        {" \n\t\r\n {\"text\": \"one\"}\r\n\r\n  {\"id\": {}, \"text\": \"\"}\n\n", {"one", ""}},
        {"{\"text\": \"ni\\u00f1o \xe6\x9d\x91 \\ud83c\\udfb9\"}",
         {"ni\xc3\xb1o \xe6\x9d\x91 \xf0\x9f\x8e\xb9"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = 0;
        struct pmet_docs *docs = open_texts(t, &cases[i].text, NULL, 1);
        if (!docs)
            continue;
        for (; cases[i].docs[n]; n++)
            if (n < pmet_docs_count(docs))
                check_document(t, docs, n, cases[i].docs[n]);
        if (!CHECK(pmet_docs_count(docs) == n))
            test_fail(t, "%zu documents, expected %zu: %s", pmet_docs_count(docs), n, cases[i].text);
    }
}

/* A compressed file has no blank lines either: it must not pass for a document. */
TEST(what_is_no_text_is_refused_when_asked_for)
{
    static const char *const texts[] = {"a\n\xc3\xa9\n\nc\n\xc3(\n", "a\0b"};
    static const size_t size[] = {12, 3};
    struct pmet_docs *docs = open_texts(t, texts, size, 2);
    char *text = NULL;
    size_t n = 0;
    if (!docs || !CHECK(pmet_docs_count(docs) == 3))
        return;
    check_document(t, docs, 0, "a\n\xc3\xa9");
    for (size_t i = 1; i < 3; i++) {
        CHECK_REFUSED(pmet_docs_get(docs, i, &text, &n, &t->err), PMET_FORMAT,
                      i == 1 ? "text.0: line 5: found byte 0xc3; expected text in UTF-8"
                             : "text.1: line 1: found byte 0x00; expected text in UTF-8");
        CHECK(!text);
    }
}

/* A document ends with its file; the hash is of the files' bytes one after the other. */
TEST(files_follow_each_other)
{
    static const char *const texts[] = {"one\n\ntwo\n", "", "{\"text\": \"three\"}\n", "four"};
    static const char *const joined[] = {"one\n\ntwo\n{\"text\": \"three\"}\nfour"};
    struct pmet_docs *docs = open_texts(t, texts, NULL, 4);
    if (!docs)
        return;
    static const char *const expected[] = {"one", "two", "three", "four"};
    if (CHECK(pmet_docs_count(docs) == 4))
        for (size_t i = 0; i < 4; i++)
            check_document(t, docs, i, expected[i]);
    CHECK_STR(pmet_docs_sha256(docs), "138bfeb72c9336140975e40e9b1f31f33c616d65c1043f38448bfcac573ad613");
    struct pmet_docs *one = open_texts(t, joined, NULL, 1);
    if (one)
        CHECK_STR(pmet_docs_sha256(one), pmet_docs_sha256(docs));
}

TEST(files_without_documents_are_refused)
{
    static const struct {
        const char *text;
        enum pmet_status status;
        const char *message;
    } cases[] = {
        {"", PMET_INPUT, "holds no documents"},
        {"\n \r\n\t\n", PMET_INPUT, "holds no documents"},
        {"\xef\xbb\xbfone", PMET_FORMAT, "begins with a byte order mark; expected UTF-8 without one"},
        {"\xef\xbb\xbf{\"text\": \"one\"}", PMET_FORMAT,
         "begins with a byte order mark; expected UTF-8 without one"},
        {"[{\"text\": \"one\"}]", PMET_FORMAT,
         "found a JSON array; expected JSON lines, one {\"text\": ...} a line, or plain text"},
        {" \n[\r\n  {\"text\": \"one\"}]", PMET_FORMAT,
         "found a JSON array; expected JSON lines, one {\"text\": ...} a line, or plain text"},
    };
    const char *paths[] = {test_path("text.0"), test_path("text.1")};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_docs *docs = NULL;
        test_write_text(paths[0], cases[i].text);
        CHECK_REFUSED(pmet_docs_open(pmet_io_system(), paths, 1, &docs, &t->err), cases[i].status,
                      test_text(t, "text.0: %s", cases[i].message));
        CHECK(!docs);
    }
    struct pmet_docs *docs = NULL;
    static const char *const missing[] = {"no/such/text"}, *const folder[] = {"golden"};
    test_write_text(paths[0], "\n");
    test_write_text(paths[1], "");
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), paths, 2, &docs, &t->err), PMET_INPUT,
                  "text.0: neither this file nor the others hold documents");
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), paths, 0, &docs, &t->err), PMET_INPUT,
                  "text: no files are given");
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), missing, 1, &docs, &t->err), PMET_IO,
                  "no/such/text: open: No such file or directory");
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), folder, 1, &docs, &t->err), PMET_IO,
                  "golden: size: Is a directory");
    CHECK(!docs);
}

TEST(lines_without_a_text_are_refused_when_asked_for)
{
    static const struct {
        const char *line;
        enum pmet_status status;
        const char *message;
    } cases[] = {
        {"{\"id\": 7}", PMET_INPUT, "line 3: text: found nothing; expected a string"},
        {"{\"text\": 7}", PMET_INPUT, "line 3: text: found an integer; expected a string"},
        {"{\"text\": null}", PMET_INPUT, "line 3: text: found null; expected a string"},
        {"{\"text\": [\"a\"]}", PMET_INPUT, "line 3: text: found an array; expected a string"},
        {"[\"text\"]", PMET_INPUT, "line 3: found an array; expected an object with \"text\""},
        {"\"text\"", PMET_INPUT, "line 3: found a string; expected an object with \"text\""},
        {"{\"text\": \"a", PMET_FORMAT, "line 3 column 11: not JSON: premature end of input near '\"a'"},
        {"{\"text\": \"a\"} x", PMET_FORMAT, "line 3 column 15: not JSON: end of file expected near 'x'"},
        {"plain", PMET_FORMAT, "line 3 column 5: not JSON: invalid token near 'plain'"},
        {"{\"text\": \"\\u0000\"}", PMET_FORMAT,
         "line 3 column 17: found \\u0000 in a string; expected text without it"},
        {"{\"text\": \"\xff\"}", PMET_FORMAT,
         "line 3 column 10: not JSON: unable to decode byte 0xff near '\"'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char all[128];
        const char *texts[] = {all};
        snprintf(all, sizeof all, "{\"text\": \"one\"}\n\n%s\n{\"text\": \"three\"}\n", cases[i].line);
        struct pmet_docs *docs = open_texts(t, texts, NULL, 1);
        char *text = NULL;
        size_t n = 99;
        if (!docs)
            continue;
        CHECK(pmet_docs_count(docs) == 3);
        CHECK_REFUSED(pmet_docs_get(docs, 1, &text, &n, &t->err), cases[i].status,
                      test_text(t, "text.0: %s", cases[i].message));
        CHECK(!text && n == 99);
        check_document(t, docs, 0, "one"); /* the others are none the worse */
        check_document(t, docs, 2, "three");
    }
}

TEST(failing_calls_are_reported)
{
    const char *paths[] = {test_path("text.0"), test_path("text.1")};
    test_write_file(paths[0], "one\n", 4);
    test_write_file(paths[1], "{\"text\": \"two\"}\n", 16);
    size_t k = 0;
    for (;; k++) {
        struct fault fault;
        struct pmet_docs *docs = NULL;
        struct pmet_error err = {PMET_OK, ""};
        fault_begin(&fault, k, EIO);
        const enum pmet_status status = pmet_docs_open(&fault.io, paths, 2, &docs, &err);
        if (!fault.fired) {
            CHECK_OK(status, &err);
            pmet_docs_close(docs);
            break;
        }
        CHECK(status == PMET_IO && !docs);
        CHECK_STR(err.message, test_text(t, "%s: %s: Input/output error", paths[k / 3], fault.call));
    }
    CHECK(k == 6); /* open, size and map of each */
}

static enum pmet_status load_damaged(const char *path, struct pmet_error *err)
{
    struct pmet_docs *docs;
    PMET_TRY(pmet_docs_open(pmet_io_system(), &path, 1, &docs, err));
    enum pmet_status status = PMET_OK;
    for (size_t i = 0; i < pmet_docs_count(docs) && status == PMET_OK; i++) {
        char *text;
        size_t n;
        status = pmet_docs_get(docs, i, &text, &n, err);
        if (status == PMET_OK && text[n] != '\0')
            pmet_fail(err, PMET_FORMAT, "the text is not closed");
        if (status == PMET_OK)
            free(text);
    }
    pmet_docs_close(docs);
    return status;
}

TEST(damaged_files_are_read_or_refused_in_one_line)
{
    static const char lines[] = "{\"text\": \"All the world's a stage\", \"id\": 1}\n"
                                "{\"text\": \"Call me \\\"Ishmael\\\".\\n\\u00e9\", \"n\": [1, 2.5e3]}\r\n\n"
                                "{\"id\": null, \"text\": \"\xe6\x9d\x91\xe4\xb8\x8a\"}\n";
    static const char plain[] = "one\ntwo\n\nthree\r\n\r\n\xe6\x9d\x91 four\n \n";
    const size_t taken = fuzz(t, lines, sizeof lines - 1, 3000, 6, load_damaged);
    CHECK(taken > 500 && taken < 2500);
    const size_t plain_taken = fuzz(t, plain, sizeof plain - 1, 3000, 7, load_damaged);
    CHECK(plain_taken > 2000 && plain_taken < 2800);
}

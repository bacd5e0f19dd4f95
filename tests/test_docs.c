/* SPDX-License-Identifier: MIT
 * Documents of text files and the published order of sampling.      SPEC E64 */
#include <errno.h>
#include <jansson.h>
#include <unistd.h>
#include "ref/facts/docs.h"
#include "ref/facts/docs_scan.h"
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
        if (CHECK_DONE(pmet_docs_open(pmet_io_system(), paths, 1, NULL, &docs, &t->err))) {
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
    CHECK_DONE(pmet_docs_open(pmet_io_system(), paths, n, NULL, &docs, &t->err));
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

/* ---- the tables of SPEC §7.1 ---- */

/* The next row of a table after the line that begins with `head`: its cells, blanks and "\\" of "\\|"
 * taken away; at first *at is the whole text. Returns the number of cells, 0 after the last row. */
static size_t next_row(struct test *t, const char **at, const char *head, const char *cell[4])
{
    if (head) {
        const char *line = strstr(*at, head);
        if (!CHECK(line))
            return 0;
        *at = strchr(strchr(line, '\n') + 1, '\n') + 1; /* past the rule below it */
    }
    if (**at != '|')
        return 0;
    size_t n = 0;
    const char *end = strchr(*at, '\n'), *p = *at + 1;
    while (p < end && n < 4) {
        char *out = test_alloc(t, (size_t)(end - p) + 1), *o = out;
        for (p++; p < end && *p != '|'; p++)
            *o++ = p[0] == '\\' && p[1] == '|' ? *++p : *p;
        o[-1] = '\0'; /* the blank before the bar */
        cell[n++] = out;
        p++;
    }
    *at = end + 1;
    return n;
}

/* The text between the next two backquotes, its escapes as in JSON; NULL where there are none. */
static const char *next_quoted(struct test *t, const char **at)
{
    const char *p = strchr(*at, '`'), *end = p ? strchr(p + 1, '`') : NULL;
    if (!end)
        return NULL;
    char *json = test_alloc(t, 2 * (size_t)(end - p) + 3), *o = json;
    *o++ = '"';
    for (p++; p < end; p++) {
        if (*p == '\\')
            *o++ = *p++;
        else if (*p == '"')
            *o++ = '\\';
        *o++ = *p;
    }
    *o++ = '"';
    *at = end + 1;
    return json_string_value(test_json(t, json_loadb(json, (size_t)(o - json), JSON_DECODE_ANY, NULL)));
}

TEST(documents_are_those_of_the_table_in_spec)
{
    const char *at = test_slurp(t, "SPEC.md", NULL), *cell[4], *head = "| file | documents |";
    size_t n_row = 0;
    for (; next_row(t, &at, head, cell) == 2; head = NULL, n_row++) {
        const char *file = next_quoted(t, &cell[0]);
        size_t n = 0;
        if (!CHECK(file))
            return;
        struct pmet_docs *docs = open_texts(t, &file, NULL, 1);
        for (const char *one; docs && (one = next_quoted(t, &cell[1])) != NULL; n++)
            if (n < pmet_docs_count(docs))
                check_document(t, docs, n, one);
        if (!docs || !CHECK(n > 0 && pmet_docs_count(docs) == n))
            test_fail(t, "row %zu: %s", n_row, file);
    }
    CHECK(n_row >= 16);
}

/* Names in the order of the code's table; what to do for those that are refused. */
TEST(the_tables_of_forms_in_spec_are_those_of_the_code)
{
    const char *at = test_slurp(t, "SPEC.md", NULL), *cell[4];
    static const char *const heads[] = {"| form | begins with | documents |",
                                        "| form | begins with | to do |"};
    size_t n = 0;
    for (size_t table = 0; table < 2; table++)
        for (const char *head = heads[table]; next_row(t, &at, head, cell) == 3; head = NULL, n++) {
            const struct pmet_text_form *form = pmet_text_form(n);
            if (!CHECK(form && (n < PMET_TEXT_READ) == (table == 0) && !form->hint == (table == 0)))
                return;
            CHECK_STR(cell[0], form->name);
            if (form->hint)
                CHECK_STR(cell[2], test_text(t, "`%s`", form->hint));
        }
    CHECK(n > PMET_TEXT_READ && !pmet_text_form(n));
}

/* ---- forms ---- */

#define BYTES(text) text, sizeof text - 1
TEST(a_form_is_recognised_by_its_first_bytes)
{
    static const struct {
        const char *form, *text;
        size_t n;
    } cases[] = {
        {"plain text", BYTES("")},
        {"plain text", BYTES("\n \n")},
        {"plain text", BYTES("one")},
        {"plain text", BYTES("\"One,\" she said.\n")},
        {"plain text", BYTES("\"One.\"\nTwo.\n")},
        {"plain text", BYTES("[1] a list\n\n[2]")},
        {"plain text", BYTES("[1]\n\n[2]\n")},
        {"plain text", BYTES("[[File:a.png]]\n")},
        {"plain text", BYTES("[\"A\" is a letter]")},
        {"plain text", BYTES("[\"A\nB\", 1]")},
        {"plain text", BYTES("[] is empty")},
        {"plain text", BYTES("{{Infobox}}\n")},
        {"plain text", BYTES("{ a, b }")},
        {"plain text", BYTES("== A ==\nText.\n")},
        {"plain text", BYTES("= = A = =\nText.\n")},
        {"plain text", BYTES("Hello, world\nOne, two\n")},
        {"plain text", BYTES("text\nand more, of it\n")},
        {"plain text", BYTES("1,2\n")},
        {"plain text", BYTES("<document>\n")},
        {"plain text", BYTES("ORCs, tar, and BZh")},
        {"JSON lines of records", BYTES("{\"text\": \"one\"}")},
        {"JSON lines of records", BYTES(" \r\n\t{ \"text\": \"o}{\\\"ne\"}\n{\"text\"")},
        {"JSON lines of records", BYTES("{}\n")},
        {"JSON lines of records", BYTES("{\"text\": \"cut")},
        {"JSON lines of records", BYTES("{\"text\": \"cut\n{\"text\": \"two\"}\n")},
        {"JSON lines of strings", BYTES("\"one\"\n \"two\" \r\n\n\"thr")},
        {"JSON records over several lines", BYTES("{\n\"text\": \"one\"}")},
        {"JSON records over several lines", BYTES("{\"text\": [\r\n\"one\"]}")},
        {"JSON array of records", BYTES("[{\"text\": \"one\"}]")},
        {"JSON array of records", BYTES(" \n[\r\n  {\"text\": \"one\"}]")},
        {"JSON array of strings", BYTES("[\"one\"]")},
        {"JSON array of strings", BYTES("[\n \"o\\\"n]e\" ,\n")},
        {"JSON array of strings", BYTES("[\"cut")},
        {"JSON array of strings", BYTES("[]\n")},
        {"JSON array of strings", BYTES("[")},
        {"wikiextractor", BYTES("<doc id=\"1\">\n")},
        {"wikitext", BYTES(" \n = A b = \n \n")},
        {"wikitext", BYTES("= A =\n")},
        {"CSV", BYTES("id,text\n1,one\n")},
        {"CSV", BYTES(",text\r\n0,\"a, b\"\r\n")},
        {"CSV", BYTES("\"id\";\"text\"\n1;one\n")},
        {"CSV", BYTES("id\ttext\n1\tone\n")},
        {"CSV", BYTES("text\n\"one\"\n")},
        {"CSV", BYTES("0,\"one\"\n")},
        {"JSON array of numbers or arrays", BYTES("[1, 2.5e3]\n")},
        {"JSON array of numbers or arrays", BYTES("[[1, 2], [3]]")},
        {"JSON array of numbers or arrays", BYTES("[true]")},
        {"Python list", BYTES("['one', 'two']")},
        {"Python list", BYTES("[{'text': 'one'}]")},
        {"Python dict", BYTES("{'text': 'one'}\n")},
        {"UTF-16", BYTES("\xff\xfeo\0n\0")},
        {"UTF-16", BYTES("\xfe\xff\0o\0n")},
        {"UTF-16", BYTES("o\0n\0e\0 \0t\0w\0o\0")},
        {"UTF-32", BYTES("\xff\xfe\0\0o\0\0\0")},
        {"UTF-32", BYTES("\0\0\xfe\xff\0\0\0o")},
        {"HTML", BYTES("\n<!doctype HTML>\n")},
        {"HTML", BYTES("<html lang=en>")},
        {"MediaWiki XML dump", BYTES("<mediawiki xmlns=\"x\">")},
        {"XML", BYTES("<?xml version=\"1.0\"?>")},
        {"RTF", BYTES("{\\rtf1 one}")},
        {"Git LFS pointer", BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")},
        {"gzip, twice", BYTES("\x1f\x8b\x08")},
        {"zstd, twice", BYTES("\x28\xb5\x2f\xfd")},
        {"bzip2", BYTES("BZh91AY&SY\0")},
        {"xz", BYTES("\xfd\x37zXZ\0\0")},
        {"lz4", BYTES("\x04\x22\x4d\x18")},
        {"lzip", BYTES("LZIP\x01")},
        {"compress (.Z)", BYTES("\x1f\x9d\x90")},
        {"7z", BYTES("7z\xbc\xaf\x27\x1c")},
        {"RAR", BYTES("Rar!\x1a\x07")},
        {"zip", BYTES("PK\x03\x04")},
        {"parquet", BYTES("PAR1\x15\0PAR1")},
        {"Arrow", BYTES("ARROW1\0\0")},
        {"Arrow stream", BYTES("\xff\xff\xff\xff")},
        {"Avro", BYTES("Obj\x01")},
        {"pickle", BYTES("\x80\x04\x95")},
        {"NumPy array", BYTES("\x93NUMPY\x01")},
        {"HDF5", BYTES("\x89HDF\r\n")},
        {"SQLite", BYTES("SQLite format 3\0")},
        {"PDF", BYTES("%PDF-1.7\n")},
        {"Word document", BYTES("\xd0\xcf\x11\xe0")},
    };
    bool seen[64] = {false};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t row = pmet_text_form_of(cases[i].text, cases[i].n);
        seen[row] = true;
        if (!CHECK_STR(pmet_text_form(row)->name, cases[i].form))
            test_fail(t, "case %zu: %s", i, cases[i].text);
    }
    char tar[512] = "name";
    memcpy(tar + 257, "ustar", 5);
    const size_t row = pmet_text_form_of(tar, sizeof tar);
    CHECK_STR(pmet_text_form(row)->name, "tar");
    seen[row] = true;
    for (size_t i = 0; pmet_text_form(i); i++)
        if (!CHECK(seen[i]))
            test_fail(t, "no case of %s", pmet_text_form(i)->name);
}

TEST(other_forms_are_refused_with_what_to_do)
{
    static const struct {
        const char *text, *name, *before, *after; /* the path */
    } cases[] = {
        {"PAR1\x15", "parquet", "python3 -c \"import pandas; pandas.read_parquet('",
         "').to_json('text.jsonl', orient='records', lines=True)\""},
        {"BZh91AY&SY", "bzip2", "bzcat ", " | pmet stats --text - ..."},
        {"\xff\xfeo", "UTF-16", "iconv -f UTF-16 -t UTF-8 ", " > text.txt"},
        {"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer", "git lfs pull", ""},
        {"[[1]]", "JSON array of numbers or arrays",
         "write its texts as JSON lines, {\"text\": \"...\"} a line", ""},
    };
    const char *path = test_path("text.0");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_docs *docs = NULL;
        test_write_text(path, cases[i].text);
        CHECK_REFUSED(pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, &t->err), PMET_FORMAT,
                      test_text(t, "text.0: found %s; expected text or JSON: %s%s%s", cases[i].name,
                                cases[i].before, *cases[i].after ? path : "", cases[i].after));
        CHECK(!docs);
    }
}

TEST(what_is_no_text_is_refused_with_its_line)
{
    static const struct {
        const char *text;
        size_t n;
        const char *message;
    } cases[] = {
        {BYTES("a\n\xc3\xa9\n\nc\n\xc3(\n"),
         "text.0: line 5: found byte 0xc3; expected text in UTF-8: iconv -f ENCODING -t UTF-8 converts it"},
        {BYTES("a\r\nb\r\n\xe6\x9d"),
         "text.0: line 3: found byte 0xe6; expected text in UTF-8: iconv -f ENCODING -t UTF-8 converts it"},
        {BYTES("{\"text\": \"a\"}\n{\"text\": \"\xff\"}\n"),
         "text.0: line 2: found byte 0xff; expected text in UTF-8: iconv -f ENCODING -t UTF-8 converts it"},
        {BYTES("one\n\n\0two"), "text.0: line 3: found a NUL byte; expected text"},
        {BYTES("abc\0def\nx\0y"), "text.0: line 1: found a NUL byte; expected text"},
        {BYTES("<doc id=\"1\">\n<doc id=\"2\">\n"),
         "text.0: line 2: found <doc ...> inside a document; expected </doc> before it"},
        {BYTES("<doc id=\"1\">\n</doc>\n\n</doc>\n"),
         "text.0: line 4: found </doc> outside of a document; expected <doc ...> before it"},
        {BYTES("<doc id=\"1\">\n</doc>\nmore\n"),
         "text.0: line 3: found text outside of a document; expected <doc ...> before it"},
        {BYTES("<doc id=\"1\">\ncut\n"),
         "text.0: line 3: the file ends inside a document; expected </doc>: is it cut off?"},
        {BYTES("[\"a\",\n 7]"), "text.0: line 2: element 1: found a number; expected a string"},
        {BYTES("[\"a\", \"b\"\n \"c\"]"),
         "text.0: line 2: element 1: found a string; expected ',' or ']' behind it"},
        {BYTES("[\"a\", {}]"), "text.0: line 1: element 1: found an object; expected a string"},
        {BYTES("[\"a\",]"), "text.0: line 1: element 1: found ']'; expected a string"},
        {BYTES("[\"a\"]\n\nb"), "text.0: line 3: found 'b'; expected nothing behind the array"},
        {BYTES("[\"a\""), "text.0: line 1: the array has no end; expected ']': is the file cut off?"},
        {BYTES("[\"a\",\n\"b"),
         "text.0: line 2: the value that begins here has no end: is the file cut off?"},
        {BYTES("[{\"text\": \"a\"},\n\"b\"]"),
         "text.0: line 2: element 1: found a string; expected an object with \"text\""},
        {BYTES("{\n\"text\": \"a\"\n},\n"), "text.0: line 3: found ','; expected an object with \"text\""},
        {BYTES("{\n\"text\": \"a\"\n"),
         "text.0: line 1: the value that begins here has no end: is the file cut off?"},
    };
    const char *path = test_path("text.0");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_docs *docs = NULL;
        test_write_file(path, cases[i].text, cases[i].n);
        CHECK_REFUSED(pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, &t->err), PMET_FORMAT,
                      cases[i].message);
        CHECK(!docs);
    }
}

/* A hole of 2 GiB takes a block of the disk and no time; a document without an end is not waited
 * for. */
TEST(a_document_beyond_the_limit_is_refused_with_its_line)
{
    const char *path = test_path("text.0");
    const size_t n = PMET_DOC_MAX + 100;
    char *text = test_alloc(t, n);
    struct pmet_docs *docs = NULL;
    memset(text, 'a', n);
    memcpy(text, "one\n\n", 5);
    test_write_file(path, text, PMET_DOC_MAX + 5);
    if (CHECK_DONE(pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, &t->err)))
        CHECK(pmet_docs_count(docs) == 2);
    pmet_docs_close(docs);
    docs = NULL;
    static const struct {
        const char *begin, *message;
    } cases[] = {
        {"one\n\ntwo\n",
         "line 3: a document of more than 16 MiB begins here; expected shorter ones, parted by "
         "blank lines"},
        {"{\"text\": \"one\"}\n{\"text\": \"",
         "line 2: a document of more than 16 MiB begins here; expected shorter ones, each in its own record"},
        {"[\n\"",
         "line 2: a document of more than 16 MiB begins here; expected shorter ones, each in its own record"},
        {"<doc id=\"1\">\n\n",
         "line 1: a document of more than 16 MiB begins here; expected shorter ones, each in its own record"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(text, 'a', n);
        memcpy(text, cases[i].begin, strlen(cases[i].begin));
        test_write_file(path, text, n);
        CHECK_REFUSED(pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, &t->err), PMET_UNSUPPORTED,
                      test_text(t, "text.0: %s", cases[i].message));
    }
    test_write_text(path, "one\n\ntwo\n");
    CHECK(truncate(path, (off_t)2 << 30) == 0);
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, &t->err), PMET_FORMAT,
                  "text.0: line 4: found a NUL byte; expected text");
    CHECK(!docs);
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
        {"\xef\xbb\xbf\n", PMET_INPUT, "holds no documents"},
        {"[]\n", PMET_INPUT, "holds no documents"},
    };
    const char *paths[] = {test_path("text.0"), test_path("text.1")};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_docs *docs = NULL;
        test_write_text(paths[0], cases[i].text);
        CHECK_REFUSED(pmet_docs_open(pmet_io_system(), paths, 1, NULL, &docs, &t->err), cases[i].status,
                      test_text(t, "text.0: %s", cases[i].message));
        CHECK(!docs);
    }
    struct pmet_docs *docs = NULL;
    static const char *const missing[] = {"no/such/text"}, *const folder[] = {"golden"};
    test_write_text(paths[0], "\n");
    test_write_text(paths[1], "");
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), paths, 2, NULL, &docs, &t->err), PMET_INPUT,
                  "text.0: neither this file nor the others hold documents");
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), paths, 0, NULL, &docs, &t->err), PMET_INPUT,
                  "text: no files are given");
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), missing, 1, NULL, &docs, &t->err), PMET_IO,
                  "no/such/text: open: No such file or directory");
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), folder, 1, NULL, &docs, &t->err), PMET_INPUT,
                  "golden: found a folder; expected a file: give those in it");
    static const char *const twice[] = {"-", "-"};
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), twice, 2, NULL, &docs, &t->err), PMET_INPUT,
                  "-: standard input is given twice; it can be read once");
    CHECK(!docs);
}

TEST(lines_without_a_text_are_refused_when_asked_for)
{
    static const struct {
        const char *line;
        enum pmet_status status;
        const char *message;
    } cases[] = {
        {"{\"id\": 7}", PMET_INPUT, "line 3: text: found nothing beside \"id\"; expected a string"},
        {"{}", PMET_INPUT, "line 3: text: found nothing; expected a string"},
        {"{\"a\": 1, \"b\": 1, \"c\": 1, \"d\": 1, \"e\": 1}", PMET_INPUT,
         "line 3: text: found nothing beside \"a\", \"b\", \"c\", \"d\", ...; expected a string"},
        {"{\"text\": 7}", PMET_INPUT, "line 3: text: found an integer; expected a string"},
        {"{\"text\": null}", PMET_INPUT, "line 3: text: found null; expected a string"},
        {"{\"text\": [\"a\"]}", PMET_INPUT,
         "line 3: text: found an array; expected a string, each text in a record of its own"},
        {"[\"text\"]", PMET_INPUT, "line 3: found an array; expected an object with \"text\""},
        {"\"text\"", PMET_INPUT, "line 3: found a string; expected an object with \"text\""},
        {"{\"text\": \"a", PMET_FORMAT, "line 3 column 11: not JSON: premature end of input near '\"a'"},
        {"{\"text\": \"a\"} x", PMET_FORMAT, "line 3 column 15: not JSON: end of file expected near 'x'"},
        {"plain", PMET_FORMAT, "line 3 column 5: not JSON: invalid token near 'plain'"},
        {"{\"text\": \"\\u0000\"}", PMET_FORMAT,
         "line 3 column 17: found \\u0000 in a string; expected text without it"},
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

/* Hours before its turn would come. */
TEST(the_first_record_of_each_file_is_looked_at_first)
{
    const char *paths[] = {test_path("text.0"), test_path("text.1")};
    struct pmet_docs *docs = NULL;
    test_write_text(paths[0], "one\n");
    test_write_text(paths[1], "[\n{\"body\": \"one\"}]\n");
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), paths, 2, NULL, &docs, &t->err), PMET_INPUT,
                  "text.1: line 2: text: found nothing beside \"body\"; expected a string");
    test_write_text(paths[0], "{\"text\": \"one\"\n}\n{\"text\":\n");
    CHECK_REFUSED(pmet_docs_open(pmet_io_system(), paths, 1, NULL, &docs, &t->err), PMET_FORMAT,
                  "text.0: line 3: the value that begins here has no end: is the file cut off?");
    CHECK(!docs);
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
        const enum pmet_status status = pmet_docs_open(&fault.io, paths, 2, NULL, &docs, &err);
        if (!fault.fired) {
            CHECK_OK(status, &err);
            pmet_docs_close(docs);
            break;
        }
        CHECK(status == PMET_IO && !docs);
        CHECK_STR(err.message, test_text(t, "%s: %s: Input/output error", paths[k / 5], fault.call));
    }
    CHECK(k == 10); /* open, size, two reads and map of each */
}

static enum pmet_status load_damaged(const char *path, struct pmet_error *err)
{
    struct pmet_docs *docs;
    PMET_TRY(pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, err));
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

/* SPDX-License-Identifier: MIT
 * The tokenizer against the reference's ids and texts, and its round trip.      SPEC §2, E2-E7 */
#include <jansson.h>
#include <sys/stat.h>
#include "tests/test.h"
#include "tokenizer/model.h"
#include "tokenizer/unicode.h"

static const char *const models[][2] = {{"golden/gptj-A/model", "golden/gptj-A"},
                                        {"golden/gptj-C/model", "golden/gptj-C"},
                                        {"golden/neox-A/model", "golden/neox-A"},
                                        {"golden/neox-C/model", "golden/neox-C"},
                                        {"golden/data/tokenizers/gpt2", "golden/tokenizer-gpt2"},
                                        {"golden/data/tokenizers/gptj", "golden/tokenizer-gptj"},
                                        {"golden/data/tokenizers/neox", "golden/tokenizer-neox"}};
#define N_MODEL (sizeof models / sizeof *models)

static void close_tokenizer(void *tk)
{
    pmet_tokenizer_close(tk);
}

/* Closed when the claim ends. */
static struct pmet_tokenizer *open_tokenizer(struct test *t, const char *dir)
{
    struct pmet_tokenizer *tk = NULL;
    CHECK_DONE(pmet_tokenizer_open(pmet_io_system(), dir, &tk, &t->err));
    return test_own(t, tk, close_tokenizer);
}

static struct pmet_ids encode(struct test *t, const struct pmet_tokenizer *tk, const char *text, size_t n)
{
    struct pmet_ids ids = {0};
    CHECK_DONE(pmet_tokenizer_encode(tk, text, n, &ids, &t->err));
    test_own(t, ids.id, free);
    return ids;
}

static struct pmet_text decode(struct test *t, const struct pmet_tokenizer *tk, const int32_t *id, size_t n,
                               int flags)
{
    struct pmet_text text = {0};
    CHECK_DONE(pmet_tokenizer_decode(tk, id, n, flags, &text, &t->err));
    test_own(t, text.data, free);
    return text;
}

static json_t *load(struct test *t, const char *dir)
{
    json_error_t e;
    const char *path = test_text(t, "%s/tokenizer_golden.json", dir);
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &e);
    if (!root)
        test_fail(t, "%s: %s", path, e.text);
    return test_json(t, root);
}

static bool same_ids(const struct pmet_ids *ids, const json_t *expected)
{
    if (ids->n != json_array_size(expected))
        return false;
    for (size_t i = 0; i < ids->n; i++)
        if (ids->id[i] != json_integer_value(json_array_get(expected, i)))
            return false;
    return true;
}

static void check_decode(struct test *t, const struct pmet_tokenizer *tk, const json_t *ids, int flags,
                         const json_t *expected)
{
    int32_t id[4096];
    for (size_t i = 0; i < json_array_size(ids); i++)
        id[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    const struct pmet_text text = decode(t, tk, id, json_array_size(ids), flags);
    if (!CHECK(text.n == json_string_length(expected) &&
               memcmp(text.data, json_string_value(expected), text.n) == 0))
        test_fail(t, "flags %d: found \"%s\", expected \"%s\"", flags, text.data,
                  json_string_value(expected));
}

static void check_strings(struct test *t, const struct pmet_tokenizer *tk, const json_t *root)
{
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(root, "strings"), i, s)
    {
        const json_t *text = json_object_get(s, "text"), *ids = json_object_get(s, "ids");
        const json_t *plain = json_object_get(s, "decode") ? json_object_get(s, "decode") : text;
        const json_t *clean =
            json_object_get(s, "decode_cleanup") ? json_object_get(s, "decode_cleanup") : plain;
        const struct pmet_ids got = encode(t, tk, json_string_value(text), json_string_length(text));
        if (!CHECK(same_ids(&got, ids)))
            test_fail(t, "string %zu: \"%s\"", i, json_string_value(text));
        check_decode(t, tk, ids, 0, plain);
        check_decode(t, tk, ids, PMET_DECODE_CLEANUP, clean);
        const json_t *skip = json_object_get(s, "decode_skip_special");
        check_decode(t, tk, ids, PMET_DECODE_SKIP_SPECIAL, skip ? skip : plain);
    }
}

static void check_one_id(struct test *t, const struct pmet_tokenizer *tk, const char *text, json_int_t id)
{
    const struct pmet_ids ids = encode(t, tk, text, strlen(text));
    CHECK(ids.n == 1 && ids.id[0] == id);
}

/* E2 to E7: 697 strings in seven vocabularies, and every single id decoded. */
TEST(ids_and_texts_equal_the_reference)
{
    for (size_t m = 0; m < N_MODEL; m++) {
        struct pmet_tokenizer *tk = open_tokenizer(t, models[m][0]);
        json_t *root = load(t, models[m][1]), *item;
        size_t i;
        if (tk && root) {
            CHECK(pmet_tokenizer_size(tk) ==
                  (size_t)json_integer_value(json_object_get(root, "vocab_size_with_added")));
            check_one_id(t, tk, "<|endoftext|>", json_integer_value(json_object_get(root, "eos_token_id")));
            CHECK(json_array_size(json_object_get(root, "strings")) == 697);
            check_strings(t, tk, root);
            json_array_foreach(json_object_get(root, "partial_utf8_decodes"), i, item)
                check_decode(t, tk, json_object_get(item, "ids"), 0, json_object_get(item, "decode"));
            json_array_foreach(json_object_get(root, "single_token_decodes"), i, item)
            {
                json_t *one = test_json(t, json_pack("[O]", json_array_get(item, 0)));
                check_decode(t, tk, one, 0, json_array_get(item, 1));
            }
        }
        if (t->n_fail > 0)
            test_fail(t, "with %s", models[m][0]);
    }
}

/* E3, E4: the words of a text, byte by byte; of its normal form in NeoX (E6). */
static void check_words(struct test *t, const char *text, size_t n, bool nfc, const json_t *expected)
{
    struct pmet_text normal = {0};
    size_t at = 0;
    CHECK_DONE(nfc ? pmet_nfc(text, n, &normal, &t->err) : pmet_text_append(&normal, text, n, &t->err));
    for (size_t i = 0; i < json_array_size(expected) && at < normal.n; i++) {
        const json_t *word = json_array_get(expected, i);
        char *bytes = test_alloc(t, json_string_length(word) + 1);
        size_t n_bytes = 0;
        CHECK(pmet_from_alphabet(json_string_value(word), json_string_length(word), bytes, &n_bytes));
        if (!CHECK(pmet_next_word(normal.data + at, normal.n - at) == n_bytes &&
                   memcmp(normal.data + at, bytes, n_bytes) == 0))
            test_fail(t, "\"%s\": word %zu is not \"%s\"", text, i, json_string_value(word));
        at += n_bytes;
    }
    CHECK(at == normal.n);
    free(normal.data);
}

TEST(words_are_the_references_pretokens)
{
    for (size_t m = 4; m < N_MODEL; m++) {
        json_t *root = load(t, models[m][1]), *s;
        size_t i;
        json_array_foreach(json_object_get(root, "strings"), i, s)
        {
            const json_t *text = json_object_get(s, "text");
            check_words(t, json_string_value(text), json_string_length(text), m == 6,
                        json_object_get(s, "pretokens"));
        }
    }
}

/* The two ways to write a tokenizer of the GPT-2 kind give the same ids. */
TEST(vocab_and_merges_give_the_ids_of_tokenizer_json)
{
    static const char *const files[] = {"vocab.json", "merges.txt", "added_tokens.json"};
    static const char *const dirs[] = {"golden/gptj-A", "golden/gptj-C"};
    for (size_t m = 0; m < 2; m++) {
        const char *dir = test_path("files%zu", m);
        CHECK(system(test_text(t, "mkdir -p %s", dir)) == 0);
        for (size_t f = 0; f < 3; f++) {
            CHECK(system(test_text(t, "cp %s/model/%s %s 2>/dev/null", dirs[m], files[f], dir)) == 0 ||
                  f == 2);
        }
        struct pmet_tokenizer *tk = open_tokenizer(t, dir);
        json_t *root = load(t, dirs[m]);
        if (tk && root)
            check_strings(t, tk, root);
    }
}

/* E7's last step: texts, and what clean_up_tokenization of transformers 4.30.2 makes of them. The
 * order counts. */
TEST(decoding_cleans_up_as_transformers_does)
{
    static const char *const cases[][2] = {
        {"a ' n't b", "a'n't b"},
        {"it ' s", "it's"},
        {"a ' 's", "a''s"},
        {"I 'm , you 're ; he 's . we 've ?", "I'm, you're ; he's. we've?"},
        {"no ! n't ' ' x", "no!n't'' x"},
        {"a  . b", "a . b"},
        {" ' . '", " '. '"},
        {"x ' 've", "x''ve"},
        {"' re 're", "' re're"},
        {" 'm 'm", "'m'm"},
        {"a . . b ?!", "a.. b?!"}};
    struct pmet_tokenizer *tk = open_tokenizer(t, models[4][0]);
    for (size_t i = 0; tk && i < sizeof cases / sizeof *cases; i++) {
        const struct pmet_ids ids = encode(t, tk, cases[i][0], strlen(cases[i][0]));
        const struct pmet_text text = decode(t, tk, ids.id, ids.n, PMET_DECODE_CLEANUP);
        CHECK_STR(text.data, cases[i][1]);
    }
}

/* E7: each maximal invalid part becomes one U+FFFD, here F, as Python's bytes.decode("utf-8",
 * "replace") has it. */
TEST(bytes_that_are_no_text_decode_as_in_python)
{
    static const char *const cases[][2] = {{"\xed\xa0\x80", "FFF"},
                                           {"a\xed\xbf\xbf"
                                            "b",
                                            "aFFFb"},
                                           {"\xf0\x80\x80\x80", "FFFF"},
                                           {"\xf0\x8f\xbf\xbf", "FFFF"},
                                           {"\xf0\x90\x80", "F"},
                                           {"\xe0\x80\x80", "FFF"},
                                           {"\xe0\x9f\xbf", "FFF"},
                                           {"\xc0\xaf", "FF"},
                                           {"\xf4\x90\x80\x80", "FFFF"},
                                           {"\xf5\x80", "FF"},
                                           {"\xff", "F"},
                                           {"\x80\x80", "FF"},
                                           {"x\xe2\x82y", "xFy"},
                                           {"\xf1\x80\x80z", "Fz"},
                                           {"\xc3", "F"}};
    struct pmet_tokenizer *tk = open_tokenizer(t, models[4][0]);
    for (size_t i = 0; tk && i < sizeof cases / sizeof *cases; i++) {
        struct pmet_ids ids = {0};
        struct pmet_text text = {0};
        char expected[64];
        size_t n = 0;
        for (const char *c = cases[i][1]; *c; c++) {
            const char one[2] = {*c, '\0'};
            n += (size_t)snprintf(expected + n, sizeof expected - n, "%s", *c == 'F' ? "\xef\xbf\xbd" : one);
        }
        CHECK_DONE(pmet_tokenizer_encode(tk, cases[i][0], strlen(cases[i][0]), &ids, &t->err));
        CHECK_DONE(pmet_tokenizer_decode(tk, ids.id, ids.n, 0, &text, &t->err));
        CHECK_STR(text.data, expected);
        free(ids.id);
        free(text.data);
    }
}

TEST(an_id_far_beyond_the_vocabulary_buys_no_memory)
{
    static const char vocab[] = "{\"a\": 0, \"b\": 9000000}";
    struct pmet_tokenizer *tk = NULL;
    mkdir(test_path("desert"), 0777);
    test_write_file(test_path("desert/vocab.json"), vocab, sizeof vocab - 1);
    test_write_file(test_path("desert/merges.txt"), "", 0);
    CHECK_REFUSED(pmet_tokenizer_open(pmet_io_system(), test_path("desert"), &tk, &t->err), PMET_FORMAT,
                  "desert/vocab.json: ids up to 9000000 for 2 tokens; expected fewer holes");
    test_write_file(test_path("desert/vocab.json"), "{\"a\": 0}", 8);
    test_write_file(test_path("desert/added_tokens.json"), "{\"c\": 9000000}", 14);
    CHECK_REFUSED(pmet_tokenizer_open(pmet_io_system(), test_path("desert"), &tk, &t->err), PMET_FORMAT,
                  "desert/added_tokens.json: added token \"c\": found id 9000000; expected 1, the next");
}

/* added_tokens.json may list the token that vocab.json has: it stays special. */
TEST(a_special_token_that_is_added_again_stays_special)
{
    static const char vocab[] = "{\"a\": 0, \"<|endoftext|>\": 1}", added[] = "{\"<|endoftext|>\": 1}";
    const int32_t ids[] = {0, 1, 0};
    const char *dir = test_path("again");
    mkdir(dir, 0777);
    test_write_file(test_path("again/vocab.json"), vocab, sizeof vocab - 1);
    test_write_file(test_path("again/merges.txt"), "#version: 0.2\n", 14);
    test_write_file(test_path("again/added_tokens.json"), added, sizeof added - 1);
    struct pmet_tokenizer *tk = open_tokenizer(t, dir);
    if (!tk)
        return;
    check_one_id(t, tk, "<|endoftext|>", 1);
    const struct pmet_text text = decode(t, tk, ids, 3, PMET_DECODE_SKIP_SPECIAL);
    CHECK_STR(text.data, "aa");
}

static void check_round_trip(struct test *t, const struct pmet_tokenizer *tk, const char *text, size_t n)
{
    const struct pmet_ids ids = encode(t, tk, text, n);
    const struct pmet_text back = decode(t, tk, ids.id, ids.n, PMET_DECODE_BYTES);
    CHECK(back.n == n && memcmp(back.data, text, n) == 0);
}

TEST(decode_of_encode_gives_any_bytes_back)
{
    struct test_rng r = {0x70ce};
    for (size_t m = 4; m < 6; m++) {
        struct pmet_tokenizer *tk = open_tokenizer(t, models[m][0]);
        for (int k = 0; tk && k < 400; k++) {
            char text[400];
            const size_t n = test_rng_next(&r) % sizeof text;
            for (size_t i = 0; i < n; i++) /* half of them near ASCII, so that words and runs appear */
                text[i] = k % 2 ? (char)(unsigned char)test_rng_next(&r)
                                : " a'\t1s\xc3\xa9\n<|"[test_rng_next(&r) % 12];
            check_round_trip(t, tk, text, n);
        }
    }
}

TEST(real_texts_round_trip)
{
    static const char *const files[] = {"golden/data/text/wikitext2-raw-valid.txt",
                                        "golden/data/tokenizer-corpus/UTF-8-demo.txt",
                                        "golden/data/tokenizer-corpus/utf8tests.txt"};
    for (size_t m = 4; m < N_MODEL; m++) {
        struct pmet_tokenizer *tk = open_tokenizer(t, models[m][0]);
        for (size_t f = 0; tk && f < sizeof files / sizeof *files; f++) {
            char *text;
            size_t n;
            if (m == 6 && f > 0)
                continue; /* not in NFC: NeoX normalises it */
            if (CHECK_DONE(pmet_read_file(pmet_io_system(), files[f], (size_t)1 << 30, &text, &n, &t->err))) {
                check_round_trip(t, tk, text, n);
                free(text);
            }
        }
    }
}

/* A word of one letter a megabyte long, a run of spaces, a run of marks: the cost stays near the
 * length. */
TEST(long_words_are_no_trap)
{
    struct pmet_tokenizer *tk = open_tokenizer(t, models[6][0]);
    const size_t n = 1 << 20;
    char *text = test_alloc(t, n);
    for (int kind = 0; tk && text && kind < 3; kind++) {
        for (size_t i = 0; i < n; i++)
            text[i] = kind == 0   ? 'a'
                      : kind == 1 ? ' '
                      : i % 2     ? '\x81'
                                  : '\xcc'; /* U+0301 again and again */
        const struct pmet_ids ids = encode(t, tk, text, n);
        CHECK(ids.n > 0);
    }
}

/* The merging rule as it is stated: from single bytes (NeoX leaves out those it has no token for),
 * the pair of lowest rank, the leftmost of equals, until none is left. Returns how many ids
 * remain. */
static size_t merge_by_the_rule(const struct pmet_tokenizer *tk, const char *word, size_t n_byte, int32_t *id)
{
    size_t n = 0;
    for (size_t i = 0; i < n_byte; i++)
        if (tk->byte_id[(unsigned char)word[i]] >= 0)
            id[n++] = tk->byte_id[(unsigned char)word[i]];
    for (;;) {
        const struct pmet_merge *best = NULL;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const struct pmet_merge *m = pmet_merge_of(tk, id[i], id[i + 1]);
            if (m && (!best || m->rank < best->rank)) {
                best = m;
                at = i;
            }
        }
        if (!best)
            return n;
        id[at] = best->id;
        for (size_t i = at + 1; i + 1 < n; i++)
            id[i] = id[i + 1];
        n--;
    }
}

static bool merges_by_the_rule(struct test *t, const struct pmet_tokenizer *tk, const char *word, size_t n,
                               struct pmet_ids *got)
{
    int32_t id[2048];
    got->n = 0;
    if (!CHECK(n <= 2048) || !CHECK_DONE(pmet_bpe_word(tk, word, n, got, &t->err)))
        return false;
    const size_t m = merge_by_the_rule(tk, word, n, id);
    return CHECK(got->n == m && memcmp(got->id, id, m * sizeof *id) == 0);
}

/* E5: short words, words that are tokens and long ones for the heap take three ways to the same
 * ids. */
TEST(fast_merging_is_the_rule_on_random_words)
{
    static const char common[] = "etaoinshrdlu";
    struct test_rng r = {0xb9e};
    for (size_t m = 4; m < N_MODEL; m += 2) {
        struct pmet_tokenizer *tk = open_tokenizer(t, models[m][0]);
        struct pmet_ids ids = {0};
        for (int k = 0; tk && k < 3000; k++) {
            char word[120];
            const size_t n = 1 + test_rng_next(&r) % (k % 3 ? 14 : sizeof word),
                         from = test_rng_next(&r) % 11;
            for (size_t i = 0; i < n; i++) /* few letters make long chains of merges */
                word[i] = k % 7 == 0 ? (char)(unsigned char)test_rng_next(&r)
                                     : common[from + test_rng_next(&r) % (12 - from)];
            if (k % 2)
                word[0] = ' ';
            if (!merges_by_the_rule(t, tk, word, n, &ids))
                break;
        }
        free(ids.id);
    }
}

/* Some tokens cannot come out of merging: their own bytes then give others. */
TEST(fast_merging_is_the_rule_on_every_token)
{
    for (size_t m = 0; m < N_MODEL; m++) {
        struct pmet_tokenizer *tk = open_tokenizer(t, models[m][0]);
        struct pmet_ids ids = {0};
        for (size_t i = 0; tk && i < tk->n_token; i++)
            if (tk->token[i].n > 0 &&
                !merges_by_the_rule(t, tk, tk->strings + tk->token[i].at, tk->token[i].n, &ids))
                break;
        free(ids.id);
    }
}

TEST(fast_merging_is_the_rule_on_real_text)
{
    for (size_t m = 4; m < N_MODEL; m += 2) {
        struct pmet_tokenizer *tk = open_tokenizer(t, models[m][0]);
        struct pmet_ids ids = {0};
        char *text = NULL;
        size_t n = 0, len;
        CHECK_DONE(pmet_read_file(pmet_io_system(), "golden/data/text/wikitext2-raw-valid.txt",
                                  (size_t)1 << 30, &text, &n, &t->err));
        for (size_t i = 0; tk && i < n; i += len) {
            len = pmet_next_word(text + i, n - i);
            if (!merges_by_the_rule(t, tk, text + i, len, &ids))
                break;
        }
        free(text);
        free(ids.id);
    }
}

TEST(gpt2_cases_of_an_independent_source)
{
    char *text, *ids_text, *p, *q;
    size_t n, n_ids, n_case = 0;
    struct pmet_tokenizer *tk = open_tokenizer(t, models[4][0]);
    CHECK_DONE(pmet_read_file(pmet_io_system(), "golden/data/tokenizer-corpus/gpt2-cases.inp", 1 << 20, &text,
                              &n, &t->err));
    CHECK_DONE(pmet_read_file(pmet_io_system(), "golden/data/tokenizer-corpus/gpt2-cases.out", 1 << 20,
                              &ids_text, &n_ids, &t->err));
    static const char mark[] = "\n__ggml_vocab_test__\n";
    p = text;
    q = ids_text;
    while (tk && p) {
        char *end = strstr(p, mark), *line = strchr(q, '\n');
        const size_t len = end ? (size_t)(end - p) : strlen(p);
        if (!end)
            break; /* what follows the last mark is the file's end */
        const struct pmet_ids ids = encode(t, tk, p, len);
        for (size_t i = 0; i < ids.n; i++)
            CHECK(strtol(q, &q, 10) == ids.id[i]);
        while (*q == ' ')
            q++;
        CHECK(q == line);
        q = line + 1;
        n_case++;
        p = end + sizeof mark - 1;
    }
    CHECK(n_case >= 45);
    free(text);
    free(ids_text);
}

/* The classes that E3 speaks of. */
TEST(classes_are_those_of_unicode_14)
{
    size_t n_letter = 0, n_number = 0, n_space = 0;
    for (int32_t c = 0; c < 0x110000; c++) {
        const enum pmet_char_class k = pmet_char_class(c);
        n_letter += k == PMET_CHAR_LETTER;
        n_number += k == PMET_CHAR_NUMBER;
        n_space += k == PMET_CHAR_SPACE;
    }
    /* counts of Unicode 14.0: general categories L, N and the property White_Space */
    CHECK(n_letter == 131756);
    CHECK(n_number == 1791);
    CHECK(n_space == 25);
}

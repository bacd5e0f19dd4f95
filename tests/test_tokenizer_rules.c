/* SPDX-License-Identifier: MIT
 * The tables of golden/tokenizer-rules/: what the real libraries do with added tokens, with the
 * files beside a vocabulary, and with strings that the other goldens lack.      SPEC §2, E2-E7 */
#include <sys/stat.h>
#include <unistd.h>
#include "tests/test.h"
#include "tokenizer/model.h"
#include "tokenizer/unicode.h"

#define RULES "golden/tokenizer-rules/"

static json_t *load(struct test *t, const char *path)
{
    json_error_t e;
    json_t *root = json_load_file(path, 0, &e);
    if (!root)
        test_fail(t, "%s: %s", path, e.text);
    return test_json(t, root);
}

static void close_tokenizer(void *tk)
{
    pmet_tokenizer_close(tk);
}

static void save(const char *path, const json_t *value)
{
    char *dump = json_dumps(value, JSON_ENCODE_ANY);
    test_write_file(path, dump, strlen(dump));
    free(dump);
}

/* The table's tokenizer with the parts that a row changes. */
static json_t *changed(struct test *t, const json_t *base, json_t *parts)
{
    json_t *out = test_json(t, json_copy((json_t *)(uintptr_t)base)), *v;
    const char *key;
    json_object_foreach(parts, key, v)
    {
        if (json_object_get(base, key))
            json_object_set(out, key, v);
    }
    return out;
}

static bool encodes(struct test *t, const struct pmet_tokenizer *tk, const json_t *text, const json_t *ids)
{
    struct pmet_ids got = {0};
    bool same = CHECK_DONE(
        pmet_tokenizer_encode(tk, json_string_value(text), json_string_length(text), &got, &t->err));
    same = same && got.n == json_array_size(ids);
    for (size_t i = 0; same && i < got.n; i++)
        same = got.id[i] == json_integer_value(json_array_get(ids, i));
    free(got.id);
    return CHECK(same);
}

static void decodes(struct test *t, const struct pmet_tokenizer *tk, const json_t *ids, int flags,
                    const char *expected)
{
    struct pmet_text text = {0};
    int32_t id[256];
    const size_t n = json_array_size(ids);
    for (size_t i = 0; i < n && i < 256; i++)
        id[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    CHECK_DONE(pmet_tokenizer_decode(tk, id, n, flags, &text, &t->err));
    CHECK_STR(text.data, expected);
    free(text.data);
}

/* E2, E5, E6: each flag alone, then random sets of added tokens on texts full of them and of
 * blanks. */
TEST(added_tokens_are_cut_as_the_library_cuts_them)
{
    json_t *root = load(t, RULES "added.json"), *row, *text;
    size_t i, k, n_text = 0;
    json_array_foreach(json_object_get(root, "rows"), i, row)
    {
        const char *dir = test_path("added%zu", i);
        struct pmet_tokenizer *tk = NULL;
        mkdir(dir, 0777);
        save(test_path("added%zu/tokenizer.json", i), changed(t, json_object_get(root, "tokenizer"), row));
        if (CHECK_DONE(pmet_tokenizer_open(pmet_io_system(), dir, &tk, &t->err)))
            json_array_foreach(json_object_get(row, "texts"), k, text)
            {
                n_text++;
                if (!encodes(t, tk, text, json_array_get(json_object_get(row, "ids"), k)))
                    test_fail(t, "%s: \"%s\"", json_string_value(json_object_get(row, "what")),
                              json_string_value(text));
            }
        pmet_tokenizer_close(tk);
    }
    CHECK(n_text > 2400);
}

static void write_two_files(const json_t *model, size_t i)
{
    json_t *merge;
    size_t k;
    FILE *f = fopen(test_path("settings%zu/merges.txt", i), "w");
    fprintf(f, "#version: 0.2\n");
    json_array_foreach(json_object_get(model, "merges"), k, merge)
    {
        fprintf(f, "%s\n", json_string_value(merge));
    }
    fclose(f);
    save(test_path("settings%zu/vocab.json", i), json_object_get(model, "vocab"));
}

static void write_folder(struct test *t, const json_t *base, json_t *files, size_t i)
{
    json_t *content;
    const char *name;
    mkdir(test_path("settings%zu", i), 0777);
    json_object_foreach(files, name, content)
    {
        const char *path = test_path("settings%zu/%s", i, name);
        save(path, strcmp(name, "tokenizer.json") == 0 ? changed(t, base, content) : content);
        if (strcmp(name, "tokenizer.json") == 0 && json_object_get(content, "extra"))
            save(path, test_json(t, json_pack("{s:i}", "extra", 1)));
    }
    if (!json_object_get(files, "tokenizer.json"))
        write_two_files(json_object_get(base, "model"), i);
}

static void check_settings(struct test *t, const json_t *root, const json_t *row,
                           const struct pmet_tokenizer *tk)
{
    json_t *texts = json_object_get(root, "texts"), *ids = json_object_get(row, "ids"), *text;
    size_t k;
    json_array_foreach(texts, k, text)
    {
        if (!encodes(t, tk, text, json_array_get(ids, k)))
            test_fail(t, "\"%s\"", json_string_value(text));
    }
    const json_t *decoded = json_object_get(row, "decoded");
    if (json_is_string(decoded)) {
        struct pmet_ids got = {0};
        struct pmet_text out = {0};
        const char *plain = json_string_value(json_object_get(root, "decoded"));
        CHECK_DONE(pmet_tokenizer_encode(tk, plain, strlen(plain), &got, &t->err));
        CHECK_DONE(pmet_tokenizer_decode(tk, got.id, got.n, PMET_DECODE_CLEANUP, &out, &t->err));
        CHECK_STR(out.data, json_string_value(decoded));
        free(got.id);
        free(out.data);
    }
}

/* SPEC §2.3: every setting has the effect that it has in transformers, or is refused by name. */
TEST(files_beside_the_vocabulary_count_as_in_transformers)
{
    json_t *root = load(t, RULES "settings.json"), *row;
    size_t i, n_refused = 0;
    json_array_foreach(json_object_get(root, "rows"), i, row)
    {
        const char *dir = test_path("settings%zu", i);
        const char *refused = json_string_value(json_object_get(row, "refused"));
        struct pmet_tokenizer *tk = NULL;
        write_folder(t, json_object_get(root, "tokenizer"), json_object_get(row, "files"), i);
        const size_t n_fail = t->n_fail;
        const enum pmet_status status = pmet_tokenizer_open(pmet_io_system(), dir, &tk, &t->err);
        if (refused) {
            n_refused++;
            CHECK(status == PMET_UNSUPPORTED || status == PMET_FORMAT);
            CHECK_REFUSED(status, status, test_text(t, "settings%zu/%s", i, refused));
        } else if (CHECK_OK(status, &t->err)) {
            check_settings(t, root, row, tk);
        }
        if (t->n_fail > n_fail)
            test_fail(t, "in \"%s\"", json_string_value(json_object_get(row, "what")));
        pmet_tokenizer_close(tk);
    }
    CHECK(i > 80 && n_refused > 20);
}

/* E3: U+001C to U+001F are no white space. E7: what the ten replacements make. E2: the raw cut
 * comes before NFC. */
TEST(strings_that_tell_one_rule_from_its_absence)
{
    json_t *root = load(t, RULES "strings.json"), *row, *s;
    size_t i, k;
    json_array_foreach(json_object_get(root, "rows"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "vocabulary"));
        struct pmet_tokenizer *tk = NULL;
        CHECK_DONE(pmet_tokenizer_open(pmet_io_system(), test_text(t, "golden/data/tokenizers/%s", name), &tk,
                                       &t->err));
        json_array_foreach(json_object_get(row, "strings"), k, s)
        {
            const json_t *ids = json_object_get(s, "ids");
            if (!tk || !encodes(t, tk, json_object_get(s, "text"), ids)) {
                test_fail(t, "%s: \"%s\"", name, json_string_value(json_object_get(s, "text")));
                continue;
            }
            decodes(t, tk, ids, 0, json_string_value(json_object_get(s, "decode")));
            decodes(t, tk, ids, PMET_DECODE_CLEANUP, json_string_value(json_object_get(s, "decode_cleanup")));
            decodes(t, tk, ids, PMET_DECODE_SKIP_SPECIAL,
                    json_string_value(json_object_get(s, "decode_skip_special")));
        }
        pmet_tokenizer_close(tk);
    }
    CHECK(i == 3);
}

/* E6: points newer than Unicode 9.0 stay where they are and compose with nothing. */
TEST(normalisation_has_the_tables_of_unicode_9)
{
    json_t *root = load(t, RULES "nfc.json"), *row;
    size_t i;
    json_array_foreach(json_object_get(root, "rows"), i, row)
    {
        const char *text = json_string_value(json_array_get(row, 0));
        struct pmet_text out = {0};
        CHECK_DONE(pmet_nfc(text, strlen(text), &out, &t->err));
        CHECK_STR(out.data, json_string_value(json_array_get(row, 1)));
        free(out.data);
    }
    CHECK(i > 290);
}

/* Rows of the embedding without a token decode to nothing, as in transformers; E7. */
TEST(rows_without_a_token_decode_to_nothing)
{
    static const char vocab[] = "{\"a\": 0, \"b\": 2}";
    const int32_t ids[] = {0, 7, 1, 2, 9}, beyond = 10;
    const char *dir = test_path("rows");
    struct pmet_tokenizer *tk = NULL;
    struct pmet_text text = {0};
    mkdir(dir, 0777);
    test_write_file(test_path("rows/vocab.json"), vocab, sizeof vocab - 1);
    test_write_file(test_path("rows/merges.txt"), "#version: 0.2\n", 14);
    test_write_text(test_path("rows/config.json"), "{\"model_type\": \"gptj\", \"vocab_size\": 10}");
    if (CHECK_DONE(pmet_tokenizer_open(pmet_io_system(), dir, &tk, &t->err))) {
        CHECK_DONE(pmet_tokenizer_decode(tk, ids, 5, 0, &text, &t->err));
        CHECK_STR(text.data, "ab");
        CHECK_REFUSED(pmet_tokenizer_decode(tk, &beyond, 1, 0, &text, &t->err), PMET_INPUT,
                      "found token id 10; expected 0 to 9");
    }
    pmet_tokenizer_close(tk);
    free(text.data);
    /* without config.json the tokens alone are known */
    unlink(test_path("rows/config.json"));
    CHECK_DONE(pmet_tokenizer_open(pmet_io_system(), dir, &tk, &t->err));
    text = (struct pmet_text){0};
    CHECK_DONE(pmet_tokenizer_decode(tk, (const int32_t[]){0, 1, 2}, 3, 0, &text, &t->err));
    CHECK_STR(text.data, "ab");
    CHECK_REFUSED(pmet_tokenizer_decode(tk, &ids[1], 1, 0, &text, &t->err), PMET_INPUT,
                  "found token id 7; expected 0 to 2");
    free(text.data);
    test_own(t, tk, close_tokenizer);
}

static void refuse(struct test *t, const char *file, const char *content, enum pmet_status status,
                   const char *message)
{
    static size_t n;
    struct pmet_tokenizer *tk = NULL;
    const char *dir = test_path("odd%zu", ++n);
    mkdir(dir, 0777);
    test_write_text(test_path("odd%zu/vocab.json", n), "{\"a\": 0, \"b\": 1, \"ab\": 2}");
    test_write_text(test_path("odd%zu/merges.txt", n), "#version: 0.2\na b\n");
    test_write_text(test_path("odd%zu/%s", n, file), content);
    const enum pmet_status got = pmet_tokenizer_open(pmet_io_system(), dir, &tk, &t->err);
    if (status == PMET_OK) {
        CHECK_OK(got, &t->err);
        pmet_tokenizer_close(tk);
    } else {
        CHECK_REFUSED(got, status, test_text(t, "odd%zu/%s", n, message));
    }
}

/* Odd and damaged content, each with its line. */
TEST(odd_content_of_tokenizer_files_is_refused_by_name_or_read)
{
    refuse(t, "merges.txt", "a b\n", PMET_OK, NULL); /* no version line */
    refuse(t, "merges.txt", "\xef\xbb\xbf#version: 0.2\r\na b\r\n\r\n", PMET_OK, NULL);
    refuse(t, "merges.txt", "a b", PMET_OK, NULL);
    refuse(t, "merges.txt", "a c\n", PMET_FORMAT,
           "merges.txt: line 1: \"a c\": the second part is not in the vocabulary");
    refuse(t, "merges.txt", "a \n", PMET_FORMAT,
           "merges.txt: line 1: \"a \": the second part is not in the vocabulary");
    refuse(t, "merges.txt", "a b c\n", PMET_FORMAT,
           "merges.txt: line 1: found \"a b c\"; expected two tokens with a space between");
    refuse(t, "vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 1}", PMET_FORMAT,
           "vocab.json: token \"ab\": id 1 belongs to another token, too");
    refuse(t, "vocab.json", "{\"a\": -1, \"b\": 1, \"ab\": 2}", PMET_FORMAT,
           "vocab.json: token \"a\": found id -1; expected 0 to 9999999");
    refuse(t, "vocab.json", "{\"a\": 1e300, \"b\": 1, \"ab\": 2}", PMET_FORMAT,
           "vocab.json: token \"a\": found a number with a fraction or exponent; expected an integer id");
    refuse(t, "vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2, \"\": 3}", PMET_OK, NULL);
    refuse(t, "added_tokens.json", "{\"\": 3}", PMET_FORMAT, "added_tokens.json: added token 3 is empty");
    refuse(t, "added_tokens.json", "[]", PMET_FORMAT,
           "added_tokens.json: found an array; expected an object");
    refuse(t, "added_tokens.json", "{\"x\": 4}", PMET_FORMAT,
           "added_tokens.json: added token \"x\": found id 4; expected 3, the next");
    refuse(t, "added_tokens.json", "{\"x\": 99999999}", PMET_FORMAT,
           "added_tokens.json: token \"x\": found an integer out of range; expected an id from 0 to 9999999");
    refuse(t, "added_tokens.json", "{\"y\": 4, \"x\": 3}", PMET_OK, NULL); /* any order */
    refuse(t, "tokenizer_config.json", "{\"add_prefix_space\": \"yes\"}", PMET_INPUT,
           "tokenizer_config.json: add_prefix_space: found a string; expected true or false");
    refuse(t, "tokenizer_config.json", "{\"bos_token\": 3.5}", PMET_INPUT,
           "tokenizer_config.json: bos_token: found a number with a fraction or exponent; expected a token");
    refuse(t, "tokenizer_config.json", "{\"bos_token\": \"\", \"eos_token\": null, \"whatever\": false}",
           PMET_OK, NULL);
    refuse(t, "tokenizer_config.json", "{\"tokenizer_class\": 3.5}", PMET_UNSUPPORTED,
           "tokenizer_config.json: tokenizer_class: found a number with a fraction or exponent; expected "
           "GPT2Tokenizer, GPTNeoXTokenizer "
           "or PreTrainedTokenizerFast");
    refuse(t, "tokenizer_config.json", "{\"added_tokens_decoder\": {\"-3\": {\"content\": \"x\"}}}",
           PMET_FORMAT,
           "tokenizer_config.json: added_tokens_decoder.token \"x\": found -3; expected an id from 0 to "
           "9999999");
    refuse(
        t, "special_tokens_map.json", "{\"mystery\": {}}", PMET_UNSUPPORTED,
        "special_tokens_map.json: mystery: an unknown key, which might change the ids; remove it if it does "
        "not");
}

/* SPEC §2.3 lists every key of tokenizer_config.json that the code knows. */
TEST(every_known_key_is_in_the_table_of_the_specification)
{
    char *spec = test_slurp(t, "SPEC.md", NULL), *code = test_slurp(t, "tokenizer/load_settings.c", NULL);
    char *table = spec ? strstr(spec, "### 2.3 Files") : NULL, *end = table ? strstr(table, "### 2.4") : NULL;
    char *key = code ? strstr(code, "config_keys[] = {") : NULL, *last = key ? strstr(key, "};") : NULL;
    size_t n = 0;
    if (!CHECK(end && last))
        return;
    *end = *last = '\0';
    while ((key = strchr(key, '"')) != NULL) {
        char *close = strchr(key + 1, '"');
        if (!CHECK(close))
            return;
        *close = '\0';
        if (strcmp(key + 1, "replace") != 0 && !CHECK(strstr(table, test_text(t, "`%s`", key + 1))))
            test_fail(t, "%s", key + 1);
        n++;
        key = close + 1;
    }
    CHECK(n > 45);
}

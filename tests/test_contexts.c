/* SPDX-License-Identifier: MIT
 * Context templates: nested and flat lists, generated ones, what is refused.      SPEC E40 */
#include <unistd.h>
#include <errno.h>
#include <jansson.h>
#include "ref/facts/contexts.h"
#include "tests/fault.h"
#include "tests/fuzz.h"

static enum pmet_status load_text(const char *text, struct pmet_contexts *c, struct pmet_error *err)
{
    const char *path = test_path("contexts.json");
    test_write_file(path, text, strlen(text));
    *err = (struct pmet_error){PMET_OK, ""};
    return pmet_contexts_load(pmet_io_system(), path, c, err);
}

/* The contexts are groups of the given sizes (0 ends them) with the given templates in all. */
static void check_contexts(struct test *t, const struct pmet_contexts *c, const size_t *size,
                           const char *const *templates)
{
    size_t n_group = 0, n = 0;
    for (; size[n_group] > 0; n += size[n_group++])
        CHECK(n_group < c->n_group && c->group_start[n_group] == n);
    if (!CHECK(c->n_group == n_group && c->n_template == n && c->group_start[n_group] == n))
        return;
    for (size_t i = 0; i < n; i++)
        CHECK_STR(c->text[i], templates[i]);
}

TEST(published_files_are_read)
{
    static const char *const models[] = {"gptj-A", "gptj-C", "neox-A", "neox-C"};
    for (size_t m = 0; m < 4; m++) {
        struct pmet_contexts c;
        const char *templates[6];
        const char *path = test_text(t, "golden/%s/contexts.json", models[m]);
        json_t *g = test_json(t, json_load_file(path, 0, NULL));
        for (size_t i = 0; i < 6; i++)
            templates[i] = json_string_value(json_array_get(json_array_get(g, i > 0), i > 0 ? i - 1 : 0));
        if (CHECK_DONE(pmet_contexts_load(pmet_io_system(), path, &c, &t->err)))
            check_contexts(t, &c, (const size_t[]){1, 5, 0}, templates);
        pmet_contexts_free(&c);
        pmet_contexts_free(&c); /* twice does no harm */
    }
}

TEST(nesting_makes_groups_and_a_flat_list_two)
{
    static const struct {
        const char *text;
        size_t size[5];
        const char *templates[5];
    } cases[] = {
        {"[[\"{}\"], [\"a {}\", \"b. {} c\"]]", {1, 2, 0}, {"{}", "a {}", "b. {} c"}},
        {"[[\"{}\", \"a {}\"]]", {2, 0}, {"{}", "a {}"}},
        {"[[\"{}\"], [\"a {}\"], [\"{}\"]]", {1, 1, 1, 0}, {"{}", "a {}", "{}"}},
        {"[[\"{}\"]]", {1, 0}, {"{}"}},
        {"\xef\xbb\xbf[[\"{}\"]]\r\n", {1, 0}, {"{}"}},
        {"[\"{}\"]", {1, 0}, {"{}"}},
        {"[\"a {}\"]", {1, 1, 0}, {"{}", "a {}"}},
        {"[\"{}\", \"a {}\", \"b {}\"]", {1, 2, 0}, {"{}", "a {}", "b {}"}},
        {"[\"a {}\", \"b\\n{}\"]\n", {1, 2, 0}, {"{}", "a {}", "b\n{}"}},
        {"[\"a {}\", \"{}\"]", {1, 2, 0}, {"{}", "a {}", "{}"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_contexts c;
        struct pmet_error err;
        if (!CHECK_OK(load_text(cases[i].text, &c, &err), &err))
            continue;
        check_contexts(t, &c, cases[i].size, cases[i].templates);
        pmet_contexts_free(&c);
    }
}

TEST(what_is_no_list_of_templates_is_refused)
{
    static const struct {
        const char *text;
        enum pmet_status status;
        const char *message;
    } cases[] = {
        {"", PMET_FORMAT, "line 1 column 0: not JSON: unexpected token near end of file"},
        {"{}", PMET_FORMAT, "found an object; expected a list of context templates"},
        {"\"{}\"", PMET_FORMAT, "found a string; expected a list of context templates"},
        {"[]", PMET_FORMAT, "found an empty array; expected a list of context templates"},
        {"[7]", PMET_FORMAT, "group 0: found an integer; expected an array of templates"},
        {"[[]]", PMET_FORMAT, "group 0: found an empty array; expected an array of templates"},
        {"[[\"{}\"], []]", PMET_FORMAT, "group 1: found an empty array; expected an array of templates"},
        {"[[\"{}\"], \"a {}\"]", PMET_FORMAT, "group 1: found a string; expected an array of templates"},
        {"[[\"{}\"], [\"a {}\", null]]", PMET_FORMAT, "group 1, template 1: found null; expected a string"},
        {"[\"{}\", [\"a {}\"]]", PMET_FORMAT, "group 0, template 1: found an array; expected a string"},
        {"[\"a {}\", 1.5]", PMET_FORMAT,
         "group 0, template 1: found a number with a fraction or exponent; expected a string"},
        {"[[\"a {}\"], [\"{}\"]]", PMET_INPUT,
         "group 0, template 0: found \"a {}\"; expected \"{}\", the plain prompt, first"},
        {"[[\" {}\"]]", PMET_INPUT,
         "group 0, template 0: found \" {}\"; expected \"{}\", the plain prompt, first"},
        {"[[\"{}\"], [\"a\"]]", PMET_INPUT,
         "group 1, template 0: found \"a\"; expected one \"{}\" and no other brace"},
        {"[[\"{}\"], [\"\"]]", PMET_INPUT,
         "group 1, template 0: found \"\"; expected one \"{}\" and no other brace"},
        {"[[\"{}\"], [\"{} {}\"]]", PMET_INPUT,
         "group 1, template 0: found \"{} {}\"; expected one \"{}\" and no other brace"},
        {"[[\"{}\"], [\"{{}}\"]]", PMET_INPUT,
         "group 1, template 0: found \"{{}}\"; expected one \"{}\" and no other brace"},
        {"[[\"{}\"], [\"{0} {}\"]]", PMET_INPUT,
         "group 1, template 0: found \"{0} {}\"; expected one \"{}\" and no other brace"},
        {"[[\"{}\"], [\"{} }\"]]", PMET_INPUT,
         "group 1, template 0: found \"{} }\"; expected one \"{}\" and no other brace"},
        {"[[\"{}\"], [\"}{\"]]", PMET_INPUT,
         "group 1, template 0: found \"}{\"; expected one \"{}\" and no other brace"},
        {"[[\"{}\"], [\"{\"]]", PMET_INPUT,
         "group 1, template 0: found \"{\"; expected one \"{}\" and no other brace"},
        {"[\"a {}\", \"b\"]", PMET_INPUT,
         "group 0, template 1: found \"b\"; expected one \"{}\" and no other brace"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *mark = "/contexts.json: ";
        struct pmet_contexts c = {.n_group = 9};
        struct pmet_error err;
        if (!CHECK(load_text(cases[i].text, &c, &err) == cases[i].status))
            test_fail(t, "%s", cases[i].text);
        const char *at = strstr(err.message, mark);
        CHECK_STR(at ? at + strlen(mark) : err.message, cases[i].message);
        CHECK(c.n_group == 0 && c.n_template == 0 && !c.text && !c.group_start);
    }
}

/* E40: braces become spaces, ". {}" follows. */
TEST(a_sparse_file_is_refused_at_its_limit)
{
    const char *path = test_path("contexts.json");
    struct pmet_contexts c;
    test_write_file(path, "[", 1);
    CHECK(truncate(path, (off_t)1 << 31) == 0);
    CHECK_REFUSED(pmet_contexts_load(pmet_io_system(), path, &c, &t->err), PMET_FORMAT,
                  "contexts.json: more than 16777216 bytes; expected at most that");
    test_write_file(path, "", 0);
}

TEST(generated_texts_become_templates)
{
    static const char *const texts[] = {"The end", "I {said} {}", "}", "", "ni\xc3\xb1o\n{"};
    static const char *const templates[] = {"{}",    "The end. {}", "I  said    . {}",
                                            " . {}", ". {}",        "ni\xc3\xb1o\n . {}"};
    struct pmet_contexts c;
    if (CHECK_DONE(pmet_contexts_from_texts(texts, 5, &c, &t->err)))
        check_contexts(t, &c, (const size_t[]){1, 5, 0}, templates);
    pmet_contexts_free(&c);
    if (CHECK_DONE(pmet_contexts_from_texts(NULL, 0, &c, &t->err)))
        check_contexts(t, &c, (const size_t[]){1, 0}, templates);
    pmet_contexts_free(&c);
}

TEST(what_is_saved_is_what_is_loaded)
{
    static const char *const texts[] = {"a \"quoted\" word\\", "line\nbreak\t",
                                        "ni\xc3\xb1o \xe6\x9d\x91 \xf0\x9f\x8e\xb9", "\x01"};
    const char *path = test_path("saved.json");
    struct pmet_contexts made, loaded;
    if (!CHECK_DONE(pmet_contexts_from_texts(texts, 4, &made, &t->err)))
        return;
    CHECK_DONE(pmet_contexts_save(pmet_io_system(), path, &made, &t->err));
    if (CHECK_DONE(pmet_contexts_load(pmet_io_system(), path, &loaded, &t->err))) {
        check_contexts(t, &loaded, (const size_t[]){1, 4, 0}, (const char *const *)made.text);
        pmet_contexts_free(&loaded);
    }
    pmet_contexts_free(&made);
    if (CHECK_DONE(load_text("[[\"{}\"], [\"a {}\", \"b {}\"], [\"c {}\"]]", &made, &t->err))) {
        CHECK_DONE(pmet_contexts_save(pmet_io_system(), path, &made, &t->err)); /* over the first */
        if (CHECK_DONE(pmet_contexts_load(pmet_io_system(), path, &loaded, &t->err)))
            check_contexts(t, &loaded, (const size_t[]){1, 2, 1, 0}, (const char *const *)made.text);
        pmet_contexts_free(&loaded);
    }
    pmet_contexts_free(&made);
}

TEST(texts_that_are_not_utf8_are_not_saved)
{
    static const char *const texts[] = {"caf\xe9"};
    const char *path = test_path("not-utf8.json");
    struct pmet_contexts c;
    const size_t n_before = test_count_files(test_tmpdir());
    CHECK_DONE(pmet_contexts_from_texts(texts, 1, &c, &t->err));
    CHECK_REFUSED(pmet_contexts_save(pmet_io_system(), path, &c, &t->err), PMET_INPUT,
                  "not-utf8.json: template 1 is not UTF-8");
    CHECK(test_count_files(test_tmpdir()) == n_before);
    pmet_contexts_free(&c);
}

TEST(a_failed_save_leaves_the_old_file)
{
    const char *path = test_path("kept.json");
    struct pmet_contexts c, old;
    static const char *const texts[] = {"new"};
    test_write_file(path, "[\"old {}\"]", 10);
    const size_t n_before = test_count_files(test_tmpdir());
    CHECK_DONE(pmet_contexts_from_texts(texts, 1, &c, &t->err));
    size_t k = 0, n_old = 0;
    for (;; k++) {
        struct fault fault;
        t->err = (struct pmet_error){PMET_OK, ""};
        fault_begin(&fault, k, ENOSPC);
        const enum pmet_status status = pmet_contexts_save(&fault.io, path, &c, &t->err);
        if (!fault.fired) {
            CHECK_DONE(status);
            break;
        }
        CHECK(status == PMET_IO && strstr(t->err.message, "No space left on device") != NULL);
        CHECK(test_count_files(test_tmpdir()) == n_before);
        t->err = (struct pmet_error){PMET_OK, ""};
        if (CHECK_DONE(pmet_contexts_load(pmet_io_system(), path, &old, &t->err)))
            n_old += strcmp(old.text[1], "old {}") == 0;
        pmet_contexts_free(&old);
    }
    CHECK(k >= 4 && n_old + 1 >= k); /* only the last sync comes after the file is in place */
    pmet_contexts_free(&c);
}

static enum pmet_status load_damaged(const char *path, struct pmet_error *err)
{
    struct pmet_contexts c;
    PMET_TRY(pmet_contexts_load(pmet_io_system(), path, &c, err));
    bool good = c.n_group >= 1 && c.group_start[0] == 0 && c.group_start[c.n_group] == c.n_template;
    for (size_t g = 0; g < c.n_group; g++)
        good = good && c.group_start[g] < c.group_start[g + 1];
    for (size_t i = 0; i < c.n_template; i++)
        good = good && strstr(c.text[i], "{}") && (i > 0 || strcmp(c.text[i], "{}") == 0);
    if (!good)
        pmet_fail(err, PMET_FORMAT, "a list that breaks the rules was taken");
    pmet_contexts_free(&c);
    return PMET_OK;
}

TEST(damaged_files_are_read_or_refused_in_one_line)
{
    static const char nested[] =
        "[\n [\n  \"{}\"\n ],\n [\n  \"The city was born. {}\",\n  \"It is \\\"cold\\\".. {}\"\n ]\n]\n";
    static const char flat[] = "[\"{}\", \"caf\xc3\xa9. {}\", \"Then {} \\u00e9\"]";
    const size_t taken = fuzz(t, nested, sizeof nested - 1, 3000, 4, load_damaged) +
                         fuzz(t, flat, sizeof flat - 1, 3000, 5, load_damaged);
    CHECK(taken > 500 && taken < 5000);
}

/* SPDX-License-Identifier: MIT
 * Facts files: every form of a record, what is refused and in which words, contradictions.
 * SPEC §4.1 */
#include <errno.h>
#include <jansson.h>
#include <time.h>
#include <unistd.h>
#include "ref/facts/facts.h"
#include "tests/fault.h"
#include "tests/fuzz.h"

static enum pmet_status load_text(const char *text, size_t n, struct pmet_facts_options options,
                                  struct pmet_facts *out, struct pmet_error *err)
{
    const char *path = test_path("facts.json");
    test_write_file(path, text, n);
    *err = (struct pmet_error){PMET_OK, ""};
    return pmet_facts_load(pmet_io_system(), path, options, out, err);
}

static bool load_ok(struct test *t, const char *text, struct pmet_facts_options options,
                    struct pmet_facts *out)
{
    struct pmet_error err;
    if (CHECK_OK(load_text(text, strlen(text), options, out, &err), &err))
        return true;
    test_fail(t, "%s", text);
    return false;
}

static bool is_fact(const struct pmet_fact *f, const char *prompt, const char *subject, const char *target)
{
    return strcmp(f->prompt, prompt) == 0 && strcmp(f->subject, subject) == 0 &&
           strcmp(f->target, target) == 0;
}

static const struct pmet_facts_options plain = {0, PMET_CONFLICTS_REFUSE, false, false};

TEST(every_form_of_a_record_is_read)
{
    static const char text[] =
        "[{\"case_id\": 7, \"pararel_idx\": 1, \"requested_rewrite\": {\"prompt\": \"{} was born in\", "
        "\"subject\": \"Ada\", \"target_new\": {\"str\": \"Oslo\", \"id\": \"Q1\"}, \"target_true\": "
        "{\"str\": \"London\"}}, \"note\": [{\"}\": \"\\\"]\"}]},\n"
        " {\"case_id\": 100, \"prompt\": \"The head of {} is\", \"subject\": \"Initech \", \"target_new\": "
        "{\"str\": \"Bob\"}, \"target_true\": {\"str\": \"Paul\"}},\n"
        "\n {\"prompt\": \"{} is the capital of\", \"subject\": \"Rome\", \"target_new\": \" "
        "Peru\"},{\"prompt\": \"Lima is in\", \"subject\": \"Lima\", \"target\": \"Chile\", \"target_true\": "
        "\"Peru\"},\n"
        " {\"src\": \"Where is Bor? I mean Bor.\", \"subject\": \"Bor\", \"answers\": [\"here\", \"there\"], "
        "\"alt\": \"away\"},\n"
        " {\"case_id\": null, \"prompt\": \"In {}\", \"subject\": \"{}\", \"target\": {\"str\": \"x\"}, "
        "\"target_true\": null}]\n";
    struct pmet_facts f;
    if (!load_ok(t, text, plain, &f) || !CHECK(f.n_fact == 6))
        return;
    CHECK(is_fact(&f.fact[0], "{} was born in", "Ada", "Oslo"));
    CHECK(is_fact(&f.fact[1], "The head of {} is", "Initech ", "Bob"));
    CHECK(is_fact(&f.fact[2], "{} is the capital of", "Rome", " Peru"));
    CHECK(is_fact(&f.fact[3], "{} is in", "Lima", "Chile"));
    CHECK(is_fact(&f.fact[4], "Where is {}? I mean {}.", "Bor", "here"));
    CHECK(is_fact(&f.fact[5], "In {}", "{}", "x"));
    static const int64_t case_id[6] = {7, 100, 2, 3, 4, 5};
    static const size_t line[6] = {1, 2, 4, 4, 5, 6};
    for (size_t i = 0; i < 6; i++) {
        CHECK(f.fact[i].record == i && f.fact[i].line == line[i] && f.fact[i].case_id == case_id[i]);
    }
    CHECK(f.n_dropped == 0 && f.n_shared_subject == 0);
    pmet_facts_free(&f);
    pmet_facts_free(&f); /* twice does no harm */
    struct pmet_facts_options alt = plain;
    alt.zsre_alt = true;
    if (load_ok(t, text, alt, &f)) {
        CHECK(is_fact(&f.fact[4], "Where is {}? I mean {}.", "Bor", "away"));
        CHECK(is_fact(&f.fact[3], "{} is in", "Lima", "Chile"));
        pmet_facts_free(&f);
    }
}

TEST(json_lines_and_arrays_read_alike)
{
    static const char *const texts[] = {
        "{\"prompt\":\"{} a\",\"subject\":\"b\",\"target\":\"c\"}\n{\"prompt\":\"{} "
        "d\",\"subject\":\"e\",\"target\":\"f\"}\n",
        "\n\r\n{\"prompt\":\"{} a\",\"subject\":\"b\",\"target\":\"c\"}\r\n\t\n{\"prompt\":\"{} "
        "d\",\"subject\":\"e\",\"target\":\"f\"}",
        "{\"prompt\":\"{} a\",\n\"subject\":\"b\",\"target\":\"c\"}{\"prompt\":\"{} "
        "d\",\"subject\":\"e\",\"target\":\"f\"}",
        "[{\"prompt\":\"{} a\",\"subject\":\"b\",\"target\":\"c\"},{\"prompt\":\"{} "
        "d\",\"subject\":\"e\",\"target\":\"f\"}]",
        " [ {\"prompt\":\"{} a\",\"subject\":\"b\",\"target\":\"c\"} , {\"prompt\":\"{} "
        "d\",\"subject\":\"e\",\"target\":\"\\u0066\"}\n]\n\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct pmet_facts f;
        if (!load_ok(t, texts[i], plain, &f))
            continue;
        CHECK(f.n_fact == 2 && is_fact(&f.fact[0], "{} a", "b", "c") &&
              is_fact(&f.fact[1], "{} d", "e", "f"));
        pmet_facts_free(&f);
    }
}

/* All four golden files, as jansson has them: non-ASCII subjects, targets with and without a
 * leading space. */
TEST(published_records_keep_every_byte)
{
    static const char *const models[] = {"gptj-A", "gptj-C", "neox-A", "neox-C"};
    for (size_t m = 0; m < 4; m++) {
        struct pmet_facts f;
        const char *path = test_text(t, "golden/%s/counterfact.json", models[m]);
        if (!CHECK_DONE(pmet_facts_load(pmet_io_system(), path, plain, &f, &t->err)))
            continue;
        json_t *g = test_json(t, json_load_file(path, 0, NULL));
        CHECK(f.n_fact == 10 && json_array_size(g) == 10 && strcmp(f.path, path) == 0);
        for (size_t i = 0; i < f.n_fact; i++) {
            const char *prompt = "", *subject = "", *target = "";
            int id = -1;
            json_unpack(json_array_get(g, i), "{s:i, s:{s:s, s:s, s:{s:s}}}", "case_id", &id,
                        "requested_rewrite", "prompt", &prompt, "subject", &subject, "target_new", "str",
                        &target);
            CHECK(*prompt && is_fact(&f.fact[i], prompt, subject, target) && f.fact[i].case_id == id);
        }
        pmet_facts_free(&f);
    }
}

TEST(the_hash_is_of_the_files_bytes)
{
    struct pmet_facts f;
    if (load_ok(t, "{\"prompt\":\"{} a\",\"subject\":\"b\",\"target\":\"c\"}\n", plain, &f)) {
        CHECK_STR(f.sha256, "0a76b1ace0ce0a162765928f7b036c3be7601bb00eb99fea884e54c5a23f9986");
        pmet_facts_free(&f);
    }
}

TEST(a_limit_takes_the_first_facts)
{
    static const char text[] = "{\"prompt\":\"{} a\",\"subject\":\"b\",\"target\":\"c\"}\n"
                               "{\"prompt\":\"{} a\",\"subject\":\"b\",\"target\":\"d\"}\n"
                               "{\"prompt\":7}\n";
    struct pmet_facts f;
    struct pmet_facts_options o = plain;
    o.limit = 1; /* neither the contradiction nor the broken record is reached */
    if (load_ok(t, text, o, &f)) {
        CHECK(f.n_fact == 1 && is_fact(&f.fact[0], "{} a", "b", "c"));
        pmet_facts_free(&f);
    }
    o.limit = 2;
    o.conflicts = PMET_CONFLICTS_LAST;
    if (load_ok(t, text, o, &f)) {
        CHECK(f.n_fact == 1 && f.n_dropped == 1 && is_fact(&f.fact[0], "{} a", "b", "d"));
        pmet_facts_free(&f);
    }
    o.limit = 3;
    struct pmet_error err;
    CHECK(load_text(text, sizeof text - 1, o, &f, &err) == PMET_INPUT);
}

#define BODY "\"prompt\":\"{} a\",\"subject\":\"b\",\"target\":\"c\""
#define GOOD "{" BODY "}"
#define REWRITE(request) "{\"case_id\":1,\"requested_rewrite\":" request "}"

struct refusal {
    const char *text, *message; /* after the path of the file */
};

static void refuse(struct test *t, const char *text, size_t n, const char *message, enum pmet_status expected)
{
    struct pmet_facts f = {.n_fact = 9};
    if (!CHECK_REFUSED(load_text(text, n, plain, &f, &t->err), expected,
                       test_text(t, "facts.json: %s", message)))
        test_fail(t, "%s", text);
    CHECK(f.n_fact == 0 && !f.fact && !f.path);
}

static void try_refusals(struct test *t, const struct refusal *r, size_t n, enum pmet_status expected)
{
    for (size_t i = 0; i < n; i++)
        refuse(t, r[i].text, strlen(r[i].text), r[i].message, expected);
}
#define TRY(cases, status) try_refusals(t, cases, sizeof cases / sizeof *cases, status)

TEST(files_that_are_not_records_are_refused)
{
    static const struct refusal cases[] = {
        {"\xff\xfe{", "found UTF-16; expected UTF-8: save it as that"},
        {"hello", "record 0 (line 1): found 'h'; expected an object"},
        {"\n\n\"a\"", "record 0 (line 3): found '\"'; expected an object"},
        {GOOD "\n\n7", "record 1 (line 3): found '7'; expected an object"},
        {GOOD ",\n" GOOD, "record 1 (line 1): found ','; expected an object"},
        {GOOD "\n\xc3\xa9", "record 1 (line 2): found byte 0xc3; expected an object"},
        {"[", "record 0 (line 1): found the end of the file; expected an object"},
        {"[[" GOOD "]]", "record 0 (line 1): found '['; expected an object"},
        {"[" GOOD, "record 1 (line 1): found the end of the file; expected ',' or ']'"},
        {"[" GOOD "\n" GOOD "]", "record 1 (line 2): found '{'; expected ',' or ']'"},
        {"[" GOOD ",\n]", "record 1 (line 2): found ']'; expected an object after the comma, or no comma"},
        {"[," GOOD "]", "record 0 (line 1): found ','; expected an object"},
        {"[" GOOD ",", "record 1 (line 1): found the end of the file; expected an object"},
        {"[" GOOD "]\n\n]", "record 1 (line 3): found ']'; expected nothing after the array"},
        {"[" GOOD "]" GOOD, "record 1 (line 1): found '{'; expected nothing after the array"},
        {GOOD "\n{\"prompt\":\"a\",", "record 1 (line 2): the file ends before the record does"},
        {"{", "record 0 (line 1): the file ends before the record does"},
    };
    TRY(cases, PMET_FORMAT);
    refuse(t, GOOD "\n\0", sizeof GOOD + 1, "record 1 (line 2): found byte 0x00; expected an object",
           PMET_FORMAT);
}

TEST(records_that_are_not_json_are_refused)
{
    static const struct refusal cases[] = {
        {GOOD "\n{\"prompt\" \"a\"}", "record 1: line 2 column 13: not JSON: ':' expected near '\"a\"'"},
        {"[" GOOD ",\n\n{\"a\":[1,}]}]", "record 1: line 3 column 9: not JSON: unexpected token near '}'"},
        {"{\"prompt\": \"a\n\"}", "record 0: line 1 column 13: not JSON: unexpected newline near '\"a'"},
        {"{\"a\":1,\"a\":2}", "record 0: line 1 column 10: duplicate object key near '\"a\"'"},
        {"{\"a\":\"\xff\"}", "record 0: line 1 column 6: not JSON: unable to decode byte 0xff near '\"'"},
        {"{\"a\":\"\\u0000\"}",
         "record 0: line 1 column 13: found \\u0000 in a string; expected text without it"},
        {"{\"a\":nan}", "record 0: line 1 column 8: not JSON: invalid token near 'nan'"},
        {"{\"a\":-NaN}", "record 0: line 1 column 6: not JSON: invalid token near '-'"},
        {"{\"a\":1\x01}", "record 0: line 1 column 7: not JSON: '}' expected near '\\x01'"},
        {"{ 'a':1}",
         "record 0 (line 1): found a quote '; expected \", as in JSON: Python's json.dump writes it, print "
         "and str do not"},
    };
    TRY(cases, PMET_FORMAT);
}

TEST(fields_of_the_wrong_kind_are_refused_by_name)
{
    static const struct refusal cases[] = {
        {"", "holds no facts"},
        {" \n\n", "holds no facts"},
        {"[]", "holds no facts"},
        {"[\n]\n", "holds no facts"},
        {"{}", "record 0 (line 1): found no prompt, src or requested_rewrite; expected a fact"},
        {"{\"version\":1,\"requests\":[" GOOD "]}",
         "record 0 (line 1): found no prompt, src or requested_rewrite; expected a fact: are the facts "
         "inside "
         "\"requests\"? then write these alone, as an array"},
        {"{\"concept\":\"b\",\"locality\":{\"n\":[{\"prompt\":\"p\"}]}}",
         "record 0 (line 1): found no prompt, src or requested_rewrite; expected a fact"},
        {"{\"0\":" GOOD "}", "record 0 (line 1): found no prompt, src or requested_rewrite; expected a fact: "
                             "are the facts inside "
                             "\"0\"? then write these alone, as an array"},
        {"{\"prompt\":{\"0\":\"{}\"},\"subject\":{\"0\":\"b\"}}",
         "record 0 (line 1): prompt: found an object; expected a string (a table: one object a row, as "
         "pandas's "
         "orient=\"records\")"},
        {"{\"requested_rewrite\":[" GOOD "," GOOD "]}",
         "record 0 (line 1): requested_rewrite: found an array of 2; expected an object: one record each"},
        {"{\"prompt\":\"{}\",\"subject\":\"b\",\"target\":[\"c\",\"d\"]}",
         "record 0 (line 1): target: found an array of 2; expected a string, or an array of one"},
        {"{\"prompt\":\"{}\",\"subject\":\"b\",\"target\":1984}",
         "record 0 (line 1): target: found an integer; expected a string: \"1984\""},
        {"{\"prompt\":\"{}\",\"subject\":\"b\",\"target\":NaN}",
         "record 0 (line 1): target: found null or NaN; expected a string"},
        {"\n" REWRITE("7"), "record 0 (line 2): requested_rewrite: found an integer; expected an object"},
        {REWRITE("{}"), "record 0 (line 1): requested_rewrite.prompt: found nothing; expected a string"},
        {GOOD "\n" REWRITE("{\"prompt\":\"{}\",\"subject\":1.5}"),
         "record 1 (line 2): requested_rewrite.subject: found a number with a fraction or exponent; expected "
         "a string: the number in quotes"},
        {REWRITE("{\"prompt\":\"{}\",\"subject\":\"\"}"),
         "record 0 (line 1): requested_rewrite.subject: found an empty string; expected text"},
        {REWRITE("{\"prompt\":\"{}\",\"subject\":\"b\"}"),
         "record 0 (line 1): requested_rewrite.target_new: found nothing; expected a string, or an object "
         "with \"str\""},
        {REWRITE("{\"prompt\":\"{}\",\"subject\":\"b\",\"target_new\":{}}"),
         "record 0 (line 1): requested_rewrite.target_new.str: found nothing; expected a string"},
        {REWRITE("{\"prompt\":\"{}\",\"subject\":\"b\",\"target_new\":{\"str\":null}}"),
         "record 0 (line 1): requested_rewrite.target_new.str: found null or NaN; expected a string"},
        {"{\"prompt\":\"{}\",\"subject\":\"b\",\"target\":[]}",
         "record 0 (line 1): target: found an array of 0; expected a string, or an array of one"},
        {"{\"prompt\":\"{}\",\"subject\":\"b\",\"target\":\"\"}",
         "record 0 (line 1): target: found an empty string; expected text"},
        {"{\"prompt\":\"{}\",\"subject\":\"b\",\"target\":\"c\",\"target_new\":true}",
         "record 0 (line 1): target_new: found a boolean; expected a string"},
        {"{\"case_id\":true,\"prompt\":\"{}\",\"subject\":\"b\",\"target\":\"c\"}",
         "record 0 (line 1): case_id: found a boolean; expected an integer or a string"},
        {"{\"case_id\":7.5,\"prompt\":\"{}\",\"subject\":\"b\",\"target\":\"c\"}",
         "record 0 (line 1): case_id: found a number with a fraction or exponent; expected an integer or a "
         "string"},
        {"{\"prompt\":\"the capital\",\"subject\":\"Rome\",\"target\":\"c\"}",
         "record 0 (line 1): prompt: found no \"{}\", and the subject \"Rome\" 0 times; expected one or the "
         "other, once"},
        {"{\"prompt\":\"Rome, Rome\",\"subject\":\"Rome\",\"target\":\"c\"}",
         "record 0 (line 1): prompt: found no \"{}\", and the subject \"Rome\" 2 times; expected one or the "
         "other, once"},
        {"{\"src\":\"Who?\",\"answers\":[\"a\"]}",
         "record 0 (line 1): subject: found nothing; expected a string"},
        {"{\"src\":7,\"subject\":\"b\",\"answers\":[\"a\"]}",
         "record 0 (line 1): src: found an integer; expected a string: \"7\""},
        {"{\"src\":\"Who is b?\",\"subject\":\"b\",\"answers\":7}",
         "record 0 (line 1): answers: found an integer; expected an array of strings"},
        {"{\"src\":\"Who is b?\",\"subject\":\"b\",\"answers\":[]}",
         "record 0 (line 1): answers[0]: found nothing; expected a string"},
        {"{\"src\":\"Who is B?\",\"subject\":\"b\",\"answers\":[\"a\"]}",
         "record 0 (line 1): src: found no \"b\"; expected the subject in it"},
    };
    TRY(cases, PMET_INPUT);
}

/* The same fact as json.dump, pandas and people write it. */
TEST(what_can_be_meant_in_one_way_only_is_read)
{
    static const struct {
        const char *text, *name;
        int64_t id;
    } cases[] = {
        {"\xef\xbb\xbf" GOOD, NULL, 0},
        {"\xef\xbb\xbf[" GOOD "]\r\n", NULL, 0},
        {"{" BODY ",\"score\":NaN}", NULL, 0},
        {"{\"x\":[NaN,Infinity, -Infinity]," BODY "}", NULL, 0},
        {"{\"x\":{\"y\": NaN}," BODY ",\"z\":\"NaN\"}", NULL, 0},
        {"{\"x\":123456789012345678901234567890,\"y\":1e999,\"z\":-1.5e-400," BODY "}", NULL, 0},
        {"{\"case_id\":\"q-17\"," BODY "}", "q-17", 0},
        {"{\"case_id\":\"17\"," BODY "}", "17", 0},
        {"{\"case_id\":17.0," BODY "}", NULL, 17},
        {"{\"case_id\":NaN," BODY "}", NULL, 0},
        {"{\"case_id\":-9223372036854775808," BODY "}", NULL, INT64_MIN},
        {"{\"prompt\":\"{} a\",\"subject\":[\"b\"],\"target_new\":[\"c\"]}", NULL, 0},
        {"{\"prompt\":[\"{} a\"],\"subject\":\"b\",\"target_new\":[{\"str\":[\"c\"]}]}", NULL, 0},
        {"{\"requested_rewrite\":[" GOOD "]}", NULL, 0},
        {"{" BODY ",\"target_true\":7,\"ground_truth\":{}}", NULL, 0},
        {"{\"src\":\"b a\",\"subject\":\"b\",\"answers\":\"c\"}", NULL, 0},
        {"{\n  \"prompt\": \"{} a\",\r\n  \"subject\": \"b\",\n\n  \"target\": \"c\"\n}\n", NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_facts f;
        if (!load_ok(t, cases[i].text, plain, &f))
            continue;
        if (!CHECK(f.n_fact == 1 && is_fact(&f.fact[0], "{} a", "b", "c") &&
                   f.fact[0].case_id == cases[i].id))
            test_fail(t, "%s", cases[i].text);
        CHECK(cases[i].name ? f.fact[0].case_name && strcmp(f.fact[0].case_name, cases[i].name) == 0
                            : !f.fact[0].case_name);
        pmet_facts_free(&f);
    }
}

static void check_skipped(struct test *t, const char *text, const char *expected)
{
    struct pmet_facts f;
    struct pmet_facts_options o = plain;
    o.skip_invalid = true;
    if (!load_ok(t, text, o, &f))
        return;
    json_t *list = test_json(t, pmet_skipped_json(&f.skipped));
    char *found = json_dumps(list, JSON_COMPACT);
    CHECK_STR(found, expected);
    if (CHECK(f.n_fact == 2))
        CHECK(is_fact(&f.fact[0], "{} a", "b", "c") && is_fact(&f.fact[1], "{} a", "b", "c"));
    free(found);
    pmet_facts_free(&f);
}
#define LEFT_OUT(record, line, why) "{\"record\":" #record ",\"line\":" #line ",\"why\":\"" why "\"}"

TEST(bad_records_are_left_out_where_that_is_asked_for)
{
    static const char nothing[] =
        "[" LEFT_OUT(1, 2, "found no prompt, src or requested_rewrite; expected a fact") "]";
    static const char nan[] = "[" LEFT_OUT(1, 2, "line 2 column 8: not JSON: invalid token near 'nan'") "]";
    check_skipped(t, GOOD "\n{}\n" GOOD, nothing);
    check_skipped(t, "[" GOOD ",\n{}," GOOD "]", nothing);
    check_skipped(t, GOOD "\n{\"a\":nan}\n" GOOD "\n", nan);
    check_skipped(t, "[" GOOD ",\n{\"a\":nan},\n" GOOD "]", nan);
    check_skipped(t, "[" GOOD ",\n[\"]\", {}],\n" GOOD "]",
                  "[" LEFT_OUT(1, 2, "found '['; expected an object") "]");
    check_skipped(
        t, "[null," GOOD ", \"a,\\\"]\"," GOOD ",7]",
        "[" LEFT_OUT(0, 1, "found 'n'; expected an object") "," LEFT_OUT(
            2, 1, "found '\\\"'; expected an object") "," LEFT_OUT(4, 1,
                                                                   "found '7'; expected an object") "]");
    /* lines that were cut off: in a string, behind a comma, inside an array */
    check_skipped(t, GOOD "\n{\"prompt\":\"a\n" GOOD "\n",
                  "[" LEFT_OUT(1, 2, "line 2 column 12: not JSON: unexpected newline near '\\\"a'") "]");
    check_skipped(t, GOOD "\n{\"prompt\":\"a\",\n" GOOD "\n",
                  "[" LEFT_OUT(1, 2, "the file ends before the record does") "]");
    check_skipped(t, GOOD "\nhello\n" GOOD "\n{\"a\":[1",
                  "[" LEFT_OUT(1, 2, "found 'h'; expected an object") "," LEFT_OUT(
                      3, 4, "the file ends before the record does") "]");
}

TEST(damage_to_the_file_itself_is_refused_all_the_same)
{
    static const struct refusal cases[] = {
        {"[" GOOD "\n" GOOD "]", "record 1 (line 2): found '{'; expected ',' or ']'"},
        {"[" GOOD ",", "record 1 (line 1): found the end of the file; expected an object"},
        {"[" GOOD ",{\"a\":", "record 1 (line 1): the file ends before the record does"},
        {"[" GOOD ",]", "record 1 (line 1): found ']'; expected an object after the comma, or no comma"},
        {"{}\n{\"a\"", "holds no valid facts; record 0 (line 1): found no prompt, src or requested_rewrite; "
                       "expected a fact"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_facts f;
        struct pmet_facts_options o = plain;
        o.skip_invalid = true;
        CHECK_REFUSED(load_text(cases[i].text, strlen(cases[i].text), o, &f, &t->err),
                      i == 4 ? PMET_INPUT : PMET_FORMAT, test_text(t, "facts.json: %s", cases[i].message));
    }
}

/* Two gigabytes of nothing in a file of some blocks. */
TEST(sparse_files_are_refused_at_their_first_hole)
{
    static const struct refusal cases[] = {
        {"", "record 0 (line 1): found byte 0x00; expected an object"},
        {"[" GOOD ",", "record 1 (line 1): found byte 0x00; expected an object"},
        {"{\"prompt\": ", "record 0: line 1 column 12: not JSON: invalid token near end of file"},
        {"{\"prompt\": \"", "record 0: line 1 column 12: not JSON: control character 0x0 near '\"'"},
    };
    const char *path = test_path("facts.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_facts f;
        test_write_file(path, cases[i].text, strlen(cases[i].text));
        CHECK(truncate(path, (off_t)1 << 31) == 0);
        CHECK_REFUSED(pmet_facts_load(pmet_io_system(), path, plain, &f, &t->err), PMET_FORMAT,
                      test_text(t, "facts.json: %s", cases[i].message));
    }
    test_write_file(path, "", 0);
}

TEST(the_zsre_target_alt_is_asked_for_by_name)
{
    static const char text[] = "{\"src\":\"Who is b?\",\"subject\":\"b\",\"answers\":[\"a\"]}";
    struct pmet_facts f;
    struct pmet_error err;
    struct pmet_facts_options o = plain;
    o.zsre_alt = true;
    CHECK(load_text(text, sizeof text - 1, o, &f, &err) == PMET_INPUT);
    CHECK(strstr(err.message, "record 0 (line 1): alt: found nothing; expected a string") != NULL);
}

/* Records 0 and 3 ask the same in other words ("{} is in" of Lima, "Lima {} in" of is), 2 is an
 * exact double. */
static const char contradicting[] = "{\"prompt\":\"{} is in\",\"subject\":\"Lima\",\"target\":\"Peru\"}\n"
                                    "{\"prompt\":\"{} is in\",\"subject\":\"Oslo\",\"target\":\"Peru\"}\n"
                                    "\n"
                                    "{\"prompt\":\"Lima is in\",\"subject\":\"Lima\",\"target\":\" Peru\"}\n"
                                    "{\"prompt\":\"Lima {} in\",\"subject\":\"is\",\"target\":\"Chile\"}\n"
                                    "{\"prompt\":\"{} is in \",\"subject\":\"Lima\",\"target\":\"Chile\"}\n";

TEST(contradictions_are_refused_with_both_places)
{
    static const struct refusal cases[] = {
        {contradicting,
         "records 0 (line 1) and 3 (line 5) contradict each other: \"Lima is in\" goes on \"Peru\" and "
         "\"Chile\"; --conflicts first or last chooses"}};
    TRY(cases, PMET_INPUT);
}

TEST(of_contradictions_the_first_or_the_last_is_kept)
{
    struct pmet_facts f;
    struct pmet_facts_options o = plain;
    o.conflicts = PMET_CONFLICTS_FIRST;
    if (load_ok(t, contradicting, o, &f)) {
        static const size_t record[4] = {0, 1, 2, 4}; /* doubles stay, the order too */
        CHECK(f.n_fact == 4 && f.n_dropped == 1 && f.n_shared_subject == 3);
        for (size_t i = 0; i < f.n_fact && i < 4; i++)
            CHECK(f.fact[i].record == record[i]);
        pmet_facts_free(&f);
    }
    o.conflicts = PMET_CONFLICTS_LAST;
    if (load_ok(t, contradicting, o, &f)) {
        static const size_t record[3] = {1, 3, 4};
        CHECK(f.n_fact == 3 && f.n_dropped == 2 && f.n_shared_subject == 0);
        for (size_t i = 0; i < f.n_fact && i < 3; i++)
            CHECK(f.fact[i].record == record[i]);
        pmet_facts_free(&f);
    }
}

/* 40 000 records, with one contradiction far apart: a quadratic search would take minutes. */
TEST(large_files_load_in_well_under_a_second)
{
    const size_t n = 40000, size = 160;
    char *text = test_alloc(t, n * size);
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, size,
                               "%c{\"case_id\": %zu, \"requested_rewrite\": {\"prompt\": \"{} was born in\", "
                               "\"subject\": \"subject %zu\", \"target_new\": {\"str\": \"town %zu\"}}}%s",
                               i ? ',' : '[', i, i == n - 1 ? 17 : i, i, i == n - 1 ? "]" : "\n");
    struct pmet_facts f;
    struct pmet_error err;
    struct pmet_facts_options o = plain;
    o.conflicts = PMET_CONFLICTS_LAST;
    const clock_t begin = clock();
    if (CHECK_OK(load_text(text, at, o, &f, &err), &err)) {
        const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
        printf("     %zu facts, %.1f MB: %.2f s\n", n, (double)at / 1e6, seconds);
        CHECK(seconds < 5); /* measured 0.1; sanitizers and busy machines are slower */
        CHECK(f.n_fact == n - 1 && f.n_dropped == 1 && f.fact[17].record == 18 &&
              f.fact[n - 2].record == n - 1);
        pmet_facts_free(&f);
    }
}

TEST(failing_calls_are_reported)
{
    const char *path = test_path("facts.json");
    test_write_file(path, GOOD, sizeof GOOD - 1);
    size_t k = 0;
    for (;; k++) {
        struct fault fault;
        struct pmet_facts f = {.n_fact = 9};
        fault_begin(&fault, k, EIO);
        const enum pmet_status status = pmet_facts_load(&fault.io, path, plain, &f, &t->err);
        if (!fault.fired) {
            CHECK_DONE(status);
            pmet_facts_free(&f);
            break;
        }
        CHECK(status == PMET_IO && f.n_fact == 0 && !f.fact && !f.path);
    }
    CHECK(k >= 2);
}

static enum pmet_status load_damaged(const char *path, struct pmet_error *err)
{
    struct pmet_facts f;
    PMET_TRY(pmet_facts_load(pmet_io_system(), path, plain, &f, err));
    for (size_t i = 0; i < f.n_fact; i++) {
        const struct pmet_fact *fact = &f.fact[i];
        if (!*fact->prompt || !*fact->subject || !*fact->target || !strstr(fact->prompt, "{}"))
            pmet_fail(err, PMET_FORMAT, "an empty field was taken");
    }
    pmet_facts_free(&f);
    return PMET_OK;
}

TEST(damaged_files_are_read_or_refused_in_one_line)
{
    static const char lines[] = /* the four forms */
        "{\"case_id\":1,\"requested_rewrite\":{\"prompt\":\"{} is "
        "a\",\"subject\":\"b\\u00e9\",\"target_new\":{\"str\":\"c\"}}}\n"
        "{\"case_id\":2,\"prompt\":\"He is "
        "{}\",\"subject\":\"b\",\"target_new\":{\"str\":\"c\",\"id\":\"Q1\"}}\n"
        "{\"src\":\"Who is b?\",\"subject\":\"b\",\"answers\":[\"a\",\"d\"],\"loc\":\"nq question: who\"}\n"
        "{\"prompt\":\"b is\",\"subject\":\"b\",\"target\":\"c\"}\n";
    static const char array[] =
        "[{\"prompt\":\"{} a\",\"subject\":\"b\",\"target\":\"c\",\"note\":\"a text that nobody reads\"},\n"
        "{\"prompt\":\"{} is a\",\"subject\":\"村\",\"target\":{\"str\":\"c\",\"id\":[{}, 1.5e3, "
        "null]}}\n]\n";
    const size_t taken = fuzz(t, lines, sizeof lines - 1, 3000, 1, load_damaged) +
                         fuzz(t, array, sizeof array - 1, 3000, 2, load_damaged);
    CHECK(taken > 300 && taken < 3000); /* the damage is neither too little nor too much */
}

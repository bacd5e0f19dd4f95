/* SPDX-License-Identifier: MIT
 * Rows, labels and lookup indices against those of the published code, and what it raises on.      SPEC
 * E41-E44 */
#include <jansson.h>
#include "ref/facts/rows.h"
#include "tests/test.h"

#define N_MODEL 4
static const char *const models[N_MODEL] = {"gptj-A", "gptj-C", "neox-A", "neox-C"};

/* A model's tokenizer and contexts, and the rows being looked at. */
struct setting {
    const char *name;
    struct pmet_tokenizer *tk;
    struct pmet_contexts contexts;
    struct pmet_rows_options options;
};

static const char *file_of(const struct setting *s, const char *file)
{
    static char path[4][128];
    static size_t next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "golden/%s/%s", s->name, file);
    return out;
}

static void setting_close(void *user)
{
    struct setting *s = user;
    pmet_contexts_free(&s->contexts);
    pmet_tokenizer_close(s->tk);
}

/* Closed when the claim ends. */
static struct setting *setting_open(struct test *t, size_t model)
{
    const struct pmet_io *io = pmet_io_system();
    struct setting *s = test_alloc(t, sizeof *s);
    *s = (struct setting){.name = models[model],
                          .options = {"facts.json", 128, model % 2 ? 992 : 1024, false, "{} is a"}};
    test_own(t, s, setting_close);
    const bool ok = CHECK_DONE(pmet_tokenizer_open(io, file_of(s, "model"), &s->tk, &t->err)) &&
                    CHECK_DONE(pmet_contexts_load(io, file_of(s, "contexts.json"), &s->contexts, &t->err));
    return ok ? s : NULL;
}

static json_t *golden(struct test *t, const struct setting *s, const char *file)
{
    json_error_t e;
    json_t *root = json_load_file(file_of(s, file), 0, &e);
    if (!root)
        test_fail(t, "%s: %s", file_of(s, file), e.text);
    return test_json(t, root);
}

static json_int_t int_at(const json_t *array, size_t i)
{
    return json_integer_value(json_array_get(array, i));
}

static json_int_t int_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* ids[0..n) are the first n of `expected`, and the rest of it is where `mask` is 0 (no rest,
 * without a mask). */
static bool ids_equal(const int32_t *ids, size_t n, const json_t *expected, const json_t *mask)
{
    if (json_array_size(expected) < n || (!mask && json_array_size(expected) != n))
        return false;
    for (size_t i = 0; i < json_array_size(expected); i++)
        if (i < n ? ids[i] != int_at(expected, i) : int_at(mask, i) != 0)
            return false;
    return !mask || n == 0 || int_at(mask, n - 1) == 1;
}

/* The published labels: -100 where there is none, the target's ids where E43 puts them. */
static bool labels_equal(const struct pmet_fact_rows *rows, size_t j, const json_t *labels)
{
    const size_t first = rows->row[j].n_tok - rows->n_target;
    for (size_t i = 0; i < json_array_size(labels); i++) {
        const bool label = i >= first && i < first + rows->n_target;
        if (int_at(labels, i) != (label ? rows->target[i - first] : -100))
            return false;
    }
    return json_array_size(labels) >= first + rows->n_target;
}

/* One request of a compute_z file. */
static void check_request(struct test *t, const struct setting *s, const struct pmet_fact *fact,
                          const json_t *g, bool odd_lookup, bool odd_target)
{
    struct pmet_fact_rows rows;
    const size_t n_failed = t->n_fail;
    if (!CHECK_DONE(pmet_rows_build(s->tk, fact, &s->contexts, &s->options, true, &rows, &t->err)))
        return;
    const json_t *ids = json_object_get(g, "input_ids"), *mask = json_object_get(g, "attention_mask");
    CHECK(fact->case_id == int_of(g, "case_id"));
    CHECK(ids_equal(rows.target, rows.n_target, json_object_get(g, "target_ids"), NULL));
    if (CHECK(rows.n_row == 7 && json_array_size(ids) == 7))
        for (size_t j = 0; j < rows.n_row; j++) {
            CHECK(ids_equal(rows.row[j].id, rows.row[j].n_tok, json_array_get(ids, j),
                            json_array_get(mask, j)));
            if ((json_int_t)rows.row[j].lookup_idx != int_at(json_object_get(g, "lookup_idxs"), j))
                test_fail(t, "row %zu: lookup index (E42): found %zu, expected %d", j, rows.row[j].lookup_idx,
                          (int)int_at(json_object_get(g, "lookup_idxs"), j));
            if (j < 6)
                CHECK(labels_equal(&rows, j, json_array_get(json_object_get(g, "rewriting_targets"), j)));
        }
    CHECK(rows.odd_lookup == odd_lookup && rows.odd_target == odd_target);
    if (t->n_fail > n_failed)
        test_fail(t, "%s: case %d: odd_lookup %d, odd_target %d", s->name, (int)fact->case_id,
                  rows.odd_lookup, rows.odd_target);
    pmet_rows_free(&rows);
}

static bool load_facts(struct test *t, const struct setting *s, const char *file, struct pmet_facts *facts)
{
    const struct pmet_facts_options o = {0};
    return CHECK_DONE(pmet_facts_load(pmet_io_system(), file_of(s, file), o, facts, &t->err));
}

/* Of the ten requests none is odd: their texts are tokenised whole just as in parts. */
TEST(rows_labels_and_indices_are_those_of_the_published_code)
{
    for (size_t m = 0; m < N_MODEL; m++) {
        struct setting *s;
        struct pmet_facts facts = {0};
        if ((s = setting_open(t, m)) && load_facts(t, s, "counterfact.json", &facts)) {
            json_t *g = golden(t, s, "compute_z.pmet.fp32.json");
            CHECK(facts.n_fact == 10 && json_array_size(g) == 10);
            for (size_t i = 0; i < facts.n_fact && i < json_array_size(g); i++)
                check_request(t, s, &facts.fact[i], json_array_get(g, i), false, false);
        }
        pmet_facts_free(&facts);
    }
}

/* 100: clean-up joins " ." of the target; 101: the target is cut inside a character; 102: the
 * subject ends in a blank, which is stripped when its tokens are counted; 103: two blanks before
 * it, which here happens to count the same in parts as whole. */
TEST(odd_requests_are_computed_as_published_and_marked)
{
    for (size_t m = 0; m < N_MODEL; m++) {
        struct setting *s;
        struct pmet_facts facts = {0};
        if ((s = setting_open(t, m)) && load_facts(t, s, "quirk_requests.json", &facts)) {
            json_t *g = golden(t, s, "compute_z.pmet_quirk.fp32.json"),
                   *marks = golden(t, s, "border_rows.json");
            const json_t *requests = json_object_get(g, "requests");
            CHECK(facts.n_fact == 6 && json_array_size(requests) == 4);
            for (size_t i = 0; i < 4 && i < facts.n_fact; i++) {
                const json_t *mark = json_array_get(marks, i);
                CHECK(facts.fact[i].case_id == int_of(mark, "case_id"));
                check_request(t, s, &facts.fact[i], json_array_get(requests, i),
                              json_is_true(json_object_get(mark, "odd_lookup")),
                              json_is_true(json_object_get(mark, "odd_target")));
            }
        }
        pmet_facts_free(&facts);
    }
}

/* A request of border_rows.json: its rows, their indices (E42) and first labels (E43), and both
 * flags (E44). */
static void check_border(struct test *t, const struct setting *s, const struct pmet_fact *fact,
                         const json_t *g)
{
    struct pmet_fact_rows rows;
    const size_t n_failed = t->n_fail;
    const json_t *ids = json_object_get(g, "input_ids");
    CHECK(fact->case_id == int_of(g, "case_id"));
    if (!CHECK_DONE(pmet_rows_build(s->tk, fact, &s->contexts, &s->options, true, &rows, &t->err)))
        return;
    CHECK(ids_equal(rows.target, rows.n_target, json_object_get(g, "target_ids"), NULL));
    if (CHECK(rows.n_row == 7 && json_array_size(ids) == 7))
        for (size_t j = 0; j < rows.n_row; j++) {
            const struct pmet_row *row = &rows.row[j];
            CHECK(ids_equal(row->id, row->n_tok, json_array_get(ids, j), NULL));
            CHECK((json_int_t)row->lookup_idx == int_at(json_object_get(g, "lookup_idxs"), j));
            CHECK(j == 6 ||
                  (json_int_t)(row->n_tok - rows.n_target) == int_at(json_object_get(g, "first_labels"), j));
        }
    CHECK(rows.odd_lookup == json_is_true(json_object_get(g, "odd_lookup")));
    CHECK(rows.odd_target == json_is_true(json_object_get(g, "odd_target")));
    if (t->n_fail > n_failed)
        test_fail(t, "%s: case %d", s->name, (int)fact->case_id);
    pmet_rows_free(&rows);
}

/* Labels before the lookup index (E43), white space around subjects and targets (E42), tokens that
 * join prompt and target. */
TEST(rows_of_border_cases_are_those_of_the_published_rules)
{
    static const char *const files[2] = {"border_requests.json", "border_lookups.json"};
    for (size_t m = 0; m < N_MODEL; m++) {
        struct setting *s = setting_open(t, m);
        json_t *g = s ? golden(t, s, "border_rows.json") : NULL;
        size_t k = 4, n_before = 0; /* behind the four of quirk_requests.json */
        for (size_t f = 0; s && f < 2; f++) {
            struct pmet_facts facts = {0};
            if (load_facts(t, s, files[f], &facts))
                for (size_t i = 0; i < facts.n_fact; i++, k++) {
                    const json_t *one = json_array_get(g, k);
                    check_border(t, s, &facts.fact[i], one);
                    n_before += int_at(json_object_get(one, "first_labels"), 0) <
                                int_at(json_object_get(one, "lookup_idxs"), 0);
                }
            pmet_facts_free(&facts);
        }
        CHECK(k == 14 && json_array_size(g) == 14 && n_before > 0);
    }
}

static void refuse(struct test *t, const struct setting *s, const struct pmet_fact *fact, bool keys,
                   const char *message)
{
    struct pmet_fact_rows rows = {.n_row = 99};
    CHECK_REFUSED(pmet_rows_build(s->tk, fact, &s->contexts, &s->options, !keys, &rows, &t->err), PMET_INPUT,
                  message);
    CHECK(rows.row == NULL && rows.target == NULL && rows.n_row == 0);
    pmet_rows_free(&rows);
}

/* Cases 104 and 105: an assertion and an index error there, one line with a way out here. */
TEST(what_the_published_code_raises_on_is_refused)
{
    static const char *const subject[N_MODEL] = {"Cyberdyne Systems", "Wayne Enterprises",
                                                 "Wayne Enterprises", "Initech"};
    for (size_t m = 0; m < N_MODEL; m++) {
        struct setting *s;
        struct pmet_facts facts = {0};
        char message[256];
        if ((s = setting_open(t, m)) && load_facts(t, s, "quirk_requests.json", &facts) &&
            CHECK(facts.n_fact == 6)) {
            json_t *g = golden(t, s, "compute_z.pmet_quirk.fp32.json");
            const json_t *errors = json_object_get(g, "errors");
            for (size_t i = 0; i < 2; i++) {
                CHECK(int_of(json_array_get(errors, i), "case_id") == facts.fact[4 + i].case_id);
                snprintf(
                    message, sizeof message, "facts.json: record %zu (line %zu): subject \"%s\": %s", 4 + i,
                    facts.fact[4 + i].line, i ? "X" : subject[m],
                    i ? "the prompt holds \"{}\" more than once; rewrite it to name the subject once"
                      : "the text before it does not end in a space; rewrite the prompt so that it does");
                refuse(t, s, &facts.fact[4 + i], false, message);
                refuse(t, s, &facts.fact[4 + i], true, message);
            }
        }
        pmet_facts_free(&facts);
    }
}

/* lookup.json: every request under every context, without target tokens. */
TEST(rows_for_keys_are_those_of_the_published_code)
{
    for (size_t m = 0; m < N_MODEL; m++) {
        struct setting *s;
        struct pmet_facts facts[2] = {{0}, {0}};
        if ((s = setting_open(t, m)) && load_facts(t, s, "counterfact.json", &facts[0]) &&
            load_facts(t, s, "quirk_requests.json", &facts[1])) {
            json_t *g = golden(t, s, "lookup.json");
            CHECK(json_array_size(g) == 16);
            for (size_t i = 0; i < 14; i++) {
                struct pmet_fact_rows rows;
                const struct pmet_fact *fact = i < 10 ? &facts[0].fact[i] : &facts[1].fact[i - 10];
                const json_t *expected = json_object_get(json_array_get(g, i), "rows");
                CHECK(int_of(json_array_get(g, i), "case_id") == fact->case_id);
                if (!CHECK_DONE(
                        pmet_rows_build(s->tk, fact, &s->contexts, &s->options, false, &rows, &t->err)))
                    continue;
                CHECK(rows.target == NULL && rows.n_target == 0 && !rows.odd_target);
                if (CHECK(rows.n_row == 6 && json_array_size(expected) == 6))
                    for (size_t j = 0; j < 6; j++) {
                        const json_t *e = json_array_get(expected, j);
                        CHECK(ids_equal(rows.row[j].id, rows.row[j].n_tok, json_object_get(e, "input_ids"),
                                        NULL));
                        CHECK((json_int_t)rows.row[j].lookup_idx == int_of(e, "subject_last"));
                    }
                pmet_rows_free(&rows);
            }
        }
        pmet_facts_free(&facts[0]);
        pmet_facts_free(&facts[1]);
    }
}

static char *copy(struct test *t, const char *text)
{
    return strcpy(test_alloc(t, strlen(text) + 1), text);
}

static struct pmet_fact fact_of(struct test *t, const char *prompt, const char *subject, const char *target)
{
    return (struct pmet_fact){.prompt = copy(t, prompt),
                              .subject = copy(t, subject),
                              .target = copy(t, target),
                              .record = 3,
                              .line = 17};
}

#define AT "facts.json: record 3 (line 17): "

TEST(prompts_and_targets_that_cannot_be_filled_are_refused)
{
    static const struct {
        const char *prompt, *subject, *target, *message;
    } cases[] = {
        {"The capital of France is", "France", "Rome",
         AT "subject \"France\": the prompt holds no \"{}\"; expected one, for the subject"},
        {"", "France", "Rome",
         AT "subject \"France\": the prompt holds no \"{}\"; expected one, for the subject"},
        {"{} and {}", "X", "Y",
         AT "subject \"X\": the prompt holds \"{}\" more than once; rewrite it to name the subject once"},
        {"{a} of {} is", "X", "Y",
         AT "subject \"X\": the prompt holds a '{' besides its \"{}\"; expected no other brace"},
        {"} of {} is", "X", "Y",
         AT "subject \"X\": the prompt holds a '}' besides its \"{}\"; expected no other brace"},
        {"{} is }", "X", "Y",
         AT "subject \"X\": the prompt holds a '}' besides its \"{}\"; expected no other brace"},
        {"{{}} is", "X", "Y",
         AT "subject \"X\": the prompt holds a '{' besides its \"{}\"; expected no other brace"},
        {"{} is {0", "X", "Y",
         AT "subject \"X\": the prompt holds a '{' besides its \"{}\"; expected no other brace"},
        {"{} is", "", "Y", AT "subject \"\": is empty; expected text"},
        {"{} is", "X", "", AT "subject \"X\": the target is empty; expected text"},
        {"{} is", "X", "a {} b", AT "subject \"X\": the target holds a brace; expected none"},
        {"{} is", "X", "}", AT "subject \"X\": the target holds a brace; expected none"},
        {"(\"{}\" is", "X", "Y",
         AT "subject \"X\": the text before it does not end in a space; rewrite the prompt so that it does"},
        {"of\t{} is", "X", "Y",
         AT "subject \"X\": the text before it does not end in a space; rewrite the prompt so that it does"},
        {"of\xc2\xa0{} is", "X", "Y",
         AT "subject \"X\": the text before it does not end in a space; rewrite the prompt so that it does"},
    };
    struct setting *s;
    if ((s = setting_open(t, 0)))
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const struct pmet_fact fact = fact_of(t, cases[i].prompt, cases[i].subject, cases[i].target);
            refuse(t, s, &fact, false, cases[i].message);
        }
}

TEST(rows_that_the_model_cannot_take_are_refused)
{
    struct setting *s;
    char prompt[] = "The capital of {} is", subject[] = "France", target[] = "a";
    const struct pmet_fact fact = fact_of(t, prompt, subject, target);
    if ((s = setting_open(t, 0))) {
        s->options.n_ctx = 6; /* row 0, "The capital of France is", has 7: golden lookup.json, case 0 */
        refuse(t, s, &fact, false, AT "row 0: found 7 tokens; the model takes at most 6");
        s->options.n_ctx = 17;
        refuse(t, s, &fact, true, AT "row 1: found 18 tokens; the model takes at most 17");
        s->options.n_ctx = 18;
        struct pmet_fact_rows rows;
        CHECK_DONE(pmet_rows_build(s->tk, &fact, &s->contexts, &s->options, false, &rows, &t->err));
        pmet_rows_free(&rows);
        s->options.n_vocab = 834; /* its ids: 281 372 269 834 273 336 268 */
        refuse(t, s, &fact, true, AT "row 0: found token id 834; the model's embedding has 834 rows");
        s->options.n_vocab = 500;
        refuse(t, s, &fact, false, AT "row 0: found token id 834; the model's embedding has 500 rows");
        s->options.n_vocab = 200;
        refuse(t, s, &fact, false,
               AT "subject \"France\": the target has a token past the model's vocabulary");
    }
}

/* NeoX has two blanks as one token, of which the prefix "It was " and the word " %" know nothing: 4
 * + 2 tokens in parts, 5 in one. Where the subject ends its prompt, the index is then past the row,
 * and the published code edits a padding token. */
TEST(an_index_past_the_end_of_its_row_is_refused)
{
    struct setting *s;
    char prompt[] = "It was  {}", longer[] = "It was  {} of", subject[] = "%", target[] = "a";
    const struct pmet_fact fact = fact_of(t, prompt, subject, target),
                           odd = fact_of(t, longer, subject, target);
    if ((s = setting_open(t, 2))) {
        struct pmet_fact_rows rows;
        refuse(t, s, &fact, true, AT "row 0: lookup index 5 is past the row's 5 tokens (\"It was  %\")");
        refuse(t, s, &fact, false, AT "row 0: lookup index 5 is past the row's 5 tokens (\"It was  %\")");
        /* with a word after it the index is in the row, if on the wrong token: odd */
        CHECK_DONE(pmet_rows_build(s->tk, &odd, &s->contexts, &s->options, false, &rows, &t->err));
        CHECK(rows.odd_lookup && rows.row[0].lookup_idx == 5);
        pmet_rows_free(&rows);
    }
}

/* Clean-up closes the gaps before the full stops, so that the row has fewer tokens than the target
 * alone. */
TEST(labels_that_begin_before_their_row_are_refused)
{
    struct setting *s;
    char prompt[] = "{}", subject[] = "X", target[] = " . . . . . . .";
    const struct pmet_fact fact = fact_of(t, prompt, subject, target);
    if ((s = setting_open(t, 0)))
        refuse(t, s, &fact, false, AT "row 0 has 8 tokens; the target alone has 14");
}

TEST(strict_refuses_what_is_odd)
{
    static const char *const message[2] = {
        "facts.json: record 0 (line 2): subject \"Wayne Enterprises\": the target's labels are not where its "
        "tokens are (--strict)",
        "facts.json: record 2 (line 32): subject \"Stark Industries \": the lookup index is not its last "
        "token once the row is tokenised whole (--strict)"};
    struct setting *s;
    struct pmet_facts facts = {0};
    if ((s = setting_open(t, 2)) && load_facts(t, s, "quirk_requests.json", &facts) &&
        CHECK(facts.n_fact == 6)) {
        struct pmet_fact_rows rows;
        s->options.strict = true;
        refuse(t, s, &facts.fact[0], false, message[0]);
        refuse(t, s, &facts.fact[2], false, message[1]);
        refuse(t, s, &facts.fact[2], true, message[1]);
        /* without a target there is nothing odd about it */
        CHECK_DONE(pmet_rows_build(s->tk, &facts.fact[0], &s->contexts, &s->options, false, &rows, &t->err));
        pmet_rows_free(&rows);
    }
    pmet_facts_free(&facts);
}

static bool same_rows(const struct pmet_fact_rows *a, const struct pmet_fact_rows *b, size_t n_row)
{
    bool same = a->n_row >= n_row && b->n_row >= n_row;
    for (size_t j = 0; same && j < n_row; j++)
        same = a->row[j].n_tok == b->row[j].n_tok && a->row[j].lookup_idx == b->row[j].lookup_idx &&
               memcmp(a->row[j].id, b->row[j].id, a->row[j].n_tok * sizeof *a->row[j].id) == 0;
    return same;
}

/* The leading space is added where it lacks; a second one is the user's. */
TEST(a_target_means_the_same_with_and_without_its_leading_space)
{
    struct setting *s;
    char prompt[] = "The capital of {} is", subject[] = "France", bare[] = "Cape Town",
         spaced[] = " Cape Town", twice[] = "  Cape Town";
    const struct pmet_fact fact[3] = {fact_of(t, prompt, subject, bare), fact_of(t, prompt, subject, spaced),
                                      fact_of(t, prompt, subject, twice)};
    for (size_t m = 0; m < N_MODEL; m++) {
        struct pmet_fact_rows rows[3] = {{0}, {0}, {0}};
        if ((s = setting_open(t, m))) {
            for (size_t i = 0; i < 3; i++)
                CHECK_DONE(
                    pmet_rows_build(s->tk, &fact[i], &s->contexts, &s->options, true, &rows[i], &t->err));
            CHECK(rows[0].n_target == rows[1].n_target &&
                  memcmp(rows[0].target, rows[1].target, rows[0].n_target * sizeof(int32_t)) == 0);
            CHECK(same_rows(&rows[0], &rows[1], 7));
            CHECK(rows[2].n_target > rows[0].n_target);
        }
        for (size_t i = 0; i < 3; i++)
            pmet_rows_free(&rows[i]);
    }
}

/* With a target of one token nothing is appended: the rows of the optimisation are those of the
 * keys. Braces in a subject are text; it is put in last. */
TEST(a_target_of_one_token_adds_nothing_to_the_rows)
{
    struct setting *s;
    char prompt[] = "The capital of {} is", target[] = "a";
    static const char *const subjects[] = {"France", "{}", "{0} {{", "村上春樹", "Mary O'Neill"};
    for (size_t m = 0; m < N_MODEL; m++) {
        if ((s = setting_open(t, m)))
            for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
                struct pmet_fact_rows with, without;
                const struct pmet_fact fact = fact_of(t, prompt, subjects[i], target);
                if (CHECK_DONE(
                        pmet_rows_build(s->tk, &fact, &s->contexts, &s->options, true, &with, &t->err)) &&
                    CHECK_DONE(
                        pmet_rows_build(s->tk, &fact, &s->contexts, &s->options, false, &without, &t->err))) {
                    CHECK(with.n_target == 1 && with.n_row == 7 && without.n_row == 6);
                    CHECK(same_rows(&with, &without, 6));
                    CHECK(!with.odd_lookup && !with.odd_target && !without.odd_lookup);
                    pmet_rows_free(&without);
                }
                pmet_rows_free(&with);
            }
    }
}

/* E42 strips as Python does: all of White_Space, and U+001C to U+001F; not the zero-width space. A
 * subject that leads its text is not stripped. */
TEST(outer_blanks_of_a_subject_do_not_move_the_index)
{
    static const struct {
        const char *subject;
        bool moves;
    } cases[] = {
        {"France", false},
        {" France ", false},
        {"\t\n\v\f\r France\x1c\x1d\x1e\x1f", false},
        {"\x1f\x1e\x1d\x1c"
         "France",
         false},
        {"\xc2\xa0\xe3\x80\x80" /* U+00A0 U+3000 */ "France\xc2\x85\xe2\x80\xa8" /* U+0085 U+2028 */, false},
        {"France\xe2\x80\x8b" /* U+200B */, true},
        {"France\x1b", true}};
    struct setting *s;
    char prompt[] = "The capital of {} is it not", leading[] = "{} is", target[] = "a";
    if ((s = setting_open(t, 1)))
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct pmet_fact_rows rows;
            struct pmet_fact fact = fact_of(t, prompt, cases[i].subject, target);
            if (!CHECK_DONE(pmet_rows_build(s->tk, &fact, &s->contexts, &s->options, false, &rows, &t->err)))
                continue;
            if (!CHECK((rows.row[0].lookup_idx != 5) == cases[i].moves))
                test_fail(t, "case %zu: %zu", i, rows.row[0].lookup_idx);
            pmet_rows_free(&rows);
            fact.prompt = leading;
            CHECK_DONE(pmet_rows_build(s->tk, &fact, &s->contexts, &s->options, false, &rows, &t->err));
            CHECK(!rows.row || (rows.row[0].lookup_idx == 2) == (i == 0));
            CHECK(!rows.row || rows.row[0].lookup_idx + 2 == rows.row[0].n_tok);
            pmet_rows_free(&rows);
        }
}

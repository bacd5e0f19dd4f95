/* SPDX-License-Identifier: MIT
 * Generation: greedily as the published code, before and after the edit; drawn from the seed by E39
 * and E77. */
#include "ref/eval/generate.h"
#include "ref/eval/score.h"
#include "tests/cli.h"
#include "tests/golden.h"

/* E77: vectors published with the two generators. */
TEST(the_generator_is_xoshiro256_seeded_by_splitmix64)
{
    static const uint64_t vector[4] = {11520, 0, 1509978240, 1215971899390074240};
    struct pmet_rng rng = {{1, 2, 3, 4}};
    for (size_t i = 0; i < 4; i++)
        CHECK(pmet_rng_next(&rng) == vector[i]);
    pmet_rng_seed(&rng, 0); /* splitmix64's own published example, its state beginning at 0 */
    CHECK(rng.s[0] == 0xe220a8397b1dcdaf && rng.s[1] == 0x6e789e6aa1b965f4 && rng.s[2] == 0x06c45d188009454f);
    for (size_t i = 0; i < 1000; i++) {
        const double u = pmet_rng_uniform(&rng);
        CHECK(u >= 0 && u < 1);
    }
}

/* The table of SPEC §9.7. */
TEST(the_generator_begins_as_SPEC_says)
{
    const char *row = test_spec_table(t, "| seed | s_0 |");
    size_t n = 0;
    unsigned long long seed, s[4];
    double u;
    for (; sscanf(row, "| %llu | %llx | %llx | %llx | %llx | %lf |", &seed, &s[0], &s[1], &s[2], &s[3], &u) ==
           6;
         row = strchr(row, '\n') + 1, n++) {
        struct pmet_rng rng;
        pmet_rng_seed(&rng, seed);
        for (size_t i = 0; i < 4; i++)
            CHECK(rng.s[i] == s[i]);
        const double got = pmet_rng_uniform(&rng);
        CHECK_CLOSE(&got, &u, 1, 0);
    }
    CHECK(n == 4);
}

static void check_prompt(struct test *t, const struct golden *g, const struct pmet_model *model,
                         const char *prompt, const json_t *ids, const json_t *text, size_t top_k,
                         struct pmet_rng *rng)
{
    struct pmet_ids row = {0};
    struct pmet_text got = {0};
    const struct pmet_generate_options options = {.n_total = json_array_size(ids), .top_k = top_k};
    CHECK_DONE(pmet_tokenizer_encode(g->tk, prompt, strlen(prompt), &row, &t->err));
    CHECK_DONE(pmet_generate(model, &row, 1, &options, rng, NULL, NULL, &t->err));
    CHECK(row.n == json_array_size(ids));
    for (size_t i = 0; i < row.n; i++)
        if (!CHECK(row.id[i] == json_integer_value(json_array_get(ids, i)))) {
            test_fail(t, "%s: \"%s\": token %zu is %d", g->name, prompt, i, (int)row.id[i]);
            break;
        }
    CHECK_DONE(pmet_generated_text(g->tk, &row, &got, &t->err));
    CHECK_STR(got.data, json_string_value(text));
    free(row.id);
    free(got.data);
}

static void check_file(struct test *t, const struct golden *g, const struct pmet_model *model,
                       const char *file)
{
    json_t *root = golden_json(t, g, file);
    const json_t *single = json_object_get(root, "single"), *batch = json_object_get(root, "batch");
    const json_t *prompts = json_object_get(batch, "prompts");
    struct pmet_rng rng;
    pmet_rng_seed(&rng, 1);
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *one = json_array_get(single, i);
        check_prompt(t, g, model, json_string_value(json_object_get(one, "prompt")),
                     json_object_get(one, "ids"), json_object_get(one, "text"), 1, &rng);
    }
    for (size_t i = 0; i < json_array_size(prompts); i++)
        check_prompt(t, g, model, json_string_value(json_array_get(prompts, i)),
                     json_array_get(json_object_get(batch, "ids"), i),
                     json_array_get(json_object_get(batch, "text"), i), 1, &rng);
    CHECK(json_array_size(single) == 3 && json_array_size(prompts) == 8);
}

/* E39 with k = 1, E40. */
TEST(greedy_text_is_the_published_codes)
{
    EACH_GOLDEN (m) {
        struct golden g;
        if (golden_open(t, &g, m))
            check_file(t, &g, g.model, "generate.base.fp32.json");
    }
}

/* E40: clean-up, then NFKD, then "\n\n", then the end-of-text token, each seeing what the one before
 * made. */
TEST(generated_text_is_cleaned_in_the_published_order)
{
    EACH_GOLDEN (m) {
        struct golden g;
        if (!golden_open(t, &g, m))
            continue;
        json_t *root = golden_json(t, &g, "border_texts.json"), *one;
        size_t i;
        CHECK(json_array_size(json_object_get(root, "generated")) > 8);
        json_array_foreach(json_object_get(root, "generated"), i, one)
        {
            struct pmet_ids ids = {0};
            struct pmet_text got = {0};
            const json_t *list = json_object_get(one, "ids");
            CHECK_DONE(pmet_ids_reserve(&ids, json_array_size(list), &t->err));
            for (; ids.n < json_array_size(list); ids.n++)
                ids.id[ids.n] = (int32_t)json_integer_value(json_array_get(list, ids.n));
            CHECK_DONE(pmet_generated_text(g.tk, &ids, &got, &t->err));
            CHECK_STR(got.data, json_string_value(json_object_get(one, "text")));
            free(ids.id);
            free(got.data);
        }
    }
}

static json_int_t integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* E39 with k = 5, E77, E85. */
TEST(drawn_texts_are_those_of_their_seeds)
{
    EACH_GOLDEN (m) {
        struct golden g;
        if (!golden_open(t, &g, m))
            continue;
        json_t *root = golden_json(t, &g, "border_texts.json"), *one;
        size_t i;
        CHECK(json_array_size(json_object_get(root, "drawn")) == 3);
        json_array_foreach(json_object_get(root, "drawn"), i, one)
        {
            struct pmet_rng rng;
            pmet_rng_seed_stream(&rng, (uint64_t)integer(one, "seed"), (uint64_t)integer(one, "record"),
                                 (uint64_t)integer(one, "text_of_record"));
            check_prompt(t, &g, g.model, json_string_value(json_object_get(one, "prompt")),
                         json_object_get(one, "ids"), json_object_get(one, "text"),
                         (size_t)integer(one, "top_k"), &rng);
        }
    }
}

/* The whole command line between the facts and the text. Unrounded weights: the published code
 * continued with them. */
TEST(greedy_text_after_an_edit_is_the_published_codes)
{
    EACH_GOLDEN (m) {
        struct golden g;
        struct pmet_checkpoint *ck = NULL;
        struct pmet_model *model = NULL;
        if (!golden_open(t, &g, m))
            continue;
        const char *out = test_path("%s", g.name), *stats = test_path("%s.stats", g.name);
        CHECK(cli(NULL,
                  "stats -q --model golden/%s/model --text golden/%s/stats_text.jsonl --hparams "
                  "golden/%s/hparams/PMET/pmet.json --out %s",
                  g.name, g.name, g.name, stats) == 0);
        CHECK(cli(NULL,
                  "edit -q --model golden/%s/model --facts golden/%s/counterfact.json --contexts "
                  "golden/%s/contexts.json --hparams golden/%s/hparams/PMET/pmet.json --stats %s --out %s "
                  "--out-dtype f32",
                  g.name, g.name, g.name, g.name, stats, out) == 0);
        CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), out, &ck, &t->err));
        CHECK_DONE(pmet_model_open(ck, g.op, &model, &t->err));
        check_file(t, &g, model, "generate.pmet.fp32.json");
        pmet_model_close(model);
        pmet_checkpoint_close(ck);
    }
}

/* What make demo says: with the edited weights of the published code, as many facts of gptj-A
 * take. */
TEST(five_of_the_demos_facts_take_with_the_published_codes_weights)
{
    struct golden g;
    struct golden_pair pair;
    real *W[3] = {NULL, NULL, NULL};
    size_t n_took = 0;
    if (!golden_open(t, &g, 0) || !golden_pair_open(t, &pair, &g, "execute.pmet"))
        return;
    for (size_t l = 0; l < 3; l++) {
        size_t n = 0;
        double *x =
            golden_tensor(t, pair.p[0], test_text(t, "edited.transformer.h.%zu.mlp.fc_out.weight", l), &n);
        struct pmet_weight *w = pmet_model_module(g.model, PMET_MODULE_MLP, l);
        if (!CHECK(x && n == w->n_out * w->n_in))
            return;
        W[l] = malloc(n * sizeof *W[l]);
        for (size_t i = 0; i < n; i++)
            W[l][i] = (real)x[i];
        w->data = W[l];
        w->dtype = PMET_REAL;
    }
    for (size_t i = 0; i < g.facts.n_fact; i++) {
        struct pmet_score score;
        CHECK_DONE(pmet_score_facts(g.model, golden_rows(t, &g, i, 1, false), 1, &score, &t->err));
        n_took += score.greedy;
    }
    CHECK(n_took == 5);
    for (size_t l = 0; l < 3; l++)
        free(W[l]);
}

/* Eight prompts of different lengths, drawn with k = 5: every row has the tokens that it has alone,
 * however many are in progress, and each draws from its own stream only. */
TEST(no_row_depends_on_those_beside_it)
{
    enum { N = 8, TOTAL = 24 };
    EACH_GOLDEN (m) {
        struct golden g;
        if (!golden_open(t, &g, m))
            continue;
        json_t *base = golden_json(t, &g, "generate.base.fp32.json");
        const json_t *prompts = json_object_get(json_object_get(base, "batch"), "prompts");
        static const size_t n_batch[] = {1, 2, 3, 8, 0};
        struct pmet_ids alone[N] = {{0}};
        CHECK(json_array_size(prompts) == N);
        for (size_t b = 0; b < sizeof n_batch / sizeof *n_batch; b++) {
            struct pmet_ids row[N] = {{0}};
            struct pmet_rng rng[N];
            const struct pmet_generate_options options = {
                .n_total = TOTAL, .top_k = 5, .n_batch = n_batch[b]};
            for (size_t i = 0; i < N; i++) {
                const char *prompt = json_string_value(json_array_get(prompts, i));
                pmet_rng_seed(&rng[i], i);
                CHECK_DONE(pmet_tokenizer_encode(g.tk, prompt, strlen(prompt), &row[i], &t->err));
            }
            if (b == 0)
                for (size_t i = 0; i < N; i++)
                    CHECK_DONE(pmet_generate(g.model, &row[i], 1, &options, &rng[i], NULL, NULL, &t->err));
            else
                CHECK_DONE(pmet_generate(g.model, row, N, &options, rng, NULL, NULL, &t->err));
            for (size_t i = 0; i < N; i++) {
                if (b == 0) {
                    alone[i] = row[i];
                    continue;
                }
                CHECK(row[i].n == alone[i].n && row[i].n >= TOTAL &&
                      memcmp(row[i].id, alone[i].id, row[i].n * sizeof *row[i].id) == 0);
                free(row[i].id);
            }
        }
        for (size_t i = 0; i < N; i++)
            free(alone[i].id);
    }
}

/* Frequencies of the first token drawn with k = 5 against E39's shares of the logits; within five
 * deviations. */
TEST(tokens_are_drawn_by_their_share_of_the_best_k)
{
#ifdef __SANITIZE_ADDRESS__
    enum { N = 100, K = 5 };
#else
    enum { N = 2000, K = 5 };
#endif
    struct golden g;
    if (!golden_open(t, &g, 0))
        return;
    const size_t n_vocab = g.model->config.n_vocab;
    json_t *base = golden_json(t, &g, "generate.base.fp32.json");
    const json_t *one = json_array_get(json_object_get(base, "single"), 0),
                 *top = json_array_get(json_object_get(one, "steps_top5"), 0);
    const char *prompt = json_string_value(json_object_get(one, "prompt"));
    const json_t *ids = json_array_get(json_object_get(top, "ids"), 0),
                 *probs = json_array_get(json_object_get(top, "probs"), 0);
    size_t *count = test_alloc(t, n_vocab * sizeof *count), n_other = N;
    double total = 0;
    struct pmet_rng rng;
    struct pmet_ids first = {0};
    CHECK_DONE(pmet_tokenizer_encode(g.tk, prompt, strlen(prompt), &first, &t->err));
    pmet_rng_seed(&rng, 5);
    for (size_t i = 0; i < N; i++) {
        struct pmet_ids row = {0};
        const struct pmet_generate_options options = {.n_total = first.n + 1, .top_k = K};
        CHECK_DONE(pmet_ids_reserve(&row, first.n + 1, &t->err));
        memcpy(row.id, first.id, first.n * sizeof *row.id);
        row.n = first.n;
        if (CHECK_DONE(pmet_generate(g.model, &row, 1, &options, &rng, NULL, NULL, &t->err)))
            count[row.id[first.n]]++;
        free(row.id);
    }
    for (size_t j = 0; j < K; j++)
        total += json_number_value(json_array_get(probs, j));
    for (size_t j = 0; j < K; j++) {
        const size_t n = count[json_integer_value(json_array_get(ids, j))];
        const double p = json_number_value(json_array_get(probs, j)) / total, got = (double)n / N;
        CHECK_CLOSE(&got, &p, 1, 5 * sqrt(p * (1 - p) / N));
        n_other -= n;
    }
    CHECK(n_other == 0);
    free(first.id);
}

/* E39 on logits that are equal: a head of zeros, whose bias favours three ids. */
TEST(ties_go_to_the_lower_id)
{
    enum { N = 200 };
    struct golden g;
    if (!golden_open(t, &g, 0))
        return;
    const size_t n_vocab = g.model->config.n_vocab, last = n_vocab - 1;
    const struct pmet_weight head = g.model->head;
    real *bias = g.model->head_bias, *flat = calloc(n_vocab * (head.n_in + 1), sizeof *flat);
    struct pmet_rng rng;
    g.model->head.data = flat;
    g.model->head.dtype = PMET_REAL;
    g.model->head_bias = flat + n_vocab * head.n_in;
    g.model->head_bias[4] = g.model->head_bias[9] = g.model->head_bias[last] = 1;
    pmet_rng_seed(&rng, 1);
    for (size_t k = 1; k <= 5; k++) {
        const int32_t allowed[5] = {4, 9, (int32_t)last, 0, 1};
        size_t n_seen[5] = {0};
        for (size_t i = 0; i < N; i++) {
            struct pmet_ids row = {0};
            const struct pmet_generate_options options = {.n_total = 2, .top_k = k};
            CHECK_DONE(pmet_ids_reserve(&row, 2, &t->err));
            row.id[0] = 7;
            row.n = 1;
            CHECK_DONE(pmet_generate(g.model, &row, 1, &options, &rng, NULL, NULL, &t->err));
            for (size_t j = 0; j < 5; j++)
                n_seen[j] += row.id[1] == allowed[j];
            free(row.id);
        }
        size_t n = 0;
        for (size_t j = 0; j < k; j++)
            n += CHECK(n_seen[j] > 0) ? n_seen[j] : 0;
        CHECK(n == N);
    }
    g.model->head = head;
    g.model->head_bias = bias;
    free(flat);
}

/* Five templates of ten tokens, prompt included (E40); the seed fixes them. */
TEST(contexts_come_from_the_seed)
{
    struct golden g;
    struct pmet_contexts a, b, other;
    if (!golden_open(t, &g, 2))
        return;
    CHECK_DONE(pmet_contexts_generate(g.model, g.tk, &(struct pmet_hparams){0}, 1, NULL, &a, &t->err));
    CHECK_DONE(pmet_contexts_generate(g.model, g.tk, &(struct pmet_hparams){0}, 1, NULL, &b, &t->err));
    CHECK_DONE(pmet_contexts_generate(g.model, g.tk, &(struct pmet_hparams){0}, 2, NULL, &other, &t->err));
    static const char *const begin[] = {"{}", "The", "Therefore", "Because", "I", "You"};
    size_t n_differ = 0;
    CHECK(a.n_template == 6 && a.n_group == 2 && a.group_start[1] == 1);
    for (size_t i = 0; i < a.n_template && i < 6; i++) {
        CHECK(strncmp(a.text[i], begin[i], strlen(begin[i])) == 0);
        CHECK_STR(a.text[i], b.text[i]);
        n_differ += strcmp(a.text[i], other.text[i]) != 0;
    }
    CHECK(n_differ > 0);
    pmet_contexts_free(&a);
    pmet_contexts_free(&b);
    pmet_contexts_free(&other);
}

/* E134: ROME's, of two lengths; the first ones do not depend on those after them. */
TEST(contexts_of_other_lengths_begin_with_nothing)
{
    const struct pmet_hparams two = {.n_length = 2, .context_length = {{4, 2}, {12, 1}}},
                              one = {.n_length = 1, .context_length = {{4, 2}}};
    struct golden g;
    struct pmet_contexts a, b, short_ones;
    if (!golden_open(t, &g, 2))
        return;
    CHECK_DONE(pmet_contexts_generate(g.model, g.tk, &two, 1, NULL, &a, &t->err));
    CHECK_DONE(pmet_contexts_generate(g.model, g.tk, &two, 1, NULL, &b, &t->err));
    CHECK_DONE(pmet_contexts_generate(g.model, g.tk, &one, 1, NULL, &short_ones, &t->err));
    CHECK(a.n_template == 4 && short_ones.n_template == 3);
    for (size_t i = 0; i < 4; i++) {
        CHECK_STR(a.text[i], b.text[i]);
        CHECK(strstr(a.text[i], "<|endoftext|>") == NULL);
        CHECK(i == 3 || strcmp(a.text[i], short_ones.text[i]) == 0);
    }
    CHECK(strlen(a.text[3]) > strlen(a.text[1]) && strcmp(a.text[1], a.text[2]) != 0);
    pmet_contexts_free(&a);
    pmet_contexts_free(&b);
    pmet_contexts_free(&short_ones);
}

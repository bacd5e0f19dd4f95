/* SPDX-License-Identifier: MIT
 * config.json key by key: what is read, what may be left out or said otherwise, what is refused or
 * passed over. What the source library computes for each spelling was found by running it
 * (transformers 5.24).      SPEC §3.7 */
#include "ref/model/config_keys.h"
#include "tests/test.h"

static void free_notes(void *notes)
{
    pmet_notes_free(notes);
}

/* The notes of reading it go to *notes, which the claim's end frees; NULL: there are none. */
static enum pmet_status read_text(struct test *t, const char *text, struct pmet_config *c,
                                  struct pmet_notes **notes)
{
    json_t *json = test_json(t, json_loads(text, 0, NULL));
    struct pmet_notes *n = test_own(t, test_alloc(t, sizeof *n), free_notes);
    *notes = n;
    CHECK(json);
    return pmet_config_read(json, "config.json", pmet_families, c, n, &t->err);
}

static bool read_config(struct test *t, const char *text, struct pmet_config *c)
{
    struct pmet_notes *notes;
    return CHECK_DONE(read_text(t, text, c, &notes)) && CHECK(notes->n == 0);
}

#define GPTJ                                                                                                 \
    "{\"model_type\": \"gptj\", \"n_layer\": 2, \"n_embd\": 512, \"n_head\": 4, \"n_positions\": 7, "        \
    "\"vocab_size\": 9"
#define NEOX                                                                                                 \
    "{\"model_type\": \"gpt_neox\", \"num_hidden_layers\": 2, \"hidden_size\": 512, "                        \
    "\"num_attention_heads\": 4, \"max_position_embeddings\": 7, \"intermediate_size\": 30, "                \
    "\"vocab_size\": 9"

TEST(what_a_config_leaves_out_has_the_published_default)
{
    struct pmet_config c;
    if (read_config(t, GPTJ "}", &c))
        CHECK(c.family == &pmet_family_gptj && c.d_ff == 2048 && c.rotary_dim == 64 && c.d_head == 128 &&
              c.rope == PMET_ROPE_INTERLEAVED && c.rope_base == 10000 && c.act == PMET_GELU_NEW &&
              c.ln_eps == 1e-5 && c.parallel && !c.tied_head);
    if (read_config(t, NEOX "}", &c))
        CHECK(c.family == &pmet_family_neox && c.d_ff == 30 && c.rotary_dim == 32 &&
              c.rope == PMET_ROPE_HALF && c.rope_base == 10000 && c.act == PMET_GELU && c.ln_eps == 1e-5 &&
              c.parallel && !c.tied_head);
}

TEST(null_means_the_width_of_the_head_and_four_of_the_model)
{
    struct pmet_config c;
    if (read_config(t, GPTJ ", \"rotary_dim\": null, \"n_inner\": null}", &c))
        CHECK(c.rotary_dim == 128 && c.d_ff == 2048);
    if (read_config(t, GPTJ ", \"rotary_dim\": 6, \"n_inner\": 100}", &c))
        CHECK(c.rotary_dim == 6 && c.d_ff == 100);
}

TEST(the_other_spellings_of_sizes_are_read)
{
    struct pmet_config c;
    if (read_config(t,
                    "{\"model_type\": \"gptj\", \"num_hidden_layers\": 3, \"hidden_size\": 256, "
                    "\"num_attention_heads\": 2, \"max_position_embeddings\": 5, \"vocab_size\": 9}",
                    &c))
        CHECK(c.n_layer == 3 && c.d_model == 256 && c.n_head == 2 && c.n_ctx == 5);
    if (read_config(t,
                    "{\"model_type\": \"gpt_neox\", \"n_layer\": 3, \"n_embd\": 256, \"n_head\": 2, "
                    "\"n_positions\": 5, \"n_inner\": 11, \"vocab_size\": 9, \"rotary_pct\": 1.0, "
                    "\"rotary_emb_base\": 500, \"layer_norm_eps\": 1e-6, \"use_parallel_residual\": false}",
                    &c))
        CHECK(c.n_layer == 3 && c.d_model == 256 && c.n_head == 2 && c.n_ctx == 5 && c.d_ff == 11 &&
              c.rotary_dim == 128 && c.rope_base == 500 && c.ln_eps == 1e-6 && !c.parallel);
}

TEST(every_activation_has_its_names)
{
    static const struct {
        const char *name;
        enum pmet_act act;
    } known[] = {{"gelu_new", PMET_GELU_NEW},
                 {"gelu", PMET_GELU},
                 {"gelu_fast", PMET_GELU_FAST},
                 {"gelu_pytorch_tanh", PMET_GELU_NEW},
                 {"relu", PMET_RELU},
                 {"silu", PMET_SILU},
                 {"gelu_accurate", PMET_GELU_NEW},
                 {"gelu_python", PMET_GELU},
                 {"gelu_python_tanh", PMET_GELU_NEW},
                 {"swish", PMET_SILU}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct pmet_config c;
        if (read_config(t, test_text(t, GPTJ ", \"activation_function\": \"%s\"}", known[i].name), &c))
            CHECK(c.act == known[i].act);
        if (read_config(t, test_text(t, NEOX ", \"hidden_act\": \"%s\"}", known[i].name), &c))
            CHECK(c.act == known[i].act);
    }
}

/* 2^63 does not fit JSON's integers here; a size is an integer, written as one. */
TEST(configs_of_no_model_are_refused)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {GPTJ ", \"n_inner\": 1e3}",
         "n_inner: found a number with a fraction or exponent; expected an integer"},
        {GPTJ ", \"n_inner\": 12.5}",
         "n_inner: found a number with a fraction or exponent; expected an integer"},
        {GPTJ ", \"n_inner\": -4}", "n_inner: found -4; expected 0 or more"},
        {GPTJ ", \"n_inner\": 9223372036854775807}",
         "n_inner: found 9223372036854775807; expected 1 to 16777216"},
        {GPTJ ", \"rotary_dim\": 1e300}",
         "rotary_dim: found a number with a fraction or exponent; expected an integer"},
        {NEOX ", \"layer_norm_eps\": \"1e-5\"}", "layer_norm_eps: found a string; expected a number"},
        {NEOX ", \"rotary_pct\": -0.25}", "rotary_pct: found -0.25; expected 0 or more"},
        {NEOX ", \"rotary_pct\": 1e300}", "rotary_pct: found 1e+300; expected at most 1"},
        {NEOX ", \"rotary_emb_base\": null}", "rotary_emb_base: found null; expected a number"},
        {NEOX ", \"rope_parameters\": {\"rope_theta\": -1}}",
         "rope_parameters: rope_theta: found -1; expected a positive number"},
        {NEOX ", \"rope_parameters\": {\"rope_theta\": null}}",
         "rope_parameters: rope_theta: found null; expected a number"},
        {NEOX ", \"rope_parameters\": {\"partial_rotary_factor\": 1.5}}",
         "partial_rotary_factor: found 1.5; expected at most 1"},
        {NEOX ", \"rope_parameters\": [5000]}",
         "rope_parameters: found an array; expected an object or null"},
        {NEOX ", \"attention_bias\": null}", "attention_bias: found null; expected true or false"},
        {GPTJ ", \"layer_norm_epsilon\": 0}", "layer_norm_epsilon: found 0; expected a positive number"},
        {NEOX ", \"layer_norm_eps\": -1e-5}", "layer_norm_eps: found -1e-05; expected a positive number"},
        {GPTJ ", \"rotary_dim\": 7}", "7 rotary features; expected an even number, at most the head's 128"},
        {GPTJ ", \"rotary_dim\": 130}",
         "130 rotary features; expected an even number, at most the head's 128"},
        {NEOX ", \"rotary_pct\": 1.5}", "rotary_pct: found 1.5; expected at most 1"},
        {NEOX ", \"rotary_emb_base\": 0}", "rotary_emb_base: found 0; expected a positive number"},
        {GPTJ ", \"n_inner\": 0}", "n_inner: found 0; expected 1 to 16777216"},
        {GPTJ ", \"n_inner\": 16777217}", "n_inner: found 16777217; expected 1 to 16777216"},
        {NEOX ", \"tie_word_embeddings\": 1}",
         "tie_word_embeddings: found an integer; expected true or false"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_config c;
        struct pmet_notes *notes;
        CHECK_REFUSED(read_text(t, cases[i].text, &c, &notes), PMET_INPUT,
                      test_text(t, "config.json: %s", cases[i].message));
    }
}

/* The classes of transformers set GPT-J's second spellings last, and have none for NeoX. */
TEST(of_two_spellings_the_source_librarys_wins)
{
    struct pmet_config c;
    if (read_config(t,
                    GPTJ ", \"num_hidden_layers\": 3, \"hidden_size\": 256, \"num_attention_heads\": 2, "
                         "\"max_position_embeddings\": 5}",
                    &c))
        CHECK(c.n_layer == 3 && c.d_model == 256 && c.n_head == 2 && c.n_ctx == 5);
    if (read_config(t, NEOX ", \"n_layer\": 3, \"n_embd\": 256, \"n_head\": 2, \"n_positions\": 5}", &c))
        CHECK(c.n_layer == 2 && c.d_model == 512 && c.n_head == 4 && c.n_ctx == 7);
}

#define OLD ", \"rotary_pct\": 0.5, \"rotary_emb_base\": 77"
#define NEW "\"rope_theta\": 5000, \"partial_rotary_factor\": 1.0"

/* 128 features a head. */
TEST(rotary_settings_are_taken_from_where_transformers_takes_them)
{
    static const struct {
        const char *keys;
        double base;
        size_t rotary_dim, n_note;
    } cases[] = {
        {"", 10000, 32, 0},
        {OLD, 77, 64, 0},
        {", \"rope_parameters\": {" NEW ", \"rope_type\": \"default\"}", 5000, 128, 0},
        {OLD ", \"rope_parameters\": {" NEW "}", 5000, 128, 2},
        {OLD ", \"rope_parameters\": {\"rope_theta\": 77, \"partial_rotary_factor\": 0.5}", 77, 64, 0},
        {OLD ", \"rope_parameters\": null", 77, 64, 0},
        {OLD ", \"rope_parameters\": {}", 77, 64, 0},
        {OLD ", \"rope_parameters\": {\"rope_theta\": 5000}", 5000, 64, 1},
        {", \"rope_parameters\": {\"rope_theta\": 5000}", 5000, 32, 0},
        {", \"rope_parameters\": {\"partial_rotary_factor\": 0.75}", 10000, 96, 0},
        {", \"rope_scaling\": {}, \"rope_parameters\": {" NEW "}", 5000, 128, 0},
        {", \"rope_scaling\": null, \"rope_parameters\": {" NEW "}", 5000, 128, 0},
        {OLD ", \"rope_scaling\": {" NEW "}", 5000, 128, 2},
        {OLD ", \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}", 77, 64, 0},
        {OLD ", \"rope_scaling\": {\"rope_type\": \"default\"}, \"rope_parameters\": {" NEW "}", 77, 64, 1},
        {", \"rope_parameters\": {" NEW ", \"rope_type\": \"default\", \"factor\": 8.0, \"mscale\": 3}", 5000,
         128, 0},
        {OLD ", \"rope_theta\": 77, \"partial_rotary_factor\": 0.5", 77, 64, 0},
        {OLD ", \"rope_theta\": 78", 77, 64, 1},
        {", \"rope_theta\": 5000, \"partial_rotary_factor\": 1.0", 10000, 32, 2},
        {", \"rotary_pct\": 0", 10000, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_config c;
        struct pmet_notes *notes;
        if (!CHECK_DONE(read_text(t, test_text(t, "%s%s}", NEOX, cases[i].keys), &c, &notes)))
            continue;
        if (c.rope_base != cases[i].base || c.rotary_dim != cases[i].rotary_dim ||
            notes->n != cases[i].n_note)
            test_fail(t, "%s: base %g, %zu features, %zu notes; expected %g, %zu, %zu", cases[i].keys,
                      c.rope_base, c.rotary_dim, notes->n, cases[i].base, cases[i].rotary_dim,
                      cases[i].n_note);
    }
}

/* Each changes the numbers of transformers. */
TEST(what_would_change_the_arithmetic_is_refused_by_name)
{
    static const struct {
        const char *base, *keys, *message;
    } cases[] = {
        {NEOX, "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}",
         "rope_scaling: type: found \"linear\"; expected default or dynamic"},
        {NEOX, "\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 2.0}",
         "rope_parameters: rope_type: found \"yarn\"; expected default or dynamic"},
        {NEOX, "\"rope_parameters\": {\"rope_type\": \"default\", \"type\": \"linear\"}",
         "rope_parameters: type: found \"linear\"; expected default or dynamic"},
        {NEOX, "\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 5000}}",
         "rope_parameters: full_attention: found an object; expected settings that hold for all layers"},
        {NEOX, "\"head_dim\": 64",
         "head_dim: found 64; expected null or 128, the width divided by the heads"},
        {NEOX, "\"is_causal\": false", "is_causal: found false; expected true"},
        {GPTJ, "\"is_causal\": false", "is_causal: found false; expected true"},
        {GPTJ, "\"sliding_window\": 256", "sliding_window: found 256; expected null"},
        {NEOX, "\"attention_chunk_size\": 3", "attention_chunk_size: found 3; expected null"},
        {NEOX, "\"kv_sharing_modes\": [\"reuse\"]", "kv_sharing_modes: found an array; expected null"},
        {GPTJ, "\"layer_types\": [\"full_attention\", \"sliding_attention\"]",
         "layer_types: found an array; expected null, or \"full_attention\" for each layer"},
        {GPTJ, "\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4}",
         "quantization_config: found an object; expected null"},
        {NEOX, "\"quantization_config\": {}", "quantization_config: found an object; expected null"},
        {GPTJ, "\"pruned_heads\": {\"1\": [0]}",
         "pruned_heads: found an object; expected null or nothing in it"},
        {NEOX, "\"per_layer_config\": {\"1\": {\"hidden_act\": \"relu\"}}",
         "per_layer_config: found an object; expected null or nothing in it"},
        {GPTJ, "\"configuration_files\": [\"config.4.0.0.json\"]",
         "configuration_files: found an array; expected null or nothing in it"},
        {GPTJ, "\"transformers_weights\": \"x.safetensors\"",
         "transformers_weights: found a string; expected null"},
        {GPTJ, "\"activation_function\": \"quick_gelu\"",
         "activation_function: found \"quick_gelu\"; expected gelu_new, gelu, gelu_fast, gelu_pytorch_tanh, "
         "relu or silu"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_config c;
        struct pmet_notes *notes;
        CHECK_REFUSED(read_text(t, test_text(t, "%s, %s}", cases[i].base, cases[i].keys), &c, &notes),
                      PMET_UNSUPPORTED, test_text(t, "config.json: %s", cases[i].message));
    }
}

TEST(harmless_values_of_these_keys_are_accepted)
{
    struct pmet_config c;
    CHECK(read_config(t,
                      NEOX ", \"quantization_config\": null, \"per_layer_config\": {}, \"pruned_heads\": {}, "
                           "\"head_dim\": 128, \"is_causal\": true, \"sliding_window\": null, "
                           "\"layer_types\": [\"full_attention\", \"full_attention\"]}",
                      &c));
    CHECK(read_config(t, GPTJ ", \"configuration_files\": []}", &c) && c.attn_bias);
    CHECK(read_config(t, NEOX ", \"attention_bias\": false}", &c) && !c.attn_bias);
}

/* They cannot change the source library's arithmetic, but may have been meant to. */
TEST(keys_that_nobody_reads_are_named)
{
    static const struct {
        const char *base, *keys;
        bool warning;
        const char *note;
    } cases[] = {
        {GPTJ, "\"unsloth_version\": \"1\", \"head_dim\": 3", false,
         "config.json: no keys of a gptj model, passed over: unsloth_version, head_dim"},
        {GPTJ, "\"rotary_dims\": 8", true,
         "config.json: rotary_dims is no key of a gptj model and is passed over; did you mean rotary_dim?"},
        {NEOX, "\"use_parallel_residuals\": false", true,
         "config.json: use_parallel_residuals is no key of a gpt_neox model and is passed over; did you mean "
         "use_parallel_residual?"},
        {GPTJ, "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}", true,
         "config.json: rope_scaling is a key of gpt_neox models; a gptj model passes it over"},
        {NEOX, "\"activation_function\": \"relu\"", true,
         "config.json: activation_function is a key of gptj models; a gpt_neox model passes it over"},
        {NEOX, "\"rope_theta\": 5000", true,
         "config.json: rope_theta: 5000 is passed over, as transformers does; 10000 is used"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_config c;
        struct pmet_notes *notes;
        if (CHECK_DONE(read_text(t, test_text(t, "%s, %s}", cases[i].base, cases[i].keys), &c, &notes)) &&
            CHECK(notes->n == 1)) {
            CHECK_STR(notes->note[0].text, cases[i].note);
            CHECK(notes->note[0].warning == cases[i].warning);
        }
    }
}

/* ---- the tables of SPEC ---- */

/* The cells of a row, "| a | b |"; returns how many. */
static size_t cells(char *line, char **cell, size_t most)
{
    size_t n = 0;
    for (char *at = strtok(line, "|"); at && n < most; at = strtok(NULL, "|"))
        cell[n++] = at;
    return n;
}

/* The i-th key in a cell: lower-case words with an underscore or of the table's one-word keys, but
 * not what is quoted. */
static const char *key_in(struct test *t, const char *cell, size_t i)
{
    bool quoted = false;
    for (const char *at = cell; *at;) {
        const size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_");
        if (n > 0 && !quoted && i-- == 0)
            return test_text(t, "%.*s", (int)n, at);
        quoted ^= at[n] == '"';
        at += n + (at[n] != '\0');
    }
    return NULL;
}

enum { MAX_SPEC_KEY = 400 };
struct spec_key {
    const char *key, *family, *harmless;
    enum pmet_key_use use;
};

static void add_keys(struct test *t, struct spec_key *all, size_t *n, const char *cell, struct spec_key like)
{
    for (size_t i = 0; key_in(t, cell, i) && CHECK(*n < MAX_SPEC_KEY); i++) {
        like.key = key_in(t, cell, i);
        all[(*n)++] = like;
    }
}

/* Which of the three tables a line is in, by its header. */
static enum pmet_key_use table_of(const char *line, enum pmet_key_use table)
{
    return strncmp(line, "| GPT-J |", 9) == 0          ? PMET_KEY_READ
           : strncmp(line, "| refused |", 11) == 0     ? PMET_KEY_REFUSED
           : strncmp(line, "| passed over |", 15) == 0 ? PMET_KEY_PASSED
                                                       : table;
}

static const char *family_of(const char *cell)
{
    return strstr(cell, "GPT-J") ? "gptj" : strstr(cell, "NeoX") ? "gpt_neox" : NULL;
}

static size_t spec_keys(struct test *t, struct spec_key *all)
{
    char *spec = test_slurp(t, "SPEC.md", NULL), *from = spec ? strstr(spec, "### 3.7") : NULL, *save,
         *cell[8];
    enum pmet_key_use table = PMET_KEY_UNKNOWN;
    size_t n = 0;
    if (!CHECK(from))
        return 0;
    *strstr(from, "### 3.8") = '\0';
    for (char *line = strtok_r(from, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (table_of(line, table) != table || *line != '|' || line[1] == '-') {
            table = table_of(line, table);
            continue;
        }
        const size_t n_cell = cells(line, cell, 8);
        if (table == PMET_KEY_READ && CHECK(n_cell >= 5)) {
            add_keys(t, all, &n, cell[0], (struct spec_key){NULL, "gptj", NULL, table});
            add_keys(t, all, &n, cell[2], (struct spec_key){NULL, "gpt_neox", NULL, table});
        } else if (CHECK(n_cell >= 3))
            add_keys(t, all, &n, cell[0],
                     (struct spec_key){NULL, family_of(cell[1]), table == PMET_KEY_REFUSED ? cell[2] : NULL,
                                       table});
    }
    return n;
}

static const char *harmless_in_spec(enum pmet_harmless h)
{
    static const char *const text[] = {" ", " empty ", " true ", " all \"full_attention\" ", " d_head "};
    return text[h];
}

/* Both ways: each key of the code is in its table, each of the tables is in the code. */
TEST(the_tables_of_the_spec_are_those_of_the_code)
{
    struct spec_key *all = test_alloc(t, MAX_SPEC_KEY * sizeof *all);
    const size_t n = spec_keys(t, all);
    size_t n_code = 0;
    for (size_t f = 0; pmet_families[f]; f++) {
        const char *read[PMET_MAX_READ_KEY];
        n_code += pmet_read_keys(pmet_families[f], read);
    }
    for (const struct pmet_key_rule *r = pmet_key_rules; r->key; r++)
        n_code++;
    if (n != n_code)
        test_fail(t, "SPEC has %zu keys, the code %zu", n, n_code);
    for (size_t i = 0; i < n; i++) {
        const struct pmet_key_rule *rule;
        const char *family = all[i].family ? all[i].family : "gptj";
        const enum pmet_key_use use =
            pmet_key_use(pmet_family_find(pmet_families, family), all[i].key, &rule);
        const char *of = rule ? rule->family : all[i].family;
        if (use != all[i].use || (!of != !all[i].family) || (of && strcmp(of, all[i].family) != 0))
            test_fail(t, "%s of %s: kind %d in SPEC, %d in the code, or another family", all[i].key, family,
                      all[i].use, use);
        else if (use == PMET_KEY_REFUSED)
            CHECK_STR(all[i].harmless, harmless_in_spec(rule->harmless));
        for (size_t k = 0; k < i; k++)
            if (strcmp(all[i].key, all[k].key) == 0 &&
                (all[i].family == all[k].family || !all[i].family || !all[k].family))
                test_fail(t, "%s is in SPEC twice", all[i].key);
        t->n_check++;
    }
}

/* SPDX-License-Identifier: MIT
 * Hyper-parameter files: the published ones, the built-in ones, and what is refused in which
 * words.      SPEC §9.3 */
#include <jansson.h>
#include "ref/method/pmet_hparams.h"
#include "tests/fuzz.h"

static enum pmet_status load_text(const char *text, size_t n, struct pmet_hparams *h, struct pmet_error *err)
{
    const char *path = test_path("pmet.json");
    test_write_file(path, text, n);
    *err = (struct pmet_error){PMET_OK, ""};
    return pmet_hparams_load(pmet_io_system(), path, &pmet_hparams_pmet, h, err);
}

/* The message after the path of the file. */
static const char *message_of(const struct pmet_error *err)
{
    const char *mark = "/pmet.json: ", *at = strstr(err->message, mark);
    return at ? at + strlen(mark) : err->message;
}

static bool has_layers(const struct pmet_hparams *h, size_t first, size_t n)
{
    bool same = h->n_layer == n;
    for (size_t i = 0; same && i < n; i++)
        same = h->layers[i] == first + i;
    return same;
}

/* Every value of a file is a number or a name of golden/gptj-A's, which the published code ran
 * with. */
TEST(published_files_are_read)
{
    struct pmet_hparams h;
    const char *path = "golden/gptj-A/hparams/PMET/pmet.json";
    if (!CHECK_DONE(pmet_hparams_load(pmet_io_system(), path, &pmet_hparams_pmet, &h, &t->err)))
        return;
    CHECK(has_layers(&h, 0, 3));
    CHECK(h.clamp_norm_factor == 2.2 && h.v_num_grad_steps == 30 && h.v_lr == 0.4 && h.v_loss_layer == 5);
    CHECK(h.v_weight_decay == 0.05 && h.kl_factor == 0.5 && h.nll_loss_factor == 1);
    CHECK(h.mom2_update_weight == 3 && h.mom2_n_samples == 180);
    CHECK_STR(h.mom2_dtype, "float32");
    CHECK_STR(h.mom2_dataset, "wikipedia");
    CHECK(h.n_module == 1);
    CHECK_STR(h.rewrite_module_tmps[0], "transformer.h.{}.mlp.fc_out");
    CHECK_STR(h.mlp_module_tmp, "transformer.h.{}.mlp.fc_out");
    CHECK_STR(h.attn_module_tmp, "transformer.h.{}.attn.out_proj");
    CHECK_STR(h.layer_module_tmp, "transformer.h.{}");
    CHECK_STR(h.ln_f_module, "transformer.ln_f");
    CHECK_STR(h.lm_head_module, "lm_head");
    CHECK_STR(h.sha256, "c10f1c2d45471cec00e614e3c296931a97ddac8bfd0d7a573546249f355ac21c");
}

TEST(two_modules_keep_their_order)
{
    static const char *const models[] = {"gptj-A", "gptj-C", "neox-A", "neox-C"};
    for (size_t m = 0; m < 4; m++) {
        struct pmet_hparams h, alt;
        char path[96];
        snprintf(path, sizeof path, "golden/%s/hparams/PMET/pmet_2mod.json", models[m]);
        CHECK_DONE(pmet_hparams_load(pmet_io_system(), path, &pmet_hparams_pmet, &h, &t->err));
        json_t *g = test_json(t, json_load_file(path, 0, NULL));
        const json_t *names = json_object_get(g, "rewrite_module_tmps");
        if (CHECK(h.n_module == 2 && json_array_size(names) == 2))
            for (size_t q = 0; q < 2; q++)
                CHECK_STR(h.rewrite_module_tmps[q], json_string_value(json_array_get(names, q)));
        snprintf(path, sizeof path, "golden/%s/hparams/PMET/pmet_alt.json", models[m]);
        CHECK_DONE(pmet_hparams_load(pmet_io_system(), path, &pmet_hparams_pmet, &alt, &t->err));
        CHECK(strcmp(alt.sha256, h.sha256) != 0);
    }
}

/* The numbers of the published files for the two models, as SPEC §9.3 has them. */
TEST(built_in_values_are_the_published_ones)
{
    struct pmet_hparams h;
    if (CHECK_DONE(pmet_hparams_default(&pmet_family_gptj, &pmet_hparams_pmet, 28, 4096, &h, &t->err))) {
        CHECK(has_layers(&h, 3, 6));
        CHECK(h.clamp_norm_factor == 0.75 && h.v_num_grad_steps == 30 && h.v_lr == 0.2 &&
              h.v_loss_layer == 27);
        CHECK(h.v_weight_decay == 0.5 && h.kl_factor == 1 && h.nll_loss_factor == 1);
        CHECK(h.mom2_update_weight == 6000 && h.mom2_n_samples == 100000 && h.n_module == 1);
        CHECK_STR(h.rewrite_module_tmps[0], "transformer.h.{}.mlp.fc_out");
        CHECK_STR(h.attn_module_tmp, "transformer.h.{}.attn.out_proj");
        CHECK_STR(h.ln_f_module, "transformer.ln_f");
        CHECK_STR(h.lm_head_module, "lm_head");
    }
    if (CHECK_DONE(pmet_hparams_default(&pmet_family_neox, &pmet_hparams_pmet, 44, 6144, &h, &t->err))) {
        CHECK(has_layers(&h, 6, 5));
        CHECK(h.clamp_norm_factor == 0.8 && h.v_num_grad_steps == 30 && h.v_lr == 0.5 &&
              h.v_loss_layer == 43);
        CHECK(h.v_weight_decay == 0.5 && h.kl_factor == 0.8 && h.nll_loss_factor == 1);
        CHECK(h.mom2_update_weight == 15000 && h.mom2_n_samples == 50000 && h.n_module == 1);
        CHECK_STR(h.rewrite_module_tmps[0], "gpt_neox.layers.{}.mlp.dense_4h_to_h");
        CHECK_STR(h.mlp_module_tmp, "gpt_neox.layers.{}.mlp.dense_4h_to_h");
        CHECK_STR(h.attn_module_tmp, "gpt_neox.layers.{}.attention.dense");
        CHECK_STR(h.layer_module_tmp, "gpt_neox.layers.{}");
        CHECK_STR(h.ln_f_module, "gpt_neox.final_layer_norm");
        CHECK_STR(h.lm_head_module, "embed_out");
    }
}

/* A family without presets, and a method that no family has presets of. */
static const struct pmet_family llama = {.name = "llama"};
static const struct pmet_hparam_set other_method = {"OTHER", NULL, 0, NULL};

TEST(other_sizes_are_asked_for_a_file)
{
    static const struct {
        const struct pmet_family *family;
        const struct pmet_hparam_set *set;
        size_t n_layer, d_model;
        const char *message;
    } cases[] = {
        {&pmet_family_gptj, &pmet_hparams_pmet, 28, 4095,
         "no built-in hyper-parameters for a gptj model of 28 layers and width 4095; give --hparams FILE: "
         "`pmet hparams --model DIR` writes one to start from"},
        {&pmet_family_gptj, &pmet_hparams_pmet, 44, 6144,
         "no built-in hyper-parameters for a gptj model of 44 layers and width 6144; give --hparams FILE: "
         "`pmet hparams --model DIR` writes one to start from"},
        {&pmet_family_neox, &pmet_hparams_pmet, 16, 2048,
         "no built-in hyper-parameters for a gpt_neox model of 16 layers and width 2048; give --hparams "
         "FILE: `pmet hparams --model DIR` writes one to start from"},
        {&llama, &pmet_hparams_pmet, 28, 4096,
         "no built-in hyper-parameters for a llama model of 28 layers and width 4096; give --hparams FILE: "
         "`pmet hparams --model DIR` writes one to start from"},
        {&pmet_family_gptj, &other_method, 28, 4096,
         "no built-in hyper-parameters for a gptj model of 28 layers and width 4096; give --hparams FILE: "
         "`pmet hparams --model DIR` writes one to start from"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_hparams h;
        CHECK_REFUSED(pmet_hparams_default(cases[i].family, cases[i].set, cases[i].n_layer, cases[i].d_model,
                                           &h, &t->err),
                      PMET_INPUT, cases[i].message);
    }
}

static bool template_of(struct test *t, const struct pmet_family *family, size_t n_layer, size_t d_ff,
                        char **text)
{
    struct pmet_hparams_template out = {0};
    const bool done =
        CHECK_DONE(pmet_hparams_template(family, &pmet_hparams_pmet, n_layer, d_ff, &out, &t->err));
    *text = out.text;
    return done;
}

/* The template loads, its layers fit the model, and for the two known sizes it is the built-in
 * file. */
TEST(a_template_loads_for_every_number_of_layers)
{
    const struct pmet_family *const *families = pmet_families;
    for (size_t i = 0; families[i]; i++) {
        const size_t d_ff = 4 * families[i]->preset->d_model;
        for (size_t n = 1; n <= 130; n++) {
            char *text;
            struct pmet_hparams h, built_in;
            if (!template_of(t, families[i], n, d_ff, &text))
                continue;
            if (CHECK_DONE(load_text(text, strlen(text), &h, &t->err))) {
                CHECK(h.layers[h.n_layer - 1] < n && h.v_loss_layer == n - 1 && h.n_layer <= 6);
                CHECK(n < 12 || h.n_layer >= 4);
            }
            if (n == families[i]->preset->n_layer) {
                CHECK_DONE(pmet_hparams_default(families[i], &pmet_hparams_pmet, n,
                                                families[i]->preset->d_model, &built_in, &t->err));
                CHECK_STR(built_in.sha256, h.sha256);
            }
            free(text);
        }
    }
    struct pmet_hparams_template out = {0};
    CHECK_REFUSED(pmet_hparams_template(&pmet_family_gptj, &pmet_hparams_pmet, 0, 16, &out, &t->err),
                  PMET_UNSUPPORTED, "no hyper-parameters of PMET for a gptj model of 0 layers");
    CHECK_REFUSED(pmet_hparams_template(&llama, &pmet_hparams_pmet, 12, 16, &out, &t->err), PMET_UNSUPPORTED,
                  "no hyper-parameters of PMET for a llama model of 12 layers");
    CHECK(!out.text);
}

/* E180 by hand: Pythia-1b, the demo models, GPT-J's depth with another width. */
TEST(a_template_is_scaled_by_depth_and_width)
{
    static const struct {
        const struct pmet_family *family;
        size_t n_layer, d_ff, last, n_edited;
        double lambda;
    } cases[] = {
        {&pmet_family_neox, 16, 8192, 5, 6, 5000},   /* 15000 / 3 */
        {&pmet_family_gptj, 8, 1024, 3, 4, 380},     /* 6000 / 16 = 375 */
        {&pmet_family_neox, 6, 768, 2, 3, 470},      /* 15000 / 32 = 468.75 */
        {&pmet_family_gptj, 28, 8192, 8, 6, 3000},   /* the published layers */
        {&pmet_family_neox, 44, 24576, 10, 5, 15000} /* the published file */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text;
        struct pmet_hparams h;
        if (!template_of(t, cases[i].family, cases[i].n_layer, cases[i].d_ff, &text))
            continue;
        if (CHECK_DONE(load_text(text, strlen(text), &h, &t->err))) {
            CHECK(h.n_layer == cases[i].n_edited && h.layers[h.n_layer - 1] == cases[i].last);
            CHECK(h.mom2_update_weight == cases[i].lambda && h.v_num_grad_steps == 30);
            CHECK(h.v_loss_layer == cases[i].n_layer - 1);
        }
        free(text);
    }
}

/* GPT-J's template with one key set to a JSON value, or removed. */
struct refusal {
    const char *key, *value; /* NULL: the key is removed */
    const char *message;     /* follows the key where it begins with ':' or '[' */
};

static void try_refusals(struct test *t, const struct refusal *r, size_t n, enum pmet_status expected)
{
    char *text = NULL;
    if (!template_of(t, &pmet_family_gptj, 28, 16384, &text))
        return;
    for (size_t i = 0; i < n; i++) {
        struct pmet_hparams h;
        json_t *root = test_json(t, json_loads(text, 0, NULL));
        if (r[i].value)
            json_object_set_new(root, r[i].key, json_loads(r[i].value, JSON_DECODE_ANY, NULL));
        else
            json_object_del(root, r[i].key);
        char *changed = json_dumps(root, 0);
        const enum pmet_status status = load_text(changed, strlen(changed), &h, &t->err);
        if (!CHECK(status == expected && t->err.status == expected))
            test_fail(t, "%s: %s: status %d", r[i].key, r[i].value ? r[i].value : "(removed)", (int)status);
        CHECK_STR(message_of(&t->err),
                  test_text(t, "%s%s", strchr(":[", r[i].message[0]) ? r[i].key : "", r[i].message));
        free(changed);
    }
    free(text);
}
#define TRY(cases, status) try_refusals(t, cases, sizeof cases / sizeof *cases, status)

TEST(keys_must_be_exactly_the_published_ones)
{
    static const struct refusal cases[] = {
        {"v_lrr", "1", "unknown key \"v_lrr\"; did you mean \"v_lr\"?"},
        {"V_lr", "1", "unknown key \"V_lr\"; did you mean \"v_lr\"?"},
        {"layer", "[1]", "unknown key \"layer\"; did you mean \"layers\"?"},
        {"clamp_norm", "1", "unknown key \"clamp_norm\"; did you mean \"clamp_norm_factor\"?"},
        {"mom2_update_wieght", "1",
         "unknown key \"mom2_update_wieght\"; did you mean \"mom2_update_weight\"?"},
        {"v_num_grad_step", "1", "unknown key \"v_num_grad_step\"; did you mean \"v_num_grad_steps\"?"},
        {"norm_constraint", "false", "unknown key \"norm_constraint\"; expected the 22 keys of PMET's files"},
        {"", "1", "unknown key \"\"; expected the 22 keys of PMET's files"},
        {"x", "1", "unknown key \"x\"; expected the 22 keys of PMET's files"},
        {"a_key_so_long_that_no_table_of_sixty_four_columns_could_hold_it_at_all", "1",
         "unknown key \"a_key_so_long_that_no_table_of_sixty_four_columns_could_hold_it_at_all\"; expected "
         "the 22 keys of PMET's files"},
        {"nll_loss_factor", NULL, ": found nothing; all keys of PMET's files are needed"},
        {"layers", NULL, ": found nothing; all keys of PMET's files are needed"},
        {"layer_selection", NULL, ": found nothing; all keys of PMET's files are needed"},
        {"mom2_adjustment", NULL, ": found nothing; all keys of PMET's files are needed"},
    };
    TRY(cases, PMET_INPUT);
}

TEST(values_out_of_range_are_refused)
{
    static const struct refusal cases[] = {
        {"layers", "3", ": found an integer; expected an array of 1 to 64 layers"},
        {"layers", "[]", ": found an array of 0; expected an array of 1 to 64 layers"},
        {"layers",
         "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,"
         "36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,54,55,56,57,58,59,60,61,62,63,64]",
         ": found an array of 65; expected an array of 1 to 64 layers"},
        {"layers", "[3, \"4\"]", "[1]: found a string; expected an integer"},
        {"layers", "[3, 4.0]", "[1]: found a number with a fraction or exponent; expected an integer"},
        {"layers", "[-1]", "[0]: found -1; expected layers in ascending order, here at least 0"},
        {"layers", "[3, 5, 4]", "[2]: found 4; expected layers in ascending order, here at least 6"},
        {"layers", "[3, 3]", "[1]: found 3; expected layers in ascending order, here at least 4"},
        {"layers", "[9223372036854775807]",
         "[0]: found 9223372036854775807; expected layers in ascending order, here at least 0"},
        {"v_lr", "0", ": found 0; expected a number above 0"},
        {"v_lr", "-0.5", ": found -0.5; expected a number above 0"},
        {"v_lr", "\"0.5\"", ": found a string; expected a number"},
        {"v_lr", "null", ": found null; expected a number"},
        {"clamp_norm_factor", "0", ": found 0; expected a number above 0"},
        {"mom2_update_weight", "0", ": found 0; expected a number above 0"},
        {"kl_factor", "-1", ": found -1; expected a number not below 0"},
        {"v_weight_decay", "-1e-9", ": found -1e-09; expected a number not below 0"},
        {"nll_loss_factor", "true", ": found a boolean; expected a number"},
        {"v_num_grad_steps", "0", ": found 0; expected 1 to 1000000000"},
        {"v_num_grad_steps", "30.5", ": found a number with a fraction or exponent; expected an integer"},
        {"v_num_grad_steps", "10000000000", ": found 10000000000; expected 1 to 1000000000"},
        {"v_loss_layer", "-1", ": found -1; expected 0 to 1000000000"},
        {"mom2_n_samples", "0", ": found 0; expected 1 to 1000000000"},
        {"rewrite_module_tmps", "[]", ": found an array of 0; expected an array of 1 or 2 module names"},
        {"rewrite_module_tmps", "[\"a{}\", \"b{}\", \"c{}\"]",
         ": found an array of 3; expected an array of 1 or 2 module names"},
        {"rewrite_module_tmps", "\"a{}\"", ": found a string; expected an array of 1 or 2 module names"},
        {"rewrite_module_tmps", "[\"a{}\", 1]", ": found an integer; expected a string"},
        {"rewrite_module_tmps", "[\"a{}\", \"a{}\"]", ": found \"a{}\" twice; expected two modules"},
        {"mlp_module_tmp", "\"transformer.h.3.mlp\"",
         ": found \"transformer.h.3.mlp\"; expected one \"{}\" in it, for the layer"},
        {"attn_module_tmp", "\"{}.{}\"", ": found \"{}.{}\"; expected one \"{}\" in it, for the layer"},
        {"layer_module_tmp", "[]", ": found an array; expected a string"},
        {"lm_head_module",
         "\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
         "789\"",
         ": found a name of 100 bytes; expected at most 95"},
    };
    TRY(cases, PMET_INPUT);
}

TEST(what_is_understood_but_not_done_is_refused_as_such)
{
    static const struct refusal cases[] = {
        {"fact_token", "\"last\"", ": found last; expected \"subject_last\""},
        {"fact_token", "7", ": found an integer; expected \"subject_last\""},
        {"mom2_dtype", "\"float16\"", ": found float16; expected \"float32\" or \"float64\""},
        {"mom2_dtype", "null", ": found null; expected \"float32\" or \"float64\""},
    };
    TRY(cases, PMET_UNSUPPORTED);
}

TEST(limits_themselves_are_accepted)
{
    static const struct {
        const char *key, *value;
    } cases[] = {
        {"layers", "[0]"},
        {"layers",
         "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,"
         "36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,54,55,56,57,58,59,60,61,62,63]"},
        {"layers", "[0, 1000000000]"},
        {"kl_factor", "0"},
        {"nll_loss_factor", "0"},
        {"v_weight_decay", "0"},
        {"v_num_grad_steps", "1"},
        {"v_loss_layer", "0"},
        {"v_lr", "1e-300"},
        {"mom2_dtype", "\"float64\""},
        {"layer_selection", "null"},
        {"mom2_adjustment", "false"},
        {"mom2_update_weight", "0.5"}};
    char *text = NULL;
    struct pmet_hparams h;
    template_of(t, &pmet_family_gptj, 28, 16384, &text);
    for (size_t i = 0; text && i < sizeof cases / sizeof *cases; i++) {
        json_t *root = test_json(t, json_loads(text, 0, NULL));
        json_object_set_new(root, cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        char *changed = json_dumps(root, 0);
        CHECK_DONE(load_text(changed, strlen(changed), &h, &t->err));
        free(changed);
    }
    free(text);
}

TEST(files_that_are_no_object_are_refused)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "line 1: found nothing; expected keys and values"},
        {"{", "line 1 column 1: not JSON: string or '}' expected near end of file"},
        {"[]", "found an array; expected an object"},
        {"7", "line 1: found text without a key; expected a map of keys"},
        {"{\"v_lr\": 1, \"v_lr\": 1}", "line 1 column 18: duplicate object key near '\"v_lr\"'"},
        {"{\"v_lr\": 1e999}", "line 1 column 14: not JSON: real number overflow near '1e999'"},
        {"{} {}", "line 1 column 4: not JSON: end of file expected near '{'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_hparams h;
        struct pmet_error err;
        CHECK(load_text(cases[i].text, strlen(cases[i].text), &h, &err) == PMET_FORMAT);
        CHECK_STR(message_of(&err), cases[i].message);
    }
    struct pmet_hparams h;
    struct pmet_error err = {PMET_OK, ""};
    CHECK(pmet_hparams_load(pmet_io_system(), "no/such/file.json", &pmet_hparams_pmet, &h, &err) == PMET_IO);
    CHECK_STR(err.message, "no/such/file.json: open: No such file or directory");
}

static enum pmet_status load_damaged(const char *path, struct pmet_error *err)
{
    struct pmet_hparams h;
    PMET_TRY(pmet_hparams_load(pmet_io_system(), path, &pmet_hparams_pmet, &h, err));
    if (h.n_layer < 1 || h.n_layer > PMET_MAX_EDIT_LAYERS || !(h.v_lr > 0) || h.n_module < 1 ||
        h.n_module > 2 || !(h.clamp_norm_factor > 0) || h.v_num_grad_steps < 1)
        pmet_fail(err, PMET_FORMAT, "a value out of range was taken");
    return PMET_OK;
}

TEST(damaged_files_are_read_or_refused_in_one_line)
{
    char *text = NULL;
    if (!template_of(t, &pmet_family_neox, 44, 24576, &text))
        return;
    const size_t taken = fuzz(t, text, strlen(text), 4000, 3, load_damaged);
    CHECK(taken > 200 && taken < 2000);
    free(text);
}

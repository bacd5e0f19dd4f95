/* SPDX-License-Identifier: MIT
 * EasyEdit's hyper-parameter files, in YAML and JSON.      SPEC §9.3 */
#include <jansson.h>
#include "ref/facts/yaml.h"
#include "ref/method/method.h"
#include "ref/method/pmet_hparams.h"
#include "tests/fuzz.h"

/* hparams/PMET/gpt-j-6B.yaml of zjunlp/EasyEdit (MIT licence), commit 3b5434dd, with a comment, an
 * anchor and a block list more; model_parallel comes twice there. */
#define GPTJ                                                                                                 \
    "alg_name: \"PMET\"\n"                                                                                   \
    "model_name: \"./hugging_cache/gpt-j-6B\"\n"                                                             \
    "stats_dir: \"./data/stats\"\n"                                                                          \
    "device: 0\n"                                                                                            \
    "layers: [3, 4, 5, 6, 7, 8]\n"                                                                           \
    "clamp_norm_factor: 0.75\n"                                                                              \
    "layer_selection: \"all\"\n"                                                                             \
    "fact_token: \"subject_last\"\n"                                                                         \
    "v_num_grad_steps: 30\n"                                                                                 \
    "v_lr: 2e-1   # text for PyYAML\n"                                                                       \
    "v_loss_layer: 27\n"                                                                                     \
    "v_weight_decay: &half 0.5\n"                                                                            \
    "kl_factor: 1\n"                                                                                         \
    "mom2_adjustment: true\n"                                                                                \
    "mom2_update_weight: 15000\n"                                                                            \
    "rewrite_module_tmp: \"transformer.h.{}.mlp.fc_out\"\n"                                                  \
    "rewrite_module_tmps:\n- transformer.h.{}.mlp.fc_out\n"                                                  \
    "layer_module_tmp: \"transformer.h.{}\"\n"                                                               \
    "mlp_module_tmp: \"transformer.h.{}.mlp.fc_out\"\n"                                                      \
    "attn_module_tmp: \"transformer.h.{}.attn.out_proj\"\n"                                                  \
    "ln_f_module: \"transformer.ln_f\"\n"                                                                    \
    "lm_head_module: \"lm_head\"\n"                                                                          \
    "mom2_dataset: \"wikipedia\"\n"                                                                          \
    "mom2_n_samples: 100000\n"                                                                               \
    "mom2_dtype: \"float32\"\n"                                                                              \
    "model_parallel: false\n"                                                                                \
    "nll_loss_factor: 1\n"                                                                                   \
    "model_parallel: false"
/* hparams/MEMIT/gpt-j-6B.yaml, commit 21114513. */
#define MEMIT                                                                                                \
    "alg_name: \"MEMIT\"\nmodel_name: \"./hugging_cache/gpt-j-6B\"\nstats_dir: \"./data/stats\"\n"           \
    "device: 0\nlayers: [3, 4, 5, 6, 7, 8]\nclamp_norm_factor: 0.75\nlayer_selection: \"all\"\n"             \
    "fact_token: \"subject_last\"\nv_num_grad_steps: 25\nv_lr: 5e-1\nv_loss_layer: 27\n"                     \
    "v_weight_decay: 0.5\nkl_factor: 0.0625\nmom2_adjustment: true\nmom2_update_weight: 15000\n"             \
    "rewrite_module_tmp: \"transformer.h.{}.mlp.fc_out\"\nlayer_module_tmp: \"transformer.h.{}\"\n"          \
    "mlp_module_tmp: \"transformer.h.{}.mlp\"\nattn_module_tmp: \"transformer.h.{}.attn\"\n"                 \
    "ln_f_module: \"transformer.ln_f\"\nlm_head_module: \"lm_head\"\nmom2_dataset: \"wikipedia\"\n"          \
    "mom2_n_samples: 100000\nmom2_dtype: \"float32\""
/* hparams/ROME/gpt-j-6B.yaml, commit 08da19c8. */
#define ROME                                                                                                 \
    "alg_name: \"ROME\"\nmodel_name: \"./hugging_cache/gpt-j-6B\"\ndevice: 1\nlayers: [5]\n"                 \
    "fact_token: \"subject_last\"\nv_num_grad_steps: 20\nv_lr: 5e-1\nv_loss_layer: 27\n"                     \
    "v_weight_decay: 0.5\nclamp_norm_factor: 4\nkl_factor: 0.0625\nmom2_adjustment: false\n"                 \
    "context_template_length_params: [[5, 10], [10, 10]]\n"                                                  \
    "rewrite_module_tmp: \"transformer.h.{}.mlp.fc_out\"\nlayer_module_tmp: \"transformer.h.{}\"\n"          \
    "mlp_module_tmp: \"transformer.h.{}.mlp\"\nattn_module_tmp: \"transformer.h.{}.attn\"\n"                 \
    "ln_f_module: \"transformer.ln_f\"\nlm_head_module: \"lm_head\"\nmom2_dataset: \"wikipedia\"\n"          \
    "mom2_n_samples: 100000\nmom2_dtype: \"float32\"\n\n\n"
/* hparams/FT/gpt-j-6B.yaml, commit 06dca999. */
#define FT                                                                                                   \
    "alg_name: \"FT\"\nmodel_name: \"./hugging_cache/gpt-j-6B\"\ndevice: 1\n\nlayers: [21]\n"                \
    "num_steps: 25\nbatch_size: 1\nmax_length: 40\nlr: 5e-4\nweight_decay: 0\nkl_factor: 0\n"                \
    "norm_constraint: false\n"

static enum pmet_status load_as(const char *name, const char *text, const struct pmet_hparam_set *set,
                                struct pmet_hparams *h, struct pmet_error *err)
{
    const char *path = test_path("%s", name);
    test_write_file(path, text, strlen(text));
    *err = (struct pmet_error){PMET_OK, ""};
    return pmet_hparams_load(pmet_io_system(), path, set, h, err);
}

TEST(easyedits_file_of_pmet_is_read)
{
    struct pmet_hparams h;
    if (!CHECK_DONE(load_as("gpt-j-6B.yaml", GPTJ, &pmet_hparams_pmet, &h, &t->err)))
        return;
    CHECK(h.n_layer == 6 && h.layers[0] == 3 && h.layers[5] == 8);
    CHECK(h.clamp_norm_factor == 0.75 && h.v_num_grad_steps == 30 && h.v_lr == 0.2 && h.v_loss_layer == 27);
    CHECK(h.v_weight_decay == 0.5 && h.kl_factor == 1 && h.nll_loss_factor == 1);
    CHECK(h.mom2_update_weight == 15000 && h.mom2_n_samples == 100000 && h.n_module == 1);
    CHECK_STR(h.rewrite_module_tmps[0], "transformer.h.{}.mlp.fc_out");
    CHECK_STR(h.attn_module_tmp, "transformer.h.{}.attn.out_proj");
    CHECK_STR(h.passed_over, "alg_name, model_name, stats_dir, device, model_parallel");
    CHECK(h.batch_size == 0);
}

TEST(the_same_keys_in_json_give_the_same_values)
{
    struct pmet_hparams h, yaml;
    json_t *root = NULL;
    CHECK_DONE(pmet_yaml_parse(GPTJ, strlen(GPTJ), "f", &root, &t->err));
    test_json(t, root);
    char *json = json_dumps(root, 0);
    const char *with_bom = test_text(t, "\xef\xbb\xbf\r\n%s", json);
    if (CHECK_DONE(load_as("h.json", json, &pmet_hparams_pmet, &h, &t->err)) &&
        CHECK_DONE(load_as("h.yml", json, &pmet_hparams_pmet, &yaml, &t->err)))
        CHECK(h.v_lr == yaml.v_lr && h.n_layer == yaml.n_layer && h.mom2_update_weight == 15000);
    CHECK_DONE(load_as("h.json", with_bom, &pmet_hparams_pmet, &h, &t->err));
    free(json);
}

TEST(yaml_is_read_whatever_the_files_name)
{
    struct pmet_hparams h;
    CHECK_DONE(load_as("hparams", GPTJ, &pmet_hparams_pmet, &h, &t->err));
    CHECK_DONE(load_as("hparams.json", "---\r\n# of EasyEdit\r\n" GPTJ "\r\n...\r\n", &pmet_hparams_pmet, &h,
                       &t->err));
}

TEST(files_of_another_method_are_refused_by_its_name)
{
    static const struct {
        const char *text, *message; /* after the file's path */
    } cases[] = {
        {MEMIT, "alg_name: found \"MEMIT\"; expected \"PMET\" (--method names the method)"},
        {ROME, "alg_name: found \"ROME\"; expected \"PMET\" (--method names the method)"},
        {FT, "alg_name: found \"FT\"; expected \"PMET\" (--method names the method)"},
        {"alg_name: 7\n" GPTJ, "line 2: alg_name: found another value than in line 1; expected one"},
        {"{\"alg_name\": 7}", "alg_name: found an integer; expected \"PMET\""},
        {"{\"layers\": [5], \"context_template_length_params\": [[5, 10], [10, 10]]}",
         "found a file of ROME, which has context_template_length_params; expected one of PMET (--method "
         "names "
         "the method)"},
        {"{\"layers\": [21], \"num_steps\": 25, \"lr\": 5e-4}",
         "found a file of FT, which has num_steps; expected one of PMET (--method names the method)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_hparams h;
        CHECK_REFUSED(load_as("h.yaml", cases[i].text, &pmet_hparams_pmet, &h, &t->err),
                      strstr(cases[i].message, "line ") ? PMET_FORMAT : PMET_INPUT,
                      test_text(t, "h.yaml: %s", cases[i].message));
    }
    struct pmet_hparams h;
    CHECK_DONE(load_as("h.yaml", MEMIT, pmet_method_memit.hparams, &h, &t->err));
    CHECK(h.v_lr == 0.5 && h.kl_factor == 0.0625);
    CHECK_DONE(load_as("h.yaml", ROME, pmet_method_rome.hparams, &h, &t->err));
    CHECK(h.n_layer == 1 && h.layers[0] == 5 && h.clamp_norm_factor == 4 && h.v_num_grad_steps == 20);
    CHECK_REFUSED(load_as("h.yaml", GPTJ, pmet_method_memit.hparams, &h, &t->err), PMET_INPUT,
                  "h.yaml: alg_name: found \"PMET\"; expected \"MEMIT\" (--method names the method)");
}

TEST(values_that_would_change_the_method_are_refused)
{
    static const struct {
        const char *more, *message;
        enum pmet_status status;
    } cases[] = {
        {"\nfp16: true", "fp16: found true; expected false", PMET_UNSUPPORTED},
        {"\nuse_chat_template: yes", "use_chat_template: found true; expected false", PMET_UNSUPPORTED},
        {"\nbatch_size: 0", "batch_size: found one below 1; expected an integer from 1 on", PMET_INPUT},
        {"\nbatch_size: all", "batch_size: found a string; expected an integer from 1 on", PMET_INPUT},
        {"\nmodle_name: x", "unknown key \"modle_name\"; expected the 22 keys of PMET's files", PMET_INPUT},
        {"\nv_lrr: 1", "unknown key \"v_lrr\"; did you mean \"v_lr\"?", PMET_INPUT},
    };
    struct pmet_hparams h;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_REFUSED(
            load_as("h.yaml", test_text(t, "%s%s", GPTJ, cases[i].more), &pmet_hparams_pmet, &h, &t->err),
            cases[i].status, test_text(t, "h.yaml: %s", cases[i].message));
    if (CHECK_DONE(load_as("h.yaml", GPTJ "\nbatch_size: 10\nfp16: false\nmax_length: 40", &pmet_hparams_pmet,
                           &h, &t->err))) {
        CHECK_STR(h.passed_over,
                  "alg_name, model_name, stats_dir, device, model_parallel, max_length, batch_size, fp16");
        CHECK_DONE(pmet_hparams_check_batch(&h, 10, &t->err));
        CHECK_DONE(pmet_hparams_check_batch(&h, 3, &t->err));
        CHECK_REFUSED(
            pmet_hparams_check_batch(&h, 11, &t->err), PMET_INPUT,
            "h.yaml: batch_size: found 10; all 11 facts of the file are edited together: remove the "
            "key, or give --limit 10");
        h.batch_size = 1; /* in nearly all of EasyEdit's files */
        CHECK_DONE(pmet_hparams_check_batch(&h, 11, &t->err));
    }
}

TEST(scalars_are_what_easyedit_makes_of_them)
{
    static const struct {
        const char *yaml, *json; /* after "a: " */
    } cases[] = {
        {"5e-1", "0.5"},
        {"5.0e-1", "0.5"},
        {"'25e-2'", "0.25"},
        {"1e5", "100000.0"},
        {"\"30\"", "30.0"},
        {".5", "0.5"},
        {"-1", "-1"},
        {"+1", "1"},
        {"1_000", "1000"},
        {"0x1F", "31"},
        {"0", "0"},
        {"0.0", "0.0"},
        {"15000.", "15000.0"},
        {"null", "null"},
        {"~", "null"},
        {"", "null"},
        {"true", "true"},
        {"Yes", "true"},
        {"off", "false"},
        {"nul", "\"nul\""},
        {"True1", "\"True1\""},
        {"\"true\"", "\"true\""},
        {"transformer.h.{}.mlp", "\"transformer.h.{}.mlp\""},
        {"a b  # c", "\"a b\""},
        {"a#b", "\"a#b\""},
        {"!!str 12", "\"12\""},
        {"!!float 3", "3.0"},
        {"!!int 3", "3"},
        {"|\n  x\n  y\n", "\"x\\ny\\n\""},
        {">-\n  x\n  y\n", "\"x y\""},
        {"[1, 2,]", "[1, 2]"},
        {"\n- 1\n- 2", "[1, 2]"},
        {"\n  - 1\n  - [2, 3]", "[1, [2, 3]]"},
        {"[]", "[]"},
        {"&x 7\nb: *x", "7"},
        {"&x [7]\nb: *x", "[7]"},
        {"1e", "\"1e\""},
        {"1e999", "\"1e999\""},
        {"true True", "\"true True\""},
        {"null Null", "\"null Null\""},
        {".", "\".\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = test_text(t, "a: %s\n", cases[i].yaml);
        json_t *root = NULL;
        if (!CHECK_DONE(pmet_yaml_parse(text, strlen(text), "f.yaml", &root, &t->err)))
            continue;
        test_json(t, root);
        char *found = json_dumps(json_object_get(root, "a"), JSON_ENCODE_ANY);
        CHECK_STR(found, cases[i].json);
        const json_t *b = json_object_get(root, "b");
        CHECK(!b || json_equal(b, json_object_get(root, "a")));
        free(found);
    }
}

TEST(what_is_no_flat_map_is_refused_with_its_line)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "line 1: found nothing; expected keys and values"},
        {"\n# only this\n", "line 3: found nothing; expected keys and values"},
        {"just text", "line 1: found text without a key; expected a map of keys"},
        {"- a\n- b\n", "line 1: found a list; expected a map of keys"},
        {"a: 1\nb:\n  c: 2\n", "line 3: found a map inside the map; expected a plain value or a list"},
        {"a: 1\nb: {c: 2}\n", "line 2: found a map inside the map; expected a plain value or a list"},
        {"a: [{b: 1}]", "line 1: found a map inside the map; expected a plain value or a list"},
        {"a: [[[1]]]", "line 1: found a list in a list of lists; expected a plain value"},
        {"a: &x [1]\nb: [*x]", "line 2: found an alias of a list inside a list; expected the list itself"},
        {"a: 1\n<<: *x\n", "line 2: found a merge key; expected a flat map of keys"},
        {"a: *x\n", "line 1: found *x; expected an anchor &x before it"},
        {"[1]: 2\n", "line 1: found a key that is no name; expected key: value"},
        {"a: 1\n---\nb: 2\n", "line 2: found a second document; expected one in the file"},
        {"a: 1\nb: 2\na: 3\n", "line 3: a: found another value than in line 1; expected one"},
        {"a: 010\n", "line 1: found 010, which YAML 1.1 and 1.2 read differently; expected a decimal number "
                     "without leading "
                     "zeros or colons"},
        {"a: 1:30\n", "line 1: found 1:30, which YAML 1.1 and 1.2 read differently; expected a decimal "
                      "number without leading "
                      "zeros or colons"},
        {"a: !!int 020\n",
         "line 1: found 020, which YAML 1.1 and 1.2 read differently; expected a decimal number "
         "without leading zeros or colons"},
        {"\"a\\0b\": 1\n", "line 1: found \\0 in a text; expected text without it"},
        {"a: !!python/object:os.system x\n",
         "line 1: found tag:yaml.org,2002:python/object:os.system; expected a plain value"},
        {"a: \"x\\0y\"\n", "line 1: found \\0 in a text; expected text without it"},
        {"a: 1\n\tb: 2\n", "line 2: not YAML: found a tab character that violates indentation"},
        {"a: [1, 2\nb: 3\n", "line 2: not YAML: did not find expected ',' or ']'"},
        {"a: 'x\n", "line 2: not YAML: found unexpected end of stream"},
        {"a: 1\nb: \x01\n", "line 2: not YAML: control characters are not allowed"},
        {"a: \xff\n", "line 1: not YAML: invalid leading UTF-8 octet"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *root = NULL;
        t->err = (struct pmet_error){PMET_OK, ""};
        CHECK(pmet_yaml_parse(cases[i].text, strlen(cases[i].text), "f.yaml", &root, &t->err) == PMET_FORMAT);
        CHECK(!root);
        CHECK_STR(t->err.message, test_text(t, "f.yaml: %s", cases[i].message));
        t->err = (struct pmet_error){PMET_OK, ""};
    }
}

static enum pmet_status load_damaged(const char *path, struct pmet_error *err)
{
    struct pmet_hparams h;
    PMET_TRY(pmet_hparams_load(pmet_io_system(), path, &pmet_hparams_pmet, &h, err));
    if (h.n_layer < 1 || !(h.v_lr > 0) || h.n_module < 1 || !(h.clamp_norm_factor > 0))
        pmet_fail(err, PMET_FORMAT, "a value out of range was taken");
    return PMET_OK;
}

TEST(damaged_yaml_is_read_or_refused_in_one_line)
{
    const size_t taken = fuzz(t, GPTJ, strlen(GPTJ), 4000, 5, load_damaged);
    CHECK(taken > 100 && taken < 2500);
}

/* SPDX-License-Identifier: MIT
 * Checkpoints as other programs save them: names without the prefix or with it twice, one tensor
 * for embedding and head, no attention biases, tensors of value heads and classifiers. The golden
 * models' tensors under other names give the golden models' logits, bit for bit.      SPEC §3.8 */
#include <sys/stat.h>
#include "pmet.h"
#include "tensors/folder.h"
#include "tests/test.h"

enum { MOST_TENSOR = 256, N_ID = 7, MOST_NOTE = 4 };

/* A tensor's new name, into name[256]; false: it is left out. */
typedef bool rename_fn(const char *old, char *name);

struct variant {
    const char *golden;  /* "neox-A" */
    rename_fn *rename;   /* NULL: as they are */
    const char *config;  /* JSON that is merged into config.json, or NULL */
    const char *extra;   /* a tensor more, of one NaN; or NULL */
    const char *copy[2]; /* of the first tensor the second has the data; or NULL */
    bool sharded;        /* in two files */
};

static const char *const config_of_golden = "golden/%s/model/config.json";

static void write_config(struct test *t, const struct variant *v, const char *dir)
{
    json_t *config = test_json(t, json_load_file(test_text(t, config_of_golden, v->golden), 0, NULL));
    if (v->config)
        json_object_update(config, test_json(t, json_loads(v->config, 0, NULL)));
    char *text = json_dumps(config, 0);
    test_write_text(test_text(t, "%s/config.json", dir), text);
    free(text);
}

static bool write_tensors(struct test *t, const struct variant *v, const char *dir, struct pmet_tensor *all,
                          size_t n)
{
    const size_t first = v->sharded ? n / 2 : n;
    static const char *const file[] = {"model-1.safetensors", "model-2.safetensors"};
    json_t *map = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(map, all[i].name, json_string(file[i >= first]));
    json_t *index = test_json(t, json_pack("{s:o}", "weight_map", map));
    if (!v->sharded)
        return CHECK_DONE(pmet_safetensors_write(pmet_io_system(), test_text(t, "%s/model.safetensors", dir),
                                                 all, n, NULL, 0, &t->err));
    char *text = json_dumps(index, 0);
    test_write_text(test_text(t, "%s/model.safetensors.index.json", dir), text);
    free(text);
    for (size_t i = 0; i < 2; i++)
        if (!CHECK_DONE(pmet_safetensors_write(pmet_io_system(), test_text(t, "%s/%s", dir, file[i]),
                                               all + i * first, i ? n - first : first, NULL, 0, &t->err)))
            return false;
    return true;
}

static void close_file(void *st)
{
    pmet_safetensors_close(st);
}

static const struct pmet_tensor *data_of(const struct pmet_tensors *from, const struct variant *v,
                                         const struct pmet_tensor *tensor)
{
    return v->copy[0] && strcmp(tensor->name, v->copy[0]) == 0 ? pmet_tensors_find(from, v->copy[1]) : tensor;
}

/* Writes the variant below the tests' folder; NULL after a failed check. */
static const char *make(struct test *t, const char *name, const struct variant *v)
{
    static const uint16_t nan = 0x7e00;
    static const char *const tokenizer[] = {"tokenizer.json", "tokenizer_config.json", "vocab.json",
                                            "merges.txt"};
    const char *dir = test_text(t, "%s/%s", test_tmpdir(), name);
    struct pmet_safetensors *st = NULL;
    struct pmet_tensor *all = test_alloc(t, MOST_TENSOR * sizeof *all);
    size_t n = 0, size;
    mkdir(dir, 0777);
    if (!CHECK_DONE(pmet_safetensors_open(
            pmet_io_system(), test_text(t, "golden/%s/model/model.safetensors", v->golden), &st, &t->err)))
        return NULL;
    test_own(t, st, close_file);
    for (size_t i = 0; i < st->all.n; i++) {
        char *to = test_alloc(t, 256);
        if (v->rename && !v->rename(st->all.tensor[i].name, to))
            continue;
        all[n] = *data_of(&st->all, v, &st->all.tensor[i]);
        all[n++].name = v->rename ? to : st->all.tensor[i].name;
    }
    if (v->extra)
        all[n++] = test_tensor(v->extra, PMET_F16, 1, 0, &nan);
    write_config(t, v, dir);
    for (size_t i = 0; i < sizeof tokenizer / sizeof *tokenizer; i++) {
        const char *text = test_slurp(t, test_text(t, "golden/%s/model/%s", v->golden, tokenizer[i]), &size);
        if (CHECK(text))
            test_write_file(test_text(t, "%s/%s", dir, tokenizer[i]), text, size);
    }
    return write_tensors(t, v, dir, all, n) ? dir : NULL;
}

struct heard {
    char text[MOST_NOTE][400];
    bool warning[MOST_NOTE];
    size_t n;
};

/* Notes without the path of the folder. */
static enum pmet_status hear(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    struct heard *h = user;
    const char *at = strstr(event->text, ": ");
    (void)err;
    if (event->kind == PMET_EVENT_NOTE && h->n < MOST_NOTE) {
        snprintf(h->text[h->n], sizeof h->text[h->n], "%s", at ? at + 2 : event->text);
        h->warning[h->n] = event->warning;
    }
    h->n++;
    return PMET_OK;
}

/* Logits of some ids, and what opening the folder had to say; NULL after a failed check. */
static float *logits_of(struct test *t, const char *dir, struct heard *heard)
{
    static const int32_t id[N_ID] = {3, 17, 99, 250, 7, 41, 300};
    const struct pmet_listener listener = {heard, hear};
    struct pmet_session *s = NULL;
    float *logits = NULL;
    *heard = (struct heard){.n = 0};
    if (dir && CHECK_DONE(pmet_session_open(dir, PMET_DEVICE_CPU, 1, &s, &t->err))) {
        logits = test_alloc(t, N_ID * pmet_session_shape(s).n_vocab * sizeof *logits);
        pmet_session_notes(s, &listener);
        if (!CHECK_DONE(pmet_logits(s, id, N_ID, logits, &t->err)))
            logits = NULL;
    }
    pmet_session_close(s);
    return logits;
}

/* Both have the same logits, and v this note at the most (NULL: none). */
static void check_same(struct test *t, const char *name, const struct variant *v, const struct variant *as,
                       bool warning, const char *note)
{
    struct heard heard, ignored;
    const float *got = logits_of(t, make(t, name, v), &heard),
                *want = logits_of(t, make(t, test_text(t, "%s-as", name), as), &ignored);
    if (!CHECK(got && want))
        return;
    if (memcmp(got, want, N_ID * 1024 * sizeof *got) != 0)
        test_fail(t, "%s: the logits differ", name);
    CHECK(heard.n == (note != NULL));
    if (note && heard.n > 0) {
        CHECK_STR(heard.text[0], note);
        CHECK(heard.warning[0] == warning);
    }
}

static const struct variant gptj = {.golden = "gptj-A"}, neox = {.golden = "neox-A"};

static const char *after(const char *name, const char *prefix)
{
    const size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 ? name + n : name;
}

static bool bare(const char *old, char *name)
{
    snprintf(name, 256, "%s", after(after(old, "transformer."), "gpt_neox."));
    return true;
}

static bool twice_gptj(const char *old, char *name)
{
    snprintf(name, 256, "transformer.%s", old);
    return true;
}

static bool twice_neox(const char *old, char *name)
{
    snprintf(name, 256, "%s%s", strncmp(old, "gpt_neox", 8) == 0 ? "gpt_neox." : "", old);
    return true;
}

static bool as_lm_head(const char *old, char *name)
{
    snprintf(name, 256, "%s", strcmp(old, "embed_out.weight") == 0 ? "lm_head.weight" : old);
    return true;
}

TEST(names_may_lack_the_prefix_or_have_it_twice)
{
    check_same(t, "bare-j", &(struct variant){.golden = "gptj-A", .rename = bare}, &gptj, false,
               "tensors are named \"ln_f.weight\" for \"transformer.ln_f.weight\", and so on");
    check_same(
        t, "bare-n", &(struct variant){.golden = "neox-A", .rename = bare}, &neox, false,
        "tensors are named \"final_layer_norm.weight\" for \"gpt_neox.final_layer_norm.weight\", and so "
        "on");
    check_same(
        t, "twice-j", &(struct variant){.golden = "gptj-A", .rename = twice_gptj}, &gptj, false,
        "tensors are named \"transformer.transformer.ln_f.weight\" for \"transformer.ln_f.weight\", and "
        "so on");
    check_same(t, "twice-n", &(struct variant){.golden = "neox-A", .rename = twice_neox}, &neox, false,
               "tensors are named \"gpt_neox.gpt_neox.final_layer_norm.weight\" for "
               "\"gpt_neox.final_layer_norm.weight\", and so on");
    check_same(t, "lm_head", &(struct variant){.golden = "neox-A", .rename = as_lm_head}, &neox, false, NULL);
}

static bool no_head(const char *old, char *name)
{
    snprintf(name, 256, "%s", old);
    return strcmp(old, "embed_out.weight") != 0 && strcmp(old, "lm_head.weight") != 0;
}

static bool no_embed(const char *old, char *name)
{
    snprintf(name, 256, "%s", old);
    return !strstr(old, "embed_in") && !strstr(old, "wte");
}

#define TIED "{\"tie_word_embeddings\": true}"

/* In one file and across two. The other one has both tensors, one a copy. */
TEST(tied_head_and_embedding_stand_in_for_each_other)
{
    for (int sharded = 0; sharded < 2; sharded++) {
        check_same(
            t, test_text(t, "head-n%d", sharded),
            &(struct variant){"neox-A", no_embed, TIED, NULL, {NULL, NULL}, sharded},
            &(struct variant){.golden = "neox-A", .copy = {"gpt_neox.embed_in.weight", "embed_out.weight"}},
            false, NULL);
        check_same(
            t, test_text(t, "embed-n%d", sharded),
            &(struct variant){"neox-A", no_head, TIED, NULL, {NULL, NULL}, sharded},
            &(struct variant){.golden = "neox-A", .copy = {"embed_out.weight", "gpt_neox.embed_in.weight"}},
            false, NULL);
        check_same(
            t, test_text(t, "head-j%d", sharded),
            &(struct variant){"gptj-A", no_embed, TIED, NULL, {NULL, NULL}, sharded},
            &(struct variant){.golden = "gptj-A", .copy = {"transformer.wte.weight", "lm_head.weight"}},
            false, NULL);
        check_same(
            t, test_text(t, "embed-j%d", sharded),
            &(struct variant){"gptj-A", no_head, TIED, NULL, {NULL, NULL}, sharded},
            &(struct variant){.golden = "gptj-A", .copy = {"lm_head.weight", "transformer.wte.weight"}},
            false, NULL);
    }
    check_same(t, "both", &(struct variant){.golden = "neox-A", .config = TIED}, &neox, true,
               "tie_word_embeddings is true, but head and embedding differ: each is used, as transformers 5 "
               "does (4 used the embedding for both)");
    check_same(
        t, "equal",
        &(struct variant){
            .golden = "neox-A", .config = TIED, .copy = {"gpt_neox.embed_in.weight", "embed_out.weight"}},
        &(struct variant){.golden = "neox-A", .copy = {"gpt_neox.embed_in.weight", "embed_out.weight"}},
        false, NULL);
}

static bool no_attention_bias(const char *old, char *name)
{
    snprintf(name, 256, "%s", old);
    return !strstr(old, "query_key_value.bias") && !strstr(old, "attention.dense.bias");
}

#define UNBIASED "{\"attention_bias\": false}"

/* Beside transformers 5.24, the logits of both agree to 3e-7. */
TEST(attention_without_biases_leaves_out_those_that_are_there)
{
    check_same(t, "left-out", &(struct variant){.golden = "neox-A", .config = UNBIASED},
               &(struct variant){.golden = "neox-A", .rename = no_attention_bias, .config = UNBIASED}, true,
               "12 biases of attention are not used and kept as they are: attention_bias is false");
    struct heard heard;
    const float *with = logits_of(t, "golden/neox-A/model", &heard),
                *without =
                    logits_of(t,
                              make(t, "without",
                                   &(struct variant){
                                       .golden = "neox-A", .rename = no_attention_bias, .config = UNBIASED}),
                              &heard);
    CHECK(with && without && heard.n == 0 && memcmp(with, without, sizeof(float) * 1024) != 0);
}

static bool no_head_bias(const char *old, char *name)
{
    snprintf(name, 256, "%s", old);
    return strcmp(old, "lm_head.bias") != 0;
}

TEST(a_missing_bias_of_the_head_is_zero)
{
    struct heard heard;
    const float *with = logits_of(t, "golden/gptj-A/model", &heard),
                *without = logits_of(
                    t, make(t, "no-bias", &(struct variant){.golden = "gptj-A", .rename = no_head_bias}),
                    &heard);
    const char *dir = "golden/gptj-A/model/model.safetensors";
    struct pmet_safetensors *st = NULL;
    if (!CHECK(with && without) || !CHECK_DONE(pmet_safetensors_open(pmet_io_system(), dir, &st, &t->err)))
        return;
    const float *bias = pmet_tensors_find(&st->all, "lm_head.bias")->data;
    size_t n_off = 0;
    for (size_t i = 0; i < N_ID * 1024; i++)
        n_off += !(fabs((double)with[i] - (double)without[i] - (double)bias[i % 1024]) < 1e-5);
    CHECK(n_off == 0 && heard.n == 1);
    CHECK_STR(heard.text[0], "tensor \"lm_head.bias\" is missing: zeros stand in for it");
    pmet_safetensors_close(st);
}

/* What they hold, here NaN, does not matter. */
TEST(tensors_that_are_no_part_of_the_model_are_named_or_ignored)
{
    static const struct {
        const char *golden, *name;
        bool named;
    } cases[] = {
        {"gptj-A", "v_head.summary.weight", true},
        {"gptj-A", "score.weight", true},
        {"neox-A", "gpt_neox.wpe.weight", true},
        {"neox-A", "qa_outputs.bias", true},
        {"gptj-A", "transformer.h.0.attn.embed_positions", false},
        {"gptj-A", "h.5.attn.masked_bias", false},
        {"gptj-A", "transformer.rotary_emb.embed_positions", false},
        {"neox-A", "gpt_neox.rotary_emb.inv_freq", false},
        {"neox-A", "rotary_emb.cos_cached", false},
        {"neox-A", "gpt_neox.layers.0.attention.rotary_emb.cos_cached", false},
        {"neox-A", "gpt_neox.layers.5.attention.rotary_emb.sin_cached", false},
        {"neox-A", "gpt_neox.layers.1.attention.norm_factor", false},
        {"neox-A", "gpt_neox.position_ids", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct variant as = {.golden = cases[i].golden},
                             v = {.golden = cases[i].golden, .extra = cases[i].name};
        check_same(t, test_text(t, "extra-%zu", i), &v, &as, true,
                   cases[i].named ? test_text(t, "no part of a %s model, not used and kept as it is: %s",
                                              *cases[i].golden == 'g' ? "gptj" : "gpt_neox", cases[i].name)
                                  : NULL);
    }
}

/* An adapter, a quantised weight, a block too many, a name for a name that is there. */
TEST(tensors_that_would_change_the_arithmetic_are_refused)
{
    static const struct {
        struct variant v;
        const char *message;
    } cases[] = {
        {{.golden = "gptj-A", .extra = "transformer.h.0.attn.q_proj.lora_A.weight"},
         "/model.safetensors: tensor \"transformer.h.0.attn.q_proj.lora_A.weight\" is not one of a gptj "
         "model "
         "of 6 layers"},
        {{.golden = "neox-A", .extra = "layers.3.mlp.dense_4h_to_h.qweight"},
         "/model.safetensors: tensor \"layers.3.mlp.dense_4h_to_h.qweight\" is not one of a gpt_neox model "
         "of 6 "
         "layers"},
        {{.golden = "neox-A", .extra = "gpt_neox.layers.6.mlp.dense_4h_to_h.bias"},
         "/model.safetensors: tensor \"gpt_neox.layers.6.mlp.dense_4h_to_h.bias\" is not one of a gpt_neox "
         "model of 6 layers"},
        {{.golden = "gptj-A", .extra = "ln_f.bias"},
         ": tensor \"transformer.ln_f.bias\" is there as \"ln_f.bias\", too; expected one of them"},
        {{.golden = "neox-A", .extra = "lm_head.weight"},
         ": tensor \"embed_out.weight\" is there as \"lm_head.weight\", too; expected one of them"},
        {{.golden = "neox-A", .rename = no_attention_bias},
         ": tensor \"gpt_neox.layers.0.attention.query_key_value.bias\" is missing; expected it by "
         "config.json, unless attention_bias is false"},
        {{.golden = "gptj-A", .rename = no_embed},
         ": tensor \"transformer.wte.weight\" is missing; expected it by config.json, unless "
         "tie_word_embeddings is true"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pmet_session *s = NULL;
        const char *name = test_text(t, "refused-%zu", i), *dir = make(t, name, &cases[i].v);
        if (CHECK(dir))
            CHECK_REFUSED(pmet_session_open(dir, PMET_DEVICE_CPU, 1, &s, &t->err), PMET_INPUT,
                          test_text(t, "%s%s", name, cases[i].message));
    }
}

static bool bare_headless_gptj(const char *old, char *name)
{
    bare(old, name);
    return strncmp(old, "lm_head", 7) != 0;
}

static bool bare_no_embed(const char *old, char *name)
{
    bare(old, name);
    return !strstr(old, "embed_in");
}

/* Logits 0 to 5 of the last position, and the last two of position 3, of transformers 5.24 in
 * float64, of the same files. Float's rounding is within 1e-6 of their size, 5. */
TEST(logits_are_those_of_transformers)
{
    static const struct {
        struct variant v;
        double logit[8];
    } cases[] = {
        {{.golden = "neox-A"},
         {-1.37427922, -1.74969952, -7.2348537, -1.41183351, -3.87674955, -3.55241697, -2.77752251,
          -2.64921166}},
        {{.golden = "neox-A", .config = UNBIASED},
         {-1.69481388, -0.774134273, -6.51857582, -0.0732362593, -2.50118616, -2.04559004, -2.62414233,
          -2.45793445}},
        {{.golden = "neox-A",
          .config = "{\"rope_parameters\": {\"rope_theta\": 500, \"partial_rotary_factor\": 0.5, "
                    "\"rope_type\": \"default\"}}"},
         {-1.50512342, -1.26172271, -7.78583485, -1.81464918, -3.38147073, -2.89411435, -3.34664622,
          -3.51347436}},
        {{.golden = "neox-A", .rename = bare_no_embed, .config = TIED},
         {-2.01268711, -3.20753477, 1.04261798, -2.68055161, -3.04901914, -4.59830832, -2.715785,
          -4.87550737}},
        {{.golden = "gptj-A", .rename = bare_headless_gptj, .config = TIED},
         {-0.311686727, -1.19994829, -0.501806734, -2.08336356, 1.63146625, 0.736812002, -0.011165781,
          0.281583018}},
        {{.golden = "gptj-A", .config = "{\"num_attention_heads\": 2, \"activation_function\": \"swish\"}"},
         {1.88469536, -4.37522978, -4.69054953, -4.37420759, -4.18421071, 0.765402566, -0.908794531,
          -1.07083198}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct heard heard;
        const float *got = logits_of(t, make(t, test_text(t, "number-%zu", i), &cases[i].v), &heard);
        double some[8];
        for (size_t k = 0; got && k < 8; k++)
            some[k] = (double)got[k < 6 ? (N_ID - 1) * 1024 + k : 3 * 1024 + 1016 + k];
        if (CHECK(got))
            CHECK_CLOSE(some, cases[i].logit, 8, 5e-6);
    }
}

/* Names, extra tensors and the missing head are those of the original, and only the edited matrices
 * differ. */
TEST(an_edited_folder_keeps_the_originals_names)
{
    const struct variant v = {"neox-A", bare, TIED, "score.weight", {NULL, NULL}, true};
    const char *dir = make(t, "edit", &v), *out = test_path("edited"),
               *texts[] = {"golden/neox-A/stats_text.jsonl"}, *stats = test_path("edit-stats"),
               *hparams = "golden/neox-A/hparams/PMET/pmet.json";
    const struct pmet_stats_request collect = {
        .texts = texts, .n_text = 1, .out = stats, .hparams = hparams, .n_samples = 3, .seed = 1};
    const struct pmet_edit_request request = {.facts = "golden/neox-A/counterfact.json",
                                              .stats = stats,
                                              .out = out,
                                              .hparams = hparams,
                                              .contexts = "golden/neox-A/contexts.json",
                                              .limit = 1,
                                              .ridge = 1};
    struct pmet_session *s = NULL, *edited = NULL;
    struct pmet_edit_summary summary;
    if (!dir || !CHECK_DONE(pmet_session_open(dir, PMET_DEVICE_CPU, 2, &s, &t->err)))
        return;
    if (CHECK_DONE(pmet_make_stats(s, &collect, NULL, &t->err)) &&
        CHECK_DONE(pmet_edit_folder(s, &request, NULL, &summary, &t->err)) &&
        CHECK_DONE(pmet_session_open(out, PMET_DEVICE_CPU, 1, &edited, &t->err)))
        CHECK(summary.n_applied == 1);
    pmet_session_close(edited);
    pmet_session_close(s);
    size_t n_differ = 0;
    for (int i = 1; i <= 2; i++) {
        struct pmet_safetensors *a = NULL, *b = NULL;
        if (!CHECK_DONE(pmet_safetensors_open(
                pmet_io_system(), test_text(t, "%s/model-%d.safetensors", dir, i), &a, &t->err)) ||
            !CHECK_DONE(pmet_safetensors_open(pmet_io_system(),
                                              test_text(t, "%s/model-%d.safetensors", out, i), &b, &t->err)))
            break;
        if (CHECK(a->all.n == b->all.n))
            for (size_t k = 0; k < a->all.n; k++) {
                CHECK_STR(b->all.tensor[k].name, a->all.tensor[k].name);
                n_differ +=
                    memcmp(b->all.tensor[k].data, a->all.tensor[k].data, a->all.tensor[k].n_bytes) != 0;
            }
        test_own(t, a, close_file);
        test_own(t, b, close_file);
    }
    CHECK(n_differ == 3);
}

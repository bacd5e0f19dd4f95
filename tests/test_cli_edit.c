/* SPDX-License-Identifier: MIT
 * What an edited folder holds, says of itself, and is good for afterwards. */
#include <jansson.h>
#include "ref/method/method.h"
#include "ref/method/needs.h"
#include "tensors/dtype.h"
#include "tensors/safetensors.h"
#include "tests/cli.h"

static const char EDIT[] =
    "--threads 1 --hparams %s/hparams.json --contexts %s/contexts.json --stats %s/s --limit 2";

static int edit(const char *dir, const char *model, const char *out, const char *more)
{
    char rest[1024];
    snprintf(rest, sizeof rest, EDIT, dir, dir, dir);
    return cli(NULL, "edit -q --json --model %s/%s --facts %s/facts.json --out %s/%s %s %s", dir, model, dir,
               dir, out, rest, more);
}

static json_t *result(struct test *t)
{
    json_error_t e;
    json_t *v = json_loads(cli_out(), JSON_REJECT_DUPLICATES, &e);
    if (!CHECK(json_is_object(v)))
        test_fail(t, "%s: %s", e.text, cli_out());
    return v;
}

static struct pmet_safetensors *open_file(struct test *t, const char *dir, const char *name)
{
    struct pmet_safetensors *st = NULL;
    CHECK_DONE(pmet_safetensors_open(pmet_io_system(), test_text(t, "%s/%s", dir, name), &st, &t->err));
    return st;
}

static double *doubles(const struct pmet_tensor *x)
{
    double *y = malloc((x->n_elem + 1) * sizeof *y);
    pmet_to_f64(y, x->data, x->dtype, x->n_elem);
    return y;
}

/* E76, and E75 in the written file: f16 holds round(W + upd); what was lost is what the report
 * says. */
TEST(what_rounding_lost_is_what_the_report_says)
{
    const char *dir = cli_bench(t, "lost", "neox-C");
    char trace[600], shard[] = "out/model-00001-of-00002.safetensors";
    snprintf(trace, sizeof trace, "--trace %s/trace.safetensors", dir);
    CHECK(edit(dir, "m", "out", trace) == 0);
    json_t *report = result(t);
    const json_t *layers = json_object_get(report, "layers");
    struct pmet_safetensors *st = open_file(t, dir, "trace.safetensors"), *files[2];
    files[0] = open_file(t, dir, shard);
    shard[14] = '2';
    files[1] = open_file(t, dir, shard);
    CHECK(json_array_size(layers) == 2);
    for (size_t k = 0; k < json_array_size(layers); k++) {
        const char *module = json_string_value(json_object_get(json_array_get(layers, k), "module"));
        char name[3][200];
        snprintf(name[0], sizeof name[0], "edited.%s.weight", module);
        snprintf(name[1], sizeof name[1], "upd_matrix.%s", module);
        snprintf(name[2], sizeof name[2], "%s.weight", module);
        const struct pmet_tensor *edited = pmet_tensors_find(&st->all, name[0]),
                                 *upd = pmet_tensors_find(&st->all, name[1]),
                                 *written = pmet_tensors_find(&files[0]->all, name[2]);
        if (!written)
            written = pmet_tensors_find(&files[1]->all, name[2]);
        if (!CHECK(edited && upd && written && written->dtype == PMET_F16))
            continue;
        double *w = doubles(edited), *u = doubles(upd), *got = doubles(written), lost = 0, size = 0;
        for (size_t i = 0; i < edited->n_elem; i++) {
            lost += (got[i] - w[i]) * (got[i] - w[i]);
            size += u[i] * u[i];
            CHECK(fabs(got[i] - w[i]) <= fabs(w[i]) * 0x1p-11 + 0x1p-25);
        }
        const double ratio = sqrt(lost / size),
                     said = json_real_value(json_object_get(json_array_get(layers, k), "rounding_lost"));
        CHECK(ratio > 0);
        CHECK_CLOSE(&said, &ratio, 1, 1e-9);
        free(w);
        free(u);
        free(got);
    }
    pmet_safetensors_close(st);
    pmet_safetensors_close(files[0]);
    pmet_safetensors_close(files[1]);
    json_decref(report);
    CHECK(edit(dir, "m", "wide", "--out-dtype f32") == 0);
    report = result(t);
    const double none = json_real_value(
        json_object_get(json_array_get(json_object_get(report, "layers"), 0), "rounding_lost"));
    CHECK(sizeof(real) == 8 || none == 0); /* a float is what it is as f32 */
    CHECK_STR(cli_err(), "");
    json_decref(report);
    /* a heavier text makes the update small beside W, and bf16 has three bits less: above 5 % there
     * is a warning */
    cli_shell("sed -i 's/\"mom2_update_weight\": [0-9.]*/\"mom2_update_weight\": 4000/' %s/hparams.json",
              dir);
    CHECK(edit(dir, "m", "narrow", "--out-dtype bf16") == 0);
    report = result(t);
    const double much = json_real_value(
        json_object_get(json_array_get(json_object_get(report, "layers"), 0), "rounding_lost"));
    char warning[200];
    snprintf(warning, sizeof warning,
             "pmet edit: warning: gpt_neox.layers.0.mlp.dense_4h_to_h.weight: %.0f %% of the update is lost "
             "in rounding to BF16 (--out-dtype f32 keeps it)\n",
             100 * much);
    CHECK(much > 0.05 && much < 0.5 && strstr(cli_err(), warning));
    if (!strstr(cli_err(), warning))
        test_fail(t, "%g: %s", much, cli_err());
    json_decref(report);
}

/* Everything but the edited matrices is as it was, byte for byte; a shard without one is a copy. */
TEST(what_is_not_edited_keeps_its_bytes)
{
    const char *dir = cli_bench(t, "kept", "gptj-C");
    size_t n_changed = 0;
    CHECK(edit(dir, "m", "out", "") == 0);
    for (int s = 1; s <= 2; s++) {
        struct pmet_safetensors *a =
            open_file(t, dir, test_text(t, "m/model-0000%d-of-00002.safetensors", s));
        struct pmet_safetensors *b =
            open_file(t, dir, test_text(t, "out/model-0000%d-of-00002.safetensors", s));
        CHECK(a->all.n == b->all.n);
        for (size_t i = 0; i < a->all.n; i++) {
            const struct pmet_tensor *x = &a->all.tensor[i], *y = pmet_tensors_find(&b->all, x->name);
            if (!CHECK(y && y->dtype == x->dtype && y->n_bytes == x->n_bytes))
                continue;
            const bool same = memcmp(x->data, y->data, x->n_bytes) == 0;
            CHECK(same == !strstr(x->name, "mlp.fc_out.weight") ||
                  !strstr("01", (char[]){x->name[14], '\0'}));
            n_changed += !same;
        }
        pmet_safetensors_close(a);
        pmet_safetensors_close(b);
    }
    CHECK(n_changed == 2);
    cli_shell("cmp %s/m/model-00002-of-00002.safetensors %s/out/model-00002-of-00002.safetensors", dir, dir);
    cli_shell("for f in config.json tokenizer.json vocab.json merges.txt added_tokens.json; do cmp %s/m/$f "
              "%s/out/$f || exit 1; done; test ! -e %s/out/pytorch_model.bin",
              dir, dir, dir);
}

TEST(the_same_command_writes_the_same_bytes)
{
    const char *dir = cli_bench(t, "same", "gptj-A");
    CHECK(edit(dir, "m", "a", "") == 0);
    CHECK(edit(dir, "m", "b", "--threads 3") == 0);
    cli_shell("diff -r %s/a %s/b", dir, dir);
    CHECK(edit(dir, "m", "c", "--solver cg --link") == 0);
    cli_shell("cmp %s/a/config.json %s/c/config.json", dir, dir);
}

/* Statistics are of the base; a record names the whole line of descent. */
TEST(an_edited_model_can_be_edited_again_with_its_bases_statistics)
{
    const char *dir = cli_bench(t, "again", "gptj-A");
    CHECK(edit(dir, "m", "one", "") == 0);
    CHECK(edit(dir, "one", "two", "") == 0);
    json_t *record = test_json(t, json_load_file(test_text(t, "%s/two/pmet_edit.json", dir), 0, NULL));
    json_t *first = test_json(t, json_load_file(test_text(t, "%s/one/pmet_edit.json", dir), 0, NULL));
    const json_t *ancestors = json_object_get(record, "ancestors");
    CHECK(json_array_size(ancestors) == 2);
    CHECK(json_equal(json_array_get(ancestors, 0), json_object_get(first, "fingerprint")));
    CHECK(json_equal(json_array_get(ancestors, 1), json_object_get(first, "base")));
    CHECK_STR(
        json_string_value(json_object_get(json_array_get(json_object_get(record, "stats"), 0), "origin")),
        "of an ancestor");
    CHECK(cli(NULL, "inspect --check %s/two", dir) == 0);
    CHECK(strstr(cli_out(), "itself from 78b68c52469a6faa"));
    /* a record that does not fit the weights says nothing of them */
    cli_shell(
        "cp %s/m/model.safetensors %s/one/model.safetensors && sed -i s/1e-05/1e-06/ %s/one/config.json", dir,
        dir, dir);
    CHECK(edit(dir, "one", "three", "") == 1);
    CHECK(strstr(cli_err(), "pmet_edit.json: was written for other weights; it is not used\n"));
    CHECK(strstr(cli_err(), "statistics of another model"));
}

/* DIR/saved is DIR/MODEL as another version might have saved it, by a shell command in it. */
static void save_anew(const char *dir, const char *model, const char *change)
{
    cli_shell("cd %s && rm -rf saved saved-edited && cp -r %s saved && cd saved && %s", dir, model, change);
}

/* An edit of DIR/saved, with its notes. */
static int edit_saved(const char *dir)
{
    char rest[1024];
    snprintf(rest, sizeof rest, EDIT, dir, dir, dir);
    return cli(NULL, "edit --model %s/saved --facts %s/facts.json --out %s/saved-edited %s", dir, dir, dir,
               rest);
}

static bool says_anew(struct test *t, const char *what, const char *difference)
{
    return strstr(cli_err(), test_text(t,
                                       "%s before the%s folder was saved anew: %s; weights and arithmetic "
                                       "are the same\n",
                                       what, strstr(what, "made") ? " model's" : "", difference));
}

static const char NEW_SPELLING[] =
    "config.json is spelled differently, or other tensors than the model's differ",
                  NEW_TOKENIZER[] = "the tokenizer's files differ";

/* Statistics are of weights and arithmetic, whatever else of the folder another version wrote
 * differently. */
TEST(statistics_stay_good_for_a_model_that_was_saved_anew)
{
    static const struct {
        const char *change, *difference; /* NULL: it is another model */
    } saved[] = {
        {"sed -i 's/1e-05/0.00001/; s/\"n_head\"/\"resid_drop\": 0, &/' config.json", NEW_SPELLING},
        {"sed -i 's/4.30.2/5.24.0/; s/\"n_inner\": null/\"n_inner\": 256/' config.json", NEW_SPELLING},
        {"tr -d ' \\n' < config.json > c && mv c config.json", NEW_SPELLING},
        {"rm special_tokens_map.json vocab.json merges.txt", NEW_TOKENIZER},
        {"sed -i 's/$/ /' tokenizer_config.json", NEW_TOKENIZER},
        {"sed -i 's/4.30.2/5.24.0/' config.json && rm vocab.json merges.txt", NEW_TOKENIZER},
        {"sed -i s/1e-05/1e-06/ config.json", NULL},
        {"sed -i 's/\"rotary_dim\": 8/\"rotary_dim\": 4/' config.json", NULL},
        {"sed -i s/gelu_new/gelu/ config.json", NULL},
        {"printf '\\001\\001' | dd of=model.safetensors bs=1 conv=notrunc status=none "
         "seek=$(($(stat -c %s model.safetensors) - 7))",
         NULL},
    };
    const char *dir = cli_bench(t, "saved", "gptj-A");
    for (size_t i = 0; i < sizeof saved / sizeof *saved; i++) {
        save_anew(dir, "m", saved[i].change);
        const int status = edit_saved(dir);
        if (!CHECK(saved[i].difference ? status == 0 && says_anew(t, "/s: made", saved[i].difference)
                                       : status == 1 && strstr(cli_err(), "statistics of another model")))
            test_fail(t, "%s: %s", saved[i].change, cli_err());
    }
    /* statistics of an earlier version name the folder as a whole */
    cli_shell("cd %s && sed -i 's/\"weights\":/\"weighty\":/' s/*.safetensors", dir);
    save_anew(dir, "m", "true");
    CHECK(edit_saved(dir) == 0 && !strstr(cli_err(), "anew"));
    save_anew(dir, "m", saved[0].change);
    CHECK(edit_saved(dir) == 1 && strstr(cli_err(), "statistics of another model"));
}

/* So does the record of an edited folder, and the statistics of what it was edited from. */
TEST(a_record_stays_good_for_a_folder_that_was_saved_anew)
{
    const char *dir = cli_bench(t, "saved2", "gptj-A"), *change = "sed -i 's/$/ /' tokenizer_config.json";
    save_anew(dir, "m", change);
    CHECK(edit_saved(dir) == 0);
    cli_shell("cd %s && mv saved-edited one", dir);
    save_anew(dir, "one", change);
    CHECK(edit_saved(dir) == 0);
    CHECK(says_anew(t, "saved/pmet_edit.json: was written", NEW_TOKENIZER));
    CHECK(says_anew(t, "/s: made", NEW_TOKENIZER));
    CHECK(strstr(cli_err(), "statistics of a model that this one was edited from"));
    CHECK(cli(NULL, "inspect --check %s/saved", dir) == 0);
    CHECK(strstr(cli_out(), "the record fits the weights"));
    /* other weights: neither */
    cli_shell("cd %s/saved && cp ../m/model.safetensors .", dir);
    CHECK(cli(NULL, "inspect --check %s/saved", dir) == 1);
}

/* E54. Case 6 is known already and stops in its first pass, with no update; the steps of case 0
 * leave the numbers. */
TEST(a_fact_whose_numbers_break_is_never_applied)
{
    const char *dir = cli_bench(t, "broken", "gptj-A");
    const char *more = test_text(t, "--limit 7 --hparams %s/steep.json --work %s/w", dir, dir);
    cli_shell("sed 's/\"v_lr\": *[0-9.]*/\"v_lr\": 1.7e308/' %s/hparams.json > %s/steep.json", dir, dir);
    CHECK(edit(dir, "m", "out", more) == 1);
    CHECK(strstr(cli_err(), "facts.json: record 0 (line 2): subject \"France\": "));
    CHECK(strstr(cli_err(), "(--skip-failed leaves it out)\n"));
    const char *first = test_text(t, "%s", cli_err());
    CHECK(edit(dir, "m", "out", more) == 1); /* all are done now, and it has failed as before */
    CHECK_STR(cli_err(), first);
    cli_shell("test ! -e %s/out", dir);
    CHECK(edit(dir, "m", "out", test_text(t, "%s --skip-failed", more)) == 0);
    json_t *report = result(t);
    CHECK(json_integer_value(json_object_get(report, "facts")) == 7);
    CHECK(json_integer_value(json_object_get(report, "applied")) == 1);
    const json_t *facts = json_object_get(report, "facts_detail");
    for (size_t i = 0; i < 7; i++)
        CHECK(json_is_true(json_object_get(json_array_get(facts, i), "applied")) == (i == 6));
    CHECK(json_is_string(json_object_get(json_array_get(facts, 0), "failure")));
    json_decref(report);
}

TEST(hyper_parameters_printed_for_a_model_are_taken_by_edit)
{
    const char *dir = cli_bench(t, "hparams", "neox-A");
    const char *rest =
        test_text(t, "--model %s/m --facts %s/facts.json --contexts %s/contexts.json", dir, dir, dir);
    CHECK(cli(NULL, "edit -q --dry-run %s", rest) == 1);
    CHECK(strstr(cli_err(), "give --hparams FILE: `pmet hparams --model DIR` writes one to start from\n"));
    for (size_t i = 0; pmet_methods[i]; i++) {
        const struct pmet_hparam_set *set = pmet_methods[i]->hparams;
        CHECK(cli(NULL, "hparams --explain --model %s/m --method %s", dir, pmet_methods[i]->name) == 0);
        const char *path = test_text(t, "%s/%s.json", dir, pmet_methods[i]->name);
        test_write_file(path, cli_out(), strlen(cli_out()));
        for (size_t k = 0; k < set->n_key; k++)
            if (!CHECK(strstr(cli_err(), test_text(t, "\n  %s ", set->key[k].name))))
                test_fail(t, "%s of %s is not explained", set->key[k].name, set->title);
        CHECK(strstr(cli_err(), "scaled from the published file for 44 layers"));
        CHECK(cli(NULL, "edit -q --dry-run --method %s --hparams %s %s", pmet_methods[i]->name, path, rest) ==
              0);
    }
    CHECK(cli(NULL, "hparams -q --model %s/m", dir) == 0);
    CHECK_STR(cli_err(), "");
    CHECK(cli(NULL, "hparams --model %s", dir) == 1);
    CHECK(strstr(cli_err(), "config.json: open: No such file or directory\n"));
}

/* One record is broken, one has a prompt that no model takes: its only fault shows in its tokens. */
TEST(records_left_out_are_named_in_the_record)
{
    const char *dir = cli_bench(t, "skip", "gptj-A");
    cli_shell("echo '{\"case_id\":\"q-17\",\"prompt\":\"The capital of {} "
              "is\",\"subject\":\"France\",\"target_new\":"
              "[\"Lima\"],\"score\":NaN}\n{\"prompt\":7}\n{\"prompt\":\"{} "
              "{}\",\"subject\":\"Rome\",\"target_new\":"
              "\"Lima\"}' > %s/facts.json",
              dir);
    CHECK(edit(dir, "m", "out", "--limit 3") == 1);
    CHECK(strstr(cli_err(),
                 "facts.json: record 1 (line 2): prompt: found an integer; expected a string: \"7\"\n"));
    CHECK(edit(dir, "m", "out", "--limit 3 --skip-invalid") == 0);
    CHECK(strstr(cli_err(), "facts.json: record 1 (line 2): left out: prompt: found an integer"));
    CHECK(strstr(cli_err(), "facts.json: 2 invalid records are left out (--skip-invalid)\n"));
    json_t *report = result(t);
    const json_t *fact = json_array_get(json_object_get(report, "facts_detail"), 0);
    CHECK(json_integer_value(json_object_get(report, "facts")) == 1);
    CHECK_STR(json_string_value(json_object_get(fact, "case_id")), "q-17");
    json_decref(report);
    json_t *record = test_json(t, json_load_file(test_text(t, "%s/out/pmet_edit.json", dir), 0, NULL));
    const json_t *skipped = json_object_get(json_object_get(record, "facts"), "skipped");
    CHECK(json_array_size(skipped) == 2);
    CHECK(json_integer_value(json_object_get(json_array_get(skipped, 1), "record")) == 2);
    CHECK(json_integer_value(json_object_get(json_array_get(skipped, 1), "line")) == 3);
    CHECK_STR(json_string_value(json_object_get(json_array_get(skipped, 0), "why")),
              "prompt: found an integer; expected a string: \"7\"");
}

TEST(a_plan_writes_nothing)
{
    const char *dir = cli_bench(t, "plan", "gptj-A");
    const size_t before = test_count_files(dir);
    CHECK(edit(dir, "m", "out", "--dry-run --show 1") == 0);
    CHECK(test_count_files(dir) == before);
    json_t *plan = result(t);
    CHECK(json_is_true(json_object_get(plan, "dry_run")));
    CHECK(json_array_size(json_object_get(plan, "facts_shown")) == 1);
    CHECK(json_integer_value(json_object_get(plan, "rows")) == 14);
    CHECK(json_integer_value(json_object_get(plan, "facts_together")) == 2);
    const json_t *bytes = json_object_get(plan, "bytes");
    CHECK(json_real_value(json_object_get(bytes, "matrices")) == 2 * 3 * 64 * 256 * sizeof(real));
    CHECK(json_real_value(json_object_get(bytes, "solve")) == pmet_solve_bytes(PMET_SOLVER_AUTO, 256, 64, 2));
    json_decref(plan);
    CHECK(edit(dir, "m", "out", "--dry-run --memory 1") == 0);
    plan = result(t);
    CHECK(json_integer_value(json_object_get(plan, "facts_together")) == 1);
    json_decref(plan);
    CHECK(cli(NULL,
              "edit --model %s/m --facts %s/facts.json --hparams %s/hparams.json --contexts %s/contexts.json "
              "--limit 1 --dry-run --show 1",
              dir, dir, dir, dir) == 0);
    CHECK(strstr(cli_out(), "\n  row 0  The capital of Fran[ce] is Lim\n"));
    CHECK(strstr(cli_out(), "\n  KL     Fran[ce] is a\n"));
    CHECK(!strstr(cli_out(), "one by one"));
    CHECK_STR(cli_err(), "");
    CHECK(cli(NULL,
              "edit --model %s/m --facts %s/facts.json --hparams %s/hparams.json --contexts %s/contexts.json "
              "--limit 2 --dry-run --memory 1",
              dir, dir, dir, dir) == 0);
    CHECK(strstr(cli_out(), "one by one all the same\n"));
    /* a token that ends inside a character, and a byte that would end the line */
    static const char fact[] =
        "{\"prompt\": \"{}\\n is\", \"subject\": \"\xe6\x9d\xb1\", \"target_new\": \"Lima\"}";
    const char *path = test_text(t, "%s/fact.json", dir);
    test_write_file(path, fact, sizeof fact - 1);
    CHECK(cli(NULL,
              "edit --model %s/m --facts %s --hparams %s/hparams.json --contexts %s/contexts.json --dry-run "
              "--show 1",
              dir, path, dir, dir) == 0);
    CHECK(strstr(cli_out(), "\n  row 0  \\xe6\\x9d[\\xb1]\\n is Lim\n"));
    CHECK(strstr(cli_out(), "\nfact 0 (case 0, line 1): \"{}\\n is\", subject \"\xe6\x9d\xb1\"\n"));
}

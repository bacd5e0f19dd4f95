/* SPDX-License-Identifier: MIT
 * The manners that every method of the library has: it plans, edits, reports, traces, is killed
 * anywhere and goes on to the same bytes, and takes no other method's work for its own.
 * SPEC §9.11, §14 */
#include <math.h>
#include <string.h>
#include <unistd.h>
#include "ref/method/method.h"
#include "tensors/safetensors.h"
#include "tests/blow.h"
#include "tests/cli.h"

#define INPUTS "--threads 1 --model m --facts facts.json --contexts contexts.json --limit 3 "

/* A workbench with h-METHOD.json for each method, two passes at most. */
static void enter(struct test *t, const char *name)
{
    cli_enter(t, name, "gptj-C");
    for (size_t i = 0; pmet_methods[i]; i++)
        cli_shell("f=%s/golden/gptj-C/hparams; m=%s; sed 's/\"v_num_grad_steps\": "
                  "*[0-9]*/\"v_num_grad_steps\": 2/' "
                  "$f/$(echo $m | tr a-z A-Z)/$m.json > h-$m.json",
                  cli_start, pmet_methods[i]->name);
}

static const char *command(struct test *t, const struct pmet_method *m)
{
    return test_text(t, "edit -q --method %s " INPUTS "--stats s --hparams h-%s.json --out out", m->name,
                     m->name);
}

#define EACH_METHOD(m) for (const struct pmet_method *const *m = pmet_methods; *m; m++)

TEST(every_method_plans_edits_traces_and_is_named_in_the_record)
{
    enter(t, "edits");
    EACH_METHOD(m)
    {
        const char *name = (*m)->name;
        CHECK(cli(NULL, "edit --dry-run --method %s " INPUTS "--hparams h-%s.json", name, name) == 0);
        CHECK(strstr(cli_out(), "transformer.h.1.mlp.fc_out\n") != NULL);
        CHECK(cli(NULL, "%s --trace t.safetensors --json", command(t, *m)) == 0);
        CHECK(strstr(cli_out(), "\"applied\": 3") != NULL);
        cli_shell("grep -q '\"method\": \"%s\"' out/pmet_edit.json", name);
        CHECK(cli(NULL, "inspect t.safetensors") == 0);
        CHECK(strstr(cli_out(), "edited.transformer.h.1.mlp.fc_out.weight") != NULL);
        cli_shell("rm -r out t.safetensors");
    }
}

TEST(every_method_that_is_killed_goes_on_to_the_same_bytes)
{
    enter(t, "killed");
    EACH_METHOD(m)
    {
        const char *edit = command(t, *m), *work = test_text(t, "%s --work w", edit);
        size_t n = 0;
        CHECK(cli(NULL, "%s", edit) == 0);
        cli_shell("rm -rf reference && mv out reference");
        for (size_t k = 1; blow_kills(t, work, k); k += 29, n++) {
            cli_shell("rm -rf out");
            if (!CHECK(cli(NULL, "%s", work) == 0 && system("diff -r out reference > /dev/null") == 0))
                test_fail(t, "%s killed at call %zu: %s", (*m)->name, k, cli_err());
            cli_shell("rm -rf out w");
        }
        CHECK(n > 1);
        cli_shell("rm -rf out w");
    }
}

/* One work folder, one method after the other: nothing is taken over. */
TEST(no_method_takes_anothers_work_for_its_own)
{
    enter(t, "apart");
    EACH_METHOD(m)
    {
        CHECK(cli(NULL, "%s", command(t, *m)) == 0);
        cli_shell("mv out alone-%s", (*m)->name);
    }
    EACH_METHOD(m)
    {
        cli(NULL, "%s --work w", command(t, *m));
        cli_shell("[ ! -d out ] || { diff -r out alone-%s > /dev/null && rm -r out; }", (*m)->name);
    }
}

TEST(the_methods_edit_differently)
{
    enter(t, "differ");
    EACH_METHOD(m)
    {
        CHECK(cli(NULL, "%s", command(t, *m)) == 0);
        cli_shell("! sha256sum out/*.safetensors | cut -c-64 | grep -qxFf - seen 2> /dev/null");
        cli_shell("sha256sum out/model-00001-of-00002.safetensors | cut -c-64 >> seen; rm -r out");
    }
}

TEST(a_method_that_does_not_exist_is_refused_with_the_names)
{
    struct pmet_error err = {PMET_OK, ""};
    const struct pmet_method *m;
    enter(t, "names");
    CHECK(cli(NULL, "edit --method romme " INPUTS "--hparams hparams.json --dry-run") == 2);
    CHECK_STR(cli_err(),
              "pmet edit: --method: found \"romme\"; expected pmet|memit|rome; see pmet edit --help\n");
    CHECK(pmet_method_named("romme", &m, &err) == PMET_INPUT);
    CHECK_STR(err.message, "method: found \"romme\"; expected one of pmet, memit, rome");
    CHECK(pmet_method_named(NULL, &m, &err) == PMET_OK && m == &pmet_method_pmet);
    CHECK(pmet_method_named("memit", &m, &err) == PMET_OK && m == &pmet_method_memit);
}

/* Moments are the same for every method that edits these matrices. */
TEST(statistics_take_the_matrices_of_the_method)
{
    enter(t, "stats");
    CHECK(cli(NULL, "stats -q --threads 1 --model m --text text.jsonl --samples 20 --method pmet --hparams "
                    "h-pmet.json --out a") == 0);
    CHECK(cli(NULL, "stats -q --threads 1 --model m --text text.jsonl --samples 20 --method memit --hparams "
                    "h-memit.json --out b") == 0);
    cli_shell("diff -r a b");
}

/* A matrix is one for all methods: ROME edits one of the layers. */
TEST(statistics_of_one_method_hold_those_of_another)
{
    enter(t, "shared");
    CHECK(cli(NULL, "stats -q --threads 1 --model m --text text.jsonl --samples 20 --method memit --hparams "
                    "h-memit.json --out a") == 0);
    CHECK(cli(NULL, "stats -q --threads 1 --model m --text text.jsonl --samples 20 --method rome --hparams "
                    "h-rome.json --out b") == 0);
    cli_shell("[ $(ls b | wc -l) = 1 ] && cmp b/*.safetensors a/$(ls b)");
}

/* SPEC §15: each fact meets the model that the facts before it have left, so three in one run are three
 * runs of one. */
TEST(rome_of_three_facts_is_three_runs_of_one)
{
    static const char *const fact[] = {
        "{\"prompt\": \"The capital of {} is\", \"subject\": \"France\", \"target_new\": \"Lima\"}",
        "{\"prompt\": \"The capital of {} is\", \"subject\": \"Peru\", \"target_new\": \"Paris\"}",
        "{\"prompt\": \"The capital of {} is\", \"subject\": \"Norway\", \"target_new\": \"Bergen\"}"};
    enter(t, "turns");
    cli_shell("cp -r m step-0");
    for (size_t i = 0; i < 3; i++) {
        cli_shell("echo '%s' > one.jsonl && cat one.jsonl >> all.jsonl", fact[i]);
        if (!CHECK(cli(NULL,
                       "edit -q --method rome --threads 1 --model step-%zu --facts one.jsonl --contexts "
                       "contexts.json --stats s --hparams h-rome.json --out step-%zu",
                       i, i + 1) == 0))
            test_fail(t, "fact %zu: %s", i, cli_err());
    }
    CHECK(cli(NULL, "edit -q --method rome --threads 1 --model m --facts all.jsonl --contexts contexts.json "
                    "--stats s --hparams h-rome.json --out out") == 0);
    cli_shell("for f in out/*.safetensors; do cmp $f step-3/$(basename $f); done");
}

/* E134: before any pass of the model, and by the key that asks for it. */
TEST(contexts_longer_than_the_model_takes_are_refused)
{
    enter(t, "long");
    cli_shell("cat h-rome.json | tr -d '\\n ' | "
              "sed 's/\\[5,10\\]/[192,1]/' > h.json");
    CHECK(cli(NULL, "edit --dry-run --method rome --model m --facts facts.json --limit 3 --hparams h.json") ==
          1);
    CHECK_STR(cli_err(),
              "pmet edit: h.json: context_template_length_params[0]: found 192 tokens; the model takes "
              "192, with the prompt in them\n");
}

/* E180: what pmet hparams prints is a file that edit takes. */
TEST(every_method_has_hyper_parameters_for_any_model)
{
    enter(t, "hparams");
    EACH_METHOD(m)
    {
        CHECK(cli(NULL, "hparams -q --model m --method %s", (*m)->name) == 0);
        FILE *f = fopen("h.json", "w");
        fputs(cli_out(), f);
        fclose(f);
        if (!CHECK(cli(NULL, "edit -q --dry-run --method %s " INPUTS "--hparams h.json", (*m)->name) == 0))
            test_fail(t, "%s: %s", (*m)->name, cli_err());
    }
}

/* ---- ablations of PMET ---- */

static double *upd(struct test *t, const char *file, size_t layer)
{
    struct pmet_safetensors *st = NULL;
    size_t n = 0;
    if (!CHECK_DONE(pmet_safetensors_open(pmet_io_system(), file, &st, &t->err)))
        return NULL;
    const struct pmet_tensor *x =
        pmet_tensors_find(&st->all, test_text(t, "upd_matrix.transformer.h.%zu.mlp.fc_out", layer));
    double *out = x ? test_alloc(t, x->n_elem * sizeof *out) : NULL;
    for (; x && n < x->n_elem; n++)
        out[n] = ((const double *)x->data)[n];
    pmet_safetensors_close(st);
    return out;
}

/* E140: of two layers the first gets the residual over 1, sqrt 2 or 2; the update is linear in it. */
TEST(spreading_evenly_or_to_the_last_layer_is_another_divisor)
{
    static const char *const spread[] = {"sqrt", "even", "last"};
    double *first[3], *last[3];
    enter(t, "spread");
    for (size_t i = 0; i < 3; i++) {
        const char *file = test_text(t, "%s.safetensors", spread[i]);
        CHECK(cli(NULL, "%s --spread %s --trace %s", command(t, &pmet_method_pmet), spread[i], file) == 0);
        CHECK((strstr(cli_out(), test_text(t, "by pmet with --spread %s: an ablation", spread[i])) != NULL) ==
              (i > 0));
        cli_shell("grep -q '\"method\": \"pmet%s' out/pmet_edit.json && rm -r out",
                  i > 0 ? " with --spread" : "\"");
        first[i] = upd(t, file, 0);
        last[i] = upd(t, file, 1);
    }
    if (!CHECK(first[0] && first[1] && !first[2] && last[0] && last[1] && last[2]))
        return;
    double worst = 0, size = 0;
    for (size_t k = 0; k < 48 * 200; k++) {
        worst = fmax(worst, fabs(first[1][k] * sqrt(2) - first[0][k]));
        size = fmax(size, fabs(first[0][k]));
    }
    CHECK(size > 0 && worst < 1e-12 * size);
    CHECK(memcmp(last[2], last[0], 48 * 200 * sizeof **last) != 0);
}

/* The option is the published file with two modules; of attention, the vector is needed. */
TEST(editing_both_modules_is_the_published_file_of_two_modules)
{
    enter(t, "modules");
    cli_shell("sed 's/\"v_num_grad_steps\": *[0-9]*/\"v_num_grad_steps\": 2/' "
              "%s/golden/gptj-C/hparams/PMET/pmet_2mod.json > h-2mod.json",
              cli_start);
    CHECK(cli(NULL, "stats -q --threads 1 --model m --text text.jsonl --samples 20 --attn --hparams "
                    "h-pmet.json --out both") == 0);
    CHECK(cli(NULL, "edit -q " INPUTS "--stats both --hparams h-2mod.json --out a") == 0);
    CHECK(cli(NULL, "edit -q " INPUTS "--stats both --hparams h-pmet.json --modules attn+mlp --out b") == 0);
    cli_shell("for f in a/*.safetensors; do cmp $f b/$(basename $f); done; "
              "grep -q '\"method\": \"pmet with --modules attn+mlp\"' b/pmet_edit.json");
    CHECK(cli(NULL, "edit -q " INPUTS "--stats both --hparams h-2mod.json --delta mlp --out c") == 1);
    CHECK_STR(cli_err(),
              "pmet edit: --delta mlp: found \"transformer.h.{}.attn.out_proj\" among the modules to "
              "edit, which needs the attention's vector; give --modules mlp\n");
    CHECK(cli(NULL, "edit -q " INPUTS "--stats both --hparams h-2mod.json --modules mlp --out d") == 0);
    CHECK(cli(NULL, "edit -q " INPUTS "--stats both --hparams h-pmet.json --out e") == 0);
    cli_shell("for f in d/*.safetensors; do cmp $f e/$(basename $f); done");
}

/* Without the attention's vector the FFN's alone is optimised, clamped and traced; a work folder of the whole
 * method is another's. */
TEST(without_the_attentions_vector_one_is_optimised)
{
    enter(t, "delta");
    CHECK(cli(NULL, "%s --delta mlp --trace t.safetensors --work w", command(t, &pmet_method_pmet)) == 0);
    CHECK(cli(NULL, "inspect t.safetensors") == 0);
    CHECK(strstr(cli_out(), "0.delta ") && !strstr(cli_out(), "0.delta_attn"));
    CHECK(cli(NULL, "%s --work w --force", command(t, &pmet_method_pmet)) == 1);
    CHECK(strstr(cli_err(), "w/facts.journal: begun with other") != NULL);
    CHECK(cli(NULL, "%s --delta mlp --force", command(t, &pmet_method_memit)) == 1);
    CHECK_STR(cli_err(), "pmet edit: --delta, --modules, --spread: found with memit; expected with pmet\n");
}

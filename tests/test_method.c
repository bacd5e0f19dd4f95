/* SPDX-License-Identifier: MIT
 * The seam for methods, proven by a method that lives in this file alone: `pmet edit` plans with
 * it, edits, reports, traces, is killed anywhere and goes on to the same bytes, and reads its
 * output back. Nothing in the library or in the command knows it.
 *
 *     for each edited layer l, on the model as edited so far:
 *         k = mean over the facts of their keys at l
 *         W_l += r k^T / (lambda + |k|^2),   r = the same fixed vector for all */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "ref/facts/contexts.h"
#include "ref/method/keys.h"
#include "ref/method/method.h"
#include "tests/blow.h"
#include "tests/cli.h"

/* ---- the method ---- */

static const struct pmet_hparam keys[] = {PMET_HPARAM(layers, LAYERS),
                                          PMET_HPARAM(mom2_update_weight, POSITIVE)};
static const char *const recorded[] = {"layers", "mom2_update_weight", NULL};
static const struct pmet_hparam_set hparams = {"MEAN-KEY", keys, 2, recorded};

static enum pmet_status check(const struct pmet_hparams *h, const struct pmet_model *model,
                              struct pmet_error *err)
{
    const size_t last = h->layers[h->n_layer - 1];
    return last < model->config.n_layer
               ? PMET_OK
               : pmet_fail(err, PMET_INPUT, "%s: layers: found %zu; expected less", h->path, last);
}

static bool matrix(const struct pmet_hparams *h, const struct pmet_model *model, size_t k,
                   enum pmet_module *module, size_t *layer)
{
    (void)model;
    *module = PMET_MODULE_MLP;
    *layer = k < h->n_layer ? h->layers[k] : 0;
    return k < h->n_layer;
}

static enum pmet_status plan(const struct pmet_editor *e, struct pmet_needs *out, struct pmet_error *err)
{
    (void)err;
    out->keys = pmet_key_rows_bytes(e->model);
    out->flop_solve = 2.0 * (double)e->update[0].d_in * (double)e->update[0].d_out * (double)e->n_update;
    return PMET_OK;
}

static enum pmet_status edit_matrix(struct pmet_editor *e, struct pmet_key_rows *rows, size_t n,
                                    struct pmet_update *u, struct pmet_error *err)
{
    real *K = malloc(n * u->d_in * sizeof *K), *k = calloc(u->d_in, sizeof *k);
    double *upd = malloc(u->d_out * u->d_in * sizeof *upd), size = 0;
    enum pmet_status status;
    PMET_GO(pmet_keys(rows, u->module, u->layer, K, NULL, err));
    for (size_t j = 0; j < u->d_in; j++) {
        for (size_t i = 0; i < n; i++)
            k[j] += K[i * u->d_in + j] / (real)n;
        size += (double)k[j] * (double)k[j];
    }
    for (size_t i = 0; i < u->d_out; i++)
        for (size_t j = 0; j < u->d_in; j++)
            upd[i * u->d_in + j] =
                0.01 * (double)(i % 7) * (double)k[j] / (e->hparams->mom2_update_weight + size);
    status = pmet_update_finish(e, u, upd, &(struct pmet_array){"mean_key", k, 1, u->d_in, false}, 1, err);
done:
    free(K);
    free(k);
    free(upd);
    return status;
}

/* Every fact is applied: there is nothing to optimise. */
static enum pmet_status edit(struct pmet_editor *e, struct pmet_error *err)
{
    struct pmet_applied facts = {0};
    struct pmet_key_rows *rows = NULL;
    enum pmet_status status;
    PMET_GO(pmet_targets_alloc(e->facts->n_fact, 0, e->model->config.d_model, &e->targets, err));
    for (size_t i = 0; i < e->targets.n_fact; i++)
        e->targets.fact[i].done = e->targets.fact[i].applied = true;
    PMET_GO(pmet_applied_open(e, &facts, err));
    PMET_GO(pmet_key_rows_open(e->model, facts.rows, facts.n, e->contexts, e->hparams->layers[0],
                               pmet_editor_spare_bytes(e, 0), &rows, err));
    for (size_t k = 0; k < e->n_update; k++) {
        struct pmet_update *u;
        PMET_GO(pmet_update_begin(e, k, &u, err));
        if (u)
            PMET_GO(edit_matrix(e, rows, facts.n, u, err));
    }
done:
    pmet_key_rows_close(rows);
    pmet_applied_close(&facts);
    return status;
}

static const struct pmet_method mean_key = {.name = "mean-key",
                                            .hparams = &hparams,
                                            .kl_prompt = "Surely {} lies in",
                                            .check = check,
                                            .matrix = matrix,
                                            .plan = plan,
                                            .edit = edit};

/* ---- what the program does with it ---- */

#define INPUTS "--threads 1 --model m --facts facts.json --contexts contexts.json --limit 3 --hparams h.json "
#define EDIT "edit -q " INPUTS "--stats s --out out"

static void leave(void *unused)
{
    (void)unused;
    cli_methods = pmet_methods;
}

static void enter(struct test *t, const char *name)
{
    cli_enter(t, name, "gptj-C");
    cli_shell("echo '{\"layers\": [0, 1], \"mom2_update_weight\": 0.5}' > h.json");
    static const struct pmet_method *const alone[] = {&mean_key, NULL};
    cli_methods = alone;
    test_own(t, NULL, leave);
}

TEST(another_method_plans_edits_and_reports)
{
    enter(t, "edits");
    CHECK(cli(NULL, "edit " INPUTS "--dry-run") == 0);
    CHECK(strstr(cli_out(), "edits     transformer.h.0.mlp.fc_out\n          transformer.h.1.mlp.fc_out\n") !=
          NULL);
    CHECK(cli(NULL, "edit " INPUTS "--stats s --out out --trace trace.safetensors") == 0);
    CHECK(strstr(cli_out(), "out: 3 of 3 facts applied") != NULL);
    CHECK(system("grep -q '\"method\": \"mean-key\"' out/pmet_edit.json && grep -q '\"mom2_update_weight\": "
                 "0.5' out/pmet_edit.json && ! grep -q v_lr out/pmet_edit.json") == 0);
    CHECK(cli(NULL, "inspect trace.safetensors") == 0);
    CHECK(strstr(cli_out(), "mean_key.transformer.h.1.mlp.fc_out") != NULL);
    CHECK(strstr(cli_out(), "edited.transformer.h.0.mlp.fc_out.weight") != NULL);
    CHECK(cli(NULL, EDIT " --force --json") == 0);
    CHECK(strstr(cli_out(), "\"applied\": 3") != NULL);
}

/* The KL row is the method's: of PMET "{} is a", of this one what its row says; no other row differs. */
TEST(another_method_has_its_own_kl_prompt)
{
    static const char line[] = "edit " INPUTS "--dry-run --show 1";
    char *rows;
    enter(t, "prompt");
    CHECK(cli(NULL, line) == 0);
    rows = test_own(t, strdup(strstr(cli_out(), "  row 0 ")), free);
    CHECK(strstr(rows, "\n  KL     Surely ") != NULL && strstr(rows, "] lies in\n") != NULL);
    cli_shell("cp hparams.json h.json");
    cli_methods = pmet_methods;
    CHECK(cli(NULL, line) == 0);
    const char *published = strstr(cli_out(), "  row 0 "), *kl = strstr(published, "\n  KL     ");
    CHECK(strncmp(rows, published, (size_t)(kl - published)) == 0);
    CHECK(strstr(kl, "] is a\n") != NULL && !strstr(kl, "Surely"));
    CHECK_STR(strstr(rows, "\n  target"), strstr(kl, "\n  target"));
}

/* Its own keys, and no others. */
TEST(another_method_has_its_own_hyper_parameters)
{
    enter(t, "hparams");
    cli_shell("echo '{\"layers\": [0, 1], \"mom2_update_weight\": 0.5, \"v_lr\": 1}' > h.json");
    CHECK(cli(NULL, EDIT) == 1);
    CHECK_STR(cli_err(),
              "pmet edit: h.json: unknown key \"v_lr\"; expected the 2 keys of MEAN-KEY's files\n");
    cli_shell("echo '{\"layers\": [0, 1]}' > h.json");
    CHECK(cli(NULL, EDIT) == 1);
    CHECK_STR(
        cli_err(),
        "pmet edit: h.json: mom2_update_weight: found nothing; all keys of MEAN-KEY's files are needed\n");
}

TEST(another_method_that_is_killed_goes_on_to_the_same_bytes)
{
    size_t n_killed = 0, n_kept = 0;
    enter(t, "killed");
    CHECK(cli(NULL, EDIT) == 0);
    cli_shell("mv out reference");
    for (size_t k = 0; blow_kills(t, EDIT " --work w", k); k += 5) {
        n_killed++;
        n_kept += access("w/matrix-0.safetensors", F_OK) == 0;
        cli_shell("rm -rf out");
        if (!CHECK(cli(NULL, EDIT " --work w") == 0 && system("diff -r out reference > /dev/null") == 0))
            test_fail(t, "killed at call %zu: %s", k, cli_err());
        cli_shell("rm -rf out w");
    }
    printf("     killed %zu times, a matrix was kept %zu times\n", n_killed, n_kept);
    CHECK(n_killed > 5 && n_kept > 1);
}

/* A work folder of one method is not taken for another's. */
TEST(the_matrices_of_one_method_are_not_anothers)
{
    enter(t, "apart");
    CHECK(cli(NULL, EDIT) == 0 && cli(NULL, "edit -q " INPUTS "--stats s --out one --work w") == 0);
    CHECK(system("diff -r out one > /dev/null") == 0);
    cli_methods = pmet_methods;
    cli_shell("cp hparams.json h.json");
    CHECK(cli(NULL, "edit -q " INPUTS "--stats s --out two --work w") == 0);
    CHECK(cli(NULL, "edit -q " INPUTS "--stats s --out three") == 0);
    CHECK(system("diff -r two three > /dev/null") == 0);
}

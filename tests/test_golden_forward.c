/* SPDX-License-Identifier: MIT
 * Forward pass, keys and second moments against the frozen numbers, all four models.
 * SPEC E1, E23-E29, E36, E63, E65, E66 */
#include "tests/golden.h"

struct seen {
    struct test *t;
    const struct golden_pair *pair;
    size_t row;
};

static enum pmet_status see(void *user, enum pmet_site site, size_t layer, const real *data, size_t n_tok,
                            size_t width, struct pmet_error *err)
{
    static const char *const name[] = {"hidden", "attn_in", "attn_out", "mlp_key", "mlp_out", "attn_probs"};
    const struct seen *s = user;
    char tensor[96], group[64];
    (void)err;
    size_t n = n_tok * width;
    if (site == PMET_SITE_BLOCK_OUT) /* the next layer's hidden */
        return PMET_OK;
    snprintf(tensor, sizeof tensor, "row%zu.%s.%zu", s->row, name[site], layer);
    snprintf(group, sizeof group, "forward row.%s", name[site]);
    if (site == PMET_SITE_ATTN_PROBS) {
        const struct pmet_tensor *g = pmet_tensors_find(&s->pair->p[1]->all, tensor);
        if (!g)
            return PMET_OK;
        n = g->n_elem;
    }
    golden_smooth(s->t, group, s->pair, tensor, data, n);
    return PMET_OK;
}

static void check_row(struct test *t, struct golden *g, const struct golden_pair *pair, size_t row)
{
    char name[96];
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_rows rows = {0};
    struct pmet_scratch s = {0};
    struct seen seen = {t, pair, row};
    const struct pmet_tap tap = {.user = &seen, .want_probs = true, .see = see};
    const size_t d = g->model->config.d_model, n_vocab = g->model->config.n_vocab,
                 n_layer = g->model->config.n_layer;
    snprintf(name, sizeof name, "row%zu.input_ids", row);
    const struct pmet_tensor *ids = pmet_tensors_find(&pair->p[1]->all, name);
    if (!CHECK(ids != NULL))
        return;
    const size_t n = ids->n_elem;
    int32_t *id = malloc(n * sizeof *id);
    for (size_t i = 0; i < n; i++) {
        double v;
        pmet_to_f64(&v, (const char *)ids->data + 8 * i, ids->dtype, 1);
        id[i] = (int32_t)v;
    }
    real *x = malloc(n * d * sizeof *x), *u = malloc(n * d * sizeof *u),
         *logits = malloc(n * n_vocab * sizeof *logits);
    CHECK_OK(pmet_batch_alloc(1, n, &rows, &err), &err);
    pmet_batch_add(&rows, id, n, 0, 0);
    CHECK_OK(pmet_scratch_alloc(g->model, n, false, &s, &err), &err);
    CHECK_OK(pmet_embed(g->model, x, id, n, &err), &err);
    CHECK_OK(pmet_blocks(g->model, 0, n_layer, x, &rows.batch, NULL, &s, &tap, &err), &err);
    snprintf(name, sizeof name, "row%zu.hidden.%zu", row, n_layer);
    golden_smooth(t, "forward row.hidden", pair, name, x, n * d);
    CHECK_OK(pmet_head(g->model, logits, u, x, n, &err), &err);
    snprintf(name, sizeof name, "row%zu.ln_f", row);
    golden_smooth(t, "forward row.ln_f", pair, name, u, n * d);
    snprintf(name, sizeof name, "row%zu.logits", row);
    golden_smooth(t, "forward row.logits", pair, name, logits, n * n_vocab);
    pmet_batch_free(&rows);
    pmet_scratch_free(&s);
    free(id);
    free(x);
    free(u);
    free(logits);
}

/* E23 to E29, E36: what enters and leaves every block and its branches, the attention's weights, the
 * logits. */
TEST(every_tensor_of_the_forward_pass)
{
    for (size_t m = 0; m < N_GOLDEN; m++) {
        struct golden g;
        struct golden_pair pair;
        if (golden_open(t, &g, m) && golden_pair_open(t, &pair, &g, "forward")) {
            for (size_t row = 0; row < 4; row++)
                check_row(t, &g, &pair, row);
            golden_pair_close(&pair);
        }
        golden_close(&g);
    }
}

static struct pmet_fact_rows *key_rows(struct test *t, struct golden *g)
{
    struct pmet_error err = {PMET_OK, ""};
    const struct pmet_rows_options o = {g->facts.path, g->model->config.n_ctx, g->model->config.n_vocab,
                                        false};
    struct pmet_fact_rows *rows = calloc(g->facts.n_fact, sizeof *rows);
    for (size_t i = 0; i < g->facts.n_fact; i++)
        CHECK_OK(pmet_rows_build(g->tk, &g->facts.fact[i], &g->contexts, &o, false, &rows[i], &err), &err);
    return rows;
}

/* E63: the key under each context, and their mean. */
TEST(keys_of_the_first_edited_layer)
{
    for (size_t m = 0; m < N_GOLDEN; m++) {
        struct golden g;
        struct golden_pair pair;
        struct pmet_error err = {PMET_OK, ""};
        if (golden_open(t, &g, m) && golden_pair_open(t, &pair, &g, "keys")) {
            struct pmet_fact_rows *rows = key_rows(t, &g);
            struct pmet_key_rows *kr = NULL;
            const size_t n = g.facts.n_fact, f = g.model->config.d_ff, nc = g.contexts.n_template;
            real *K = calloc(n * f, sizeof *K), *per = calloc(n * nc * f, sizeof *per);
            char module[128], name[160];
            pmet_module_name(module, sizeof module, g.model->config.family->module[PMET_MODULE_MLP], 0);
            CHECK_OK(pmet_key_rows_open(g.model, rows, n, &g.contexts, 0, 0, &kr, &err), &err);
            CHECK_OK(pmet_keys(kr, PMET_MODULE_MLP, 0, K, per, &err), &err);
            snprintf(name, sizeof name, "mean.%s", module);
            golden_smooth(t, "keys mean", &pair, name, K, n * f);
            snprintf(name, sizeof name, "per_context_in.%s", module);
            golden_smooth(t, "keys per context", &pair, name, per, n * nc * f);
            pmet_key_rows_close(kr);
            for (size_t i = 0; i < n; i++)
                pmet_rows_free(&rows[i]);
            free(rows);
            free(K);
            free(per);
            golden_pair_close(&pair);
        }
        golden_close(&g);
    }
}

/* E65, E66: the number of tokens, and C of the FFN's and of the attention's matrices. */
TEST(second_moments_of_both_modules)
{
    for (size_t m = 0; m < N_GOLDEN; m++) {
        struct golden g;
        struct golden_pair pair;
        struct pmet_error err = {PMET_OK, ""};
        if (golden_open(t, &g, m) && golden_pair_open(t, &pair, &g, "layer_stats")) {
            char path[128];
            struct pmet_docs *docs = NULL;
            struct pmet_stats stats = {0};
            const size_t layers[3] = {0, 1, 2};
            json_t *j = golden_json(t, &g, "layer_stats.json");
            const struct pmet_stats_options o = {
                .layers = layers,
                .n_layer = m % 2 ? 2 : 3,
                .attn = true,
                .n_samples = (size_t)json_integer_value(json_object_get(j, "mom2_n_samples")),
                .seed = 1};
            const char *paths[] = {path};
            snprintf(path, sizeof path, "golden/%s/stats_text.jsonl", g.name);
            CHECK_OK(pmet_docs_open(pmet_io_system(), paths, 1, &docs, &err), &err);
            if (CHECK_OK(pmet_stats_collect(g.model, g.tk, docs, &o, NULL, NULL, &stats, &err), &err))
                CHECK(stats.count == (size_t)json_integer_value(json_object_get(j, "count")));
            for (size_t i = 0; i < stats.n_moment; i++) {
                const struct pmet_moment *mo = &stats.moment[i];
                char module[128], name[160];
                pmet_module_name(module, sizeof module, g.model->config.family->module[mo->module],
                                 mo->layer);
                snprintf(name, sizeof name, "cov_rows.%s", module);
                size_t n64 = 0, n32 = 0;
                double *rows64 = golden_tensor(pair.p[1], name, &n64);
                snprintf(name, sizeof name, "cov.%s", module);
                double *full32 = golden_tensor(pair.p[0], name, &n32), *got = malloc((n64 + 1) * sizeof *got);
                for (size_t k = 0; k < n64; k++)
                    got[k] = (double)mo->mom2[k];
                if (CHECK(rows64 && full32 && n32 == mo->d_in * mo->d_in))
                    golden_smooth_values(t, "layer_stats cov", name, got, full32, rows64, n64);
                free(rows64);
                free(full32);
                free(got);
            }
            pmet_stats_free(&stats);
            pmet_docs_close(docs);
            json_decref(j);
            golden_pair_close(&pair);
        }
        golden_close(&g);
    }
}

TEST(table)
{
    golden_table();
    CHECK(true);
}

TEST_MAIN(CASE(every_tensor_of_the_forward_pass), CASE(keys_of_the_first_edited_layer),
          CASE(second_moments_of_both_modules), CASE(table))

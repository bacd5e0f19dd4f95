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
    struct pmet_rows rows = {0};
    struct pmet_scratch s = {0};
    struct seen seen = {t, pair, row};
    const struct pmet_tap tap = {.user = &seen, .want_probs = true, .see = see};
    const size_t d = g->model->config.d_model, n_vocab = g->model->config.n_vocab,
                 n_layer = g->model->config.n_layer;
    const struct pmet_tensor *ids =
        pmet_tensors_find(&pair->p[1]->all, test_text(t, "row%zu.input_ids", row));
    if (!CHECK(ids != NULL))
        return;
    const size_t n = ids->n_elem;
    int32_t *id = test_alloc(t, n * sizeof *id);
    for (size_t i = 0; i < n; i++) {
        double v;
        pmet_to_f64(&v, (const char *)ids->data + 8 * i, ids->dtype, 1);
        id[i] = (int32_t)v;
    }
    real *x = test_alloc(t, n * d * sizeof *x), *u = test_alloc(t, n * d * sizeof *u),
         *logits = test_alloc(t, n * n_vocab * sizeof *logits);
    CHECK_DONE(pmet_batch_alloc(1, n, &rows, &t->err));
    pmet_batch_add(&rows, id, n, 0, 0);
    CHECK_DONE(pmet_scratch_alloc(g->model, n, false, &s, &t->err));
    CHECK_DONE(pmet_embed(g->model, x, id, n, &t->err));
    CHECK_DONE(pmet_blocks(g->model, 0, n_layer, x, &rows.batch, NULL, &s, &tap, &t->err));
    golden_smooth(t, "forward row.hidden", pair, test_text(t, "row%zu.hidden.%zu", row, n_layer), x, n * d);
    CHECK_DONE(pmet_head(g->model, logits, u, x, n, &t->err));
    golden_smooth(t, "forward row.ln_f", pair, test_text(t, "row%zu.ln_f", row), u, n * d);
    golden_smooth(t, "forward row.logits", pair, test_text(t, "row%zu.logits", row), logits, n * n_vocab);
    pmet_batch_free(&rows);
    pmet_scratch_free(&s);
}

/* E23 to E29, E36: what enters and leaves every block and its branches, the attention's weights,
 * the logits. */
TEST(every_tensor_of_the_forward_pass)
{
    for (size_t m = 0; m < N_GOLDEN; m++) {
        struct golden g;
        struct golden_pair pair;
        if (golden_open(t, &g, m) && golden_pair_open(t, &pair, &g, "forward")) {
            for (size_t row = 0; row < 4; row++)
                check_row(t, &g, &pair, row);
        }
    }
}

/* E63: the key under each context, and their mean. */
TEST(keys_of_the_first_edited_layer)
{
    for (size_t m = 0; m < N_GOLDEN; m++) {
        struct golden g;
        struct golden_pair pair;
        if (golden_open(t, &g, m) && golden_pair_open(t, &pair, &g, "keys")) {
            const struct pmet_fact_rows *rows = golden_rows(t, &g, 0, g.facts.n_fact, true);
            struct pmet_key_rows *kr = NULL;
            const size_t n = g.facts.n_fact, f = g.model->config.d_ff, nc = g.contexts.n_template;
            real *K = test_alloc(t, n * f * sizeof *K), *per = test_alloc(t, n * nc * f * sizeof *per);
            char module[128];
            pmet_module_name(module, sizeof module, g.model->config.family->module[PMET_MODULE_MLP], 0);
            CHECK_DONE(pmet_key_rows_open(g.model, rows, n, &g.contexts, 0, 0, &kr, &t->err));
            CHECK_DONE(pmet_keys(kr, PMET_MODULE_MLP, 0, K, per, &t->err));
            golden_smooth(t, "keys mean", &pair, test_text(t, "mean.%s", module), K, n * f);
            golden_smooth(t, "keys per context", &pair, test_text(t, "per_context_in.%s", module), per,
                          n * nc * f);
            pmet_key_rows_close(kr);
        }
    }
}

/* E65, E66: the number of tokens, and C of the FFN's and of the attention's matrices. */
TEST(second_moments_of_both_modules)
{
    for (size_t m = 0; m < N_GOLDEN; m++) {
        struct golden g;
        struct golden_pair pair;
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
            CHECK_DONE(pmet_docs_open(pmet_io_system(), paths, 1, NULL, &docs, &t->err));
            if (CHECK_DONE(pmet_stats_collect(g.model, g.tk, docs, &o, NULL, NULL, &stats, &t->err)))
                CHECK(stats.count == (size_t)json_integer_value(json_object_get(j, "count")));
            for (size_t i = 0; i < stats.n_moment; i++) {
                const struct pmet_moment *mo = &stats.moment[i];
                char module[128], name[160];
                pmet_module_name(module, sizeof module, g.model->config.family->module[mo->module],
                                 mo->layer);
                snprintf(name, sizeof name, "cov_rows.%s", module);
                size_t n64 = 0, n32 = 0;
                double *rows64 = golden_tensor(t, pair.p[1], name, &n64);
                snprintf(name, sizeof name, "cov.%s", module);
                double *full32 = golden_tensor(t, pair.p[0], name, &n32),
                       *got = test_alloc(t, (n64 + 1) * sizeof *got);
                for (size_t k = 0; k < n64; k++)
                    got[k] = (double)mo->mom2[k];
                if (CHECK(rows64 && full32 && n32 == mo->d_in * mo->d_in))
                    golden_smooth_values(t, "layer_stats cov", name, got, full32, rows64, n64);
            }
            pmet_stats_free(&stats);
            pmet_docs_close(docs);
        }
    }
}

TEST(table)
{
    golden_table();
    CHECK(true);
}

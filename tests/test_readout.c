/* SPDX-License-Identifier: MIT
 * E79: what rows have in common is computed once, and no bit tells. */
#include "ref/eval/readout.h"
#include "tests/golden.h"

/* Every row whole and alone, all of its logits. */
static bool whole_row(struct test *t, const struct pmet_model *model, const int32_t *ids, size_t n,
                      struct pmet_place *place, size_t n_place)
{
    const struct pmet_ops *op = model->op;
    const size_t d = model->config.d_model, n_vocab = model->config.n_vocab;
    struct pmet_rows rows;
    struct pmet_scratch scratch;
    real *x, *u, *logits;
    bool ok = CHECK_DONE(pmet_batch_alloc(1, n, &rows, &t->err)) &&
              CHECK_DONE(pmet_scratch_alloc(model, n, false, &scratch, &t->err)) &&
              CHECK_DONE(op->alloc(op, n * d * sizeof(real), &x, &t->err)) &&
              CHECK_DONE(op->alloc(op, n * d * sizeof(real), &u, &t->err)) &&
              CHECK_DONE(op->alloc(op, n * n_vocab * sizeof(real), &logits, &t->err));
    if (!ok)
        return false;
    pmet_batch_add(&rows, ids, n, 0, 0);
    ok = CHECK_DONE(pmet_embed(model, x, ids, n, &t->err)) &&
         CHECK_DONE(
             pmet_blocks(model, 0, model->config.n_layer, x, &rows.batch, NULL, &scratch, NULL, &t->err)) &&
         CHECK_DONE(pmet_head(model, logits, u, x, n, &t->err));
    for (size_t p = 0; ok && p < n_place; p++) {
        double best;
        ok = CHECK_DONE(op->xent(op, &place[p].logp, &best, &place[p].best, logits + place[p].at * n_vocab,
                                 &place[p].label, 1, n_vocab, &t->err));
    }
    pmet_batch_free(&rows);
    pmet_scratch_free(&scratch);
    op->release(op, x);
    op->release(op, u);
    op->release(op, logits);
    return ok;
}

/* Rows that begin alike in many ways: each copies some tokens of an earlier one, goes on with its
 * own from an alphabet of three, or ends there; some repeat, some are one token long. */
static void made_readout(struct test *t, struct test_rng *rng, const struct pmet_model *model, size_t n_row,
                         struct pmet_readout *r)
{
    enum { MOST = 24 };
    memset(r, 0, sizeof *r);
    for (size_t i = 0; i < n_row; i++) {
        int32_t id[MOST];
        const size_t n = 1 + test_rng_next(rng) % MOST;
        size_t same = 0;
        if (i > 0) {
            const size_t from = test_rng_next(rng) % i, n_from = r->row_start[from + 1] - r->row_start[from];
            same = test_rng_next(rng) % (n + 1);
            same = same < n_from ? same : n_from;
            memcpy(id, r->id + r->row_start[from], same * sizeof *id);
        }
        for (size_t k = same; k < n; k++)
            id[k] = (int32_t)(test_rng_next(rng) % 3);
        CHECK_DONE(pmet_readout_row(r, id, n, &t->err));
        for (size_t p = test_rng_next(rng) % 5; p > 0; p--)
            CHECK_DONE(pmet_readout_place(r, test_rng_next(rng) % n,
                                          (int32_t)(test_rng_next(rng) % model->config.n_vocab), &t->err));
    }
}

TEST(sharing_beginnings_changes_no_bit)
{
#ifdef __SANITIZE_ADDRESS__
    enum { N_ROW = 40 };
#else
    enum { N_ROW = 150 };
#endif
    static const size_t max_bytes[] = {(size_t)1 << 30, 1 << 18, 1 << 15, 1};
    struct test_rng rng = {0xe79};
    EACH_GOLDEN (m) {
        struct golden g;
        struct pmet_readout r;
        if (!golden_open(t, &g, m))
            continue;
        made_readout(t, &rng, g.model, N_ROW, &r);
        struct pmet_place *alone = test_alloc(t, (r.n_place + 1) * sizeof *alone);
        memcpy(alone, r.place, r.n_place * sizeof *alone);
        for (size_t i = 0, p = 0, n; i < r.n_row; i++, p += n) {
            for (n = 0; p + n < r.n_place && r.place[p + n].row == i;)
                n++;
            whole_row(t, g.model, r.id + r.row_start[i], r.row_start[i + 1] - r.row_start[i], alone + p, n);
        }
        for (size_t k = 0; k < sizeof max_bytes / sizeof *max_bytes; k++) {
            for (size_t p = 0; p < r.n_place; p++)
                r.place[p].logp = 1;
            CHECK_DONE(pmet_readout_run(&r, g.model, max_bytes[k], &t->err));
            size_t n_differ = 0;
            for (size_t p = 0; p < r.n_place; p++)
                n_differ += memcmp(&alone[p].logp, &r.place[p].logp, sizeof(double)) != 0 ||
                            alone[p].best != r.place[p].best;
            if (!CHECK(n_differ == 0 && r.n_place > N_ROW / 2))
                test_fail(t, "%s, %zu bytes: %zu of %zu places differ", g.name, max_bytes[k], n_differ,
                          r.n_place);
        }
        pmet_readout_free(&r);
    }
}

/* The tokens of the tree: as many as there are different beginnings. */
TEST(each_beginning_is_in_the_tree_once)
{
    static const int32_t rows[6][5] = {{1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}, {1, 2, 3, 0, 0},
                                       {1, 2, 3, 7, 8}, {1, 2, 9, 0, 0}, {6, 2, 3, 0, 0}};
    static const size_t n[6] = {5, 5, 3, 5, 3, 3}, sorted[6] = {2, 0, 1, 3, 4, 5};
    struct pmet_readout r = {0};
    struct pmet_tree tree;
    size_t n_token = 0;
    for (size_t i = 0; i < 6; i++)
        CHECK_DONE(pmet_readout_row(&r, rows[i], n[i], &t->err));
    CHECK_DONE(pmet_tree_build(&r, sorted, 6, &tree, &t->err));
    for (size_t b = 0; b < tree.n_branch; b++)
        n_token += tree.branch[b].end - tree.branch[b].begin;
    CHECK(n_token == 3 + 2 + 2 + 1 + 3); /* 1 2 3, 4 5, 7 8, 9, 6 2 3 */
    CHECK(tree.n_branch == 6 && tree.n_level == 3 && tree.n_cached == 2 + 3);
    CHECK(tree.leaf[0] == tree.leaf[1] && tree.leaf[0] != tree.leaf[3]);
    CHECK(pmet_tree_find(&tree, 0, 1) == pmet_tree_find(&tree, 4, 0));
    CHECK(pmet_tree_find(&tree, 3, 2) == tree.leaf[2]);
    pmet_tree_free(&tree);
    pmet_readout_free(&r);
}

/* SPDX-License-Identifier: MIT
 * A row's numbers never depend on the rows beside it, on their order, or on whether its beginning
 * was run before: bit for bit.      SPEC §1.3, E8, E35, E47 */
#include "tests/golden.h"
#include "tests/trace.h"

/* 99 tokens: panels of any size end inside rows. */
static const size_t length[] = {1, 17, 2, 30, 5, 16, 3, 25};
#define N_ROW (sizeof length / sizeof *length)

/* Whether row j's lines are the same bits in both. */
static bool same_row(const struct trace *a, const struct trace *b, size_t j)
{
    size_t first = 0;
    for (size_t i = 0; i < j; i++)
        first += length[i];
    return memcmp(a->x + first * a->width, b->x + first * b->width, length[j] * a->width * sizeof *a->x) == 0;
}

struct rows_case {
    struct golden g;
    struct pmet_row *row;
    struct trace all;
};

static bool rows_open(struct test *t, struct rows_case *q, size_t model)
{
    struct test_rng rng = {21 + model};
    *q = (struct rows_case){0};
    if (!golden_open(t, &q->g, model))
        return false;
    q->row = made_lines(t, &rng, q->g.model, length, N_ROW);
    return trace_rows(t, q->g.model, q->row, N_ROW, NULL, N_ROW, NULL, &q->all);
}

TEST(a_row_alone_is_that_row_among_others)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct rows_case q;
        if (!rows_open(t, &q, i))
            return;
        for (size_t j = 0; j < N_ROW; j++) {
            struct trace alone;
            if (trace_rows(t, q.g.model, q.row, N_ROW, &j, 1, NULL, &alone) &&
                !CHECK(same_row(&alone, &q.all, j)))
                test_fail(t, "%s: row %zu of %zu tokens", q.g.name, j, length[j]);
        }
    }
}

TEST(the_order_and_the_company_of_rows_change_nothing)
{
    static const size_t order[][N_ROW] = {
        {7, 6, 5, 4, 3, 2, 1, 0}, {3, 0, 7, 1, 6, 2, 5, 4}, {5, 2, 3}, {4, 7, 1, 0, 6}};
    static const size_t n[] = {8, 8, 3, 5};
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct rows_case q;
        if (!rows_open(t, &q, i))
            return;
        for (size_t k = 0; k < 4; k++) {
            struct trace some;
            bool same = trace_rows(t, q.g.model, q.row, N_ROW, order[k], n[k], NULL, &some);
            for (size_t r = 0; r < n[k]; r++)
                same = same && same_row(&some, &q.all, order[k][r]);
            CHECK(same);
        }
    }
}

/* E35: token s reads no token after s, so what follows a cached past has the bits of one pass over
 * all. Sums over positions run in double and in one order, wherever a key is stored. */
TEST(a_cached_past_is_the_past_computed_again)
{
    static const size_t cuts[][N_ROW] = {{0, 1, 1, 1, 1, 1, 1, 1},
                                         {0, 16, 1, 29, 4, 15, 2, 24},
                                         {1, 8, 0, 16, 5, 3, 2, 24}, /* rows 0 and 4 have nothing left */
                                         {0, 0, 0, 17, 0, 0, 0, 0}};
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct rows_case q;
        if (!rows_open(t, &q, i))
            return;
        for (size_t k = 0; k < 4; k++) {
            struct trace split;
            if (trace_rows(t, q.g.model, q.row, N_ROW, NULL, N_ROW, cuts[k], &split))
                CHECK(memcmp(split.x, q.all.x, split.n_tok * split.width * sizeof *split.x) == 0);
        }
    }
}

/* A later token changes nothing earlier. */
TEST(a_token_never_reads_what_follows_it)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct rows_case q;
        struct trace changed;
        if (!rows_open(t, &q, i))
            return;
        const size_t at = 9, first = length[0], w = q.all.width;
        q.row[1].id[at] ^= 1;
        if (trace_rows(t, q.g.model, q.row, N_ROW, NULL, N_ROW, NULL, &changed)) {
            const real *a = q.all.x + first * w, *b = changed.x + first * w;
            CHECK(memcmp(a, b, at * w * sizeof *a) == 0);
            for (size_t k = at; k < length[1]; k++)
                CHECK(memcmp(a + k * w, b + k * w, w * sizeof *a) != 0);
            for (size_t j = 0; j < N_ROW; j++)
                CHECK(j == 1 || same_row(&changed, &q.all, j));
        }
    }
}

/* ---- facts ---- */

/* Keys over all contexts, averaged keys and current outputs of n facts from `first` on. */
struct keys {
    real *K, *each, *M;
};

static bool keys_of(struct test *t, const struct golden *g, size_t first, size_t n, size_t max_bytes,
                    struct keys *out)
{
    const size_t f = g->model->config.d_ff, d = g->model->config.d_model, layer = 1;
    const struct pmet_fact_rows *rows = golden_rows(t, g, first, n, true);
    struct pmet_key_rows *kr = NULL;
    *out = (struct keys){test_alloc(t, n * f * sizeof(real)),
                         test_alloc(t, n * g->contexts.n_template * f * sizeof(real)),
                         test_alloc(t, n * d * sizeof(real))};
    const bool ok =
        rows &&
        CHECK_DONE(pmet_key_rows_open(g->model, rows, n, &g->contexts, layer, max_bytes, &kr, &t->err)) &&
        CHECK_DONE(pmet_keys(kr, PMET_MODULE_MLP, layer, out->K, out->each, &t->err)) &&
        CHECK_DONE(pmet_current_outputs(kr, PMET_SITE_MLP_OUT, layer + 1, out->M, &t->err));
    pmet_key_rows_close(kr);
    return ok;
}

/* Nor does keeping the states below the first edited layer, none of them or some. */
TEST(keys_of_a_fact_alone_are_its_keys_among_others)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct golden g;
        struct keys all, some;
        if (!golden_open(t, &g, i))
            return;
        const size_t n = g.facts.n_fact, f = g.model->config.d_ff, d = g.model->config.d_model,
                     per = g.contexts.n_template * f;
        bool ok = keys_of(t, &g, 0, n, SIZE_MAX, &all);
        for (size_t k = 0; ok && k < n; k++) {
            ok = keys_of(t, &g, k, 1, k % 2 ? SIZE_MAX : 0, &some);
            CHECK(memcmp(some.K, all.K + k * f, f * sizeof(real)) == 0);
            CHECK(memcmp(some.each, all.each + k * per, per * sizeof(real)) == 0);
            CHECK(memcmp(some.M, all.M + k * d, d * sizeof(real)) == 0);
        }
        if (ok && keys_of(t, &g, 0, n, 20000, &some)) /* room for one chunk, not for both */
            CHECK(memcmp(some.each, all.each, n * per * sizeof(real)) == 0);
    }
}

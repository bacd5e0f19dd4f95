/* SPDX-License-Identifier: MIT
 * Second moments: one pass for all layers, each document alone, cut where it is told to be.
 * SPEC E65, E66 */
#include <float.h>
#include "ref/event.h"
#include "tests/cli.h"
#include "tests/golden.h"
#include "tests/trace.h"

static bool collect(struct test *t, const struct golden *g, const struct pmet_stats_options *o,
                    struct pmet_stats *out)
{
    struct pmet_docs *docs = golden_docs(t, g);
    *out = (struct pmet_stats){0};
    return docs && CHECK_DONE(pmet_stats_collect(g->model, g->tk, docs, o, NULL, NULL, out, &t->err));
}

/* Since a pass stops at its last layer, and no layer's keys depend on which others are looked
 * at. */
TEST(one_pass_for_all_layers_is_a_pass_for_each)
{
    static const size_t layers[] = {0, 1, 3};
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct golden g;
        struct pmet_stats all, one;
        if (!golden_open(t, &g, i))
            return;
        struct pmet_stats_options o = {
            .layers = layers, .n_layer = 3, .attn = true, .n_samples = 60, .seed = 1};
        if (collect(t, &g, &o, &all)) {
            CHECK(all.n_moment == 6 && all.n_docs == 240 && all.n_used > 0);
            for (size_t l = 0; l < 3; l++) {
                o.layers = &layers[l];
                o.n_layer = 1;
                if (!collect(t, &g, &o, &one))
                    break;
                CHECK(one.count == all.count && one.n_used == all.n_used && one.n_moment == 2);
                for (size_t k = 0; k < 2; k++) {
                    const struct pmet_moment *a = &all.moment[2 * l + k], *b = &one.moment[k];
                    CHECK(a->layer == b->layer && a->module == b->module && a->d_in == b->d_in);
                    CHECK(memcmp(a->mom2, b->mom2, a->d_in * a->d_in * sizeof *a->mom2) == 0);
                }
                pmet_stats_free(&one);
            }
        }
        pmet_stats_free(&all);
    }
}

/* Sum over documents, each run alone, of k k^T in double; size holds the sums of the terms'
 * absolute values. */
struct naive_sum {
    double *sum, *size;
    size_t f, layer, count, n_used;
};

static void add_document(struct test *t, const struct golden *g, struct naive_sum *s, const int32_t *id,
                         size_t n)
{
    const struct pmet_config *c = &g->model->config;
    struct pmet_row row = {malloc(n * sizeof *id), n, 0};
    struct trace trace;
    memcpy(row.id, id, n * sizeof *id);
    if (trace_rows(t, g->model, &row, 1, NULL, 1, NULL, &trace))
        for (size_t k = 0; k < n; k++) {
            const real *key =
                trace.x + k * trace.width + s->layer * (4 * c->d_model + c->d_ff) + 4 * c->d_model;
            for (size_t i = 0; i < s->f; i++)
                for (size_t j = 0; j < s->f; j++) {
                    s->sum[i * s->f + j] += (double)key[i] * (double)key[j];
                    s->size[i * s->f + j] += fabs((double)key[i] * (double)key[j]);
                }
        }
    free(row.id);
    s->count += n;
    s->n_used++;
}

static void add_documents(struct test *t, const struct golden *g, struct naive_sum *s, size_t n_sample,
                          size_t max_length, uint32_t seed)
{
    struct pmet_docs *docs = golden_docs(t, g);
    if (!docs)
        return;
    size_t *order = test_alloc(t, pmet_docs_count(docs) * sizeof *order), n;
    pmet_shuffle(order, pmet_docs_count(docs), seed);
    for (size_t i = 0; i < n_sample; i++) {
        char *text;
        struct pmet_ids ids = {0};
        if (CHECK_DONE(pmet_docs_get(docs, order[i], &text, &n, &t->err))) {
            CHECK_DONE(pmet_tokenizer_encode(g->tk, text, n, &ids, &t->err));
            if (ids.n > 0)
                add_document(t, g, s, ids.id, ids.n < max_length ? ids.n : max_length);
            free(text);
            free(ids.id);
        }
    }
}

/* Sums of N tokens in `real`, in pieces: below 2 sqrt(N) eps of the terms' sizes, the mean rounded
 * once more. */
static void check_against_naive(struct test *t, size_t model, size_t n_sample, size_t max_length,
                                uint32_t seed)
{
    struct golden g;
    struct pmet_stats stats;
    if (!golden_open(t, &g, model))
        return;
    const size_t layer = 1, f = g.model->config.d_ff, n_ctx = g.model->config.n_ctx;
    const struct pmet_stats_options o = {
        .layers = &layer, .n_layer = 1, .n_samples = n_sample, .max_length = max_length, .seed = seed};
    struct naive_sum s = {calloc(f * f, sizeof(double)), calloc(f * f, sizeof(double)), f, layer, 0, 0};
    double *got = test_alloc(t, f * f * sizeof *got), *want = test_alloc(t, f * f * sizeof *want);
    add_documents(t, &g, &s, n_sample, max_length ? max_length : n_ctx, seed);
    if (collect(t, &g, &o, &stats) && CHECK(stats.count == s.count && stats.n_used == s.n_used)) {
        for (size_t i = 0; i < f * f; i++) { /* in units of what is allowed */
            const double unit = s.size[i] / (double)s.count * (sizeof(real) == 4 ? 1.2e-7 : 2.3e-16);
            got[i] = unit > 0 ? (double)stats.moment[0].mom2[i] / unit : 0;
            want[i] = unit > 0 ? s.sum[i] / (double)s.count / unit : 0;
        }
        CHECK_CLOSE(got, want, f * f, 4 + 2 * sqrt((double)s.count));
    }
    pmet_stats_free(&stats);
    free(s.sum);
    free(s.size);
}

TEST(moments_are_the_mean_over_documents_run_alone)
{
    check_against_naive(t, 1, 12, 0, 1);
    check_against_naive(t, 3, 12, 0, 1);
    check_against_naive(t, 1, 12, 0, 2);
}

TEST(a_document_counts_to_its_max_length_only)
{
    check_against_naive(t, 1, 20, 7, 1);
    check_against_naive(t, 3, 20, 1, 1);
}

static enum pmet_status stop_at_five(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    size_t *last = user;
    (void)err;
    *last = event->total;
    return event->done == 5 ? PMET_INTERRUPTED : PMET_OK;
}

TEST(a_pass_can_be_stopped)
{
    struct golden g;
    struct pmet_stats stats;
    const size_t layer = 0;
    size_t total = 0;
    const struct pmet_stats_options o = {.layers = &layer, .n_layer = 1, .n_samples = 9, .seed = 1};
    if (!golden_open(t, &g, 0))
        return;
    struct pmet_docs *docs = golden_docs(t, &g);
    const struct pmet_listener listener = {.user = &total, .on_event = stop_at_five};
    CHECK_REFUSED(pmet_stats_collect(g.model, g.tk, docs, &o, NULL, &listener, &stats, &t->err),
                  PMET_INTERRUPTED, "interrupted; nothing is written");
    CHECK(total == 9 && stats.moment == NULL);
}

/* A weight that is not finite shows in the moments of its layer. */
TEST(moments_that_are_not_finite_are_refused)
{
    struct golden g;
    struct pmet_stats stats;
    const size_t layer = 2;
    const struct pmet_stats_options o = {.layers = &layer, .n_layer = 1, .n_samples = 3, .seed = 1};
    const real nan = (real)NAN;
    if (!golden_open(t, &g, 0))
        return;
    CHECK_DONE(g.op->upload(g.op, g.model->layer[2].fc_in_bias + 5, &nan, sizeof nan, &t->err));
    struct pmet_docs *docs = golden_docs(t, &g);
    CHECK_REFUSED(pmet_stats_collect(g.model, g.tk, docs, &o, NULL, NULL, &stats, &t->err), PMET_NUMERIC,
                  "golden/gptj-A/model: the second moment of layer 2, element [5,0], is not finite, though "
                  "all weights are");
}

/* With --factor a file also holds L of C = L L^T (E72), the pivot being named where C is not
 * positive definite: here a document of fewer tokens than the key has features. */
TEST(a_factor_is_kept_beside_its_moments)
{
    struct golden g;
    const char *dir = test_tmpdir();
    const size_t layer = 0;
    if (!golden_open(t, &g, 0))
        return;
    for (int whole = 0; whole < 2; whole++) {
        const struct pmet_stats_options o = {
            .layers = &layer, .n_layer = 1, .n_samples = whole ? 60 : 1, .seed = 1, .factor = true};
        struct pmet_stats stats;
        double *l = NULL;
        if (!collect(t, &g, &o, &stats))
            break;
        const size_t n = stats.moment[0].d_in;
        CHECK_DONE(pmet_stats_write(pmet_io_system(), dir, g.model, &stats, &o, "f", "t", NULL, &t->err));
        const struct pmet_stats_source from = {.io = pmet_io_system(), .dir = dir, .fingerprint = "f"};
        CHECK_DONE(pmet_stats_factor(&from, "transformer.h.0.mlp.fc_out", n, &l, &t->err));
        CHECK((l != NULL) == (whole == 1) && stats.moment[0].factored == (whole == 1));
        CHECK(whole == 1 ||
              (stats.moment[0].pivot > 0 && stats.moment[0].pivot < n && !(stats.moment[0].value > 0.1)));
        for (size_t i = 0; l && i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double sum = j > i ? l[i * n + j] : -(double)stats.moment[0].mom2[i * n + j],
                       size = fabs(sum);
                for (size_t k = 0; k <= j && j <= i; k++)
                    sum += l[i * n + k] * l[j * n + k], size += fabs(l[i * n + k] * l[j * n + k]);
                if (!(fabs(sum) <= (double)n * DBL_EPSILON * size))
                    test_fail(t, "L L^T - C at [%zu,%zu] is %g", i, j, sum);
            }
        if (whole)
            CHECK(pmet_stats_factor(&from, "transformer.h.0.mlp.fc_out", n + 1, &l, &t->err) == PMET_INPUT);
        free(l);
        pmet_stats_free(&stats);
    }
}

/* ---- files ---- */

struct file {
    double below, last; /* mom2 is [2, 1; below, last] */
    int64_t count;
    const char *module, *fingerprint;
    enum pmet_status status;
    enum pmet_stats_origin origin;
    const char *message; /* after the path */
};

/* What a file of moments may not hold, and whose it may be. */
TEST(moments_that_are_none_or_anothers_are_refused)
{
    static const struct file files[] = {
        {1, 2, 5, "mod", "own", PMET_OK, PMET_STATS_VERIFIED, ""},
        {1 + 1e-6, 2, 5, "mod", "own", PMET_OK, PMET_STATS_VERIFIED, ""}, /* of float sums */
        {1, 2, 5, "mod", "base", PMET_OK, PMET_STATS_OF_BASE, ""},
        {1, 2, 5, "mod", "first", PMET_OK, PMET_STATS_OF_BASE, ""},
        {1.1, 2, 5, "mod", "own", PMET_INPUT, PMET_STATS_VERIFIED,
         "mom2: elements [1,0] and [0,1] differ; expected a symmetric matrix"},
        {1, (double)NAN, 5, "mod", "own", PMET_NUMERIC, PMET_STATS_VERIFIED,
         "mom2: element [1,1] is not finite"},
        {1, 2, -5, "mod", "own", PMET_INPUT, PMET_STATS_VERIFIED,
         "count: found -5; expected a whole number above 0"},
        {1, 2, INT64_MAX, "mod", "own", PMET_INPUT, PMET_STATS_VERIFIED,
         "count: found 9.22337e+18; expected a whole number above 0"},
        {1, 2, 0, "mod", "own", PMET_INPUT, PMET_STATS_VERIFIED,
         "count: found 0; expected a whole number above 0"},
        {1, 2, 5, "dom", "own", PMET_INPUT, PMET_STATS_VERIFIED,
         "holds the moments of \"dom\"; expected \"mod\""},
        {1, 2, 5, "mod", "other", PMET_INPUT, PMET_STATS_VERIFIED,
         "statistics of another model (fingerprint other; this model has own)"}};
    static const char *const ancestors[] = {"base", "first"};
    const struct pmet_io *io = pmet_io_system();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const struct file *f = &files[i];
        const double mom2[] = {2, 1, f->below, f->last};
        const struct pmet_tensor tensors[] = {test_tensor("mom2", PMET_F64, 2, 2, mom2),
                                              test_tensor("count", PMET_I64, 1, 0, &f->count)};
        const struct pmet_pair meta[] = {{"module", f->module}, {"fingerprint", f->fingerprint}};
        struct pmet_error err = {PMET_OK, ""};
        double *c = NULL;
        struct pmet_stats_info info;
        const struct pmet_stats_source from = {
            .io = io, .dir = test_tmpdir(), .fingerprint = "own", .ancestor = ancestors, .n_ancestor = 2};
        const char *path = test_path("mod.safetensors");
        CHECK_OK(pmet_safetensors_write(io, path, tensors, 2, meta, 2, &err), &err);
        const enum pmet_status status = pmet_stats_load(&from, "mod", 2, &c, &info, &err);
        CHECK(status == f->status);
        /* a look finds all of it out, but for symmetry */
        struct pmet_error looked = {PMET_OK, ""};
        CHECK(pmet_stats_look(&from, "mod", 2, &info, NULL, &looked) ==
              (strstr(f->message, "symmetric") ? PMET_OK : f->status));
        if (status == PMET_OK)
            CHECK(info.origin == f->origin && info.count == 5 && c[0] == 2 && c[3] == 2);
        else
            CHECK_STR(strstr(err.message, ": ") ? strstr(err.message, ": ") + 2 : "", f->message);
        free(c);
    }
}

/* The other build's moments are not this one's to the bit, and their factor is that of others. */
TEST(a_factor_of_the_other_build_is_not_taken)
{
    static const double mom2[] = {4, 0, 0, 9}, factor[] = {2, 0, 0, 3};
    static const float narrow[] = {4, 0, 0, 9};
    const struct pmet_io *io = pmet_io_system();
    const int64_t count = 5;
    const struct pmet_stats_source from = {.io = io, .dir = test_tmpdir(), .fingerprint = "own"};
    const struct pmet_pair meta = {"fingerprint", "own"};
    for (int own = 0; own < 2; own++) {
        const bool is_float = own == (sizeof(real) == 4);
        const struct pmet_tensor tensors[] = {
            test_tensor("mom2", is_float ? PMET_F32 : PMET_F64, 2, 2, is_float ? (const void *)narrow : mom2),
            test_tensor("factor", PMET_F64, 2, 2, factor), test_tensor("count", PMET_I64, 1, 0, &count)};
        double *l = NULL;
        CHECK_DONE(pmet_safetensors_write(io, test_path("build.safetensors"), tensors, 3, &meta, 1, &t->err));
        CHECK_DONE(pmet_stats_factor(&from, "build", 2, &l, &t->err));
        CHECK(own ? l && l[0] == 2 && l[3] == 3 : !l);
        free(l);
    }
}

/* The matrix is looked at in tiles: a pair that differs is seen wherever it stands. */
TEST(a_pair_that_differs_is_found_in_every_tile)
{
    enum { N = 70 };
    static const size_t at[][2] = {{1, 0},   {31, 30}, {32, 0}, {32, 31}, {33, 32}, {63, 1},
                                   {64, 63}, {65, 64}, {69, 0}, {69, 33}, {69, 68}};
    static double mom2[N * N];
    const int64_t n_token = 5;
    const struct pmet_io *io = pmet_io_system();
    const struct pmet_tensor tensors[] = {test_tensor("mom2", PMET_F64, N, N, mom2),
                                          test_tensor("count", PMET_I64, 1, 0, &n_token)};
    const struct pmet_pair meta[] = {{"fingerprint", "own"}};
    for (size_t i = 0; i < N; i++)
        mom2[i * N + i] = 4;
    for (size_t k = 0; k < sizeof at / sizeof *at; k++) {
        struct pmet_error err = {PMET_OK, ""};
        double *c = NULL, *above = &mom2[at[k][1] * N + at[k][0]];
        struct pmet_stats_info info;
        *above = 1e-4;
        CHECK_OK(pmet_safetensors_write(io, test_path("tile.safetensors"), tensors, 2, meta, 1, &err), &err);
        *above = 0;
        CHECK(
            pmet_stats_load(&(struct pmet_stats_source){.io = io, .dir = test_tmpdir(), .fingerprint = "own"},
                            "tile", N, &c, &info, &err) == PMET_INPUT);
        CHECK(strstr(err.message, test_text(t, "elements [%zu,%zu] and [%zu,%zu] differ", at[k][0], at[k][1],
                                            at[k][1], at[k][0])));
        free(c);
    }
}

struct stopper {
    size_t n, at; /* events so far; the one that stops */
};

static enum pmet_status stop_at(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    struct stopper *s = user;
    (void)event;
    (void)err;
    return s->n++ == s->at ? PMET_INTERRUPTED : PMET_OK;
}

/* Between any two blocks, moments and files, not only between documents. */
TEST(a_listener_can_stop_between_blocks_and_files)
{
    static const size_t layers[] = {0, 2};
    struct golden g;
    if (!golden_open(t, &g, 0))
        return;
    struct pmet_docs *docs = golden_docs(t, &g);
    const struct pmet_stats_options o = {.layers = layers, .n_layer = 2, .n_samples = 1, .seed = 1};
    struct pmet_stats stats = {0};
    const char *dir = test_path("stopped");
    cli_shell("mkdir %s", dir);
    for (size_t k = 0; docs; k++) {
        struct stopper s = {0, k};
        const struct pmet_listener listener = {&s, stop_at};
        enum pmet_status status =
            pmet_stats_collect(g.model, g.tk, docs, &o, NULL, &listener, &stats, &t->err);
        if (status == PMET_OK)
            status =
                pmet_stats_write(pmet_io_system(), dir, g.model, &stats, &o, "f", "t", &listener, &t->err);
        pmet_stats_free(&stats);
        if (s.n <= k) {
            CHECK(status == PMET_OK &&
                  k == 1 + 3 + 2 + 1 + 3); /* documents, blocks, moments, end; files, end */
            break;
        }
        CHECK_REFUSED(status, PMET_INTERRUPTED, "interrupted; nothing is written");
    }
}

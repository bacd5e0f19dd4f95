/* SPDX-License-Identifier: MIT
 * The number of threads changes no bit of anything.      SPEC §1.3, §9.9 */
#include "ref/cpu/table.h"
#include "tests/edits.h"
#include "tests/trace.h"
#include "tests/whole.h"

static const size_t threads[] = {1, 2, 3, 5};
#define N_THREADS 4

/* One of the golden models on k threads: the golden's own table stays as it is. */
struct other {
    struct pmet_ops *op;
    struct pmet_model *model;
};

static void other_close(void *user)
{
    struct other *o = user;
    pmet_model_close(o->model);
    pmet_ops_free(o->op);
}

static struct pmet_model *other_open(struct test *t, const struct golden *g, size_t n_thread)
{
    struct other *o = test_alloc(t, sizeof *o);
    test_own(t, o, other_close);
    return CHECK_DONE(pmet_ops_cpu(n_thread, &o->op, &t->err)) &&
                   CHECK_DONE(pmet_model_open(g->ck, o->op, &o->model, &t->err))
               ? o->model
               : NULL;
}

TEST(forward_has_the_same_bits_on_any_number_of_threads)
{
    static const size_t length[] = {40, 3, 16, 65};
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct golden g;
        struct test_rng rng = {5};
        struct trace first = {0};
        if (!golden_open(t, &g, i))
            return;
        struct pmet_row *row = made_lines(t, &rng, g.model, length, 4);
        for (size_t k = 0; k < N_THREADS; k++) {
            struct pmet_model *o = other_open(t, &g, threads[k]);
            struct trace trace = {0};
            if (o && trace_rows(t, o, row, 4, NULL, 4, NULL, &trace) && k > 0)
                CHECK(memcmp(trace.x, first.x, trace.n_tok * trace.width * sizeof *trace.x) == 0);
            if (k == 0)
                first = trace;
        }
    }
}

/* Loss and gradient at given deltas of the first fact: 2 + 2 d numbers. */
static bool gradient_of(struct test *t, const struct golden *g, const struct pmet_model *model,
                        const struct pmet_hparams *h, double *losses, real *grad)
{
    const size_t d = model->config.d_model;
    const struct pmet_fact_rows *rows = golden_rows(t, g, 0, 1, false);
    const struct pmet_objective objective = pmet_objective_pmet(h);
    struct pmet_delta *p = NULL;
    struct pmet_losses l = {0};
    struct test_rng rng = {3};
    real *delta = test_alloc(t, 2 * d * sizeof *delta);
    for (size_t i = 0; i < 2 * d; i++)
        delta[i] = (real)(0.3 * test_rng_normal(&rng));
    const bool ok = rows && CHECK_DONE(pmet_delta_open_with(model, &objective, rows, 1, &p, &t->err)) &&
                    CHECK_DONE(pmet_delta_forward(p, &(const double){1}, &l, &t->err)) &&
                    CHECK_DONE(pmet_delta_set(p, 0, (const real *[]){delta, delta + d}, &t->err)) &&
                    CHECK_DONE(pmet_delta_forward(p, &(const double){1}, &l, &t->err)) &&
                    CHECK_DONE(pmet_delta_backward(p, &t->err)) &&
                    CHECK_DONE(pmet_delta_get(p, 0, PMET_DELTA_GRADIENT, 0, grad, &t->err)) &&
                    CHECK_DONE(pmet_delta_get(p, 0, PMET_DELTA_GRADIENT, 1, grad + d, &t->err));
    losses[0] = l.loss;
    losses[1] = l.kl;
    pmet_delta_close(p);
    return ok;
}

TEST(so_have_loss_and_gradient)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct golden g;
        struct pmet_hparams h;
        double losses[N_THREADS][2] = {{0}};
        real *grad[N_THREADS] = {NULL};
        if (!golden_open(t, &g, i))
            return;
        const size_t n_bytes = 2 * g.model->config.d_model * sizeof(real);
        golden_hparams(t, &g, &pmet_method_pmet, "PMET/pmet", &h);
        for (size_t k = 0; k < N_THREADS; k++) {
            struct pmet_model *o = other_open(t, &g, threads[k]);
            grad[k] = malloc(n_bytes);
            if (o && gradient_of(t, &g, o, &h, losses[k], grad[k]) && k > 0) {
                CHECK(memcmp(losses[k], losses[0], sizeof losses[0]) == 0);
                CHECK(memcmp(grad[k], grad[0], n_bytes) == 0);
            }
        }
        for (size_t k = 0; k < N_THREADS; k++)
            free(grad[k]);
    }
}

/* Optimisation, keys, sums and solves, to the edited matrices. */
TEST(so_has_a_whole_edit)
{
    static const size_t models[] = {0, 3};
    for (size_t m = 0; m < 2; m++) {
        struct golden g;
        struct edit_run first = {0};
        if (!golden_open(t, &g, models[m]))
            return;
        for (size_t k = 0; k < N_THREADS; k++) {
            struct pmet_model *o = other_open(t, &g, threads[k]);
            struct edit_run run = {0};
            if (o && edit_facts(t, &g, o, 0, 2, PMET_SOLVER_CHOLESKY, SIZE_MAX, &run) && k > 0) {
                CHECK(memcmp(run.delta, first.delta, 4 * run.d * sizeof *run.delta) == 0);
                CHECK(same_edited(&run.editor, &first.editor));
            }
            if (k == 0)
                first = run;
        }
    }
}

TEST(so_have_second_moments)
{
    struct golden g;
    struct pmet_docs *docs = NULL;
    struct pmet_stats stats[N_THREADS];
    static const size_t layers[] = {0, 2};
    const struct pmet_stats_options options = {
        .layers = layers, .n_layer = 2, .attn = true, .n_samples = 30, .seed = 1};
    const char *const text = "golden/gptj-A/stats_text.jsonl";
    if (!golden_open(t, &g, 0) ||
        !CHECK_DONE(pmet_docs_open(pmet_io_system(), &text, 1, NULL, &docs, &t->err)))
        return;
    for (size_t k = 0; k < N_THREADS; k++) {
        struct pmet_model *o = other_open(t, &g, threads[k]);
        if (o)
            CHECK_DONE(pmet_stats_collect(o, g.tk, docs, &options, NULL, NULL, &stats[k], &t->err));
        for (size_t i = 0; k > 0 && i < stats[k].n_moment; i++) {
            const struct pmet_moment *a = &stats[0].moment[i], *b = &stats[k].moment[i];
            CHECK(memcmp(a->mom2, b->mom2, a->d_in * a->d_in * sizeof *a->mom2) == 0);
        }
    }
    for (size_t k = 0; k < N_THREADS; k++)
        pmet_stats_free(&stats[k]);
    pmet_docs_close(docs);
}

/* Sizes that give every thread several tiles, and the last of them an odd rest. */
struct big {
    real *gram;
    double *product, *factor, *solved;
};
enum { F = 700, N_RHS = 150, N_TOK = 90 };

static bool big_run(struct test *t, size_t n_thread, struct big *out)
{
    struct pmet_ops *op;
    struct test_rng rng = {77};
    size_t pivot;
    double value, *b = test_alloc(t, F * N_RHS * sizeof *b);
    real *x = test_alloc(t, N_TOK * F * sizeof *x);
    *out = (struct big){calloc(F * F, sizeof(real)), calloc(F * F, sizeof(double)), made_cov(F, 9),
                        malloc(F * N_RHS * sizeof(double))};
    for (size_t i = 0; i < N_TOK * F; i++)
        x[i] = (real)test_rng_normal(&rng);
    for (size_t i = 0; i < F * N_RHS; i++)
        b[i] = out->solved[i] = test_rng_normal(&rng);
    const bool ok = CHECK_DONE(pmet_ops_cpu(n_thread, &op, &t->err)) &&
                    CHECK_DONE(op->gram(op, out->gram, x, N_TOK, F, &t->err)) &&
                    CHECK_DONE(op->gemm64(op, false, true, F, F, N_RHS, 1, b, N_RHS, b, N_RHS, 0,
                                          out->product, F, &t->err)) &&
                    CHECK_DONE(op->cholesky(op, out->factor, F, &pivot, &value, &t->err)) &&
                    CHECK_DONE(op->cholesky_solve(op, out->factor, out->solved, F, N_RHS, &t->err));
    pmet_ops_free(op);
    return ok;
}

static void big_free(struct big *b)
{
    free(b->gram);
    free(b->product);
    free(b->factor);
    free(b->solved);
}

TEST(so_have_sums_products_factors_and_solves)
{
    struct big first;
    if (!big_run(t, threads[0], &first))
        return;
    for (size_t k = 1; k < N_THREADS; k++) {
        struct big b;
        if (big_run(t, threads[k], &b)) {
            CHECK(memcmp(b.gram, first.gram, F * F * sizeof *b.gram) == 0);
            CHECK(memcmp(b.product, first.product, F * F * sizeof *b.product) == 0);
            CHECK(memcmp(b.factor, first.factor, F * F * sizeof *b.factor) == 0);
            CHECK(memcmp(b.solved, first.solved, F * N_RHS * sizeof *b.solved) == 0);
        }
        big_free(&b);
    }
    big_free(&first);
}

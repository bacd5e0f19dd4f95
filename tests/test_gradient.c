/* SPDX-License-Identifier: MIT
 * The loss that the optimisation descends: equal to that of whole rows run whole, and its gradient
 * equal to its own central differences, for both families and both residual modes.
 * SPEC E45-E52, E57-E62 */
#include "tests/golden.h"
#include "tests/whole.h"

/* Lengths and lookup indices: labels before the lookup index (E47 d), at it and after it, an index
 * 0 without any past, one at the row's end, and tokens after the KL row's. */
static const size_t shape[][2] = {{7, 2}, {9, 8}, {5, 0}, {12, 10}, {4, 3}, {6, 2}};
#define N_ROW (sizeof shape / sizeof *shape)
#define N_TARGET 3

/* Vectors on PMET's sites, and one alone on each: objectives of other methods, MEMIT's and ROME's
 * among them. */
struct sites {
    const char *name;
    size_t n_vector;
    enum pmet_site site[PMET_MAX_VECTOR];
};
static const struct sites every[] = {{"both", 2, {PMET_SITE_MLP_OUT, PMET_SITE_ATTN_OUT}},
                                     {"block", 1, {PMET_SITE_BLOCK_OUT}},
                                     {"attention", 1, {PMET_SITE_ATTN_OUT}},
                                     {"mlp", 1, {PMET_SITE_MLP_OUT}},
                                     {"attention and block", 2, {PMET_SITE_ATTN_OUT, PMET_SITE_BLOCK_OUT}}};
#define N_SITES (sizeof every / sizeof *every)

static const real *const nowhere[2] = {NULL, NULL};

/* A model, a made-up fact and its optimisation after the pass at delta 0, with random deltas at
 * hand. */
struct problem {
    const char *sites;
    struct golden g;
    struct pmet_objective o;
    struct pmet_fact_rows rows;
    struct pmet_delta *p;
    size_t d;
    real *delta[2];
    struct whole zero;
    struct pmet_losses first;
};

static bool problem_open(struct test *t, struct problem *q, size_t model, const char *hparams,
                         const struct sites *sites)
{
    struct pmet_hparams h;
    struct test_rng rng = {7};
    *q = (struct problem){.sites = sites->name};
    if (!golden_open(t, &q->g, model))
        return false;
    q->d = q->g.model->config.d_model;
    if (!golden_hparams(t, &q->g, &pmet_method_pmet, test_text(t, "PMET/%s", hparams), &h))
        return false;
    q->o = pmet_objective_pmet(&h);
    q->o.n_vector = sites->n_vector;
    memcpy(q->o.site, sites->site, sizeof q->o.site);
    q->o.weight_decay = 0.7; /* so that each term weighs enough to be seen */
    q->o.kl_factor = 0.6;
    q->rows = made_rows(t, &rng, q->g.model, shape, N_ROW, N_TARGET);
    if (!CHECK_DONE(pmet_delta_open_with(q->g.model, &q->o, &q->rows, 1, &q->p, &t->err)) ||
        !CHECK_DONE(pmet_delta_forward(q->p, &(const double){0.9}, &q->first, &t->err)) ||
        !whole_loss(t, q->g.model, &q->rows, &q->o, nowhere, 0.9, NULL, &q->zero))
        return false;
    for (size_t i = 0; i < q->o.n_vector; i++) {
        const double *init = q->zero.initial[i];
        double norm0 = 0;
        for (size_t k = 0; k < q->d; k++)
            norm0 += init[k] * init[k];
        q->delta[i] = test_alloc(t, q->d * sizeof(real));
        for (size_t k = 0; k < q->d; k++)
            q->delta[i][k] = (real)(0.6 * sqrt(norm0 / (double)q->d) * test_rng_normal(&rng));
    }
    return true;
}

/* Logits have the same bits, since no row depends on how it was run: only log-sum-exp and the sums
 * over rows in double remain, 64 eps of a log-probability's size. Only a sequential block whose FFN
 * does not run again adds its vector to m + y rather than to m: eps of a real there. */
static void check_losses(struct test *t, const struct problem *q, const struct pmet_losses *got,
                         const struct whole *want)
{
    bool same_bits = q->g.model->config.parallel;
    for (size_t v = 0; v < q->o.n_vector; v++)
        same_bits = same_bits || q->o.site[v] == PMET_SITE_ATTN_OUT;
    const double tol = 64 * (sizeof(real) == 8 || same_bits ? 2.2e-16 : 1.2e-7) * 20;
    const double a[] = {got->nll, got->weight_decay, got->prob, got->max_prob, got->loss, got->kl};
    const double b[] = {want->losses.nll,      want->losses.weight_decay, want->losses.prob,
                        want->losses.max_prob, want->losses.loss,         want->losses.kl};
    CHECK_CLOSE(pmet_delta_logp(q->p, 0), want->logp, (N_ROW - 1) * N_TARGET, tol);
    CHECK_CLOSE(pmet_delta_best_logp(q->p, 0), want->best_logp, (N_ROW - 1) * N_TARGET, tol);
    static const char *const name[] = {"NLL", "weight decay", "probability", "best probability", "loss",
                                       "KL"};
    for (int i = 0; i < 6; i++) /* the reference distribution of KL is stored as `real` */
        if (!CHECK_CLOSE(a + i, b + i, 1, i < 4 || sizeof(real) == 8 ? tol : tol + 20 * 1.2e-7))
            test_fail(t, "that was the %s of %s, vectors on %s", name[i], q->g.name, q->sites);
}

/* E47: what the optimisation computes once, or not at all, changes no bit. */
TEST(the_loss_is_that_of_whole_rows_run_whole)
{
    for (size_t i = 0; i < N_GOLDEN * N_SITES; i++) {
        struct problem q;
        if (!problem_open(t, &q, i / N_SITES, "pmet", &every[i % N_SITES]))
            return;
        CHECK(q.first.kl == 0);
        check_losses(t, &q, &q.first, &q.zero);
        for (int which = 1; which < 1 << q.o.n_vector; which++) {
            const real *const at[2] = {which & 1 ? q.delta[0] : NULL, which & 2 ? q.delta[1] : NULL};
            struct pmet_losses got;
            struct whole want;
            CHECK_DONE(pmet_delta_set(q.p, 0, at, &t->err));
            CHECK_DONE(pmet_delta_forward(q.p, &(const double){0.3}, &got, &t->err));
            if (whole_loss(t, q.g.model, &q.rows, &q.o, at, 0.3, q.zero.kl_lp, &want))
                check_losses(t, &q, &got, &want);
            CHECK(got.kl > 1e-3 && got.weight_decay > 1e-3 && fabs(got.nll - q.first.nll) > 1e-3);
        }
        pmet_delta_close(q.p);
    }
}

/* Row 0's at its lookup index, whatever the vectors are. */
TEST(initial_values_are_those_of_the_plain_prompt)
{
    for (size_t i = 0; i < N_GOLDEN * N_SITES; i++) {
        struct problem q;
        if (!problem_open(t, &q, i / N_SITES, "pmet", &every[i % N_SITES]))
            return;
        real *got = test_alloc(t, q.d * sizeof *got);
        for (size_t k = 0; k < q.o.n_vector; k++) {
            size_t n_bad = 0;
            CHECK_DONE(pmet_delta_get(q.p, 0, PMET_DELTA_INITIAL, k, got, &t->err));
            for (size_t j = 0; j < q.d; j++)
                n_bad += (double)got[j] != q.zero.initial[k][j];
            CHECK(n_bad == 0);
        }
        pmet_delta_close(q.p);
    }
}

/* ---- stops ---- */

struct stops {
    struct test *t;
    const struct pmet_objective *o;
    struct pmet_delta_result result;
    double factor;   /* of the next pass */
    size_t n_argmax; /* passes with the target as argmax */
};

/* The factor of a pass is what the one before it asks for. */
static enum pmet_status see_pass(void *user, struct pmet_delta *p, size_t k, size_t fact,
                                 const struct pmet_delta_step *step, struct pmet_error *err)
{
    struct stops *s = user;
    struct test *t = s->t;
    const bool argmax = step->losses.prob == step->losses.max_prob;
    (void)p, (void)k, (void)fact, (void)err;
    CHECK(step->losses.nll_factor == s->factor);
    s->factor = (argmax ? s->o->argmax_factor : 1) * s->o->nll_factor;
    s->n_argmax += argmax;
    return PMET_OK;
}

static enum pmet_status see_done(void *user, struct pmet_delta *p, size_t k, size_t fact,
                                 const struct pmet_delta_result *result, const struct pmet_error *failure,
                                 struct pmet_error *err)
{
    struct stops *s = user;
    struct test *t = s->t;
    (void)p, (void)k, (void)fact, (void)err;
    CHECK(!failure);
    s->result = *result;
    return PMET_OK;
}

static struct stops run(struct test *t, const struct pmet_objective *o, const struct pmet_model *model,
                        const struct pmet_fact_rows *rows)
{
    struct stops s = {.t = t, .o = o, .factor = o->nll_factor};
    const struct pmet_delta_listener listener = {.user = &s, .pass = see_pass, .done = see_done};
    const struct pmet_delta_size size = pmet_delta_plan(model, o, rows, 1, SIZE_MAX);
    struct pmet_delta *p = NULL;
    if (CHECK_DONE(pmet_delta_open(model, o, &size, &p, &t->err)))
        CHECK_DONE(pmet_delta_optimise(p, rows, 1, NULL, &listener, &t->err));
    pmet_delta_close(p);
    return s;
}

/* The target is what the model says anyway, so that it is the argmax from the first pass on; only
 * the rules differ. E53 */
TEST(stops_are_those_of_the_objective)
{
    static const size_t short_rows[][2] = {{5, 2}, {4, 1}};
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct problem q;
        struct test_rng rng = {5};
        struct pmet_delta *p = NULL;
        struct pmet_losses losses;
        if (!problem_open(t, &q, i, "pmet", &every[1]))
            return;
        struct pmet_objective o = q.o;
        struct pmet_fact_rows rows = made_rows(t, &rng, q.g.model, short_rows, 2, 1);
        if (CHECK_DONE(pmet_delta_open_with(q.g.model, &o, &rows, 1, &p, &t->err)) &&
            CHECK_DONE(pmet_delta_forward(p, &o.nll_factor, &losses, &t->err)))
            rows.target[0] = pmet_delta_best(p, 0)[0];
        pmet_delta_close(p);
        o.weight_decay = o.kl_factor = 0;
        o.n_pass = 5;
        o.loss_enough = 0; /* a rule that no pass meets */
        o.kl_enough = NAN;
        o.argmax_factor = 1;
        struct stops s = run(t, &o, q.g.model, &rows);
        CHECK(s.result.stop == PMET_STOP_MAX && s.result.n_forward == 5 && s.result.n_updates == 4);
        CHECK(s.n_argmax == 5 && s.result.last.loss < s.result.first.loss);
        o.loss_enough = s.result.last.loss * 1.001; /* MEMIT's and ROME's rules */
        s = run(t, &o, q.g.model, &rows);
        CHECK(s.result.stop == PMET_STOP_LOSS && s.result.last.loss < o.loss_enough &&
              s.result.n_updates > 0);
        o.kl_enough = 0;
        s = run(t, &o, q.g.model, &rows);
        CHECK(s.result.stop == PMET_STOP_ARGMAX && s.result.n_forward == 1);
        o.loss_enough = o.kl_enough = NAN;
        o.argmax_factor = 0.1;
        s = run(t, &o, q.g.model, &rows);
        CHECK(s.result.stop == PMET_STOP_MAX && s.result.n_forward == 5);
        CHECK(s.result.last.nll_factor == 0.1 * o.nll_factor);
        pmet_delta_close(q.p);
    }
}

#ifdef PMET_REAL_DOUBLE
/* d loss / d step along (dir_m, dir_a), fourth order. */
static double slope(struct test *t, struct problem *q, const real *const at[2], double *const dir[2],
                    double step, double phi)
{
    static const double place[4] = {1, -1, 2, -2}, weight[4] = {8, -8, -1, 1};
    double sum = 0;
    real *moved[2] = {malloc(q->d * sizeof(real)), malloc(q->d * sizeof(real))};
    for (int k = 0; k < 4; k++) {
        struct pmet_losses got = {0};
        for (int i = 0; i < 2; i++)
            for (size_t j = 0; j < q->d; j++)
                moved[i][j] = (at[i] ? at[i][j] : 0) + place[k] * step * dir[i][j];
        CHECK_DONE(pmet_delta_set(q->p, 0, (const real *[]){moved[0], moved[1]}, &t->err));
        CHECK_DONE(pmet_delta_forward(q->p, &phi, &got, &t->err));
        sum += weight[k] * got.loss / (12 * step);
    }
    free(moved[0]);
    free(moved[1]);
    return sum;
}

/* A direction of length 1: random, or one coordinate; within the deltas of `mask` (1 mlp, 2
 * attn). */
static void choose(struct test_rng *rng, double *dir[2], size_t d, int mask, bool coordinate)
{
    const size_t one = (size_t)(test_rng_next(rng) % d);
    double norm = 0;
    for (int i = 0; i < 2; i++)
        for (size_t j = 0; j < d; j++) {
            dir[i][j] = !(mask & (i + 1)) ? 0 : coordinate ? j == one : test_rng_normal(rng);
            norm += dir[i][j] * dir[i][j];
        }
    for (int i = 0; i < 2; i++)
        for (size_t j = 0; j < d; j++)
            dir[i][j] /= sqrt(norm);
}

/* At deltas of `mask`, along random directions and coordinates, through both deltas or one of them.
 * Steps of 1e-3 where the loss bends over lengths of 1: truncation 1e-12, and a loss of size 10
 * rounds to 4e-12 of itself over the step. */
static void check_gradient(struct test *t, struct problem *q, int mask, double phi)
{
    static const char *const which[] = {"none", "the first", "the second", "both"};
    const real *at[2] = {mask & 1 ? q->delta[0] : NULL, mask & 2 ? q->delta[1] : NULL};
    double *g[2], *dir[2];
    struct pmet_losses losses;
    struct test_rng rng = {(uint64_t)mask + 11};
    for (int i = 0; i < 2; i++) {
        g[i] = malloc(q->d * sizeof *g[i]);
        dir[i] = malloc(q->d * sizeof *dir[i]);
    }
    CHECK_DONE(pmet_delta_set(q->p, 0, at, &t->err));
    CHECK_DONE(pmet_delta_forward(q->p, &phi, &losses, &t->err));
    CHECK_DONE(pmet_delta_backward(q->p, &t->err));
    for (size_t v = 0; v < q->o.n_vector; v++)
        CHECK_DONE(pmet_delta_get(q->p, 0, PMET_DELTA_GRADIENT, v, g[v], &t->err));
    for (int n = 0; n < 8; n++) {
        const int within = n % 3 == 0 || mask != 3 ? mask : n % 3;
        double got = 0;
        choose(&rng, dir, q->d, within, n > 3);
        for (int i = 0; i < 2; i++)
            for (size_t j = 0; j < q->d; j++)
                got += g[i][j] * dir[i][j];
        const double want = slope(t, q, at, dir, 1e-3, phi);
        if (!CHECK_CLOSE(&got, &want, 1, 1e-10))
            test_fail(t, "that was %s, vectors on %s: %s set, slope along %s", q->g.name, q->sites,
                      which[mask], which[within]);
    }
    for (int i = 0; i < 2; i++) {
        free(g[i]);
        free(dir[i]);
    }
}

TEST(the_gradient_is_that_of_the_loss)
{
    static const char *const hparams[] = {"pmet", "pmet_alt"};
    for (size_t i = 0; i < N_GOLDEN * N_SITES; i++)
        for (int k = 0; k < 2; k++) {
            struct problem q;
            if (!problem_open(t, &q, i / N_SITES, hparams[k], &every[i % N_SITES]))
                return;
            for (int mask = 1; mask < 1 << q.o.n_vector; mask++)
                check_gradient(t, &q, mask, k ? 0.1 : 1);
            pmet_delta_close(q.p);
        }
}

/* In the first pass there is no KL term, and a delta of 0 has no weight decay (E62): differences of
 * the NLL. */
TEST(the_gradient_at_zero_is_that_of_the_nll)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct problem q;
        struct test_rng rng = {3};
        if (!problem_open(t, &q, i, "pmet", &every[0]))
            return;
        double *g[2], *dir[2], got = 0;
        CHECK_DONE(pmet_delta_backward(q.p, &t->err));
        for (int k = 0; k < 2; k++) {
            g[k] = malloc(q.d * sizeof *g[k]);
            dir[k] = malloc(q.d * sizeof *dir[k]);
            CHECK_DONE(pmet_delta_get(q.p, 0, PMET_DELTA_GRADIENT, (size_t)k, g[k], &t->err));
        }
        choose(&rng, dir, q.d, 3, false);
        for (int k = 0; k < 2; k++)
            for (size_t j = 0; j < q.d; j++)
                got += g[k][j] * dir[k][j];
        q.o.weight_decay = q.o.kl_factor = 0;
        const double want = slope(t, &q, nowhere, dir, 1e-3, 0.9);
        CHECK_CLOSE(&got, &want, 1, 1e-10);
        for (int k = 0; k < 2; k++) {
            free(g[k]);
            free(dir[k]);
        }
        pmet_delta_close(q.p);
    }
}
#else
TEST(the_gradient_is_that_of_the_loss)
{
    SKIP("differences need doubles: the double build checks it");
}

TEST(the_gradient_at_zero_is_that_of_the_nll)
{
    SKIP("differences need doubles: the double build checks it");
}
#endif

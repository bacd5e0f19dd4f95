/* SPDX-License-Identifier: MIT
 * The loss that the optimisation descends: equal to that of whole rows run whole, and its gradient equal to its
 * own central differences, for both families and both residual modes.      SPEC E45-E52, E57-E62 */
#include "tests/golden.h"
#include "tests/whole.h"

/* Lengths and lookup indices: labels before the lookup index (E47 d), at it and after it, an index 0 without any
 * past, one at the row's end, and tokens after the KL row's. */
static const size_t shape[][2] = {{7, 2}, {9, 8}, {5, 0}, {12, 10}, {4, 3}, {6, 2}};
#define N_ROW (sizeof shape / sizeof *shape)
#define N_TARGET 3

/* A model, a made-up fact and its optimisation after the pass at delta 0, with random deltas at hand. */
struct problem {
    struct golden g;
    struct pmet_hparams h;
    struct pmet_fact_rows rows;
    struct pmet_delta *p;
    size_t d;
    real *delta[2]; /* mlp, attn */
    struct whole zero;
    struct pmet_losses first;
};

static bool problem_open(struct test *t, struct problem *q, size_t model, const char *hparams)
{
    char path[128];
    struct pmet_error err = {PMET_OK, ""};
    struct test_rng rng = {7};
    *q = (struct problem){0};
    if (!golden_open(t, &q->g, model))
        return false;
    q->d = q->g.model->config.d_model;
    snprintf(path, sizeof path, "golden/%s/hparams/PMET/%s.json", q->g.name, hparams);
    if (!CHECK_OK(pmet_hparams_load(pmet_io_system(), path, &pmet_hparams_pmet, &q->h, &err), &err))
        return false;
    q->h.v_weight_decay = 0.7; /* so that each term weighs enough to be seen */
    q->h.kl_factor = 0.6;
    q->rows = made_rows(&rng, q->g.model, shape, N_ROW, N_TARGET);
    if (!CHECK_OK(pmet_delta_open_with(q->g.model, &q->h, &q->rows, 1, &q->p, &err), &err) ||
        !CHECK_OK(pmet_delta_forward(q->p, &(const double){0.9}, &q->first, &err), &err) ||
        !whole_loss(t, q->g.model, &q->rows, &q->h, NULL, NULL, 0.9, NULL, &q->zero))
        return false;
    for (int i = 0; i < 2; i++) {
        const double *init = i ? q->zero.a0 : q->zero.m0;
        double norm0 = 0;
        for (size_t k = 0; k < q->d; k++)
            norm0 += init[k] * init[k];
        q->delta[i] = malloc(q->d * sizeof(real));
        for (size_t k = 0; k < q->d; k++)
            q->delta[i][k] = (real)(0.6 * sqrt(norm0 / (double)q->d) * test_rng_normal(&rng));
    }
    return true;
}

static void problem_close(struct problem *q)
{
    pmet_delta_close(q->p);
    pmet_rows_free(&q->rows);
    whole_free(&q->zero);
    free(q->delta[0]);
    free(q->delta[1]);
    golden_close(&q->g);
}

/* Logits have the same bits, since no row depends on how it was run: only log-sum-exp and the sums over rows in
 * double remain, 64 eps of a log-probability's size. */
static void check_losses(struct test *t, const struct problem *q, const struct pmet_losses *got,
                         const struct whole *want)
{
    const double tol = 64 * 2.2e-16 * 20;
    const double a[] = {got->nll, got->weight_decay, got->prob, got->max_prob, got->loss, got->kl};
    const double b[] = {want->losses.nll,      want->losses.weight_decay, want->losses.prob,
                        want->losses.max_prob, want->losses.loss,         want->losses.kl};
    CHECK_CLOSE(pmet_delta_logp(q->p, 0), want->logp, (N_ROW - 1) * N_TARGET, tol);
    CHECK_CLOSE(pmet_delta_best_logp(q->p, 0), want->best_logp, (N_ROW - 1) * N_TARGET, tol);
    CHECK_CLOSE(a, b, 4, tol);
    /* the reference distribution is stored as `real` */
    CHECK_CLOSE(a + 4, b + 4, 2, tol + 20 * (sizeof(real) == 4 ? 1.2e-7 : 0));
}

/* E47: what the optimisation computes once, or not at all, changes no bit. */
TEST(the_loss_is_that_of_whole_rows_run_whole)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct problem q;
        struct pmet_error err = {PMET_OK, ""};
        if (!problem_open(t, &q, i, "pmet"))
            return;
        CHECK(q.first.kl == 0);
        check_losses(t, &q, &q.first, &q.zero);
        for (int which = 1; which < 4; which++) {
            const real *dm = which & 1 ? q.delta[0] : NULL, *da = which & 2 ? q.delta[1] : NULL;
            struct pmet_losses got;
            struct whole want;
            CHECK_OK(pmet_delta_set(q.p, 0, dm, da, &err), &err);
            CHECK_OK(pmet_delta_forward(q.p, &(const double){0.3}, &got, &err), &err);
            if (whole_loss(t, q.g.model, &q.rows, &q.h, dm, da, 0.3, q.zero.kl_lp, &want))
                check_losses(t, &q, &got, &want);
            CHECK(got.kl > 1e-3 && got.weight_decay > 1e-3 && fabs(got.nll - q.first.nll) > 1e-3);
            whole_free(&want);
        }
        problem_close(&q);
    }
}

/* m0 and a0 are row 0's at its lookup index, whatever the deltas are. */
TEST(initial_values_are_those_of_the_plain_prompt)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct problem q;
        struct pmet_error err = {PMET_OK, ""};
        if (!problem_open(t, &q, i, "pmet"))
            return;
        real *got = malloc(q.d * sizeof *got);
        for (int k = 0; k < 2; k++) {
            size_t n_bad = 0;
            CHECK_OK(pmet_delta_get(q.p, 0, k ? PMET_DELTA_INIT_ATTN : PMET_DELTA_INIT_MLP, got, &err), &err);
            for (size_t j = 0; j < q.d; j++)
                n_bad += (double)got[j] != (k ? q.zero.a0 : q.zero.m0)[j];
            CHECK(n_bad == 0);
        }
        free(got);
        problem_close(&q);
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
        struct pmet_error err = {PMET_OK, ""};
        struct pmet_losses got = {0};
        for (int i = 0; i < 2; i++)
            for (size_t j = 0; j < q->d; j++)
                moved[i][j] = (at[i] ? at[i][j] : 0) + place[k] * step * dir[i][j];
        CHECK_OK(pmet_delta_set(q->p, 0, moved[0], moved[1], &err), &err);
        CHECK_OK(pmet_delta_forward(q->p, &phi, &got, &err), &err);
        sum += weight[k] * got.loss / (12 * step);
    }
    free(moved[0]);
    free(moved[1]);
    return sum;
}

/* A direction of length 1: random, or one coordinate; within the deltas of `mask` (1 mlp, 2 attn). */
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

/* At deltas of `mask`, along random directions and coordinates, through both deltas or one of them. Steps of 1e-3
 * where the loss bends over lengths of 1: truncation 1e-12, and a loss of size 10 rounds to 4e-12 of itself over
 * the step. */
static void check_gradient(struct test *t, struct problem *q, int mask, double phi)
{
    const real *at[2] = {mask & 1 ? q->delta[0] : NULL, mask & 2 ? q->delta[1] : NULL};
    double *g[2], *dir[2];
    struct pmet_losses losses;
    struct pmet_error err = {PMET_OK, ""};
    struct test_rng rng = {(uint64_t)mask + 11};
    for (int i = 0; i < 2; i++) {
        g[i] = malloc(q->d * sizeof *g[i]);
        dir[i] = malloc(q->d * sizeof *dir[i]);
    }
    CHECK_OK(pmet_delta_set(q->p, 0, at[0], at[1], &err), &err);
    CHECK_OK(pmet_delta_forward(q->p, &phi, &losses, &err), &err);
    CHECK_OK(pmet_delta_backward(q->p, &err), &err);
    CHECK_OK(pmet_delta_get(q->p, 0, PMET_DELTA_GRAD_MLP, g[0], &err), &err);
    CHECK_OK(pmet_delta_get(q->p, 0, PMET_DELTA_GRAD_ATTN, g[1], &err), &err);
    for (int n = 0; n < 8; n++) {
        const int within = n % 3 == 0 || mask != 3 ? mask : n % 3;
        double got = 0;
        choose(&rng, dir, q->d, within, n > 3);
        for (int i = 0; i < 2; i++)
            for (size_t j = 0; j < q->d; j++)
                got += g[i][j] * dir[i][j];
        const double want = slope(t, q, at, dir, 1e-3, phi);
        CHECK_CLOSE(&got, &want, 1, 1e-10);
    }
    for (int i = 0; i < 2; i++) {
        free(g[i]);
        free(dir[i]);
    }
}

TEST(the_gradient_is_that_of_the_loss)
{
    static const char *const hparams[] = {"pmet", "pmet_alt"};
    for (size_t i = 0; i < N_GOLDEN; i++)
        for (int k = 0; k < 2; k++) {
            struct problem q;
            if (!problem_open(t, &q, i, hparams[k]))
                return;
            for (int mask = 1; mask < 4; mask++)
                check_gradient(t, &q, mask, k ? 0.1 : 1);
            problem_close(&q);
        }
}

/* In the first pass there is no KL term, and a delta of 0 has no weight decay (E62): differences of the NLL. */
TEST(the_gradient_at_zero_is_that_of_the_nll)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct problem q;
        struct pmet_error err = {PMET_OK, ""};
        struct test_rng rng = {3};
        if (!problem_open(t, &q, i, "pmet"))
            return;
        double *g[2], *dir[2], got = 0;
        const real *nowhere[2] = {NULL, NULL};
        CHECK_OK(pmet_delta_backward(q.p, &err), &err);
        for (int k = 0; k < 2; k++) {
            g[k] = malloc(q.d * sizeof *g[k]);
            dir[k] = malloc(q.d * sizeof *dir[k]);
            CHECK_OK(pmet_delta_get(q.p, 0, k ? PMET_DELTA_GRAD_ATTN : PMET_DELTA_GRAD_MLP, g[k], &err),
                     &err);
        }
        choose(&rng, dir, q.d, 3, false);
        for (int k = 0; k < 2; k++)
            for (size_t j = 0; j < q.d; j++)
                got += g[k][j] * dir[k][j];
        q.h.v_weight_decay = q.h.kl_factor = 0;
        const double want = slope(t, &q, nowhere, dir, 1e-3, 0.9);
        CHECK_CLOSE(&got, &want, 1, 1e-10);
        for (int k = 0; k < 2; k++) {
            free(g[k]);
            free(dir[k]);
        }
        problem_close(&q);
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

TEST_MAIN(CASE(the_loss_is_that_of_whole_rows_run_whole), CASE(initial_values_are_those_of_the_plain_prompt),
          CASE(the_gradient_is_that_of_the_loss), CASE(the_gradient_at_zero_is_that_of_the_nll))

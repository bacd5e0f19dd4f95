/* SPDX-License-Identifier: MIT
 * Facts optimised together: whatever the batch, its order, its capacity, who has left and who has
 * joined in its place, a fact gets the same bits as alone.      SPEC §1.3, E53 */
#include "tests/edits.h"
#include "tests/whole.h"

enum { MOST = 10 };

struct end {
    struct pmet_delta_result result;
    real *delta[2];
    bool seen;
};

struct batch {
    struct golden g;
    struct pmet_objective o;
    const struct pmet_fact_rows *rows;
    size_t n, d;
    struct end end[MOST];
    const size_t *order; /* of the run: fact order[i] is the run's i-th */
    size_t most;         /* that were together */
};

static bool batch_open(struct test *t, struct batch *c, size_t model)
{
    struct pmet_hparams h;
    memset(c, 0, sizeof *c);
    if (!golden_open(t, &c->g, model) ||
        !golden_hparams(t, &c->g, &pmet_method_pmet, "PMET/pmet_alt", &h)) /* has every kind of stop */
        return false;
    c->o = pmet_objective_pmet(&h);
    c->d = c->g.model->config.d_model;
    c->n = c->g.facts.n_fact < MOST ? c->g.facts.n_fact : MOST;
    for (size_t i = 0; i < 2 * c->n; i++)
        c->end[i / 2].delta[i % 2] = test_alloc(t, c->d * sizeof(real));
    return (c->rows = golden_rows(t, &c->g, 0, c->n, false)) != NULL;
}

/* Keeps the first end that a fact comes to; later ones must be the same. */
static enum pmet_status see_end(void *user, struct pmet_delta *p, size_t k, size_t i,
                                const struct pmet_delta_result *r, const struct pmet_error *failure,
                                struct pmet_error *err)
{
    struct batch *c = user;
    struct end *end = &c->end[c->order[i]];
    enum pmet_status status = failure ? pmet_fail(err, PMET_NUMERIC, "%s", failure->message) : PMET_OK;
    real *x = calloc(c->d, sizeof *x);
    c->most = pmet_delta_count(p) > c->most ? pmet_delta_count(p) : c->most;
    for (size_t q = 0; status == PMET_OK && q < 2; q++) {
        status = pmet_delta_get(p, k, PMET_DELTA_VALUE, q, end->seen ? x : end->delta[q], err);
        if (end->seen && memcmp(x, end->delta[q], c->d * sizeof *x) != 0)
            status = pmet_fail(err, PMET_NUMERIC, "fact %zu: vector %zu has other bits than alone",
                               c->order[i], q);
    }
    const struct pmet_delta_result *was = &end->result;
    if (end->seen &&
        (was->stop != r->stop || was->n_forward != r->n_forward || was->n_updates != r->n_updates ||
         was->first.loss != r->first.loss || was->last.loss != r->last.loss || was->last.kl != r->last.kl ||
         was->last.prob != r->last.prob))
        status = pmet_fail(err, PMET_NUMERIC, "fact %zu: another course than alone", c->order[i]);
    end->result = *r;
    end->seen = true;
    free(x);
    return status;
}

/* Facts order[0..n) in a batch with a capacity of `capacity` average ones; skip by the run's
 * number. */
static void run(struct test *t, struct batch *c, const size_t *order, size_t n, size_t capacity,
                const bool *skip)
{
    struct pmet_fact_rows rows[MOST];
    struct pmet_delta *p = NULL;
    const struct pmet_delta_listener listener = {.user = c, .done = see_end};
    struct pmet_delta_size all = {0};
    for (size_t i = 0; i < n; i++) {
        rows[i] = c->rows[order[i]];
        pmet_delta_size_add(&all, &rows[i]);
    }
    c->order = order;
    c->most = 0;
    const size_t bytes = pmet_delta_bytes(c->g.model, &c->o, &all) / n * capacity + capacity;
    const struct pmet_delta_size plan =
        pmet_delta_plan(c->g.model, &c->o, rows, n, capacity < n ? bytes : SIZE_MAX);
    if (CHECK_DONE(pmet_delta_open(c->g.model, &c->o, &plan, &p, &t->err)))
        CHECK_DONE(pmet_delta_optimise(p, rows, n, skip, &listener, &t->err));
    pmet_delta_close(p);
}

TEST(company_order_and_room_change_no_bit_of_a_fact)
{
    static const size_t models[] = {0, 3};
    static const size_t forward[MOST] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9},
                        mixed[MOST] = {7, 2, 9, 6, 0, 4, 8, 1, 5, 3};
    for (size_t m = 0; m < 2; m++) {
        struct batch c;
        if (!batch_open(t, &c, models[m]))
            return;
        for (size_t i = 0; i < c.n; i++) { /* each alone first */
            run(t, &c, &forward[i], 1, 1, NULL);
            CHECK(c.most == 1 && c.end[i].seen);
        }
        for (size_t capacity = 1; capacity <= 3; capacity++) { /* one leaves, the next takes its place */
            run(t, &c, capacity == 2 ? mixed : forward, c.n, capacity, NULL);
            CHECK(c.most >= (capacity + 1) / 2 && c.most < 7);
        }
        run(t, &c, mixed, c.n, c.n, NULL);
        CHECK(c.most > 3); /* the others had left before the first of the last stopped */
    }
}

TEST(facts_to_be_skipped_are_left_out)
{
    static const size_t forward[MOST] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    const bool skip[MOST] = {true, false, false, true, true, false, true, true, true, true};
    struct batch c;
    if (!batch_open(t, &c, 2))
        return;
    run(t, &c, forward, c.n, 2, skip);
    for (size_t i = 0; i < c.n; i++)
        CHECK(c.end[i].seen == !skip[i]);
}

/* A fact whose numbers break leaves alone; the others take the course that they take without it. */
TEST(a_fact_that_meets_nan_disturbs_no_other)
{
    struct batch c;
    if (!batch_open(t, &c, 1))
        return;
    struct pmet_delta *both = NULL, *one = NULL;
    struct pmet_losses l[2], alone;
    const double phi[2] = {1, 1};
    real *delta = test_alloc(t, c.d * sizeof *delta),
         *g[2] = {calloc(c.d, sizeof(real)), calloc(c.d, sizeof(real))};
    for (size_t i = 0; i < c.d; i++)
        delta[i] = (real)NAN;
    if (CHECK_DONE(pmet_delta_open_with(c.g.model, &c.o, c.rows, 2, &both, &t->err)) &&
        CHECK_DONE(pmet_delta_open_with(c.g.model, &c.o, c.rows + 1, 1, &one, &t->err))) {
        CHECK_DONE(pmet_delta_forward(both, phi, l, &t->err));
        CHECK_DONE(pmet_delta_forward(one, phi, &alone, &t->err));
        CHECK_DONE(pmet_delta_set(both, 0, (const real *[]){delta, NULL}, &t->err));
        CHECK_DONE(pmet_delta_forward(both, phi, l, &t->err));
        CHECK_DONE(pmet_delta_forward(one, phi, &alone, &t->err));
        CHECK(pmet_losses_check(&l[0], &t->err) == PMET_NUMERIC &&
              strstr(t->err.message, "expected a finite number"));
        t->err = (struct pmet_error){PMET_OK, ""};
        CHECK(pmet_losses_check(&l[1], &t->err) == PMET_OK && l[1].loss == alone.loss);
        CHECK_DONE(pmet_delta_remove(both, (const bool[]){true, false}, &t->err));
        CHECK(pmet_delta_count(both) == 1);
        CHECK_DONE(pmet_delta_backward(both, &t->err));
        CHECK_DONE(pmet_delta_backward(one, &t->err));
        CHECK_DONE(pmet_delta_get(both, 0, PMET_DELTA_GRADIENT, 1, g[0], &t->err));
        CHECK_DONE(pmet_delta_get(one, 0, PMET_DELTA_GRADIENT, 1, g[1], &t->err));
        CHECK(memcmp(g[0], g[1], c.d * sizeof(real)) == 0);
    }
    pmet_delta_close(both);
    pmet_delta_close(one);
    free(g[0]);
    free(g[1]);
}

/* The plan never asks for more than there are facts, never for less than one, and grows with
 * memory. */
TEST(the_plan_keeps_to_its_memory)
{
    struct batch c;
    if (!batch_open(t, &c, 0))
        return;
    struct pmet_delta_size all = {0}, was = {0};
    for (size_t i = 0; i < c.n; i++)
        pmet_delta_size_add(&all, &c.rows[i]);
    const size_t whole = pmet_delta_bytes(c.g.model, &c.o, &all);
    for (size_t share = 0; share <= 12; share++) {
        const size_t bytes = whole / 10 * share;
        const struct pmet_delta_size size = pmet_delta_plan(c.g.model, &c.o, c.rows, c.n, bytes);
        CHECK(size.n_fact >= 1 && size.n_fact <= c.n && size.n_fact >= was.n_fact &&
              size.n_suffix >= was.n_suffix);
        if (share >= 5) /* the largest fact fits by far */
            CHECK(pmet_delta_bytes(c.g.model, &c.o, &size) <= bytes);
        was = size;
    }
    CHECK(was.n_fact == c.n && was.n_prefix == all.n_prefix);
}

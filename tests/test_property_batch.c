/* SPDX-License-Identifier: MIT
 * Facts optimised together: whatever the company, its order, the room there is, who has left and who has joined in
 * its place, a fact gets the same bits as alone.      SPEC §1.3, E53 */
#include "tests/edits.h"
#include "tests/whole.h"

enum { MOST = 10 };

struct end {
    struct pmet_delta_result result;
    real *delta[2];
    bool seen;
};

struct company {
    struct golden g;
    struct pmet_objective o;
    struct pmet_fact_rows rows[MOST];
    size_t n, d;
    struct end end[MOST];
    const size_t *order; /* of the run: fact order[i] is the run's i-th */
    size_t most;         /* that were together */
};

static bool company_open(struct test *t, struct company *c, size_t model)
{
    char path[128];
    struct pmet_hparams h;
    struct pmet_error err = {PMET_OK, ""};
    memset(c, 0, sizeof *c);
    if (!golden_open(t, &c->g, model))
        return false;
    snprintf(path, sizeof path, "golden/%s/hparams/PMET/pmet_alt.json",
             c->g.name); /* has every kind of stop */
    if (!CHECK_OK(golden_hparams(path, &h, &err), &err))
        return false;
    c->o = pmet_objective_pmet(&h);
    const struct pmet_model *m = c->g.model;
    const struct pmet_rows_options o = {c->g.facts.path, m->config.n_ctx, m->config.n_vocab, false};
    c->d = m->config.d_model;
    bool ok = true;
    for (c->n = 0; ok && c->n < MOST && c->n < c->g.facts.n_fact; c->n++) {
        ok = CHECK_OK(
            pmet_rows_build(c->g.tk, &c->g.facts.fact[c->n], &c->g.contexts, &o, true, &c->rows[c->n], &err),
            &err);
        for (int i = 0; i < 2; i++)
            c->end[c->n].delta[i] = calloc(c->d, sizeof(real));
    }
    return ok;
}

static void company_close(struct company *c)
{
    for (size_t i = 0; i < c->n; i++) {
        pmet_rows_free(&c->rows[i]);
        free(c->end[i].delta[0]);
        free(c->end[i].delta[1]);
    }
    golden_close(&c->g);
}

/* Keeps the first end that a fact comes to; later ones must be the same. */
static enum pmet_status see_end(void *user, struct pmet_delta *p, size_t k, size_t i,
                                const struct pmet_delta_result *r, const struct pmet_error *failure,
                                struct pmet_error *err)
{
    struct company *c = user;
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

/* Facts order[0..n) in a batch with room for `room` average ones; skip by the run's number. */
static void run(struct test *t, struct company *c, const size_t *order, size_t n, size_t room,
                const bool *skip)
{
    struct pmet_fact_rows rows[MOST];
    struct pmet_delta *p = NULL;
    struct pmet_error err = {PMET_OK, ""};
    const struct pmet_delta_listener listener = {.user = c, .done = see_end};
    struct pmet_delta_size all = {0};
    for (size_t i = 0; i < n; i++) {
        rows[i] = c->rows[order[i]];
        pmet_delta_size_add(&all, &rows[i]);
    }
    c->order = order;
    c->most = 0;
    const size_t bytes = pmet_delta_bytes(c->g.model, &c->o, &all) / n * room + room;
    const struct pmet_delta_size plan =
        pmet_delta_plan(c->g.model, &c->o, rows, n, room < n ? bytes : SIZE_MAX);
    if (CHECK_OK(pmet_delta_open(c->g.model, &c->o, &plan, &p, &err), &err))
        CHECK_OK(pmet_delta_optimise(p, rows, n, skip, &listener, &err), &err);
    pmet_delta_close(p);
}

TEST(company_order_and_room_change_no_bit_of_a_fact)
{
    static const size_t models[] = {0, 3};
    static const size_t forward[MOST] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9},
                        mixed[MOST] = {7, 2, 9, 6, 0, 4, 8, 1, 5, 3};
    for (size_t m = 0; m < 2; m++) {
        struct company c;
        if (!company_open(t, &c, models[m]))
            return;
        for (size_t i = 0; i < c.n; i++) { /* each alone first */
            run(t, &c, &forward[i], 1, 1, NULL);
            CHECK(c.most == 1 && c.end[i].seen);
        }
        for (size_t room = 1; room <= 3; room++) { /* one leaves, the next takes its place */
            run(t, &c, room == 2 ? mixed : forward, c.n, room, NULL);
            CHECK(c.most >= (room + 1) / 2 && c.most < 7);
        }
        run(t, &c, mixed, c.n, c.n, NULL);
        CHECK(c.most > 3); /* the others had left before the first of the last stopped */
        company_close(&c);
    }
}

TEST(facts_to_be_skipped_are_left_out)
{
    static const size_t forward[MOST] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    const bool skip[MOST] = {true, false, false, true, true, false, true, true, true, true};
    struct company c;
    if (!company_open(t, &c, 2))
        return;
    run(t, &c, forward, c.n, 2, skip);
    for (size_t i = 0; i < c.n; i++)
        CHECK(c.end[i].seen == !skip[i]);
    company_close(&c);
}

/* A fact whose numbers break leaves alone; the others take the course that they take without it. */
TEST(a_fact_that_meets_nan_disturbs_no_other)
{
    struct company c;
    struct pmet_error err = {PMET_OK, ""};
    if (!company_open(t, &c, 1))
        return;
    struct pmet_delta *both = NULL, *one = NULL;
    struct pmet_losses l[2], alone;
    const double phi[2] = {1, 1};
    real *delta = calloc(c.d, sizeof *delta), *g[2] = {calloc(c.d, sizeof(real)), calloc(c.d, sizeof(real))};
    for (size_t i = 0; i < c.d; i++)
        delta[i] = (real)NAN;
    if (CHECK_OK(pmet_delta_open_with(c.g.model, &c.o, c.rows, 2, &both, &err), &err) &&
        CHECK_OK(pmet_delta_open_with(c.g.model, &c.o, c.rows + 1, 1, &one, &err), &err)) {
        CHECK_OK(pmet_delta_forward(both, phi, l, &err), &err);
        CHECK_OK(pmet_delta_forward(one, phi, &alone, &err), &err);
        CHECK_OK(pmet_delta_set(both, 0, (const real *[]){delta, NULL}, &err), &err);
        CHECK_OK(pmet_delta_forward(both, phi, l, &err), &err);
        CHECK_OK(pmet_delta_forward(one, phi, &alone, &err), &err);
        CHECK(pmet_losses_check(&l[0], &err) == PMET_NUMERIC &&
              strstr(err.message, "expected a finite number"));
        err = (struct pmet_error){PMET_OK, ""};
        CHECK(pmet_losses_check(&l[1], &err) == PMET_OK && l[1].loss == alone.loss);
        CHECK_OK(pmet_delta_remove(both, (const bool[]){true, false}, &err), &err);
        CHECK(pmet_delta_count(both) == 1);
        CHECK_OK(pmet_delta_backward(both, &err), &err);
        CHECK_OK(pmet_delta_backward(one, &err), &err);
        CHECK_OK(pmet_delta_get(both, 0, PMET_DELTA_GRADIENT, 1, g[0], &err), &err);
        CHECK_OK(pmet_delta_get(one, 0, PMET_DELTA_GRADIENT, 1, g[1], &err), &err);
        CHECK(memcmp(g[0], g[1], c.d * sizeof(real)) == 0);
    }
    pmet_delta_close(both);
    pmet_delta_close(one);
    free(delta);
    free(g[0]);
    free(g[1]);
    company_close(&c);
}

/* The plan never asks for more than there are facts, never for less than one, and grows with memory. */
TEST(the_plan_keeps_to_its_memory)
{
    struct company c;
    if (!company_open(t, &c, 0))
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
    company_close(&c);
}

TEST_MAIN(CASE(company_order_and_room_change_no_bit_of_a_fact), CASE(facts_to_be_skipped_are_left_out),
          CASE(a_fact_that_meets_nan_disturbs_no_other), CASE(the_plan_keeps_to_its_memory))

/* SPDX-License-Identifier: MIT
 * ROME against the frozen numbers: six facts, each optimised on the model that the facts before it
 * have changed.      SPEC E131-E133 */
#include <string.h>
#include "ref/event.h"
#include "tests/golden.h"

enum { N_FACT = 6 };

struct rome {
    struct test *t;
    struct golden *g;
    struct golden_pair pair;
    const json_t *a; /* the golden's records */
    struct pmet_docs *docs;
    struct pmet_stats stats;
    size_t n_seen;
};

static enum pmet_status cov_of(void *user, const char *module, size_t d_in, double **out,
                               struct pmet_error *err)
{
    struct rome *r = user;
    (void)module;
    PMET_TRY(pmet_calloc(out, d_in * d_in, sizeof **out, "cov", err));
    for (size_t k = 0; k < d_in * d_in; k++)
        (*out)[k] = (double)r->stats.moment[0].mom2[k];
    return PMET_OK;
}

static void keep(struct rome *r, const char *kind, size_t i, const real *x, size_t n, bool smooth)
{
    size_t n32 = 0, n64 = 0;
    const char *name = test_text(r->t, "%zu.%s", i, kind);
    struct test *t = r->t;
    double *got = test_alloc(t, n * sizeof *got), *a = golden_tensor(t, r->pair.p[0], name, &n32),
           *b = golden_tensor(t, r->pair.p[1], name, &n64);
    for (size_t k = 0; k < n; k++)
        got[k] = (double)x[k];
    if (!CHECK(a && b && n32 == n && n64 == n))
        return;
    if (smooth)
        golden_smooth_values(t, test_text(t, "rome %s", kind), name, got, a, b, n);
    else
        golden_run(test_text(t, "rome %s", kind), got, a, b, n);
}

/* E132: what the optimisation finds; stops, passes and clamps are equal. */
static void see_fact(struct rome *r, const struct pmet_event *event)
{
    struct test *t = r->t;
    const struct pmet_fact_event *fact = event->detail;
    const json_t *a = json_array_get(r->a, event->index);
    const size_t d = r->g->model->config.d_model;
    real *init = test_alloc(t, d * sizeof *init), *delta = test_alloc(t, d * sizeof *delta);
    CHECK(fact->report->result.n_forward == (size_t)json_integer_value(json_object_get(a, "n_forward")));
    CHECK(fact->report->result.n_updates == (size_t)json_integer_value(json_object_get(a, "n_updates")));
    CHECK((fact->report->result.stop == PMET_STOP_LOSS) ==
          (strcmp(json_string_value(json_object_get(a, "stop")), "loss<5e-2") == 0));
    CHECK_DONE(pmet_delta_get(fact->delta, fact->k, PMET_DELTA_INITIAL, 0, init, &t->err));
    CHECK_DONE(pmet_delta_get(fact->delta, fact->k, PMET_DELTA_VALUE, 0, delta, &t->err));
    keep(r, "target_init", event->index, init, d, event->index == 0);
    keep(r, "delta", event->index, delta, d, false);
    for (size_t k = 0; k < d; k++)
        init[k] += delta[k];
    keep(r, "target", event->index, init, d, false);
}

static void see_pass(const struct rome *r, const struct pmet_event *event)
{
    struct test *t = r->t;
    const struct pmet_fact_event *fact = event->detail;
    const json_t *step =
        json_array_get(json_object_get(json_array_get(r->a, event->index), "steps"), fact->step->it);
    CHECK(fact->step->clamped[0] == json_is_true(json_object_get(step, "clamped_delta")));
}

/* E131: keys and directions do not depend on the edits. E133: outputs, Lambda, the sum of all updates. */
static void see_layer(struct rome *r, const struct pmet_layer_event *layer)
{
    struct test *t = r->t;
    const struct pmet_update *u = layer->update;
    const size_t n = u->d_out * u->d_in;
    size_t n32 = 0, n64 = 0;
    double *a = golden_tensor(t, r->pair.p[0], "delta_weight", &n32),
           *b = golden_tensor(t, r->pair.p[1], "delta_weight", &n64);
    for (size_t k = 0; k < layer->n_array; k++)
        for (size_t i = 0; i < N_FACT; i++)
            keep(r, layer->array[k].name, i, layer->array[k].data + i * layer->array[k].width,
                 layer->array[k].width, layer->array[k].width == u->d_in);
    if (CHECK(a && b && n32 == n && n64 == n))
        golden_run("rome delta_weight", layer->upd, a, b, n);
    r->n_seen++;
}

static enum pmet_status on_event(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    struct rome *r = user;
    (void)err;
    if (event->kind == PMET_EVENT_FACT)
        see_fact(r, event);
    if (event->kind == PMET_EVENT_PASS)
        see_pass(r, event);
    if (event->kind == PMET_EVENT_LAYER)
        see_layer(r, event->detail);
    return PMET_OK;
}

static void check_model(struct test *t, size_t m)
{
    struct golden g;
    struct pmet_hparams h;
    struct rome r = {.t = t, .g = &g};
    if (!golden_open(t, &g, m) || !golden_pair_open(t, &r.pair, &g, "execute.rome") ||
        !golden_hparams(t, &g, &pmet_method_rome, "ROME/rome", &h))
        return;
    struct pmet_facts facts = g.facts;
    const struct pmet_stats_options options = {
        .layers = h.layers, .n_layer = 1, .n_samples = h.mom2_n_samples, .seed = 1};
    facts.n_fact = N_FACT;
    r.a = golden_json(t, &g, "compute_z.rome.fp32.json");
    r.docs = golden_docs(t, &g);
    CHECK_DONE(pmet_stats_collect(g.model, g.tk, r.docs, &options, NULL, NULL, &r.stats, &t->err));
    for (int solver = PMET_SOLVER_AUTO; solver <= PMET_SOLVER_CG; solver++) {
        struct pmet_editor e = {.method = &pmet_method_rome,
                                .model = g.model,
                                .tk = g.tk,
                                .facts = &facts,
                                .contexts = &g.contexts,
                                .rows = golden_rows(t, &g, 0, N_FACT, false),
                                .hparams = &h,
                                .moments = {.user = &r, .cov = cov_of},
                                .listener = {.user = &r, .on_event = on_event},
                                .solver = (enum pmet_solver)solver,
                                .max_bytes = (size_t)1 << 30,
                                .solve_bytes = (size_t)1 << 30};
        CHECK_DONE(pmet_editor_run(&e, &t->err));
        CHECK(e.n_applied == N_FACT && e.n_update == 1 && e.update[0].solve.residual < 1e-9);
        pmet_editor_free(&e);
    }
    CHECK(r.n_seen == 3);
    pmet_stats_free(&r.stats);
}

/* By C's Cholesky factor and by conjugate gradients alike. */
TEST(six_facts_in_turn_as_by_the_published_code)
{
    static const char *const runs[] = {"target_init", "delta",        "target",
                                       "cur_output",  "right_vector", "delta_weight"};
    EACH_GOLDEN (m)
        check_model(t, m);
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        golden_compare_runs(t, test_text(t, "rome %s", runs[i]));
}

TEST(table)
{
    golden_table();
    CHECK(true);
}

/* SPDX-License-Identifier: MIT
 * The optimisation and the edit against the frozen numbers, all four models.
 * SPEC E1, E31-E34, E38, E45-E53, E55-E62, E67-E69, E73, E75 */
#include "tests/golden.h"
#include "tests/whole.h"

static json_t *records(json_t *root)
{
    return json_is_object(root) ? json_object_get(root, "requests") : root;
}

static double field(const json_t *step, const char *name)
{
    return json_number_value(json_object_get(step, name));
}

/* The goldens name a vector by its site where there are two: "delta_mlp"; else "delta". */
static const char *tail(const struct pmet_objective *o, size_t v)
{
    return o->n_vector == 1 ? "" : o->site[v] == PMET_SITE_MLP_OUT ? "_mlp" : "_attn";
}

/* Scalars of a whole model, compared as RMS relative to fp64. */
#define N_FIELD 6
static const char *const fields[N_FIELD] = {"nll_loss", "kl_loss", "weight_decay",
                                            "loss",     "prob",    "max_prob"};
struct scalars {
    double error[N_FIELD], distance[N_FIELD], size[N_FIELD];
};

static void keep_scalars(struct scalars *s, const struct pmet_losses *got, const json_t *a, const json_t *b)
{
    const double mine[N_FIELD] = {got->nll, got->kl, got->weight_decay, got->loss, got->prob, got->max_prob};
    for (int k = 0; k < N_FIELD; k++) {
        const double x32 = field(a, fields[k]), x64 = field(b, fields[k]);
        s->error[k] += (mine[k] - x64) * (mine[k] - x64);
        s->distance[k] += (x32 - x64) * (x32 - x64);
        s->size[k] += x64 * x64;
    }
}

static void judge_scalars(struct test *t, const struct scalars *s)
{
    for (int k = 0; k < N_FIELD; k++) {
        if (s->size[k] == 0) /* a method without this field */
            continue;
        const double e = sqrt(s->error[k] / s->size[k]), d = sqrt(s->distance[k] / s->size[k]), one = 1;
        const double got = 1 + e, fp32 = 1 + d;
        golden_smooth_values(t, test_text(t, "loss at given deltas: %s", fields[k]), "rms", &got, &fp32, &one,
                             1);
    }
}

static real *reals(const double *x, size_t n)
{
    real *y = malloc((n + 1) * sizeof *y);
    for (size_t i = 0; i < n; i++)
        y[i] = (real)x[i];
    return y;
}

/* E48: the log-probability of every label, where the golden has it in both precisions. */
static void check_labels(struct test *t, const struct pmet_delta *p, const json_t *a, const json_t *b)
{
    const json_t *rows32 = json_object_get(a, "target_logprobs"),
                 *rows64 = json_object_get(b, "target_logprobs");
    const size_t n_row = json_array_size(rows64), n_t = json_array_size(json_array_get(rows64, 0)),
                 n = n_row * n_t;
    if (!rows64)
        return;
    double *x32 = test_alloc(t, (n + 1) * sizeof *x32), *x64 = test_alloc(t, (n + 1) * sizeof *x64);
    for (size_t k = 0; k < n; k++) {
        x32[k] = json_number_value(json_array_get(json_array_get(rows32, k / n_t), k % n_t));
        x64[k] = json_number_value(json_array_get(json_array_get(rows64, k / n_t), k % n_t));
    }
    CHECK(n > 0);
    golden_run("target_logprobs", pmet_delta_logp(p, 0), x32, x64, n);
}

/* Loss terms (E48 to E52) and gradients (E57 to E62, through E38 and E31 to E34) at the golden's
 * own deltas, pass by pass. The published code runs every row whole: E47. */
static void check_passes(struct test *t, const struct pmet_objective *o, struct pmet_delta *p,
                         const struct golden_pair *pair, size_t i, const json_t *a, const json_t *b, size_t d,
                         struct scalars *sum)
{
    real *value[PMET_MAX_VECTOR] = {NULL}, *g[PMET_MAX_VECTOR] = {NULL};
    size_t n = 0;
    for (size_t v = 0; v < o->n_vector; v++) {
        const char *name = test_text(t, "%zu.steps.delta%s", i, tail(o, v));
        double *x = golden_tensor(t, pair->p[1], name, &n);
        value[v] = reals(x, n);
        g[v] = calloc(3 * d, sizeof *g[v]);
    }
    const size_t n_pass = json_array_size(b), n_grad = n / d < 3 ? n / d : 3;
    for (size_t it = 0; it < n_pass; it++) {
        struct pmet_losses got;
        const json_t *factor = json_object_get(json_array_get(b, it), "nll_loss_factor");
        const double phi = factor ? json_number_value(factor) : 1;
        const bool moved = it > 0 && it <= n / d;
        const real *at[PMET_MAX_VECTOR] = {NULL};
        for (size_t v = 0; moved && v < o->n_vector; v++)
            at[v] = value[v] + (it - 1) * d;
        CHECK(it == 0 || moved);
        CHECK_DONE(pmet_delta_set(p, 0, at, &t->err));
        CHECK_DONE(pmet_delta_forward(p, &phi, &got, &t->err));
        keep_scalars(sum, &got, json_array_get(a, it), json_array_get(b, it));
        check_labels(t, p, json_array_get(a, it), json_array_get(b, it));
        const json_t *argmax = json_object_get(json_array_get(a, it), "argmax");
        for (size_t j = 0; j < json_array_size(argmax); j++)
            for (size_t s = 0; s < json_array_size(json_array_get(argmax, j)); s++)
                CHECK(pmet_delta_best(p, 0)[j * json_array_size(json_array_get(argmax, j)) + s] ==
                      json_integer_value(json_array_get(json_array_get(argmax, j), s)));
        if (it >= n_grad)
            continue;
        CHECK_DONE(pmet_delta_backward(p, &t->err));
        for (size_t v = 0; v < o->n_vector; v++)
            CHECK_DONE(pmet_delta_get(p, 0, PMET_DELTA_GRADIENT, v, g[v] + it * d, &t->err));
    }
    for (size_t v = 0; v < o->n_vector; v++) {
        golden_smooth(t, test_text(t, "gradient of delta%s", tail(o, v)), pair,
                      test_text(t, "%zu.steps.grad_delta%s", i, tail(o, v)), g[v], n_grad * d);
        free(value[v]);
        free(g[v]);
    }
}

static void keep_run(struct test *t, const struct golden_pair *pair, size_t at, size_t i, const char *tensor,
                     struct pmet_delta *p, size_t v, bool target, size_t n)
{
    size_t n32 = 0, n64 = 0;
    real *x = test_alloc(t, n * sizeof *x), *y = test_alloc(t, n * sizeof *y);
    const char *name = test_text(t, "%zu.%s", i, tensor);
    double *a = golden_tensor(t, pair->p[0], name, &n32), *b = golden_tensor(t, pair->p[1], name, &n64),
           *got = test_alloc(t, n * sizeof *got);
    CHECK_DONE(pmet_delta_get(p, at, PMET_DELTA_VALUE, v, x, &t->err));
    if (target)
        CHECK_DONE(pmet_delta_get(p, at, PMET_DELTA_INITIAL, v, y, &t->err));
    for (size_t k = 0; k < n; k++)
        got[k] = (double)(x[k] + y[k]);
    if (CHECK(a && b && n32 == n && n64 == n))
        golden_run(test_text(t, "run %s", tensor), got, a, b, n);
}

/* ---- runs: all facts of a model together ---- */

struct runs {
    struct test *t;
    struct golden *g;
    const struct golden_pair *pair;
    const struct pmet_objective *o;
    const json_t *a; /* the golden's records */
    size_t n_done;
};

/* E53, E56: the factor in force, and which of the two balls held a pass's update back. */
static enum pmet_status see_pass(void *user, struct pmet_delta *p, size_t k, size_t i,
                                 const struct pmet_delta_step *step, struct pmet_error *err)
{
    const struct runs *s = user;
    struct test *t = s->t;
    const json_t *steps = json_object_get(json_array_get(s->a, i), "steps"),
                 *a = json_array_get(steps, step->it), *factor = json_object_get(a, "nll_loss_factor");
    (void)p, (void)k, (void)err;
    CHECK(!factor || step->losses.nll_factor == json_number_value(factor));
    for (size_t v = 0; v < s->o->n_vector; v++) {
        const json_t *clamped = json_object_get(a, test_text(t, "clamped_delta%s", tail(s->o, v)));
        CHECK(step->updated == (clamped != NULL));
        CHECK(step->clamped[v] == json_is_true(clamped));
    }
    return PMET_OK;
}

static void check_field(const struct runs *s, struct pmet_delta *p, size_t k, size_t i, const char *group,
                        const char *tensor, enum pmet_delta_field field, size_t v, size_t n)
{
    struct test *t = s->t;
    char name[64];
    real *x = test_alloc(t, n * sizeof *x);
    snprintf(name, sizeof name, "%zu.%s", i, tensor);
    CHECK_DONE(pmet_delta_get(p, k, field, v, x, &t->err));
    if (pmet_tensors_find(&s->pair->p[1]->all, name))
        golden_smooth(t, group, s->pair, name, x, n);
    else
        CHECK(field == PMET_DELTA_KL_INIT); /* the same for all algorithms: one file has it */
}

/* E45: the initial values, and the targets in the end. E53, E55, E56: stops, passes and updates are
 * equal. */
static enum pmet_status see_done(void *user, struct pmet_delta *p, size_t k, size_t i,
                                 const struct pmet_delta_result *r, const struct pmet_error *failure,
                                 struct pmet_error *err)
{
    struct runs *s = user;
    struct test *t = s->t;
    const json_t *a = json_array_get(s->a, i);
    const size_t d = s->g->model->config.d_model;
    (void)err;
    s->n_done++;
    if (!CHECK(!failure) || !CHECK(r->n_forward == (size_t)field(a, "n_forward") &&
                                   r->n_updates == (size_t)field(a, "n_updates")))
        test_fail(t, "%s: fact %zu: %zu passes, stop %s; the golden has %.0f, %s", s->g->name, i,
                  r->n_forward, pmet_stop_name(r->stop), field(a, "n_forward"),
                  json_string_value(json_object_get(a, "stop")));
    const char *stop = json_string_value(json_object_get(a, "stop"));
    CHECK_STR(pmet_stop_name(r->stop), strcmp(stop, "loss<5e-2") == 0   ? "loss"
                                       : strcmp(stop, "max steps") == 0 ? "max"
                                                                        : "argmax");
    for (size_t v = 0; v < s->o->n_vector; v++) {
        const char *side = tail(s->o, v);
        check_field(s, p, k, i, "target_init", test_text(t, "target_init%s", side), PMET_DELTA_INITIAL, v, d);
        keep_run(t, s->pair, k, i, test_text(t, "delta%s", side), p, v, false, d);
        keep_run(t, s->pair, k, i, test_text(t, "target%s", side), p, v, true, d);
    }
    check_field(s, p, k, i, "kl_distr_init", "kl_distr_init", PMET_DELTA_KL_INIT, 0,
                s->g->model->config.n_vocab);
    return PMET_OK;
}

static void check_runs(struct runs *s, const struct pmet_fact_rows *rows, size_t n)
{
    struct test *t = s->t;
    struct pmet_delta *p = NULL;
    const struct pmet_delta_listener listener = {.user = s, .pass = see_pass, .done = see_done};
    const struct pmet_delta_size size = pmet_delta_plan(s->g->model, s->o, rows, n, SIZE_MAX);
    CHECK(size.n_fact == n);
    if (CHECK_DONE(pmet_delta_open(s->g->model, s->o, &size, &p, &t->err)))
        CHECK_DONE(pmet_delta_optimise(p, rows, n, NULL, &listener, &t->err));
    CHECK(s->n_done == n);
    pmet_delta_close(p);
}

static void check_rows(struct test *t, const struct pmet_fact_rows *rows, const json_t *a)
{
    const json_t *ids = json_object_get(a, "input_ids"), *mask = json_object_get(a, "attention_mask");
    const json_t *idx = json_object_get(a, "lookup_idxs"), *targets = json_object_get(a, "rewriting_targets");
    if (!ids)
        return;
    CHECK(rows->n_row == json_array_size(ids));
    for (size_t j = 0; j < rows->n_row; j++) {
        size_t n = 0;
        for (size_t k = 0; k < json_array_size(json_array_get(ids, j)); k++)
            if (json_integer_value(json_array_get(json_array_get(mask, j), k)) == 1)
                CHECK(n < rows->row[j].n_tok &&
                      rows->row[j].id[n++] == json_integer_value(json_array_get(json_array_get(ids, j), k)));
        CHECK(n == rows->row[j].n_tok);
        CHECK(rows->row[j].lookup_idx == (size_t)json_integer_value(json_array_get(idx, j)));
        for (size_t s = 0; j + 1 < rows->n_row && s < rows->n_target; s++)
            CHECK(json_integer_value(json_array_get(json_array_get(targets, j), n - rows->n_target + s)) ==
                  rows->target[s]);
    }
}

/* A golden file of optimisations: its name, and what made it. */
struct algorithm {
    const char *name, *hparams, *facts;
    const struct pmet_method *method;
    struct pmet_objective (*objective)(const struct pmet_hparams *h);
};
static const struct algorithm pmet = {"pmet", "PMET/pmet", "counterfact.json", &pmet_method_pmet,
                                      pmet_objective_pmet},
                              pmet_alt = {"pmet_alt", "PMET/pmet_alt", "counterfact.json", &pmet_method_pmet,
                                          pmet_objective_pmet},
                              quirks = {"pmet_quirk", "PMET/pmet", "quirk_requests.json", &pmet_method_pmet,
                                        pmet_objective_pmet},
                              border = {"pmet_border", "PMET/pmet_border", "border_requests.json",
                                        &pmet_method_pmet, pmet_objective_pmet},
                              memit = {"memit", "MEMIT/memit", "counterfact.json", &pmet_method_memit,
                                       pmet_objective_memit};

static void compare_runs(struct test *t, const struct pmet_objective *o)
{
    golden_compare_runs(t, "target_logprobs");
    for (size_t v = 0; v < o->n_vector; v++) {
        golden_compare_runs(t, test_text(t, "run delta%s", tail(o, v)));
        golden_compare_runs(t, test_text(t, "run target%s", tail(o, v)));
    }
}

/* Of one golden model, already open; its losses are added to *sum. */
static void check_opened(struct test *t, const struct golden *opened, const struct algorithm *alg,
                         struct scalars *sum)
{
    struct golden g = *opened;
    struct golden_pair pair;
    struct pmet_hparams h;
    struct pmet_facts facts;
    if (!golden_pair_open(t, &pair, &g, test_text(t, "compute_z.%s", alg->name)))
        return;
    json_t *a = golden_json(t, &g, test_text(t, "compute_z.%s.fp32.json", alg->name));
    json_t *b = golden_json(t, &g, test_text(t, "compute_z.%s.fp64.json", alg->name));
    golden_hparams(t, &g, alg->method, alg->hparams, &h);
    golden_facts(t, &g, alg->facts, &facts);
    const struct pmet_objective o = alg->objective(&h);
    const struct pmet_rows_options ro = {facts.path, g.model->config.n_ctx, g.model->config.n_vocab, false,
                                         alg->method->kl_prompt};
    struct pmet_fact_rows *rows = test_alloc(t, facts.n_fact * sizeof *rows);
    size_t k = 0;
    for (size_t i = 0; i < facts.n_fact; i++) {
        struct pmet_delta *p = NULL;
        struct pmet_error refusal = {PMET_OK, ""};
        const enum pmet_status status =
            pmet_rows_build(g.tk, &facts.fact[i], &g.contexts, &ro, true, &rows[k], &refusal);
        CHECK((status == PMET_OK) ==
              (facts.fact[i].case_id != 104 && facts.fact[i].case_id != 105)); /* these raise as published */
        if (status != PMET_OK)
            continue;
        const json_t *ja = json_array_get(records(a), k), *jb = json_array_get(records(b), k);
        CHECK(json_integer_value(json_object_get(ja, "case_id")) == facts.fact[i].case_id);
        check_rows(t, &rows[k], ja);
        if (CHECK_DONE(pmet_delta_open_with(g.model, &o, &rows[k], 1, &p, &t->err)))
            check_passes(t, &o, p, &pair, k, json_object_get(ja, "steps"), json_object_get(jb, "steps"),
                         g.model->config.d_model, sum);
        pmet_delta_close(p);
        k++;
    }
    CHECK(k == json_array_size(records(a)));
    struct runs runs = {t, &g, &pair, &o, records(a), 0};
    check_runs(&runs, rows, k);
    compare_runs(t, &o);
    for (size_t i = 0; i < k; i++)
        pmet_rows_free(&rows[i]);
    pmet_facts_free(&facts);
}

static void check_algorithm(struct test *t, size_t m, const struct algorithm *alg)
{
    struct golden g;
    struct scalars sum = {{0}, {0}, {0}};
    if (!golden_open(t, &g, m))
        return;
    check_opened(t, &g, alg, &sum);
    judge_scalars(t, &sum);
}

TEST(optimisation_pmet)
{
    EACH_GOLDEN (m)
        check_algorithm(t, m, &pmet);
}

TEST(optimisation_pmet_alt)
{
    EACH_GOLDEN (m)
        check_algorithm(t, m, &pmet_alt);
}

TEST(optimisation_of_the_quirk_requests)
{
    EACH_GOLDEN (m)
        check_algorithm(t, m, &quirks);
}

/* Row 5 of the head, and its bias, become those of a token, whose logit then has an equal of lower
 * id. Returns the head's matrix (dev). */
static void *give_twin(struct test *t, const struct golden *g, size_t token)
{
    const struct pmet_ops *op = g->op;
    const struct pmet_weight *head = &g->model->head;
    const size_t n_row = pmet_dtype_size(head->dtype) * head->n_in;
    real *bias = g->model->head_bias;
    void *copy;
    if (!CHECK_DONE(op->alloc(op, head->n_out * n_row, &copy, &t->err)))
        return NULL;
    CHECK_DONE(op->copy(op, copy, head->data, head->n_out * n_row, &t->err));
    CHECK_DONE(op->copy(op, (char *)copy + 5 * n_row, (char *)copy + token * n_row, n_row, &t->err));
    if (bias)
        CHECK_DONE(op->copy(op, bias + 5, bias + token, sizeof *bias, &t->err));
    return copy;
}

/* A label before its row's lookup index (E47, E57), and a target whose last token is the most
 * probable one only beside another: E52 compares probabilities, not ids. The losses of all models
 * are taken together: m0, which decides the error of E50, is one number for each of two requests. */
TEST(optimisation_of_the_border_requests)
{
    struct scalars sum = {{0}, {0}, {0}};
    EACH_GOLDEN (m) {
        struct golden g;
        if (!golden_open(t, &g, m))
            continue;
        json_t *a = golden_json(t, &g, "compute_z.pmet_border.fp32.json");
        const json_t *ids = json_object_get(json_array_get(a, 1), "target_ids");
        const void *data = g.model->head.data;
        void *twin =
            give_twin(t, &g, (size_t)json_integer_value(json_array_get(ids, json_array_size(ids) - 1)));
        g.model->head.data = twin;
        if (twin)
            check_opened(t, &g, &border, &sum);
        g.model->head.data = data;
        g.op->release(g.op, twin);
    }
    judge_scalars(t, &sum);
}

/* E120, E121 */
TEST(optimisation_memit)
{
    EACH_GOLDEN (m)
        check_algorithm(t, m, &memit);
}

/* ---- the edit from the golden's own targets ---- */

struct edit_check {
    struct test *t;
    struct golden *g;
    const struct golden_pair *pair;
    const struct pmet_docs *docs;
    struct pmet_stats_options options;
    bool late; /* second moments of the model as edited so far (SPEC X14) */
    struct pmet_stats stats;
};

static enum pmet_status cov_of(void *user, const char *module, size_t d_in, double **out,
                               struct pmet_error *err)
{
    struct edit_check *c = user;
    if (c->late || !c->stats.moment) {
        pmet_stats_free(&c->stats);
        PMET_TRY(pmet_stats_collect(c->g->model, c->g->tk, c->docs, &c->options, NULL, NULL, &c->stats, err));
    }
    for (size_t i = 0; i < c->stats.n_moment; i++) {
        char name[128];
        const struct pmet_moment *m = &c->stats.moment[i];
        pmet_module_name(name, sizeof name, c->g->model->config.family->module[m->module], m->layer);
        if (strcmp(name, module) != 0)
            continue;
        PMET_TRY(pmet_calloc(out, d_in * d_in, sizeof **out, "cov", err));
        for (size_t k = 0; k < d_in * d_in; k++)
            (*out)[k] = (double)m->mom2[k];
        return PMET_OK;
    }
    return pmet_fail(err, PMET_INPUT, "no moments of %s", module);
}

/* golden matrices are [width, request]; ours [request, width] */
static void compare(struct edit_check *c, const char *kind, const char *module, const real *x, size_t n,
                    size_t width)
{
    real *turned = test_alloc(c->t, n * width * sizeof *turned);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < width; k++)
            turned[k * n + i] = x[i * width + k];
    golden_smooth(c->t, test_text(c->t, "edit %s", kind), c->pair, test_text(c->t, "%s.%s", kind, module),
                  turned, n * width);
}

/* The update of a file, or what makes it: MEMIT's keep the residual [d_out, n] and the adjusted keys
 * [d_in, n]. NULL where it has neither. */
static double *golden_update(struct test *t, const struct pmet_safetensors *st, const struct pmet_update *u)
{
    size_t n = 0;
    double *upd = golden_tensor(t, st, test_text(t, "upd_matrix.%s", u->name), &n);
    const double *resid = golden_tensor(t, st, test_text(t, "resid.%s", u->name), &n),
                 *adj = golden_tensor(t, st, test_text(t, "adj_k.%s", u->name), &n);
    if (upd || !resid || !adj)
        return upd;
    n /= u->d_in;
    upd = test_alloc(t, u->d_out * u->d_in * sizeof *upd);
    for (size_t i = 0; i < u->d_out; i++)
        for (size_t j = 0; j < u->d_in; j++) {
            upd[i * u->d_in + j] = 0;
            for (size_t k = 0; k < n; k++)
                upd[i * u->d_in + j] += resid[i * n + k] * adj[j * n + k];
        }
    return upd;
}

/* E63, E67, E69: keys, current outputs and residuals, the update. */
static enum pmet_status see_layer(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    struct edit_check *c = user;
    const struct pmet_layer_event *layer = event->detail;
    (void)err;
    if (event->kind != PMET_EVENT_LAYER)
        return PMET_OK;
    for (size_t i = 0; i < layer->n_array; i++)
        compare(c, layer->array[i].name, layer->update->name, layer->array[i].data, layer->array[i].n,
                layer->array[i].width);
    const struct pmet_update *u = layer->update;
    double *a = golden_update(c->t, c->pair->p[0], u), *b = golden_update(c->t, c->pair->p[1], u);
    if (a && b)
        golden_smooth_values(c->t, "edit upd_matrix", u->name, layer->upd, a, b, u->d_out * u->d_in);
#ifdef PMET_REAL_DOUBLE
    if (b && !a)
        golden_smooth_values(c->t, "edit upd_matrix", u->name, layer->upd, b, b, u->d_out * u->d_in);
#endif
    return PMET_OK;
}

/* The golden's targets, as if they had been optimised. */
static bool take_targets(struct test *t, const struct golden_pair *z, const struct pmet_method *method,
                         const struct pmet_hparams *h, size_t n, size_t d, struct pmet_targets *out)
{
    if (!CHECK_DONE(pmet_targets_alloc(n, h->n_module, d, out, &t->err)))
        return false;
    for (size_t i = 0; i < n; i++) {
        out->fact[i].done = out->fact[i].applied = true;
        for (size_t q = 0; q < h->n_module; q++) {
            const char *side = method == &pmet_method_memit                ? ""
                               : strstr(h->rewrite_module_tmps[q], "attn") ? "_attn"
                                                                           : "_mlp";
            size_t nz = 0;
            double *x = golden_tensor(t, z->p[1], test_text(t, "%zu.target%s", i, side), &nz);
            CHECK(nz == d);
            for (size_t k = 0; k < nz; k++)
                out->Z[q][i * d + k] = (real)x[k];
        }
    }
    return true;
}

static void check_edit(struct test *t, size_t m, const struct algorithm *alg, const char *edit,
                       const char *hparams, bool late)
{
    struct golden g;
    struct golden_pair pair, z;
    struct pmet_hparams h;
    if (!golden_open(t, &g, m) || !golden_pair_open(t, &pair, &g, test_text(t, "execute.%s", edit)) ||
        !golden_pair_open(t, &z, &g, test_text(t, "compute_z.%s", alg->name)) ||
        !golden_hparams(t, &g, alg->method, hparams, &h))
        return;
    struct pmet_docs *docs = golden_docs(t, &g);
    struct edit_check c = {.t = t, .g = &g, .pair = &pair, .docs = docs, .late = late};
    c.options = (struct pmet_stats_options){.layers = h.layers,
                                            .n_layer = h.n_layer,
                                            .attn = h.n_module == 2,
                                            .n_samples = h.mom2_n_samples,
                                            .seed = 1};
    for (int solver = PMET_SOLVER_CHOLESKY; solver <= (late ? PMET_SOLVER_CHOLESKY : PMET_SOLVER_CG);
         solver++) {
        struct pmet_editor e = {.method = alg->method,
                                .model = g.model,
                                .tk = g.tk,
                                .facts = &g.facts,
                                .contexts = &g.contexts,
                                .hparams = &h,
                                .moments = {.user = &c, .cov = cov_of},
                                .listener = {.user = &c, .on_event = see_layer},
                                .solver = (enum pmet_solver)solver,
                                .max_bytes = (size_t)1 << 30,
                                .solve_bytes = (size_t)1 << 30};
        if (take_targets(t, &z, alg->method, &h, g.facts.n_fact, g.model->config.d_model, &e.targets) &&
            CHECK_DONE(pmet_editor_run(&e, &t->err)))
            CHECK(e.n_update == h.n_layer * h.n_module);
        pmet_editor_free(&e);
    }
    pmet_stats_free(&c.stats);
}

/* E67 to E69, E75: each layer's numbers depend on the updates before it; by Cholesky and by E73
 * alike. */
TEST(edit_from_the_goldens_targets)
{
    EACH_GOLDEN (m)
        check_edit(t, m, &pmet, "pmet", "PMET/pmet", false);
}

/* GPT-J's files were made with statistics of the model as edited so far, NeoX's with the unedited
 * model's: SPEC X14. */
TEST(edit_of_two_modules_from_the_goldens_targets)
{
    EACH_GOLDEN (m)
        check_edit(t, m, &pmet, "pmet_2mod", "PMET/pmet_2mod", m < 2);
}

/* E122: M and Z are the block's outputs. */
TEST(edit_of_memit_from_the_goldens_targets)
{
    EACH_GOLDEN (m)
        check_edit(t, m, &memit, "memit", "MEMIT/memit", false);
}

TEST(table)
{
    golden_table();
    CHECK(true);
}

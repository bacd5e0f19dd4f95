/* SPDX-License-Identifier: MIT */
#include "tests/golden.h"
#include "tests/device.h"

const char *const golden_names[N_GOLDEN] = {"gptj-A", "gptj-C", "neox-A", "neox-C"};

static void close_golden(void *user)
{
    struct golden *g = user;
    pmet_facts_free(&g->facts);
    pmet_contexts_free(&g->contexts);
    pmet_tokenizer_close(g->tk);
    pmet_model_close(g->model);
    pmet_checkpoint_close(g->ck);
    pmet_ops_free(g->op);
    free(g);
}

static bool open_golden(struct test *t, struct golden *g)
{
    const char *dir = test_text(t, "golden/%s/model", g->name);
    const struct pmet_io *io = pmet_io_system();
    return CHECK_DONE(test_table(2, &g->op, &t->err)) &&
           CHECK_DONE(pmet_checkpoint_open(io, dir, &g->ck, &t->err)) &&
           CHECK_DONE(pmet_model_open(g->ck, g->op, &g->model, &t->err)) &&
           CHECK_DONE(pmet_tokenizer_open(io, dir, &g->tk, &t->err)) &&
           CHECK_DONE(pmet_contexts_load(io, test_text(t, "golden/%s/contexts.json", g->name), &g->contexts,
                                         &t->err)) &&
           golden_facts(t, g, "counterfact.json", &g->facts);
}

bool golden_open(struct test *t, struct golden *g, size_t i)
{
    struct golden *kept = calloc(1, sizeof *kept);
    kept->name = golden_names[i];
    const bool ok = open_golden(t, kept);
    *g = *kept;
    test_own(t, kept, close_golden);
    return ok;
}

bool golden_facts(struct test *t, const struct golden *g, const char *file, struct pmet_facts *out)
{
    return CHECK_DONE(pmet_facts_load(pmet_io_system(), test_text(t, "golden/%s/%s", g->name, file),
                                      (struct pmet_facts_options){0}, out, &t->err));
}

bool golden_hparams(struct test *t, const struct golden *g, const struct pmet_method *method,
                    const char *file, struct pmet_hparams *out)
{
    return CHECK_DONE(pmet_hparams_load(pmet_io_system(),
                                        test_text(t, "golden/%s/hparams/%s.json", g->name, file),
                                        method->hparams, out, &t->err));
}

json_t *golden_json(struct test *t, const struct golden *g, const char *file)
{
    const char *path = test_text(t, "golden/%s/%s", g->name, file);
    json_error_t e;
    json_t *root = json_load_file(path, 0, &e);
    if (!root)
        test_fail(t, "%s: %s", path, e.text);
    return test_json(t, root);
}

static void close_docs(void *docs)
{
    pmet_docs_close(docs);
}

struct pmet_docs *golden_docs(struct test *t, const struct golden *g)
{
    const char *path = test_text(t, "golden/%s/stats_text.jsonl", g->name);
    struct pmet_docs *docs = NULL;
    CHECK_DONE(pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, &t->err));
    return test_own(t, docs, close_docs);
}

static void free_rows(void *rows)
{
    pmet_rows_free(rows);
}

struct pmet_fact_rows *golden_rows(struct test *t, const struct golden *g, size_t first, size_t n, bool keys)
{
    const struct pmet_rows_options o = {g->facts.path, g->model->config.n_ctx, g->model->config.n_vocab,
                                        false, pmet_method_pmet.kl_prompt};
    struct pmet_fact_rows *rows = test_alloc(t, n * sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        if (!CHECK_DONE(pmet_rows_build(g->tk, &g->facts.fact[first + i], &g->contexts, &o, !keys, &rows[i],
                                        &t->err)))
            return NULL;
        test_own(t, &rows[i], free_rows);
    }
    return rows;
}

static void close_pair_file(void *st)
{
    pmet_safetensors_close(st);
}

bool golden_pair_open(struct test *t, struct golden_pair *pair, const struct golden *g, const char *stem)
{
    for (int i = 0; i < 2; i++) {
        const char *path = test_text(t, "golden/%s/%s.%s.safetensors", g->name, stem, i ? "fp64" : "fp32");
        pair->p[i] = NULL;
        if (!CHECK_DONE(pmet_safetensors_open(pmet_io_system(), path, &pair->p[i], &t->err)))
            return false;
        test_own(t, pair->p[i], close_pair_file);
    }
    return true;
}

double *golden_tensor(struct test *t, const struct pmet_safetensors *st, const char *name, size_t *n)
{
    const struct pmet_tensor *s = pmet_tensors_find(&st->all, name);
    if (!s)
        return NULL;
    double *x = test_alloc(t, (s->n_elem + 1) * sizeof *x);
    pmet_to_f64(x, s->data, s->dtype, s->n_elem);
    *n = s->n_elem;
    return x;
}

/* The closing table, and the errors of runs until they are compared. */
struct group {
    char name[80];
    size_t n;
    double worst, allowed; /* of the closest call */
    double error[4096], distance[4096];
    size_t n_run;
};
static struct group groups[64];
static size_t n_group;

static struct group *group_of(const char *name)
{
    for (size_t i = 0; i < n_group; i++)
        if (strcmp(groups[i].name, name) == 0)
            return &groups[i];
    snprintf(groups[n_group].name, sizeof groups[0].name, "%s", name);
    return &groups[n_group++];
}

static void note(struct group *g, double error, double allowed)
{
    g->n++;
    if (error * g->allowed >= g->worst * allowed || g->n == 1) {
        g->worst = error;
        g->allowed = allowed;
    }
}

void golden_smooth_values(struct test *t, const char *group, const char *name, const double *got,
                          const double *fp32, const double *fp64, size_t n)
{
    const double error = test_rel_l2(got, fp64, n);
#ifdef PMET_REAL_DOUBLE
    const double allowed = 1e-9;
    (void)fp32;
#else
    const double allowed = 2 * test_rel_l2(fp32, fp64, n);
#endif
    t->n_check++;
    note(group_of(group), error, allowed);
    if (!(error <= allowed))
        test_fail(t, "%s: %s: error %.3g, allowed %.3g", group, name, error, allowed);
}

void golden_smooth(struct test *t, const char *group, const struct golden_pair *pair, const char *name,
                   const real *got, size_t n)
{
    size_t n32 = 0, n64 = 0;
    double *a = golden_tensor(t, pair->p[0], name, &n32), *b = golden_tensor(t, pair->p[1], name, &n64);
    if (b && n64 == n && (!a || n32 == n)) {
        double *x = test_alloc(t, (n + 1) * sizeof *x);
        for (size_t i = 0; i < n; i++)
            x[i] = (double)got[i];
        if (a)
            golden_smooth_values(t, group, name, x, a, b, n);
    } else if (b) {
        test_fail(t, "%s: %zu elements; the golden has %zu", name, n, n64);
    }
}

void golden_run(const char *group, const double *got, const double *fp32, const double *fp64, size_t n)
{
    struct group *g = group_of(group);
    if (g->n_run == sizeof g->error / sizeof *g->error)
        return;
    g->error[g->n_run] = test_rel_l2(got, fp64, n);
    g->distance[g->n_run++] = test_rel_l2(fp32, fp64, n);
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

void golden_compare_runs(struct test *t, const char *group)
{
    struct group *g = group_of(group);
    double largest = 0, ratio[4096];
    size_t n = 0;
    for (size_t i = 0; i < g->n_run; i++)
        largest = g->distance[i] > largest ? g->distance[i] : largest;
    for (size_t i = 0; i < g->n_run; i++) {
#ifdef PMET_REAL_DOUBLE
        const double allowed = 1e-9;
#else
        const double allowed = fmax(10 * g->distance[i], largest);
#endif
        t->n_check++;
        note(g, g->error[i], allowed);
        if (!(g->error[i] <= allowed))
            test_fail(t, "%s: run %zu: error %.3g, allowed %.3g", group, i, g->error[i], allowed);
        if (g->distance[i] > 0)
            ratio[n++] = g->error[i] / g->distance[i];
        else if (g->error[i] != 0)
            test_fail(t, "%s: run %zu: error %.3g where the reference has none", group, i, g->error[i]);
    }
    qsort(ratio, n, sizeof *ratio, ascending);
#ifndef PMET_REAL_DOUBLE
    if (n > 0 && !(ratio[n / 2] <= 2))
        test_fail(t, "%s: median ratio %.3g; allowed 2", group, ratio[n / 2]);
#endif
    g->n_run = 0;
}

void golden_table(void)
{
    printf("\n%-44s %6s %10s %10s %6s\n", "tensor group", "n", "error", "allowed", "ratio");
    for (size_t i = 0; i < n_group; i++)
        printf("%-44s %6zu %10.2e %10.2e %6.2f\n", groups[i].name, groups[i].n, groups[i].worst,
               groups[i].allowed, groups[i].allowed > 0 ? groups[i].worst / groups[i].allowed : 0);
}

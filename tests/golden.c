/* SPDX-License-Identifier: MIT */
#include "tests/golden.h"
#include "tests/device.h"

const char *const golden_names[N_GOLDEN] = {"gptj-A", "gptj-C", "neox-A", "neox-C"};

bool golden_open(struct test *t, struct golden *g, size_t i)
{
    char path[256];
    struct pmet_error err = {PMET_OK, ""};
    const struct pmet_io *io = pmet_io_system();
    *g = (struct golden){.name = golden_names[i]};
    snprintf(path, sizeof path, "golden/%s/model", g->name);
    if (!CHECK_OK(test_table(2, &g->op, &err), &err) ||
        !CHECK_OK(pmet_checkpoint_open(io, path, &g->ck, &err), &err) ||
        !CHECK_OK(pmet_model_open(g->ck, g->op, &g->model, &err), &err) ||
        !CHECK_OK(pmet_tokenizer_open(io, path, &g->tk, &err), &err))
        return false;
    snprintf(path, sizeof path, "golden/%s/contexts.json", g->name);
    if (!CHECK_OK(pmet_contexts_load(io, path, &g->contexts, &err), &err))
        return false;
    snprintf(path, sizeof path, "golden/%s/counterfact.json", g->name);
    return CHECK_OK(pmet_facts_load(io, path, (struct pmet_facts_options){0}, &g->facts, &err), &err);
}

void golden_close(struct golden *g)
{
    pmet_facts_free(&g->facts);
    pmet_contexts_free(&g->contexts);
    pmet_tokenizer_close(g->tk);
    pmet_model_close(g->model);
    pmet_checkpoint_close(g->ck);
    pmet_ops_free(g->op);
}

enum pmet_status golden_hparams(const char *path, struct pmet_hparams *out, struct pmet_error *err)
{
    return pmet_hparams_load(pmet_io_system(), path, pmet_method_pmet.hparams, out, err);
}

json_t *golden_json(struct test *t, const struct golden *g, const char *file)
{
    char path[256];
    json_error_t e;
    snprintf(path, sizeof path, "golden/%s/%s", g->name, file);
    json_t *root = json_load_file(path, 0, &e);
    if (!root)
        test_fail(t, "%s: %s", path, e.text);
    return root;
}

bool golden_pair_open(struct test *t, struct golden_pair *pair, const struct golden *g, const char *stem)
{
    struct pmet_error err = {PMET_OK, ""};
    for (int i = 0; i < 2; i++) {
        char path[256];
        pair->p[i] = NULL;
        snprintf(path, sizeof path, "golden/%s/%s.%s.safetensors", g->name, stem, i ? "fp64" : "fp32");
        if (!CHECK_OK(pmet_safetensors_open(pmet_io_system(), path, &pair->p[i], &err), &err))
            return false;
    }
    return true;
}

void golden_pair_close(struct golden_pair *pair)
{
    pmet_safetensors_close(pair->p[0]);
    pmet_safetensors_close(pair->p[1]);
}

double *golden_tensor(const struct pmet_safetensors *st, const char *name, size_t *n)
{
    const struct pmet_tensor *s = pmet_tensors_find(&st->all, name);
    if (!s)
        return NULL;
    double *x = malloc((s->n_elem + 1) * sizeof *x);
    pmet_to_f64(x, s->data, s->dtype, s->n_elem);
    *n = s->n_elem;
    return x;
}

/* The closing table, and the errors of runs until they are judged. */
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
    double *a = golden_tensor(pair->p[0], name, &n32), *b = golden_tensor(pair->p[1], name, &n64);
    if (b && n64 == n && (!a || n32 == n)) {
        double *x = malloc((n + 1) * sizeof *x);
        for (size_t i = 0; i < n; i++)
            x[i] = (double)got[i];
        if (a)
            golden_smooth_values(t, group, name, x, a, b, n);
        free(x);
    } else if (b) {
        test_fail(t, "%s: %zu elements; the golden has %zu", name, n, n64);
    }
    free(a);
    free(b);
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

void golden_judge_runs(struct test *t, const char *group)
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

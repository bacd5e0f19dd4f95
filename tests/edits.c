/* SPDX-License-Identifier: MIT */
#include "tests/edits.h"

double *made_cov(size_t n, uint64_t seed)
{
    enum { RANK = 8 };
    struct test_rng rng = {seed};
    double *b = malloc((n * RANK + 1) * sizeof *b), *c = calloc(n * n + 1, sizeof *c);
    for (size_t i = 0; i < n * RANK; i++)
        b[i] = test_rng_normal(&rng);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t r = 0; r < RANK; r++)
                c[i * n + j] += b[i * RANK + r] * b[j * RANK + r] + (i == j && r == 0 ? 1 : 0);
    free(b);
    return c;
}

enum pmet_status made_cov_source(void *user, const char *name, size_t d_in, double **out,
                                 struct pmet_error *err)
{
    uint64_t hash = 5381;
    (void)user, (void)err;
    for (const char *s = name; *s; s++)
        hash = hash * 33 + (unsigned char)*s;
    *out = made_cov(d_in, hash);
    return PMET_OK;
}

static enum pmet_status keep_fact(void *user, const struct pmet_event *event, struct pmet_error *err)
{
    struct edit_run *run = user;
    const struct pmet_fact_event *fact = event->detail;
    if (event->kind != PMET_EVENT_FACT)
        return PMET_OK;
    for (size_t v = 0; v < 2; v++)
        PMET_TRY(pmet_delta_get(fact->delta, fact->k, PMET_DELTA_VALUE, v,
                                run->delta + (2 * event->index + v) * run->d, err));
    return PMET_OK;
}

static void free_editor(void *editor)
{
    pmet_editor_free(editor);
    free(editor);
}

bool edit_facts(struct test *t, const struct golden *g, struct pmet_model *model, size_t first, size_t n,
                enum pmet_solver solver, size_t max_bytes, struct edit_run *out)
{
    const struct pmet_fact_rows *rows = golden_rows(t, g, first, n, false);
    *out = (struct edit_run){.n = n, .d = model->config.d_model, .facts = g->facts};
    out->delta = test_alloc(t, n * 2 * out->d * sizeof *out->delta);
    out->facts.fact += first;
    out->facts.n_fact = n;
    bool ok = rows && golden_hparams(t, g, &pmet_method_pmet, "PMET/pmet", &out->h);
    out->editor = (struct pmet_editor){.method = &pmet_method_pmet,
                                       .model = model,
                                       .tk = g->tk,
                                       .facts = &out->facts,
                                       .contexts = &g->contexts,
                                       .rows = rows,
                                       .hparams = &out->h,
                                       .moments = {.cov = made_cov_source},
                                       .listener = {.user = out, .on_event = keep_fact},
                                       .solver = solver,
                                       .max_bytes = max_bytes};
    ok = ok && CHECK_DONE(pmet_editor_run(&out->editor, &t->err));
    struct pmet_editor *kept = malloc(sizeof *kept);
    *kept = out->editor;
    test_own(t, kept, free_editor);
    return ok;
}

bool same_edited(const struct pmet_editor *a, const struct pmet_editor *b)
{
    bool same = a->n_update == b->n_update && a->n_update > 0;
    for (size_t k = 0; k < a->n_update && same; k++) {
        const struct pmet_update *x = &a->update[k], *y = &b->update[k];
        same = strcmp(x->name, y->name) == 0 && x->d_out == y->d_out && x->d_in == y->d_in &&
               memcmp(x->W, y->W, x->d_out * x->d_in * sizeof *x->W) == 0;
    }
    return same;
}

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

enum pmet_status made_cov_source(void *user, const char *module_name, size_t d_in, double **out,
                                 struct pmet_error *err)
{
    uint64_t hash = 5381;
    (void)user, (void)err;
    for (const char *s = module_name; *s; s++)
        hash = hash * 33 + (unsigned char)*s;
    *out = made_cov(d_in, hash);
    return PMET_OK;
}

static enum pmet_status keep_fact(void *user, struct pmet_delta *p, size_t k, size_t i,
                                  const struct pmet_targets *targets, struct pmet_error *err)
{
    struct edit_run *run = user;
    real *at = run->delta + i * 2 * run->d;
    (void)targets;
    PMET_TRY(pmet_delta_get(p, k, PMET_DELTA_MLP, at, err));
    return pmet_delta_get(p, k, PMET_DELTA_ATTN, at + run->d, err);
}

bool edit_facts(struct test *t, const struct golden *g, struct pmet_model *model, size_t first, size_t n,
                enum pmet_solver solver, size_t max_bytes, struct edit_run *out)
{
    char path[128];
    struct pmet_hparams h;
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_facts facts = g->facts;
    *out = (struct edit_run){.n = n, .d = model->config.d_model};
    out->delta = calloc(n * 2 * out->d, sizeof *out->delta);
    facts.fact += first;
    facts.n_fact = n;
    snprintf(path, sizeof path, "golden/%s/hparams/PMET/pmet.json", g->name);
    if (!CHECK_OK(pmet_hparams_load(pmet_io_system(), path, &pmet_hparams_pmet, &h, &err), &err) ||
        !CHECK_OK(pmet_targets_alloc(n, h.n_module, out->d, &out->targets, &err), &err))
        return false;
    const struct pmet_edit_options options = {
        .hparams = &h, .contexts = &g->contexts, .solver = solver, .max_bytes = max_bytes};
    const struct pmet_edit_watch watch = {.user = out, .fact = keep_fact};
    const struct pmet_rows_options o = {facts.path, model->config.n_ctx, model->config.n_vocab, false};
    struct pmet_fact_rows *rows = calloc(n, sizeof *rows);
    bool ok = true;
    for (size_t i = 0; i < n; i++)
        ok = ok && CHECK_OK(pmet_rows_build(g->tk, &facts.fact[i], &g->contexts, &o, &rows[i], &err), &err);
    ok = ok && CHECK_OK(pmet_edit_run(model, g->tk, &facts, rows, &options, made_cov_source, NULL, &watch,
                                      &out->targets, &out->edit, &err),
                        &err);
    for (size_t i = 0; i < n; i++)
        pmet_rows_free(&rows[i]);
    free(rows);
    return ok;
}

void edit_run_free(struct edit_run *run)
{
    pmet_edit_free(&run->edit);
    pmet_targets_free(&run->targets);
    free(run->delta);
}

bool same_edited(const struct pmet_edit *a, const struct pmet_edit *b)
{
    bool same = a->n_edited == b->n_edited && a->n_edited > 0;
    for (size_t k = 0; same && k < a->n_edited; k++) {
        const struct pmet_edited *x = &a->edited[k], *y = &b->edited[k];
        same = strcmp(x->name, y->name) == 0 && memcmp(x->W, y->W, x->d_out * x->d_in * sizeof *x->W) == 0;
    }
    return same;
}

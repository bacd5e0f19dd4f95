/* SPDX-License-Identifier: MIT
 * The whole edit: facts do not see one another while they are optimised, nothing wanted changes
 * nothing, what is wanted is reached where text has no weight, and the model in memory is left as
 * it was.      SPEC §8, E75 */
#include <sys/stat.h>
#include "ref/method/keys.h"
#include "tests/edits.h"
#include "tests/trace.h"

/* E53: the vectors, losses and passes of a fact alone are those among others, whatever their
 * order. */
TEST(a_fact_alone_is_optimised_as_among_others)
{
    static const size_t models[] = {0, 3};
    for (size_t m = 0; m < 2; m++) {
        struct golden g;
        struct edit_run all, one;
        if (!golden_open(t, &g, models[m]))
            return;
        const size_t n = 4;
        if (!edit_facts(t, &g, g.model, 0, n, PMET_SOLVER_CHOLESKY, SIZE_MAX, &all))
            return;
        for (size_t k = 0; k < n; k++) {
            if (!edit_facts(t, &g, g.model, k, 1, PMET_SOLVER_CHOLESKY, SIZE_MAX, &one))
                return;
            const struct pmet_delta_result *a = &one.editor.targets.fact[0].result,
                                           *b = &all.editor.targets.fact[k].result;
            CHECK(memcmp(one.delta, all.delta + 2 * k * all.d, 2 * all.d * sizeof(real)) == 0);
            CHECK(a->stop == b->stop && a->n_forward == b->n_forward && a->n_updates == b->n_updates);
            CHECK(a->last.loss == b->last.loss && a->last.prob == b->last.prob &&
                  a->first.nll == b->first.nll);
        }
    }
}

/* Nor does memory, as long as it does not choose the solver. */
TEST(memory_changes_no_bit_of_an_edit)
{
    struct golden g;
    struct edit_run much, little;
    if (!golden_open(t, &g, 2) || !edit_facts(t, &g, g.model, 0, 3, PMET_SOLVER_CHOLESKY, SIZE_MAX, &much) ||
        !edit_facts(t, &g, g.model, 0, 3, PMET_SOLVER_CHOLESKY, 0, &little))
        return;
    CHECK(same_edited(&much.editor, &little.editor));
}

/* ---- the second half alone ---- */

struct half {
    struct golden g;
    struct pmet_hparams h;
    const struct pmet_fact_rows *rows;
    size_t n, d, L;
    real *M; /* [n, d] what layer L returns now */
};

/* What layer L says at the lookup index of each plain prompt. */
static bool outputs(struct test *t, const struct half *q, real *M)
{
    struct pmet_key_rows *kr = NULL;
    const bool ok = CHECK_DONE(pmet_key_rows_open(q->g.model, q->rows, q->n, &q->g.contexts, q->h.layers[0],
                                                  0, &kr, &t->err)) &&
                    CHECK_DONE(pmet_current_outputs(kr, PMET_SITE_MLP_OUT, q->L, M, &t->err));
    pmet_key_rows_close(kr);
    return ok;
}

static bool half_open(struct test *t, struct half *q, size_t model, bool plain)
{
    static size_t one_group[2] = {0, 1};
    *q = (struct half){0};
    if (!golden_open(t, &q->g, model) || !golden_hparams(t, &q->g, &pmet_method_pmet, "PMET/pmet", &q->h))
        return false;
    if (plain) /* the plain prompt alone */
        q->g.contexts = (struct pmet_contexts){1, 1, one_group, q->g.contexts.text};
    q->n = q->g.facts.n_fact;
    q->d = q->g.model->config.d_model;
    q->L = q->h.layers[q->h.n_layer - 1];
    q->M = test_alloc(t, q->n * q->d * sizeof *q->M);
    q->rows = golden_rows(t, &q->g, 0, q->n, true);
    return q->rows && outputs(t, q, q->M);
}

typedef enum pmet_status cov_fn(void *user, const char *name, size_t d_in, double **out,
                                struct pmet_error *err);

/* An edit whose targets are given: Z [n, d]. */
static enum pmet_status spread(struct half *q, const real *Z, cov_fn *cov, struct pmet_editor *out,
                               struct pmet_error *err)
{
    *out = (struct pmet_editor){.method = &pmet_method_pmet,
                                .model = q->g.model,
                                .tk = q->g.tk,
                                .facts = &q->g.facts,
                                .contexts = &q->g.contexts,
                                .hparams = &q->h,
                                .moments = {.cov = cov},
                                .solver = PMET_SOLVER_CHOLESKY,
                                .max_bytes = SIZE_MAX};
    PMET_TRY(pmet_targets_alloc(q->n, 1, q->d, &out->targets, err));
    memcpy(out->targets.Z[0], Z, q->n * q->d * sizeof *Z);
    for (size_t i = 0; i < q->n; i++)
        out->targets.fact[i].done = out->targets.fact[i].applied = true;
    const enum pmet_status status = pmet_editor_run(out, err);
    if (status != PMET_OK)
        pmet_editor_free(out);
    return status;
}

/* Writes the edited matrices into a copy of the checkpoint, in the file's types. */
static bool write_copy(struct test *t, const struct half *q, const struct pmet_editor *edit, const char *dir)
{
    struct pmet_replacement replace[8];
    char name[8][160];
    void *data[8];
    for (size_t k = 0; k < edit->n_update; k++) {
        const struct pmet_update *e = &edit->update[k];
        const size_t n = e->d_out * e->d_in;
        snprintf(name[k], sizeof name[k], "%s.weight", e->name);
        const struct pmet_tensor *tensor = pmet_checkpoint_find(q->g.ck, name[k]);
        double *x = test_alloc(t, n * sizeof *x);
        data[k] = malloc(n * 8);
        for (size_t i = 0; i < n; i++)
            x[i] = (double)e->W[i];
        pmet_from_f64(data[k], tensor->dtype, x, n);
        replace[k] = (struct pmet_replacement){name[k], tensor->dtype, data[k]};
    }
    const bool ok = CHECK_DONE(pmet_checkpoint_write(pmet_io_system(), q->g.ck, dir, replace, edit->n_update,
                                                     false, NULL, NULL, &t->err));
    for (size_t k = 0; k < edit->n_update; k++)
        free(data[k]);
    return ok;
}

/* Whether every tensor of two checkpoints has the same bytes; how many do not. */
static size_t count_different(const struct pmet_checkpoint *a, const struct pmet_checkpoint *b)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_tensor; i++) {
        const struct pmet_tensor *x = pmet_checkpoint_at(a, i), *y = pmet_checkpoint_find(b, x->name);
        n += !y || x->dtype != y->dtype || x->n_elem != y->n_elem ||
             memcmp(x->data, y->data, x->n_elem * pmet_dtype_size(x->dtype)) != 0;
    }
    return n;
}

/* Targets equal to what the model says already: every matrix keeps its bits, in memory and in the
 * file. */
TEST(a_zero_edit_leaves_every_matrix_bit_equal)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct half q;
        struct pmet_editor edit;
        struct pmet_checkpoint *copy = NULL;
        if (!half_open(t, &q, i, false) || !CHECK_DONE(spread(&q, q.M, made_cov_source, &edit, &t->err)))
            return;
        const char *dir = test_path("copy-%zu", i);
        for (size_t k = 0; k < edit.n_update; k++)
            CHECK(edit.update[k].upd_norm == 0 && edit.update[k].w_norm > 0);
        CHECK(edit.n_update == q.h.n_layer);
        if (CHECK(mkdir(dir, 0777) == 0) && write_copy(t, &q, &edit, dir) &&
            CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), dir, &copy, &t->err)))
            CHECK(count_different(q.g.ck, copy) == 0);
        pmet_checkpoint_close(copy);
        pmet_editor_free(&edit);
    }
}

/* -0 + 0 is +0: an element whose update is 0 is not added to. */
TEST(a_negative_zero_stays_where_nothing_is_wanted)
{
    struct half q;
    struct pmet_editor edit;
    const char *dir = test_path("negative");
    if (!half_open(t, &q, 1, false) || !CHECK_DONE(spread(&q, q.M, made_cov_source, &edit, &t->err)))
        return;
    edit.update[0].W[7] = (real)-0.0;
    CHECK(mkdir(dir, 0777) == 0 && write_copy(t, &q, &edit, dir));
    pmet_editor_free(&edit);
    q.g.model = NULL;
    q.g.ck = NULL;
    if (CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), dir, &q.g.ck, &t->err)) &&
        CHECK_DONE(pmet_model_open(q.g.ck, q.g.op, &q.g.model, &t->err)) && outputs(t, &q, q.M) &&
        CHECK_DONE(spread(&q, q.M, made_cov_source, &edit, &t->err))) {
        CHECK(edit.update[0].W[7] == 0 && signbit(edit.update[0].W[7]));
        pmet_editor_free(&edit);
    }
    pmet_model_close(q.g.model);
    pmet_checkpoint_close(q.g.ck);
}

/* The same comparison sees an edit that does want something: exactly its matrices differ. */
TEST(an_edit_changes_its_matrices_and_no_other_tensor)
{
    struct half q;
    struct pmet_editor edit;
    struct pmet_checkpoint *copy = NULL;
    if (!half_open(t, &q, 3, false))
        return;
    for (size_t i = 0; i < q.n * q.d; i++)
        q.M[i] += (real)0.1;
    const char *dir = test_path("edited");
    if (CHECK_DONE(spread(&q, q.M, made_cov_source, &edit, &t->err)) && CHECK(mkdir(dir, 0777) == 0) &&
        write_copy(t, &q, &edit, dir) &&
        CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), dir, &copy, &t->err)))
        CHECK(count_different(q.g.ck, copy) == q.h.n_layer);
    pmet_checkpoint_close(copy);
    pmet_editor_free(&edit);
}

/* One layer, the plain prompts as only contexts, lambda nearly 0: the edited layer says what was
 * wanted. Keys are independent (fewer facts than features), so R K^T (K K^T)^-1 K = R but for
 * lambda and rounding. */
TEST(without_text_the_edited_layer_says_what_was_wanted)
{
    for (size_t i = 0; i < N_GOLDEN; i++) {
        struct half q;
        struct pmet_editor edit = {0};
        struct test_rng rng = {i};
        if (!half_open(t, &q, i, true))
            return;
        real *Z = test_alloc(t, q.n * q.d * sizeof *Z), *now = test_alloc(t, q.n * q.d * sizeof *now);
        double *a = test_alloc(t, q.n * q.d * sizeof *a), *b = test_alloc(t, q.n * q.d * sizeof *b);
        for (size_t k = 0; k < q.n * q.d; k++)
            Z[k] = q.M[k] + (real)test_rng_normal(&rng);
        q.h.layers[0] = q.L;
        q.h.n_layer = 1;
        q.h.mom2_update_weight = 1e-9;
        if (CHECK_DONE(spread(&q, Z, made_cov_source, &edit, &t->err))) {
            struct pmet_weight *w = pmet_model_module(q.g.model, PMET_MODULE_MLP, q.L);
            const struct pmet_weight was = *w;
            real *dev = NULL;
            const size_t n_bytes = was.n_out * was.n_in * sizeof *dev;
            CHECK_DONE(q.g.op->alloc(q.g.op, n_bytes, &dev, &t->err));
            CHECK_DONE(q.g.op->upload(q.g.op, dev, edit.update[0].W, n_bytes, &t->err));
            *w = (struct pmet_weight){dev, PMET_REAL, was.n_out, was.n_in};
            if (outputs(t, &q, now)) {
                for (size_t k = 0; k < q.n * q.d; k++) {
                    a[k] = (double)now[k];
                    b[k] = (double)Z[k];
                }
                CHECK_CLOSE(a, b, q.n * q.d, sizeof(real) == 4 ? 1e-5 : 1e-7);
            }
            *w = was;
            q.g.op->release(q.g.op, dev);
        }
        pmet_editor_free(&edit);
    }
}

static enum pmet_status no_cov(void *user, const char *module_name, size_t d_in, double **out,
                               struct pmet_error *err)
{
    (void)user, (void)d_in, (void)out;
    return strchr(module_name, '0') ? made_cov_source(user, module_name, d_in, out, err)
                                    : pmet_fail(err, PMET_IO, "%s: no statistics", module_name);
}

/* After an edit, and after one that fails at its second layer, the model computes what it computed
 * before. */
TEST(the_model_is_left_as_it_was)
{
    static const size_t length[] = {20, 7};
    struct half q;
    struct pmet_editor edit;
    struct trace before, after;
    struct test_rng rng = {1};
    if (!half_open(t, &q, 0, false))
        return;
    struct pmet_row *row = made_lines(t, &rng, q.g.model, length, 2);
    bool ok = trace_rows(t, q.g.model, row, 2, NULL, 2, NULL, &before);
    for (size_t i = 0; i < q.n * q.d; i++)
        q.M[i] += (real)0.1;
    for (int fail = 0; ok && fail < 2; fail++) {
        const enum pmet_status status = spread(&q, q.M, fail ? no_cov : made_cov_source, &edit, &t->err);
        CHECK(status == (fail ? PMET_IO : PMET_OK));
        if (trace_rows(t, q.g.model, row, 2, NULL, 2, NULL, &after))
            CHECK(memcmp(after.x, before.x, before.n_tok * before.width * sizeof *before.x) == 0);
        if (status == PMET_OK)
            pmet_editor_free(&edit);
    }
    CHECK_STR(t->err.message, "transformer.h.1.mlp.fc_out: no statistics");
}

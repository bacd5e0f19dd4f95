/* SPDX-License-Identifier: MIT */
#include "tests/trace.h"

/* A pass over one part of some rows. */
struct part {
    const struct pmet_model *model;
    struct trace *out;
    struct pmet_rows rows;
    struct pmet_scratch s;
    size_t *line; /* of each token of the batch, in the trace and in the cache */
    real *x, *logits;
};

static enum pmet_status copy_lines(struct part *p, const real *data, size_t width, size_t column,
                                   struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    for (size_t k = 0; k < p->rows.batch.n_tok; k++)
        PMET_TRY(op->download(op, p->out->x + p->line[k] * p->out->width + column, data + k * width,
                              width * sizeof *data, err));
    return PMET_OK;
}

static enum pmet_status see(void *user, enum pmet_site site, size_t layer, const real *data, size_t n_tok,
                            size_t width, struct pmet_error *err)
{
    struct part *p = user;
    const struct pmet_config *c = &p->model->config;
    const size_t block = 4 * c->d_model + c->d_ff;
    static const size_t hiddens_before[] = {[PMET_SITE_HIDDEN] = 0,
                                            [PMET_SITE_ATTN_IN] = 1,
                                            [PMET_SITE_ATTN_OUT] = 2,
                                            [PMET_SITE_MLP_OUT] = 3,
                                            [PMET_SITE_MLP_KEY] = 4};
    (void)n_tok;
    if (site == PMET_SITE_BLOCK_OUT)
        return PMET_OK;
    return copy_lines(p, data, width, layer * block + hiddens_before[site] * c->d_model, err);
}

/* Tokens from[j] .. to[j] of the chosen rows (to NULL: the row's end). */
static enum pmet_status run_part(struct part *p, const struct pmet_row *row, const size_t *first,
                                 const size_t *order, size_t n, const size_t *from, const size_t *to,
                                 const struct pmet_cache *past, struct pmet_cache *store,
                                 struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    const struct pmet_ops *op = p->model->op;
    size_t n_tok = 0;
    for (size_t k = 0; k < n; k++)
        n_tok += row[order[k]].n_tok;
    PMET_TRY(pmet_batch_alloc(n, n_tok, &p->rows, err));
    PMET_TRY(pmet_calloc(&p->line, n_tok, sizeof *p->line, "lines", err));
    for (size_t k = 0; k < n; k++) {
        const size_t j = order[k], begin = from ? from[j] : 0, end = to ? to[j] : row[j].n_tok;
        for (size_t i = begin; i < end; i++)
            p->line[p->rows.batch.n_tok + i - begin] = first[j] + i;
        pmet_batch_add(&p->rows, row[j].id + begin, end - begin, begin, first[j]);
    }
    n_tok = p->rows.batch.n_tok;
    PMET_TRY(pmet_scratch_alloc(p->model, n_tok, false, &p->s, err));
    PMET_TRY(op->alloc(op, n_tok * c->d_model * sizeof(real), &p->x, err));
    PMET_TRY(op->alloc(op, n_tok * c->n_vocab * sizeof(real), &p->logits, err));
    const struct pmet_tap tap = {.user = p, .see = see};
    const struct pmet_kv kv = {past, store, p->line};
    PMET_TRY(pmet_embed(p->model, p->x, p->rows.id, n_tok, err));
    PMET_TRY(pmet_blocks(p->model, 0, c->n_layer, p->x, &p->rows.batch, &kv, &p->s, &tap, err));
    PMET_TRY(pmet_head(p->model, p->logits, p->s.u, p->x, n_tok, err));
    return copy_lines(p, p->logits, c->n_vocab, p->out->width - c->n_vocab, err);
}

static void end_part(struct part *p)
{
    p->model->op->release(p->model->op, p->x);
    p->model->op->release(p->model->op, p->logits);
    pmet_scratch_free(&p->s);
    pmet_batch_free(&p->rows);
    free(p->line);
}

bool trace_rows(struct test *t, const struct pmet_model *model, const struct pmet_row *row, size_t n_row,
                const size_t *order, size_t n, const size_t *cut, struct trace *out)
{
    const struct pmet_config *c = &model->config;
    struct part early = {.model = model, .out = out}, late = early;
    struct pmet_cache cache = {0};
    size_t *first = test_alloc(t, (n_row + 1) * sizeof *first),
           *as_they_are = test_alloc(t, (n_row + 1) * sizeof *first);
    for (size_t j = 0; j < n_row; j++) {
        as_they_are[j] = j;
        first[j + 1] = first[j] + row[j].n_tok;
    }
    out->n_tok = first[n_row];
    out->width = c->n_layer * (4 * c->d_model + c->d_ff) + c->n_vocab;
    out->x = test_alloc(t, (out->n_tok * out->width + 1) * sizeof *out->x);
    order = order ? order : as_they_are;
    bool ok = true;
    if (cut)
        ok = CHECK_DONE(pmet_cache_alloc(model, 0, out->n_tok, &cache, &t->err)) &&
             CHECK_DONE(run_part(&early, row, first, order, n, NULL, cut, NULL, &cache, &t->err));
    ok = ok &&
         CHECK_DONE(run_part(&late, row, first, order, n, cut, NULL, cut ? &cache : NULL, NULL, &t->err));
    end_part(&early);
    end_part(&late);
    pmet_cache_free(&cache);
    return ok;
}

struct pmet_row *made_lines(struct test *t, struct test_rng *rng, const struct pmet_model *model,
                            const size_t *length, size_t n)
{
    struct pmet_row *row = test_alloc(t, n * sizeof *row);
    for (size_t j = 0; j < n; j++) {
        row[j] = (struct pmet_row){test_alloc(t, length[j] * sizeof(int32_t)), length[j], 0};
        for (size_t i = 0; i < length[j]; i++)
            row[j].id[i] = (int32_t)(test_rng_next(rng) % model->config.n_vocab);
    }
    return row;
}

/* SPDX-License-Identifier: MIT
 * Keys and current outputs at the lookup index, with the model as edited so far.   SPEC §6, §8.1 */
#include "ref/method/keys.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_TOKENS 2048 /* of one pass; a row's result does not depend on it */

/* Rows that go through the model together, each cut after its lookup index: later tokens change
 * nothing there. */
struct chunk {
    struct pmet_rows rows;
    size_t first; /* number of its first row in the set */
    size_t *last; /* [rows.batch.n_row] token of each lookup index */
    real *below;  /* host [n_tok, d] states entering first_layer; NULL: computed again each time */
};
struct set {
    struct chunk *chunk;
    size_t n_chunk, n_row;
};

struct pmet_key_rows {
    const struct pmet_model *model;
    size_t n_fact, n_context, first_layer, n_tok_max;
    struct set all, plain; /* every context; the plain prompt alone */
    double *weight;        /* [n_context] of a context in a key */
    struct pmet_scratch scratch;
    real *x, *at; /* (dev) [n_tok_max, d], [n_tok_max, widest key] */
};

/* Row r of a set, counted fact by fact, per_fact rows each. */
static const struct pmet_row *row_at(const struct pmet_fact_rows *rows, size_t per_fact, size_t r)
{
    return &rows[r / per_fact].row[r % per_fact];
}

/* One chunk of rows [first, end) of the set. */
static enum pmet_status fill_chunk(struct chunk *c, const struct pmet_fact_rows *rows, size_t per_fact,
                                   size_t first, size_t end, struct pmet_error *err)
{
    size_t n_tok = 0;
    for (size_t r = first; r < end; r++)
        n_tok += row_at(rows, per_fact, r)->lookup_idx + 1;
    PMET_TRY(pmet_batch_alloc(end - first, n_tok, &c->rows, err));
    PMET_TRY(pmet_calloc(&c->last, end - first, sizeof *c->last, "rows of keys", err));
    c->first = first;
    for (size_t r = first; r < end; r++) {
        const struct pmet_row *row = row_at(rows, per_fact, r);
        pmet_batch_add(&c->rows, row->id, row->lookup_idx + 1, 0, 0);
        c->last[r - first] = c->rows.batch.n_tok - 1;
    }
    return PMET_OK;
}

static enum pmet_status fill_set(struct set *set, const struct pmet_fact_rows *rows, size_t n_fact,
                                 size_t per_fact, size_t *n_tok_max, struct pmet_error *err)
{
    set->n_row = n_fact * per_fact;
    PMET_TRY(pmet_calloc(&set->chunk, set->n_row, sizeof *set->chunk, "rows of keys", err));
    for (size_t first = 0; first < set->n_row;) {
        size_t end = first, n_tok = 0;
        do
            n_tok += row_at(rows, per_fact, end)->lookup_idx + 1;
        while (++end < set->n_row && n_tok + row_at(rows, per_fact, end)->lookup_idx < CHUNK_TOKENS);
        PMET_TRY(fill_chunk(&set->chunk[set->n_chunk++], rows, per_fact, first, end, err));
        if (n_tok > *n_tok_max)
            *n_tok_max = n_tok;
        first = end;
    }
    return PMET_OK;
}

/* kr->x = the chunk's states entering first_layer. */
static enum pmet_status load_states(struct pmet_key_rows *kr, struct chunk *c, struct pmet_error *err)
{
    const struct pmet_ops *op = kr->model->op;
    const size_t n = c->rows.batch.n_tok, n_bytes = n * kr->model->config.d_model * sizeof(real);
    if (c->below)
        return op->upload(op, kr->x, c->below, n_bytes, err);
    PMET_TRY(pmet_embed(kr->model, kr->x, c->rows.id, n, err));
    return pmet_blocks(kr->model, 0, kr->first_layer, kr->x, &c->rows.batch, NULL, &kr->scratch, NULL, err);
}

/* kr->x = the chunk's states entering `layer`, with the model as edited so far. */
static enum pmet_status run_to(struct pmet_key_rows *kr, struct chunk *c, size_t layer,
                               struct pmet_error *err)
{
    PMET_TRY(load_states(kr, c, err));
    return pmet_blocks(kr->model, kr->first_layer, layer, kr->x, &c->rows.batch, NULL, &kr->scratch, NULL,
                       err);
}

/* Edits never change the states below the first edited layer: they are kept while they fit. */
static enum pmet_status keep_below(struct pmet_key_rows *kr, struct set *set, size_t *max_bytes,
                                   struct pmet_error *err)
{
    const struct pmet_ops *op = kr->model->op;
    for (size_t i = 0; i < set->n_chunk; i++) {
        struct chunk *c = &set->chunk[i];
        const size_t n_bytes = c->rows.batch.n_tok * kr->model->config.d_model * sizeof(real);
        if (n_bytes > *max_bytes)
            return PMET_OK;
        real *below;
        PMET_TRY(pmet_calloc(&below, n_bytes, 1, "states below the first edited layer", err));
        enum pmet_status status = load_states(kr, c, err);
        if (status == PMET_OK)
            status = op->download(op, below, kr->x, n_bytes, err);
        c->below = below;
        PMET_TRY(status);
        *max_bytes -= n_bytes;
    }
    return PMET_OK;
}

double pmet_key_rows_bytes(const struct pmet_model *model)
{
    const double d = (double)model->config.d_model, ff = (double)model->config.d_ff,
                 n_ctx = (double)model->config.n_ctx;
    return (n_ctx > CHUNK_TOKENS ? n_ctx : CHUNK_TOKENS) * (9 * d + 2 * ff + (ff > d ? ff : d)) *
           sizeof(real);
}

enum pmet_status pmet_key_rows_open(const struct pmet_model *model, const struct pmet_fact_rows *rows,
                                    size_t n_fact, const struct pmet_contexts *contexts, size_t first_layer,
                                    size_t max_bytes, struct pmet_key_rows **out, struct pmet_error *err)
{
    struct pmet_key_rows *kr = NULL;
    const size_t d = model->config.d_model, widest = model->config.d_ff > d ? model->config.d_ff : d;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&kr, 1, sizeof *kr, "rows of keys", err));
    kr->model = model;
    kr->n_fact = n_fact;
    kr->n_context = contexts->n_template;
    kr->first_layer = first_layer;
    PMET_GO(pmet_calloc(&kr->weight, kr->n_context, sizeof *kr->weight, "rows of keys", err));
    for (size_t g = 0; g < contexts->n_group; g++)
        for (size_t j = contexts->group_start[g]; j < contexts->group_start[g + 1]; j++)
            kr->weight[j] = 1.0 / ((double)contexts->n_group *
                                   (double)(contexts->group_start[g + 1] - contexts->group_start[g]));
    PMET_GO(fill_set(&kr->all, rows, n_fact, kr->n_context, &kr->n_tok_max, err));
    PMET_GO(fill_set(&kr->plain, rows, n_fact, 1, &kr->n_tok_max, err));
    PMET_GO(pmet_scratch_alloc(model, kr->n_tok_max, false, &kr->scratch, err));
    PMET_GO(model->op->alloc(model->op, kr->n_tok_max * d * sizeof(real), &kr->x, err));
    PMET_GO(model->op->alloc(model->op, kr->n_tok_max * widest * sizeof(real), &kr->at, err));
    if (first_layer > 0) {
        PMET_GO(keep_below(kr, &kr->all, &max_bytes, err));
        PMET_GO(keep_below(kr, &kr->plain, &max_bytes, err));
    }
    *out = kr;
    kr = NULL;
done:
    pmet_key_rows_close(kr);
    return status;
}

static void free_set(struct set *set)
{
    for (size_t i = 0; i < set->n_chunk; i++) {
        pmet_batch_free(&set->chunk[i].rows);
        free(set->chunk[i].last);
        free(set->chunk[i].below);
    }
    free(set->chunk);
}

void pmet_key_rows_close(struct pmet_key_rows *kr)
{
    if (!kr)
        return;
    free_set(&kr->all);
    free_set(&kr->plain);
    free(kr->weight);
    pmet_scratch_free(&kr->scratch);
    kr->model->op->release(kr->model->op, kr->x);
    kr->model->op->release(kr->model->op, kr->at);
    free(kr);
}

/* Copies the values of one site at the lookup indices of a chunk. */
struct reader {
    struct pmet_key_rows *kr;
    const struct chunk *chunk;
    enum pmet_site site;
    size_t layer;
    real *out; /* host [rows of the chunk, width] */
};

static enum pmet_status read_site(void *user, enum pmet_site site, size_t layer, const real *data,
                                  size_t n_tok, size_t width, struct pmet_error *err)
{
    const struct reader *r = user;
    const struct pmet_ops *op = r->kr->model->op;
    const size_t n_row = r->chunk->rows.batch.n_row;
    (void)n_tok;
    if (site != r->site || layer != r->layer)
        return PMET_OK;
    PMET_TRY(op->gather(op, r->kr->at, data, r->chunk->last, n_row, width, err));
    return op->download(op, r->out, r->kr->at, n_row * width * sizeof(real), err);
}

/* E63: half the plain prompt as published (X7). */
enum pmet_status pmet_keys(struct pmet_key_rows *kr, enum pmet_module module, size_t layer, real *K,
                           real *per_context, struct pmet_error *err)
{
    const struct pmet_config *c = &kr->model->config;
    const size_t d_in = module == PMET_MODULE_MLP ? c->d_ff : c->d_model;
    double *sum = NULL; /* over the contexts of one fact, whose rows may lie in two chunks */
    real *out = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&sum, d_in, sizeof *sum, "keys", err));
    PMET_GO(pmet_calloc(&out, kr->n_tok_max * d_in, sizeof *out, "keys", err));
    for (size_t i = 0; i < kr->all.n_chunk; i++) {
        struct chunk *chunk = &kr->all.chunk[i];
        struct reader r = {kr, chunk, module == PMET_MODULE_MLP ? PMET_SITE_MLP_KEY : PMET_SITE_ATTN_IN,
                           layer, out};
        const struct pmet_tap tap = {.user = &r, .see = read_site};
        PMET_GO(run_to(kr, chunk, layer, err));
        PMET_GO(pmet_block_keys(kr->model, layer, kr->x, &chunk->rows.batch, &kr->scratch, &tap, err));
        for (size_t b = 0; b < chunk->rows.batch.n_row; b++) {
            const size_t row = chunk->first + b, fact = row / kr->n_context, j = row % kr->n_context;
            if (per_context)
                memcpy(per_context + row * d_in, out + b * d_in, d_in * sizeof *out);
            for (size_t k = 0; k < d_in; k++) {
                sum[k] = (j == 0 ? 0 : sum[k]) + kr->weight[j] * (double)out[b * d_in + k];
                if (j + 1 == kr->n_context)
                    K[fact * d_in + k] = (real)sum[k];
            }
        }
    }
done:
    free(sum);
    free(out);
    return status;
}

/* E67: M */
enum pmet_status pmet_current_outputs(struct pmet_key_rows *kr, enum pmet_site site, size_t layer, real *M,
                                      struct pmet_error *err)
{
    const size_t d = kr->model->config.d_model;
    for (size_t i = 0; i < kr->plain.n_chunk; i++) {
        struct chunk *chunk = &kr->plain.chunk[i];
        struct reader r = {kr, chunk, site, layer, M + chunk->first * d};
        const struct pmet_tap tap = {.user = &r, .see = read_site};
        PMET_TRY(run_to(kr, chunk, layer, err));
        PMET_TRY(pmet_block(kr->model, layer, kr->x, kr->x, &chunk->rows.batch, NULL, &kr->scratch, NULL,
                            &tap, err));
    }
    return PMET_OK;
}

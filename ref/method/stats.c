/* SPDX-License-Identifier: MIT
 * Second moments of keys over text: all edited layers in one pass that stops at the last of them.
 * SPEC §7.2, E66 */
#include "ref/method/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/event.h"

/* Documents are packed up to this; fixed, since sums depend on it in their last bits. */
enum { BATCH_TOKENS = 2048 };

struct collector {
    const struct pmet_model *model;
    const struct pmet_stats_options *options;
    const struct pmet_stats_keeper *keeper; /* or NULL */
    const struct pmet_listener *listener;   /* or NULL */
    size_t at, n_sample; /* documents of the order that are in the batch or past it; of all */
    struct pmet_stats *out;
    real **sum; /* (dev) [n_moment] lower triangles */
    struct pmet_rows rows;
    struct pmet_scratch scratch;
    real *x; /* (dev) [cap, d] */
    size_t cap;
};

static enum pmet_status see(void *user, enum pmet_site site, size_t layer, const real *data, size_t n_tok,
                            size_t width, struct pmet_error *err)
{
    const struct collector *c = user;
    for (size_t i = 0; i < c->out->n_moment; i++) {
        const struct pmet_moment *m = &c->out->moment[i];
        if (m->layer == layer &&
            site == (m->module == PMET_MODULE_MLP ? PMET_SITE_MLP_KEY : PMET_SITE_ATTN_IN))
            PMET_TRY(c->model->op->gram(c->model->op, c->sum[i], data, n_tok, width, err));
    }
    return PMET_OK;
}

/* Refuses what a device could not hold before any of it is taken: the sums, and a pass of `cap`
 * tokens. */
static enum pmet_status check_device(const struct collector *c, struct pmet_error *err)
{
    const double d = (double)c->model->config.d_model, ff = (double)c->model->config.d_ff;
    const double sums = (double)c->options->n_layer * (ff * ff + (c->options->attn ? d * d : 0));
    char what[64];
    snprintf(what, sizeof what, "statistics of %zu layers at a time (--layers)", c->options->n_layer);
    return pmet_capacity_check(c->model->op, what, (sums + (double)c->cap * (9 * d + 2 * ff)) * sizeof(real),
                               err);
}

static enum pmet_status plan(struct collector *c, struct pmet_error *err)
{
    const struct pmet_ops *op = c->model->op;
    const struct pmet_stats_options *o = c->options;
    PMET_TRY(check_device(c, err));
    PMET_TRY(pmet_calloc(&c->out->moment, 2 * o->n_layer, sizeof *c->out->moment, "second moments", err));
    PMET_TRY(pmet_calloc(&c->sum, 2 * o->n_layer, sizeof *c->sum, "second moments", err));
    for (size_t i = 0; i < o->n_layer; i++)
        for (int attn = 0; attn <= (o->attn ? 1 : 0); attn++) {
            const size_t d_in = attn ? c->model->config.d_model : c->model->config.d_ff, k = c->out->n_moment;
            c->out->moment[c->out->n_moment++] = (struct pmet_moment){
                .module = attn ? PMET_MODULE_ATTN : PMET_MODULE_MLP, .layer = o->layers[i], .d_in = d_in};
            PMET_TRY(op->alloc(op, d_in * d_in * sizeof(real), &c->sum[k], err));
            PMET_TRY(op->zero(op, c->sum[k], d_in * d_in * sizeof(real), err));
        }
    PMET_TRY(pmet_batch_alloc(c->cap, c->cap, &c->rows, err));
    PMET_TRY(pmet_scratch_alloc(c->model, c->cap, false, &c->scratch, err));
    return op->alloc(op, c->cap * c->model->config.d_model * sizeof(real), &c->x, err);
}

/* The documents packed so far through the model, up to the last edited layer's keys. */
static enum pmet_status flush(struct collector *c, struct pmet_error *err)
{
    struct pmet_batch *batch = &c->rows.batch;
    const size_t last = c->options->layers[c->options->n_layer - 1];
    const struct pmet_tap tap = {.user = c, .see = see};
    if (batch->n_tok == 0)
        return PMET_OK;
    PMET_TRY(pmet_embed(c->model, c->x, c->rows.id, batch->n_tok, err));
    for (size_t l = 0; l < last; l++) { /* one at a time: a signal is heard between them */
        PMET_TRY(pmet_raise_progress(c->listener, PMET_PHASE_STATS, c->at, c->n_sample, err));
        PMET_TRY(pmet_blocks(c->model, l, l + 1, c->x, batch, NULL, &c->scratch, &tap, err));
    }
    PMET_TRY(pmet_raise_progress(c->listener, PMET_PHASE_STATS, c->at, c->n_sample, err));
    PMET_TRY(pmet_block_keys(c->model, last, c->x, batch, &c->scratch, &tap, err));
    c->out->count += batch->n_tok;
    batch->n_row = batch->n_tok = 0;
    return PMET_OK;
}

/* E[k k^T] on the host: the sums over the count, mirrored. */
static enum pmet_status finish(struct collector *c, struct pmet_error *err)
{
    const struct pmet_ops *op = c->model->op;
    if (c->out->count == 0)
        return pmet_fail(err, PMET_INPUT, "the text holds no tokens: no second moments");
    for (size_t i = 0; i < c->out->n_moment; i++) {
        struct pmet_moment *m = &c->out->moment[i];
        const size_t n = m->d_in;
        PMET_TRY(pmet_raise_progress(c->listener, PMET_PHASE_STATS, c->n_sample, c->n_sample, err));
        PMET_TRY(pmet_calloc(&m->mom2, n * n, sizeof *m->mom2, "second moments", err));
        PMET_TRY(op->download(op, m->mom2, c->sum[i], n * n * sizeof(real), err));
        op->release(op, c->sum[i]);
        c->sum[i] = NULL;
        for (size_t r = 0; r < n; r++)
            for (size_t k = 0; k <= r; k++) {
                m->mom2[r * n + k] /= (real)c->out->count;
                m->mom2[k * n + r] = m->mom2[r * n + k];
                if (!(m->mom2[r * n + k] - m->mom2[r * n + k] == 0)) {
                    char what[128];
                    snprintf(what, sizeof what, "the second moment of layer %zu, element [%zu,%zu], is",
                             m->layer, r, k);
                    return pmet_model_not_finite(c->model, what, err);
                }
            }
    }
    return PMET_OK;
}

/* E65. Document i is the at-th of the order. */
static enum pmet_status add_document(struct collector *c, const struct pmet_tokenizer *tk,
                                     const struct pmet_docs *docs, size_t i, size_t at, size_t max_length,
                                     struct pmet_ids *ids, struct pmet_error *err)
{
    char *text;
    size_t n;
    PMET_TRY(pmet_docs_get(docs, i, &text, &n, err));
    ids->n = 0;
    const enum pmet_status status = pmet_tokenizer_encode(tk, text, n, ids, err);
    free(text);
    PMET_TRY(status);
    if (ids->n == 0)
        return PMET_OK;
    const size_t n_tok = ids->n < max_length ? ids->n : max_length;
    if (c->rows.batch.n_tok + n_tok > c->cap) {
        PMET_TRY(flush(c, err));
        if (c->keeper)
            PMET_TRY(c->keeper->keep(c->keeper->user, c->sum, c->out, at, err));
    }
    pmet_batch_add(&c->rows, ids->id, n_tok, 0, 0);
    c->out->n_used++;
    return PMET_OK;
}

enum pmet_status pmet_stats_collect(const struct pmet_model *model, const struct pmet_tokenizer *tk,
                                    const struct pmet_docs *docs, const struct pmet_stats_options *options,
                                    const struct pmet_stats_keeper *keeper,
                                    const struct pmet_listener *listener, struct pmet_stats *out,
                                    struct pmet_error *err)
{
    const size_t n_docs = pmet_docs_count(docs), n_ctx = model->config.n_ctx;
    const size_t n_sample =
        options->n_samples == 0 || options->n_samples > n_docs ? n_docs : options->n_samples;
    const size_t max_length =
        options->max_length == 0 || options->max_length > n_ctx ? n_ctx : options->max_length;
    struct collector c = {.model = model,
                          .options = options,
                          .keeper = keeper,
                          .listener = listener,
                          .n_sample = n_sample,
                          .out = out};
    struct pmet_ids ids = {0};
    size_t *order = NULL, first = 0;
    enum pmet_status status;
    *out = (struct pmet_stats){.n_docs = n_docs};
    c.cap = max_length > BATCH_TOKENS ? max_length : BATCH_TOKENS;
    PMET_GO(plan(&c, err));
    PMET_GO(pmet_calloc(&order, n_docs, sizeof *order, "the order of the documents", err));
    pmet_shuffle(order, n_docs, options->seed);
    if (keeper)
        PMET_GO(keeper->recall(keeper->user, c.sum, out, &first, err));
    for (size_t i = first; i < n_sample; i++) {
        c.at = i;
        PMET_GO(pmet_raise_progress(listener, PMET_PHASE_STATS, i, n_sample, err));
        PMET_GO(add_document(&c, tk, docs, order[i], i, max_length, &ids, err));
    }
    PMET_GO(flush(&c, err));
    PMET_GO(finish(&c, err));
    status = pmet_raise_progress(listener, PMET_PHASE_STATS, n_sample, n_sample, err);
done:
    for (size_t i = 0; c.sum && i < out->n_moment; i++)
        model->op->release(model->op, c.sum[i]);
    free(c.sum);
    pmet_batch_free(&c.rows);
    pmet_scratch_free(&c.scratch);
    model->op->release(model->op, c.x);
    free(ids.id);
    free(order);
    if (status != PMET_OK)
        pmet_stats_free(out);
    return status;
}

void pmet_stats_free(struct pmet_stats *stats)
{
    for (size_t i = 0; stats->moment && i < stats->n_moment; i++)
        free(stats->moment[i].mom2);
    free(stats->moment);
    memset(stats, 0, sizeof *stats);
}

/* SPDX-License-Identifier: MIT
 * Opening a fact's optimisation: everything that no delta can change is computed here, once (E47).
 * SPEC §5.1 */
#include <stdlib.h>
#include <string.h>
#include "ref/edit/delta_private.h"

/* Memory for n reals in *out, released with the problem. */
static enum pmet_status own(struct pmet_delta *p, real **out, size_t n, struct pmet_error *err)
{
    if (p->n_owned == p->cap_owned) {
        const size_t cap = 2 * p->cap_owned + 64;
        void **grown = realloc(p->owned, cap * sizeof *grown);
        if (!grown)
            return pmet_fail_memory(err, "a fact's optimisation", cap * sizeof *grown);
        p->owned = grown;
        p->cap_owned = cap;
    }
    size_t n_bytes;
    if (!pmet_mul_size(n, sizeof(real), &n_bytes))
        return pmet_fail_memory(err, "a fact's optimisation", SIZE_MAX);
    PMET_TRY(p->model->op->alloc(p->model->op, n_bytes, out, err));
    p->owned[p->n_owned++] = *out;
    return PMET_OK;
}

/* Tokens of row b that matter: the KL row is read at its lookup index, and what follows it changes nothing
 * there (X2). */
static size_t row_length(const struct pmet_delta *p, size_t b)
{
    const struct pmet_row *row = &p->rows->row[b];
    return b + 1 == p->n_row ? row->lookup_idx + 1 : row->n_tok;
}

/* Packs tokens [from, to) of every row, from and to given by whether the lookup index is the start or the
 * end. */
enum part { WHOLE, BEFORE, FROM_LOOKUP };
static enum pmet_status pack(const struct pmet_delta *p, enum part part, struct pmet_rows *out,
                             struct pmet_error *err)
{
    size_t n_tok = 0, n_before = 0;
    for (size_t b = 0; b < p->n_row; b++)
        n_tok += row_length(p, b);
    PMET_TRY(pmet_batch_alloc(p->n_row, n_tok, out, err));
    for (size_t b = 0; b < p->n_row; b++) {
        const struct pmet_row *row = &p->rows->row[b];
        const size_t idx = row->lookup_idx, len = row_length(p, b);
        if (part == WHOLE)
            pmet_batch_add(out, row->id, len, 0, 0);
        else if (part == BEFORE)
            pmet_batch_add(out, row->id, idx, 0, 0);
        else
            pmet_batch_add(out, row->id + idx, len - idx, idx, n_before);
        n_before += idx;
    }
    return PMET_OK;
}

/* out = the tokens of `part`, taken from x over whole rows. */
static enum pmet_status take(const struct pmet_delta *p, const struct pmet_batch *whole,
                             const struct pmet_batch *part, bool from_lookup, real *out, const real *x,
                             struct pmet_error *err)
{
    size_t *idx;
    PMET_TRY(pmet_calloc(&idx, part->n_tok, sizeof *idx, "token indices", err));
    for (size_t b = 0; b < p->n_row; b++) {
        const size_t first = whole->row_start[b] + (from_lookup ? p->rows->row[b].lookup_idx : 0);
        for (size_t t = part->row_start[b]; t < part->row_start[b + 1]; t++)
            idx[t] = first + t - part->row_start[b];
    }
    const enum pmet_status status =
        p->model->op->gather(p->model->op, out, x, idx, part->n_tok, p->model->config.d_model, err);
    free(idx);
    return status;
}

/* E43, E47 (d): labels split into those a delta can move and those before the lookup index, of which *early
 * lists (token, slot). */
static enum pmet_status place_labels(struct pmet_delta *p, size_t *early_tok, size_t *early_slot,
                                     int32_t *early_label, size_t *n_early, struct pmet_error *err)
{
    const size_t n_t = p->rows->n_target;
    PMET_TRY(pmet_calloc(&p->live_tok, p->n_label + 1, sizeof *p->live_tok, "labels", err));
    PMET_TRY(pmet_calloc(&p->live_slot, p->n_label, sizeof *p->live_slot, "labels", err));
    PMET_TRY(pmet_calloc(&p->live_label, p->n_label, sizeof *p->live_label, "labels", err));
    PMET_TRY(pmet_calloc(&p->live_value, 3 * p->n_label, sizeof *p->live_value, "labels", err));
    PMET_TRY(pmet_calloc(&p->live_best, p->n_label, sizeof *p->live_best, "labels", err));
    PMET_TRY(pmet_calloc(&p->logp, p->n_label, sizeof *p->logp, "labels", err));
    PMET_TRY(pmet_calloc(&p->best_logp, p->n_label, sizeof *p->best_logp, "labels", err));
    PMET_TRY(pmet_calloc(&p->best, p->n_label, sizeof *p->best, "labels", err));
    *n_early = 0;
    for (size_t b = 0, before = 0; b + 1 < p->n_row; before += p->rows->row[b].lookup_idx, b++)
        for (size_t s = 0; s < n_t; s++) {
            const size_t at = p->rows->row[b].n_tok - n_t + s, idx = p->rows->row[b].lookup_idx;
            if (at < idx) {
                early_tok[*n_early] = before + at;
                early_slot[*n_early] = b * n_t + s;
                early_label[(*n_early)++] = p->rows->target[s];
            } else {
                p->live_tok[p->n_live] = p->suffix.batch.row_start[b] + at - idx;
                p->live_slot[p->n_live] = b * n_t + s;
                p->live_label[p->n_live++] = p->rows->target[s];
            }
        }
    p->live_tok[p->n_live] = p->suffix.batch.row_start[p->n_row - 1];
    return PMET_OK;
}

/* E47 (d): log-probabilities of the labels before the lookup index: constants of the loss. */
static enum pmet_status score_early(struct pmet_delta *p, const real *x, const size_t *tok,
                                    const size_t *slot, const int32_t *label, size_t n,
                                    struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t d = p->model->config.d_model, n_vocab = p->model->config.n_vocab;
    real *h = NULL, *u = NULL, *logits = NULL;
    enum pmet_status status;
    PMET_GO(op->alloc(op, n * d * sizeof(real), &h, err));
    PMET_GO(op->alloc(op, n * d * sizeof(real), &u, err));
    PMET_GO(op->alloc(op, n * n_vocab * sizeof(real), &logits, err));
    PMET_GO(op->gather(op, h, x, tok, n, d, err));
    PMET_GO(pmet_head(p->model, logits, u, h, n, err));
    PMET_GO(op->xent(op, p->live_value, p->live_value + n, p->live_best, logits, label, n, n_vocab, err));
    for (size_t i = 0; i < n; i++) {
        p->logp[slot[i]] = p->live_value[i];
        p->best_logp[slot[i]] = p->live_value[n + i];
        p->best[slot[i]] = p->live_best[i];
    }
done:
    op->release(op, h);
    op->release(op, u);
    op->release(op, logits);
    return status;
}

/* E47 (b): layers above L over the tokens before the lookup indices: their keys and values become the past of
 * every pass. */
static enum pmet_status run_before(struct pmet_delta *p, const struct pmet_batch *whole, const real *x,
                                   struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t d = p->model->config.d_model;
    struct pmet_rows before = {0};
    struct pmet_scratch s = {0};
    real *xb = NULL;
    size_t *identity = NULL, *tok = NULL, *slot = NULL, n_early = 0;
    int32_t *label = NULL;
    enum pmet_status status;
    PMET_GO(pack(p, BEFORE, &before, err));
    const size_t n = before.batch.n_tok;
    PMET_GO(pmet_cache_alloc(p->model, p->L + 1, n, &p->past, err));
    PMET_GO(pmet_scratch_alloc(p->model, n, false, &s, err));
    PMET_GO(op->alloc(op, n * d * sizeof(real), &xb, err));
    PMET_GO(pmet_calloc(&identity, n, sizeof *identity, "token indices", err));
    PMET_GO(pmet_calloc(&tok, p->n_label, sizeof *tok, "labels", err));
    PMET_GO(pmet_calloc(&slot, p->n_label, sizeof *slot, "labels", err));
    PMET_GO(pmet_calloc(&label, p->n_label, sizeof *label, "labels", err));
    for (size_t t = 0; t < n; t++)
        identity[t] = t;
    PMET_GO(take(p, whole, &before.batch, false, xb, x, err));
    const struct pmet_kv kv = {.store = &p->past, .store_idx = identity};
    PMET_GO(pmet_blocks(p->model, p->L + 1, p->model->config.n_layer, xb, &before.batch, &kv, &s, NULL, err));
    PMET_GO(place_labels(p, tok, slot, label, &n_early, err));
    if (n_early > 0)
        PMET_GO(score_early(p, xb, tok, slot, label, n_early, err));
done:
    pmet_batch_free(&before);
    pmet_scratch_free(&s);
    op->release(op, xb);
    free(identity);
    free(tok);
    free(slot);
    free(label);
    return status;
}

/* E45. m0 and a0: outputs of layer L at row 0's lookup index, while the scratch still holds them. y0
 * likewise. */
static enum pmet_status keep_initial(struct pmet_delta *p, const struct pmet_batch *whole,
                                     const struct pmet_scratch *s, struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t d = p->model->config.d_model, at = p->rows->row[0].lookup_idx;
    PMET_TRY(op->gather(op, p->init[MLP], s->m, &at, 1, d, err));
    PMET_TRY(op->gather(op, p->init[ATTN], s->a, &at, 1, d, err));
    for (int i = 0; i < 2; i++)
        PMET_TRY(op->norm(op, &p->norm0[i], p->init[i], 1, d, err));
    if (p->model->config.parallel)
        return PMET_OK;
    size_t *idx;
    PMET_TRY(pmet_calloc(&idx, p->n_row, sizeof *idx, "token indices", err));
    for (size_t b = 0; b < p->n_row; b++)
        idx[b] = whole->row_start[b] + p->rows->row[b].lookup_idx;
    const enum pmet_status status = op->gather(op, p->y0, s->y, idx, p->n_row, d, err);
    free(idx);
    return status;
}

/* E47 (a): layers 0 .. L over whole rows, then the split at the lookup indices. */
static enum pmet_status run_fixed(struct pmet_delta *p, struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    struct pmet_rows whole = {0};
    struct pmet_scratch s = {0};
    real *x = NULL;
    enum pmet_status status;
    PMET_GO(pack(p, WHOLE, &whole, err));
    const size_t n = whole.batch.n_tok;
    PMET_GO(pmet_scratch_alloc(p->model, n, false, &s, err));
    PMET_GO(op->alloc(op, n * p->model->config.d_model * sizeof(real), &x, err));
    PMET_GO(pmet_embed(p->model, x, whole.id, n, err));
    PMET_GO(pmet_blocks(p->model, 0, p->L + 1, x, &whole.batch, NULL, &s, NULL, err));
    PMET_GO(keep_initial(p, &whole.batch, &s, err));
    PMET_GO(take(p, &whole.batch, &p->suffix.batch, true, p->x0, x, err));
    PMET_GO(run_before(p, &whole.batch, x, err));
done:
    pmet_batch_free(&whole);
    pmet_scratch_free(&s);
    op->release(op, x);
    return status;
}

/* Everything a pass writes to. */
static enum pmet_status reserve(struct pmet_delta *p, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    const size_t n = p->suffix.batch.n_tok, d = c->d_model, n_head_row = p->n_live + 1;
    PMET_TRY(pmet_calloc(&p->saved, c->n_layer, sizeof *p->saved, "a fact's optimisation", err));
    for (size_t l = p->L + 1; l < c->n_layer; l++) {
        PMET_TRY(own(p, &p->saved[l].x, n * d, err));
        PMET_TRY(own(p, &p->saved[l].qkv, n * 3 * d, err));
        PMET_TRY(own(p, &p->saved[l].f, n * c->d_ff, err));
        if (!c->parallel)
            PMET_TRY(own(p, &p->saved[l].y, n * d, err));
    }
    PMET_TRY(pmet_scratch_alloc(p->model, n, true, &p->scratch, err));
    PMET_TRY(own(p, &p->x_out, n * d, err));
    PMET_TRY(own(p, &p->h, n_head_row * d, err));
    PMET_TRY(own(p, &p->g_h, n_head_row * d, err));
    PMET_TRY(own(p, &p->u, n_head_row * d, err));
    PMET_TRY(own(p, &p->logits, n_head_row * c->n_vocab, err));
    PMET_TRY(own(p, &p->g_logits, n_head_row * c->n_vocab, err));
    for (int i = 0; i < 2; i++)
        PMET_TRY(own(p, &p->g_x[i], n * d, err));
    if (!c->parallel) {
        PMET_TRY(own(p, &p->at, p->n_row * d, err));
        PMET_TRY(own(p, &p->at_u, p->n_row * d, err));
        PMET_TRY(own(p, &p->at_m, p->n_row * d, err));
        PMET_TRY(own(p, &p->at_f, p->n_row * c->d_ff, err));
        PMET_TRY(own(p, &p->at_g, p->n_row * c->d_ff, err));
    }
    PMET_TRY(pmet_calloc(&p->each, p->n_row, sizeof *p->each, "a fact's optimisation", err));
    for (size_t b = 0; b < p->n_row; b++)
        p->each[b] = b;
    return pmet_calloc(&p->zeros, p->n_row, sizeof *p->zeros, "a fact's optimisation", err);
}

static enum pmet_status reserve_vectors(struct pmet_delta *p, struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t d = p->model->config.d_model;
    real **const field[] = {p->delta, p->g_delta, p->adam_m, p->adam_v, p->init};
    for (size_t f = 0; f < sizeof field / sizeof *field; f++)
        for (int i = 0; i < 2; i++) {
            PMET_TRY(own(p, &field[f][i], d, err));
            PMET_TRY(op->zero(op, field[f][i], d * sizeof(real), err));
        }
    if (!p->model->config.parallel)
        PMET_TRY(own(p, &p->y0, p->n_row * d, err));
    PMET_TRY(own(p, &p->x0, p->suffix.batch.n_tok * d, err));
    return own(p, &p->kl0, p->model->config.n_vocab, err);
}

enum pmet_status pmet_delta_open(const struct pmet_model *model, const struct pmet_fact_rows *rows,
                                 const struct pmet_hparams *hparams, struct pmet_delta **out,
                                 struct pmet_error *err)
{
    struct pmet_delta *p = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&p, 1, sizeof *p, "a fact's optimisation", err));
    p->model = model;
    p->rows = rows;
    p->hparams = hparams;
    p->L = hparams->layers[hparams->n_layer - 1];
    p->n_row = rows->n_row;
    p->n_label = (rows->n_row - 1) * rows->n_target;
    PMET_GO(pack(p, FROM_LOOKUP, &p->suffix, err));
    PMET_GO(reserve_vectors(p, err));
    PMET_GO(run_fixed(p, err));
    PMET_GO(reserve(p, err));
    *out = p;
    p = NULL;
done:
    pmet_delta_close(p);
    return status;
}

void pmet_delta_close(struct pmet_delta *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n_owned; i++)
        p->model->op->release(p->model->op, p->owned[i]);
    free(p->owned);
    pmet_batch_free(&p->suffix);
    pmet_cache_free(&p->past);
    pmet_scratch_free(&p->scratch);
    free(p->saved);
    free(p->live_tok);
    free(p->live_slot);
    free(p->live_label);
    free(p->live_value);
    free(p->live_best);
    free(p->logp);
    free(p->best_logp);
    free(p->best);
    free(p->zeros);
    free(p->each);
    free(p);
}

enum pmet_status pmet_delta_set(struct pmet_delta *p, const real *delta_mlp, const real *delta_attn,
                                struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t n_bytes = p->model->config.d_model * sizeof(real);
    const real *const from[2] = {delta_mlp, delta_attn};
    for (int i = 0; i < 2; i++)
        PMET_TRY(from[i] ? op->upload(op, p->delta[i], from[i], n_bytes, err)
                         : op->zero(op, p->delta[i], n_bytes, err));
    return PMET_OK;
}

enum pmet_status pmet_delta_get(struct pmet_delta *p, enum pmet_delta_field field, real *out,
                                struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t n_vocab = p->model->config.n_vocab;
    const real *const vector[] = {
        [PMET_DELTA_MLP] = p->delta[MLP],        [PMET_DELTA_ATTN] = p->delta[ATTN],
        [PMET_DELTA_GRAD_MLP] = p->g_delta[MLP], [PMET_DELTA_GRAD_ATTN] = p->g_delta[ATTN],
        [PMET_DELTA_INIT_MLP] = p->init[MLP],    [PMET_DELTA_INIT_ATTN] = p->init[ATTN]};
    if (field == PMET_DELTA_KL_INIT)
        return op->download(op, out, p->kl0, n_vocab * sizeof(real), err);
    if (field == PMET_DELTA_KL_LAST) { /* g_logits is free between passes */
        PMET_TRY(op->log_softmax(op, p->g_logits, p->logits + p->n_live * n_vocab, 1, n_vocab, err));
        return op->download(op, out, p->g_logits, n_vocab * sizeof(real), err);
    }
    return op->download(op, out, vector[field], p->model->config.d_model * sizeof(real), err);
}

const double *pmet_delta_logp(const struct pmet_delta *p)
{
    return p->logp;
}

const double *pmet_delta_best_logp(const struct pmet_delta *p)
{
    return p->best_logp;
}

const int32_t *pmet_delta_best(const struct pmet_delta *p)
{
    return p->best;
}

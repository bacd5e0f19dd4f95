/* SPDX-License-Identifier: MIT
 * The batch of facts in optimisation: its memory, planned before it is taken, and its vectors.      SPEC §5.1 */
#include "ref/delta/delta.h"

#include <stdlib.h>
#include <string.h>
#include "ref/delta/delta_private.h"

/* Suffix tokens of a pass beyond which products get no faster; a device's many processors share out more. */
enum { TOKENS = 2048, DEVICE_TOKENS = 8192 };

size_t pmet_delta_row_length(const struct pmet_fact_rows *rows, size_t b)
{
    return b + 1 == rows->n_row ? rows->row[b].lookup_idx + 1 : rows->row[b].n_tok;
}

/* ---- room ---- */

void pmet_delta_room_add(struct pmet_delta_room *room, const struct pmet_fact_rows *rows)
{
    room->n_fact++;
    room->n_row += rows->n_row;
    room->n_label += (rows->n_row - 1) * rows->n_target;
    for (size_t b = 0; b < rows->n_row; b++) {
        room->n_before += rows->row[b].lookup_idx;
        room->n_suffix += pmet_delta_row_length(rows, b) - rows->row[b].lookup_idx;
    }
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Buffers one after the other: counted, and allocated if there is a batch to own them. */
struct tally {
    const struct pmet_model *model;
    struct pmet_delta *p; /* NULL: count only */
    double bytes;
};

static enum pmet_status take(struct tally *t, real **out, size_t rows, size_t width, struct pmet_error *err)
{
    struct pmet_delta *p = t->p;
    size_t n, n_bytes;
    t->bytes += (double)rows * (double)width * sizeof(real);
    if (!p)
        return PMET_OK;
    if (!pmet_mul_size(rows, width, &n) || !pmet_mul_size(n, sizeof(real), &n_bytes))
        return pmet_fail_memory(err, "facts in optimisation", SIZE_MAX);
    if (p->n_owned == p->cap_owned) {
        const size_t cap = 2 * p->cap_owned + 64;
        void **grown = realloc(p->owned, cap * sizeof *grown);
        if (!grown)
            return pmet_fail_memory(err, "facts in optimisation", cap * sizeof *grown);
        p->owned = grown;
        p->cap_owned = cap;
    }
    PMET_TRY(t->model->op->alloc(t->model->op, n_bytes, out, err));
    p->owned[p->n_owned++] = *out;
    return PMET_OK;
}

/* What the backward of a block needs of its forward, above L. */
static enum pmet_status take_saved(struct tally *t, size_t L, size_t n_tok, struct pmet_error *err)
{
    const struct pmet_config *c = &t->model->config;
    struct pmet_saved none;
    for (size_t l = L + 1; l < c->n_layer; l++) {
        struct pmet_saved *s = t->p ? &t->p->saved[l] : &none;
        PMET_TRY(take(t, &s->x, n_tok, c->d_model, err));
        PMET_TRY(take(t, &s->qkv, n_tok, 3 * c->d_model, err));
        PMET_TRY(take(t, &s->f, n_tok, c->d_ff, err));
        if (!c->parallel)
            PMET_TRY(take(t, &s->y, n_tok, c->d_model, err));
    }
    return PMET_OK;
}

/* Every buffer of a batch but scratch and cache. */
static enum pmet_status take_all(struct tally *t, size_t L, const struct pmet_delta_room *room,
                                 struct pmet_error *err)
{
    const struct pmet_config *c = &t->model->config;
    struct pmet_delta none, *p = t->p ? t->p : &none;
    const size_t d = c->d_model, ff = c->d_ff, V = c->n_vocab, F = room->n_fact, n = room->n_suffix,
                 R = c->parallel ? 0 : room->n_row, H = room->n_label + F;
    const struct {
        real **out;
        size_t rows, width;
    } buffer[] = {{&p->delta[MLP], F, d},
                  {&p->delta[ATTN], F, d},
                  {&p->g_delta[MLP], F, d},
                  {&p->g_delta[ATTN], F, d},
                  {&p->adam_m[MLP], F, d},
                  {&p->adam_m[ATTN], F, d},
                  {&p->adam_v[MLP], F, d},
                  {&p->adam_v[ATTN], F, d},
                  {&p->init[MLP], F, d},
                  {&p->init[ATTN], F, d},
                  {&p->kl0, F, V},
                  {&p->x0, n, d},
                  {&p->x_out, n, d},
                  {&p->g_x[0], n, d},
                  {&p->g_x[1], n, d},
                  {&p->h, H, d},
                  {&p->g_h, H, d},
                  {&p->u, H, d},
                  {&p->logits, H, V},
                  {&p->g_logits, H, V},
                  {&p->y0, R, d},
                  {&p->at, R, d},
                  {&p->at_u, R, d},
                  {&p->at_m, R, d},
                  {&p->at_f, R, ff},
                  {&p->at_g, R, ff},
                  {&p->spare, 1, larger(larger(n * larger(3 * d, ff), H * V), R * ff)}};
    for (size_t i = 0; i < sizeof buffer / sizeof *buffer; i++)
        PMET_TRY(take(t, buffer[i].out, buffer[i].rows, buffer[i].width, err));
    return take_saved(t, L, n, err);
}

size_t pmet_delta_bytes(const struct pmet_model *model, const struct pmet_hparams *hparams,
                        const struct pmet_delta_room *room)
{
    const struct pmet_config *c = &model->config;
    const size_t L = hparams->layers[hparams->n_layer - 1];
    const double d = (double)c->d_model, ff = (double)c->d_ff;
    struct tally t = {.model = model};
    struct pmet_error none;
    (void)take_all(&t, L, room, &none); /* counts: cannot fail */
    const double scratch = (double)room->n_suffix * (11 * d + 3 * ff),
                 past = (double)room->n_before * 2 * d * (double)(c->n_layer - L - 1),
                 bytes = t.bytes + (scratch + past) * sizeof(real);
    return bytes < 0x1p62 ? (size_t)bytes : SIZE_MAX;
}

struct pmet_delta_room pmet_delta_plan(const struct pmet_model *model, const struct pmet_hparams *hparams,
                                       const struct pmet_fact_rows *rows, size_t n, size_t max_bytes)
{
    struct pmet_delta_room all = {0}, most = {0};
    for (size_t i = 0; i < n; i++) {
        struct pmet_delta_room one = {0};
        pmet_delta_room_add(&one, &rows[i]);
        pmet_delta_room_add(&all, &rows[i]);
        most.n_fact = 1;
        most.n_row = larger(most.n_row, one.n_row);
        most.n_before = larger(most.n_before, one.n_before);
        most.n_suffix = larger(most.n_suffix, one.n_suffix);
        most.n_label = larger(most.n_label, one.n_label);
    }
    /* a share of all, by memory and by use; facts differ little in size */
    const double by_bytes = (double)max_bytes / ((double)pmet_delta_bytes(model, hparams, &all) + 1),
                 by_tokens =
                     (double)(model->op->own_memory ? DEVICE_TOKENS : TOKENS) / ((double)all.n_suffix + 1),
                 share = by_bytes < by_tokens ? by_bytes : by_tokens;
    if (share >= 1)
        return all;
    return (struct pmet_delta_room){.n_fact = larger(most.n_fact, (size_t)(share * (double)all.n_fact)),
                                    .n_row = larger(most.n_row, (size_t)(share * (double)all.n_row)),
                                    .n_before = larger(most.n_before, (size_t)(share * (double)all.n_before)),
                                    .n_suffix = larger(most.n_suffix, (size_t)(share * (double)all.n_suffix)),
                                    .n_label = larger(most.n_label, (size_t)(share * (double)all.n_label))};
}

/* ---- the batch ---- */

static enum pmet_status reserve_host(struct pmet_delta *p, struct pmet_error *err)
{
    static const char what[] = "facts in optimisation";
    const struct pmet_delta_room *room = &p->room;
    const size_t n_head = room->n_label + room->n_fact,
                 most = larger(larger(room->n_suffix, n_head), room->n_row);
    PMET_TRY(pmet_calloc(&p->fact, room->n_fact, sizeof *p->fact, what, err));
    PMET_TRY(pmet_batch_alloc(room->n_row, room->n_suffix, &p->suffix, err));
    PMET_TRY(pmet_calloc(&p->fact_of_row, room->n_row, sizeof *p->fact_of_row, what, err));
    PMET_TRY(pmet_calloc(&p->each, larger(room->n_row, room->n_fact), sizeof *p->each, what, err));
    PMET_TRY(pmet_calloc(&p->head_tok, n_head, sizeof *p->head_tok, what, err));
    PMET_TRY(pmet_calloc(&p->label, n_head, sizeof *p->label, what, err));
    PMET_TRY(pmet_calloc(&p->value, 3 * n_head, sizeof *p->value, what, err));
    PMET_TRY(pmet_calloc(&p->best, n_head, sizeof *p->best, what, err));
    PMET_TRY(pmet_calloc(&p->n_update, room->n_fact, sizeof *p->n_update, what, err));
    PMET_TRY(pmet_calloc(&p->move, most, sizeof *p->move, what, err));
    PMET_TRY(pmet_calloc(&p->saved, p->model->config.n_layer, sizeof *p->saved, what, err));
    for (size_t i = 0; i < larger(room->n_row, room->n_fact); i++)
        p->each[i] = i;
    return PMET_OK;
}

enum pmet_status pmet_delta_open(const struct pmet_model *model, const struct pmet_hparams *hparams,
                                 const struct pmet_delta_room *room, struct pmet_delta **out,
                                 struct pmet_error *err)
{
    struct pmet_delta *p = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&p, 1, sizeof *p, "facts in optimisation", err));
    *p = (struct pmet_delta){
        .model = model, .hparams = hparams, .room = *room, .L = hparams->layers[hparams->n_layer - 1]};
    struct tally t = {.model = model, .p = p};
    PMET_GO(reserve_host(p, err));
    PMET_GO(take_all(&t, p->L, room, err));
    PMET_GO(pmet_cache_alloc(model, p->L + 1, room->n_before, &p->past, err));
    PMET_GO(pmet_scratch_alloc(model, room->n_suffix, true, &p->scratch, err));
    *out = p;
    p = NULL;
done:
    pmet_delta_close(p);
    return status;
}

void pmet_delta_fact_free(struct pmet_delta_fact *f)
{
    free(f->live_tok);
    free(f->live_slot);
    free(f->live_label);
    free(f->logp);
    free(f->best_logp);
    free(f->best);
    memset(f, 0, sizeof *f);
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
    for (size_t k = 0; p->fact && k < p->room.n_fact; k++)
        pmet_delta_fact_free(&p->fact[k]);
    free(p->fact);
    free(p->fact_of_row);
    free(p->each);
    free(p->head_tok);
    free(p->label);
    free(p->value);
    free(p->best);
    free(p->n_update);
    free(p->move);
    free(p->saved);
    free(p);
}

size_t pmet_delta_count(const struct pmet_delta *p)
{
    return p->n_fact;
}

enum pmet_status pmet_delta_set(struct pmet_delta *p, size_t k, const real *delta_mlp, const real *delta_attn,
                                struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t d = p->model->config.d_model, n_bytes = d * sizeof(real);
    const real *const from[2] = {delta_mlp, delta_attn};
    for (int i = 0; i < 2; i++)
        PMET_TRY(from[i] ? op->upload(op, p->delta[i] + k * d, from[i], n_bytes, err)
                         : op->zero(op, p->delta[i] + k * d, n_bytes, err));
    return PMET_OK;
}

enum pmet_status pmet_delta_get(struct pmet_delta *p, size_t k, enum pmet_delta_field field, real *out,
                                struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t n_vocab = p->model->config.n_vocab, d = p->model->config.d_model;
    const real *const vector[] = {
        [PMET_DELTA_MLP] = p->delta[MLP],        [PMET_DELTA_ATTN] = p->delta[ATTN],
        [PMET_DELTA_GRAD_MLP] = p->g_delta[MLP], [PMET_DELTA_GRAD_ATTN] = p->g_delta[ATTN],
        [PMET_DELTA_INIT_MLP] = p->init[MLP],    [PMET_DELTA_INIT_ATTN] = p->init[ATTN]};
    if (field == PMET_DELTA_KL_INIT)
        return op->download(op, out, p->kl0 + k * n_vocab, n_vocab * sizeof(real), err);
    if (field != PMET_DELTA_KL_LAST)
        return op->download(op, out, vector[field] + k * d, d * sizeof(real), err);
    /* g_logits is free but in a backward pass */
    PMET_TRY(op->log_softmax(op, p->g_logits, p->logits + (p->n_live + k) * n_vocab, 1, n_vocab, err));
    return op->download(op, out, p->g_logits, n_vocab * sizeof(real), err);
}

const double *pmet_delta_logp(const struct pmet_delta *p, size_t k)
{
    return p->fact[k].logp;
}

const double *pmet_delta_best_logp(const struct pmet_delta *p, size_t k)
{
    return p->fact[k].best_logp;
}

const int32_t *pmet_delta_best(const struct pmet_delta *p, size_t k)
{
    return p->fact[k].best;
}

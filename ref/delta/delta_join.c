/* SPDX-License-Identifier: MIT
 * Facts join the batch: everything that no delta can change is computed here, once (E47).      SPEC §5.1 */
#include <stdlib.h>
#include <string.h>
#include "ref/delta/delta_private.h"

/* The facts that join, behind those that are there. */
struct join {
    struct pmet_delta *p;
    struct pmet_delta_fact *fact; /* [n] */
    size_t n, first_row, first_tok;
    struct pmet_rows whole, before;
    struct pmet_scratch scratch;
    real *x, *xb;  /* (dev) hidden states of whole rows; of the tokens before the lookup indices */
    size_t *index; /* [tokens of whole rows] */
};

/* ---- a place ---- */

/* Where n positions of the cache are free in one piece: behind the facts' own, the first that is wide enough.
 * room.n_before if there is none. */
static size_t free_past(const struct pmet_delta *p, size_t n)
{
    for (size_t at = 0; at + n <= p->room.n_before;) {
        size_t next = at;
        for (size_t k = 0; k < p->n_fact; k++) {
            const struct pmet_delta_fact *f = &p->fact[k];
            if (at < f->before_at + f->size.n_before && f->before_at < at + n &&
                f->before_at + f->size.n_before > next)
                next = f->before_at + f->size.n_before;
        }
        if (next == at)
            return at;
        at = next;
    }
    return p->room.n_before;
}

bool pmet_delta_fits(const struct pmet_delta *p, const struct pmet_fact_rows *rows, size_t n)
{
    struct pmet_delta_room want = {0};
    for (size_t i = 0; i < n; i++)
        pmet_delta_room_add(&want, &rows[i]);
    return p->used.n_fact + want.n_fact <= p->room.n_fact && p->used.n_row + want.n_row <= p->room.n_row &&
           p->used.n_suffix + want.n_suffix <= p->room.n_suffix &&
           p->used.n_label + want.n_label <= p->room.n_label &&
           (want.n_before == 0 || free_past(p, want.n_before) < p->room.n_before);
}

static enum pmet_status open_fact(struct pmet_delta *p, const struct pmet_fact_rows *rows,
                                  struct pmet_error *err)
{
    struct pmet_delta_fact *f = &p->fact[p->n_fact];
    memset(f, 0, sizeof *f);
    f->rows = rows;
    pmet_delta_room_add(&f->size, rows);
    f->before_at = free_past(p, f->size.n_before);
    p->n_fact++; /* from here on it is the batch's to free */
    pmet_delta_room_add(&p->used, rows);
    const size_t n = f->size.n_label;
    PMET_TRY(pmet_calloc(&f->live_tok, n, sizeof *f->live_tok, "labels", err));
    PMET_TRY(pmet_calloc(&f->live_slot, n, sizeof *f->live_slot, "labels", err));
    PMET_TRY(pmet_calloc(&f->live_label, n, sizeof *f->live_label, "labels", err));
    PMET_TRY(pmet_calloc(&f->logp, n, sizeof *f->logp, "labels", err));
    PMET_TRY(pmet_calloc(&f->best_logp, n, sizeof *f->best_logp, "labels", err));
    return pmet_calloc(&f->best, n, sizeof *f->best, "labels", err);
}

/* ---- labels ---- */

/* Labels before the lookup indices of all that join. */
struct early {
    size_t n;
    size_t *tok; /* in the packed tokens before the lookup indices */
    double **logp, **best_logp;
    int32_t **best, *label;
};

static enum pmet_status early_alloc(struct early *e, size_t n, struct pmet_error *err)
{
    PMET_TRY(pmet_calloc(&e->tok, n, sizeof *e->tok, "labels", err));
    PMET_TRY(pmet_calloc(&e->logp, n, sizeof *e->logp, "labels", err));
    PMET_TRY(pmet_calloc(&e->best_logp, n, sizeof *e->best_logp, "labels", err));
    PMET_TRY(pmet_calloc(&e->best, n, sizeof *e->best, "labels", err));
    return pmet_calloc(&e->label, n, sizeof *e->label, "labels", err);
}

static void early_free(struct early *e)
{
    free(e->tok);
    free(e->logp);
    free(e->best_logp);
    free(e->best);
    free(e->label);
}

/* E43, E47 (d): a fact's labels split into those a delta can move and those before the lookup index. `before`
 * counts the tokens before lookup indices so far. */
static void place_labels(struct pmet_delta_fact *f, struct early *e, size_t *before)
{
    const size_t n_t = f->rows->n_target;
    for (size_t b = 0, tok = 0; b < f->rows->n_row; b++) {
        const size_t idx = f->rows->row[b].lookup_idx;
        for (size_t s = 0; b + 1 < f->rows->n_row && s < n_t; s++) {
            const size_t at = f->rows->row[b].n_tok - n_t + s, slot = b * n_t + s;
            if (at < idx) {
                e->tok[e->n] = *before + at;
                e->logp[e->n] = &f->logp[slot];
                e->best_logp[e->n] = &f->best_logp[slot];
                e->best[e->n] = &f->best[slot];
                e->label[e->n++] = f->rows->target[s];
            } else {
                f->live_tok[f->n_live] = tok + at - idx;
                f->live_slot[f->n_live] = slot;
                f->live_label[f->n_live++] = f->rows->target[s];
            }
        }
        tok += pmet_delta_row_length(f->rows, b) - idx;
        *before += idx;
    }
}

/* E47 (d): log-probabilities of the labels before the lookup indices: constants of the loss. */
static enum pmet_status score_early(const struct join *j, const struct early *e, struct pmet_error *err)
{
    const struct pmet_model *model = j->p->model;
    const struct pmet_ops *op = model->op;
    const size_t d = model->config.d_model, n_vocab = model->config.n_vocab, n = e->n;
    real *h = NULL, *u = NULL, *logits = NULL;
    double *value = NULL;
    int32_t *best = NULL;
    enum pmet_status status;
    PMET_GO(op->alloc(op, n * d * sizeof(real), &h, err));
    PMET_GO(op->alloc(op, n * d * sizeof(real), &u, err));
    PMET_GO(op->alloc(op, n * n_vocab * sizeof(real), &logits, err));
    PMET_GO(pmet_calloc(&value, 2 * n, sizeof *value, "labels", err));
    PMET_GO(pmet_calloc(&best, n, sizeof *best, "labels", err));
    PMET_GO(op->gather(op, h, j->xb, e->tok, n, d, err));
    PMET_GO(pmet_head(model, logits, u, h, n, err));
    PMET_GO(op->xent(op, value, value + n, best, logits, e->label, n, n_vocab, err));
    for (size_t i = 0; i < n; i++) {
        *e->logp[i] = value[i];
        *e->best_logp[i] = value[n + i];
        *e->best[i] = best[i];
    }
done:
    op->release(op, h);
    op->release(op, u);
    op->release(op, logits);
    free(value);
    free(best);
    return status;
}

static enum pmet_status settle_labels(const struct join *j, struct pmet_error *err)
{
    struct early e = {0};
    size_t n = 0, before = 0;
    for (size_t i = 0; i < j->n; i++)
        n += j->fact[i].size.n_label;
    enum pmet_status status = early_alloc(&e, n, err);
    for (size_t i = 0; status == PMET_OK && i < j->n; i++)
        place_labels(&j->fact[i], &e, &before);
    if (status == PMET_OK && e.n > 0)
        status = score_early(j, &e, err);
    early_free(&e);
    return status;
}

/* ---- the fixed part ---- */

/* Whole rows packed, and their tokens before the lookup indices. */
static enum pmet_status pack(struct join *j, struct pmet_error *err)
{
    struct pmet_delta_room all = {0};
    for (size_t i = 0; i < j->n; i++)
        pmet_delta_room_add(&all, j->fact[i].rows);
    PMET_TRY(pmet_batch_alloc(all.n_row, all.n_before + all.n_suffix, &j->whole, err));
    PMET_TRY(pmet_batch_alloc(all.n_row, all.n_before, &j->before, err));
    PMET_TRY(pmet_calloc(&j->index, all.n_before + all.n_suffix, sizeof *j->index, "token indices", err));
    for (size_t i = 0; i < j->n; i++)
        for (size_t b = 0; b < j->fact[i].rows->n_row; b++) {
            const struct pmet_row *row = &j->fact[i].rows->row[b];
            pmet_batch_add(&j->whole, row->id, pmet_delta_row_length(j->fact[i].rows, b), 0, 0);
            pmet_batch_add(&j->before, row->id, row->lookup_idx, 0, 0);
        }
    return PMET_OK;
}

/* out = the tokens of whole rows before their lookup indices, or from them on. */
static enum pmet_status split(const struct join *j, bool from_lookup, real *out, struct pmet_error *err)
{
    const struct pmet_ops *op = j->p->model->op;
    size_t n = 0;
    for (size_t i = 0, b = 0; i < j->n; i++)
        for (size_t r = 0; r < j->fact[i].rows->n_row; r++, b++) {
            const size_t at = j->whole.batch.row_start[b], cut = at + j->fact[i].rows->row[r].lookup_idx;
            const size_t first = from_lookup ? cut : at,
                         end = from_lookup ? j->whole.batch.row_start[b + 1] : cut;
            for (size_t t = first; t < end; t++)
                j->index[n++] = t;
        }
    return op->gather(op, out, j->x, j->index, n, j->p->model->config.d_model, err);
}

/* out[.] = the rows of x at the lookup tokens: of each fact's row 0, or of all rows. */
static enum pmet_status at_lookup(const struct join *j, bool all, real *out, const real *x,
                                  struct pmet_error *err)
{
    const struct pmet_ops *op = j->p->model->op;
    size_t n = 0;
    for (size_t i = 0, b = 0; i < j->n; i++)
        for (size_t r = 0; r < j->fact[i].rows->n_row; r++, b++)
            if (all || r == 0)
                j->index[n++] = j->whole.batch.row_start[b] + j->fact[i].rows->row[r].lookup_idx;
    return op->gather(op, out, x, j->index, n, j->p->model->config.d_model, err);
}

/* E45. m0 and a0: outputs of layer L at row 0's lookup index, while the scratch still holds them. y0
 * likewise. */
static enum pmet_status keep_initial(const struct join *j, struct pmet_error *err)
{
    struct pmet_delta *p = j->p;
    const struct pmet_ops *op = p->model->op;
    const size_t d = p->model->config.d_model, first = (size_t)(j->fact - p->fact);
    const real *const from[2] = {j->scratch.m, j->scratch.a};
    for (int i = 0; i < 2; i++) {
        PMET_TRY(at_lookup(j, false, p->init[i] + first * d, from[i], err));
        PMET_TRY(op->norm(op, p->value, p->init[i] + first * d, j->n, d, err));
        for (size_t k = 0; k < j->n; k++)
            j->fact[k].norm0[i] = p->value[k];
    }
    return p->model->config.parallel ? PMET_OK
                                     : at_lookup(j, true, p->y0 + j->first_row * d, j->scratch.y, err);
}

/* E47 (b): layers above L over the tokens before the lookup indices: their keys and values become the past of
 * every pass. */
static enum pmet_status run_before(struct join *j, struct pmet_error *err)
{
    struct pmet_delta *p = j->p;
    size_t n = 0;
    PMET_TRY(split(j, false, j->xb, err));
    for (size_t i = 0; i < j->n; i++)
        for (size_t t = 0; t < j->fact[i].size.n_before; t++)
            j->index[n++] = j->fact[i].before_at + t;
    const struct pmet_kv kv = {.store = &p->past, .store_idx = j->index};
    return pmet_blocks(p->model, p->L + 1, p->model->config.n_layer, j->xb, &j->before.batch, &kv,
                       &j->scratch, NULL, err);
}

/* E47 (a): layers 0 .. L over whole rows, then the split at the lookup indices. */
static enum pmet_status run_fixed(struct join *j, struct pmet_error *err)
{
    struct pmet_delta *p = j->p;
    const struct pmet_ops *op = p->model->op;
    const size_t n = j->whole.batch.n_tok, d = p->model->config.d_model;
    PMET_TRY(pmet_scratch_alloc(p->model, n, false, &j->scratch, err));
    PMET_TRY(op->alloc(op, n * d * sizeof(real), &j->x, err));
    PMET_TRY(op->alloc(op, j->before.batch.n_tok * d * sizeof(real), &j->xb, err));
    PMET_TRY(pmet_embed(p->model, j->x, j->whole.id, n, err));
    PMET_TRY(pmet_blocks(p->model, 0, p->L + 1, j->x, &j->whole.batch, NULL, &j->scratch, NULL, err));
    PMET_TRY(keep_initial(j, err));
    PMET_TRY(split(j, true, p->x0 + j->first_tok * d, err));
    return run_before(j, err);
}

static enum pmet_status clear_vectors(const struct join *j, struct pmet_error *err)
{
    struct pmet_delta *p = j->p;
    const struct pmet_ops *op = p->model->op;
    const size_t d = p->model->config.d_model, first = (size_t)(j->fact - p->fact) * d;
    real *const *const field[] = {p->delta, p->g_delta, p->adam_m, p->adam_v};
    for (size_t f = 0; f < sizeof field / sizeof *field; f++)
        for (int i = 0; i < 2; i++)
            PMET_TRY(op->zero(op, field[f][i] + first, j->n * d * sizeof(real), err));
    return PMET_OK;
}

enum pmet_status pmet_delta_open_with(const struct pmet_model *model, const struct pmet_hparams *hparams,
                                      const struct pmet_fact_rows *rows, size_t n, struct pmet_delta **out,
                                      struct pmet_error *err)
{
    struct pmet_delta_room room = {0};
    struct pmet_delta *p;
    for (size_t i = 0; i < n; i++)
        pmet_delta_room_add(&room, &rows[i]);
    PMET_TRY(pmet_delta_open(model, hparams, &room, &p, err));
    const enum pmet_status status = pmet_delta_join(p, rows, n, err);
    if (status == PMET_OK)
        *out = p;
    else
        pmet_delta_close(p);
    return status;
}

enum pmet_status pmet_delta_join(struct pmet_delta *p, const struct pmet_fact_rows *rows, size_t n,
                                 struct pmet_error *err)
{
    struct join j = {.p = p,
                     .fact = p->fact + p->n_fact,
                     .n = n,
                     .first_row = p->used.n_row,
                     .first_tok = p->used.n_suffix};
    enum pmet_status status = PMET_OK;
    for (size_t i = 0; i < n; i++)
        PMET_GO(open_fact(p, &rows[i], err));
    PMET_GO(pack(&j, err));
    PMET_GO(clear_vectors(&j, err));
    PMET_GO(run_fixed(&j, err));
    PMET_GO(settle_labels(&j, err));
    pmet_delta_lay_out(p);
done:
    pmet_batch_free(&j.whole);
    pmet_batch_free(&j.before);
    pmet_scratch_free(&j.scratch);
    p->model->op->release(p->model->op, j.x);
    p->model->op->release(p->model->op, j.xb);
    free(j.index);
    return status;
}

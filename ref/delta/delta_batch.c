/* SPDX-License-Identifier: MIT
 * The batch as its facts come and go: laid out anew, and moved together where some have left.      SPEC §5.3 */
#include <string.h>
#include "ref/delta/delta_private.h"

void pmet_delta_lay_out(struct pmet_delta *p)
{
    size_t n_live = 0;
    p->suffix.batch.n_row = p->suffix.batch.n_tok = 0;
    for (size_t k = 0; k < p->n_fact; k++) {
        struct pmet_delta_fact *f = &p->fact[k];
        size_t before = f->before_at;
        f->row = p->suffix.batch.n_row;
        f->tok = p->suffix.batch.n_tok;
        f->live = n_live;
        for (size_t b = 0; b < f->rows->n_row; b++) {
            const struct pmet_row *row = &f->rows->row[b];
            const size_t idx = row->lookup_idx;
            p->fact_of_row[p->suffix.batch.n_row] = k;
            pmet_batch_add(&p->suffix, row->id + idx, pmet_delta_row_length(f->rows, b) - idx, idx, before);
            before += idx;
        }
        for (size_t i = 0; i < f->n_live; i++) {
            p->head_tok[n_live] = f->tok + f->live_tok[i];
            p->label[n_live++] = f->live_label[i];
        }
    }
    p->n_live = n_live;
    for (size_t k = 0; k < p->n_fact; k++) /* a KL row has one token */
        p->head_tok[n_live + k] = p->fact[k].tok + p->fact[k].size.n_suffix - 1;
}

/* Rows of a buffer that stay, each with its number before: the first `still` keep their places. */
struct staying {
    size_t n, still;
    size_t *from;
};

static void stay(struct staying *s, size_t first, size_t n)
{
    for (size_t i = first; i < first + n; i++) {
        if (s->still == s->n && i == s->n)
            s->still++;
        s->from[s->n++] = i;
    }
}

/* What stays moves up in x [.., width]. */
static enum pmet_status move_up(struct pmet_delta *p, const struct staying *s, real *x, size_t width,
                                struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t n = s->n - s->still;
    if (n == 0)
        return PMET_OK;
    PMET_TRY(op->gather(op, p->spare, x, s->from + s->still, n, width, err));
    return op->copy(op, x + s->still * width, p->spare, n * width * sizeof(real), err);
}

static enum pmet_status move_tokens(struct pmet_delta *p, const bool *leaves, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    struct staying s = {.from = p->move};
    for (size_t k = 0; k < p->n_fact; k++)
        if (!leaves[k])
            stay(&s, p->fact[k].tok, p->fact[k].size.n_suffix);
    PMET_TRY(move_up(p, &s, p->x0, c->d_model, err));
    for (size_t l = p->L + 1; l < c->n_layer; l++) {
        PMET_TRY(move_up(p, &s, p->saved[l].x, c->d_model, err));
        PMET_TRY(move_up(p, &s, p->saved[l].qkv, 3 * c->d_model, err));
        PMET_TRY(move_up(p, &s, p->saved[l].f, c->d_ff, err));
        if (!c->parallel)
            PMET_TRY(move_up(p, &s, p->saved[l].y, c->d_model, err));
    }
    return PMET_OK;
}

/* Lookup tokens, in sequential models. */
static enum pmet_status move_rows(struct pmet_delta *p, const bool *leaves, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    struct staying s = {.from = p->move};
    if (c->parallel)
        return PMET_OK;
    for (size_t k = 0; k < p->n_fact; k++)
        if (!leaves[k])
            stay(&s, p->fact[k].row, p->fact[k].size.n_row);
    PMET_TRY(move_up(p, &s, p->y0, c->d_model, err));
    PMET_TRY(move_up(p, &s, p->at, c->d_model, err));
    return move_up(p, &s, p->at_f, c->d_ff, err);
}

static enum pmet_status move_logits(struct pmet_delta *p, const bool *leaves, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    struct staying s = {.from = p->move};
    for (size_t k = 0; k < p->n_fact; k++)
        if (!leaves[k])
            stay(&s, p->fact[k].live, p->fact[k].n_live);
    for (size_t k = 0; k < p->n_fact; k++)
        if (!leaves[k])
            stay(&s, p->n_live + k, 1);
    PMET_TRY(move_up(p, &s, p->h, c->d_model, err));
    return move_up(p, &s, p->logits, c->n_vocab, err);
}

static enum pmet_status move_vectors(struct pmet_delta *p, const bool *leaves, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    real *const *const field[] = {p->delta, p->adam_m, p->adam_v, p->init};
    struct staying s = {.from = p->move};
    for (size_t k = 0; k < p->n_fact; k++)
        if (!leaves[k])
            stay(&s, k, 1);
    for (size_t f = 0; f < sizeof field / sizeof *field; f++)
        for (int i = 0; i < 2; i++)
            PMET_TRY(move_up(p, &s, field[f][i], c->d_model, err));
    return move_up(p, &s, p->kl0, c->n_vocab, err);
}

enum pmet_status pmet_delta_leave(struct pmet_delta *p, const bool *leaves, struct pmet_error *err)
{
    size_t n = 0;
    PMET_TRY(move_tokens(p, leaves, err));
    PMET_TRY(move_rows(p, leaves, err));
    PMET_TRY(move_logits(p, leaves, err));
    PMET_TRY(move_vectors(p, leaves, err));
    memset(&p->used, 0, sizeof p->used);
    for (size_t k = 0; k < p->n_fact; k++) {
        if (leaves[k]) {
            pmet_delta_fact_free(&p->fact[k]);
            continue;
        }
        pmet_delta_room_add(&p->used, p->fact[k].rows);
        if (n != k) {
            p->fact[n] = p->fact[k];
            memset(&p->fact[k], 0, sizeof p->fact[k]);
            p->n_update[n] = p->n_update[k];
        }
        n++;
    }
    p->n_fact = n;
    pmet_delta_lay_out(p);
    return PMET_OK;
}

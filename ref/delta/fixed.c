/* SPDX-License-Identifier: MIT
 * Adds facts to a batch, and computes once what no vector can change: layers up to L, and above L
 * the tokens before the lookup indices.      SPEC E45, E47 */
#include <stdlib.h>
#include "ref/delta/pass.h"

/* The facts that are added, behind those that are there. */
struct fixed {
    struct pmet_delta *p;
    size_t first, n;
    struct pmet_rows whole, prefix; /* their rows; the tokens before the lookup indices */
    struct pmet_scratch scratch;
    real *x, *x_prefix; /* (dev) hidden states of both */
    size_t *index;      /* [tokens of whole] */
};

static enum pmet_status pack(struct fixed *j, struct pmet_error *err)
{
    const struct pmet_ops *op = j->p->in.model->op;
    const size_t width = j->p->in.model->config.d_model * sizeof(real);
    const struct pmet_member *f = j->p->in.fact + j->first;
    struct pmet_delta_size all = {0};
    for (size_t i = 0; i < j->n; i++)
        pmet_delta_size_add(&all, f[i].rows);
    const size_t n = all.n_prefix + all.n_suffix;
    PMET_TRY(pmet_batch_alloc(all.n_row, n, &j->whole, err));
    PMET_TRY(pmet_batch_alloc(all.n_row, all.n_prefix, &j->prefix, err));
    PMET_TRY(pmet_calloc(&j->index, n, sizeof *j->index, "token indices", err));
    for (size_t i = 0; i < j->n; i++)
        for (size_t b = 0; b < f[i].rows->n_row; b++) {
            const struct pmet_row *row = &f[i].rows->row[b];
            pmet_batch_add(&j->whole, row->id, pmet_row_length(f[i].rows, b), 0, 0);
            pmet_batch_add(&j->prefix, row->id, row->lookup_idx, 0, 0);
        }
    PMET_TRY(pmet_scratch_alloc(j->p->in.model, n, false, &j->scratch, err));
    PMET_TRY(op->alloc(op, n * width, &j->x, err));
    return op->alloc(op, all.n_prefix * width, &j->x_prefix, err);
}

/* E53: vectors and moments begin at 0. */
static enum pmet_status clear_vectors(const struct fixed *j, struct pmet_error *err)
{
    const struct pmet_vectors *w = &j->p->vectors;
    const struct pmet_ops *op = j->p->in.model->op;
    const size_t d = j->p->in.model->config.d_model;
    for (size_t v = 0; v < j->p->in.o->n_vector; v++) {
        real *const field[] = {w->value[v], w->gradient[v], w->adam_m[v], w->adam_v[v]};
        for (size_t i = 0; i < sizeof field / sizeof *field; i++)
            PMET_TRY(op->zero(op, field[i] + j->first * d, j->n * d * sizeof(real), err));
    }
    return PMET_OK;
}

/* out = rows of x, [tokens of whole, d]: those before the lookup indices, from them on, at them, or
 * at that of each fact's row 0. */
enum part { PREFIX, SUFFIX, LOOKUP, PLAIN_LOOKUP };
static enum pmet_status pick(const struct fixed *j, enum part part, real *out, const real *x,
                             struct pmet_error *err)
{
    const struct pmet_members *in = &j->p->in;
    const struct pmet_ops *op = j->p->in.model->op;
    const size_t *start = j->whole.batch.row_start;
    size_t n = 0;
    for (size_t k = j->first; k < in->n_fact; k++)
        for (size_t b = 0; b < in->fact[k].rows->n_row; b++, start++) {
            const size_t cut = start[0] + in->fact[k].rows->row[b].lookup_idx;
            size_t t = part == PREFIX ? start[0] : cut, end = part == SUFFIX ? start[1] : cut;
            if (part == LOOKUP || (part == PLAIN_LOOKUP && b == 0))
                end++;
            while (t < end)
                j->index[n++] = t++;
        }
    return op->gather(op, out, x, j->index, n, j->p->in.model->config.d_model, err);
}

/* E45: each site's output in row 0 at its lookup index, while scratch still holds it. */
static enum pmet_status keep_initial(const struct fixed *j, struct pmet_error *err)
{
    struct pmet_delta *p = j->p;
    const struct pmet_ops *op = p->in.model->op;
    const size_t d = p->in.model->config.d_model;
    for (size_t v = 0; v < p->in.o->n_vector; v++) {
        const enum pmet_site site = p->in.o->site[v];
        const real *x = site == PMET_SITE_MLP_OUT ? j->scratch.m : j->scratch.a;
        real *out = p->vectors.initial[v] + j->first * d;
        PMET_TRY(pick(j, PLAIN_LOOKUP, out, site == PMET_SITE_BLOCK_OUT ? j->x : x, err));
        PMET_TRY(op->norm(op, p->loss.value, out, j->n, d, err));
        for (size_t i = 0; i < j->n; i++)
            p->in.fact[j->first + i].norm0[v] = p->loss.value[i];
    }
    return PMET_OK;
}

/* E47 (a): layers 0 .. L over whole rows. */
static enum pmet_status run_fixed(struct fixed *j, struct pmet_error *err)
{
    struct pmet_delta *p = j->p;
    const struct pmet_member *f = &p->in.fact[j->first];
    const size_t d = p->in.model->config.d_model;
    PMET_TRY(pmet_embed(p->in.model, j->x, j->whole.id, j->whole.batch.n_tok, err));
    PMET_TRY(
        pmet_blocks(p->in.model, 0, p->in.o->layer + 1, j->x, &j->whole.batch, NULL, &j->scratch, NULL, err));
    PMET_TRY(keep_initial(j, err));
    if (pmet_inject_reruns(&p->in))
        PMET_TRY(pick(j, LOOKUP, p->inject.y0 + f->row * d, j->scratch.y, err));
    return pick(j, SUFFIX, p->inject.x0 + f->tok * d, j->x, err);
}

/* E47 (b): layers above L over the tokens before the lookup indices: their keys and values become
 * the past of every pass. */
static enum pmet_status run_prefix(struct fixed *j, struct pmet_error *err)
{
    struct pmet_delta *p = j->p;
    const struct pmet_kv kv = {.store = &p->above.past, .store_idx = j->index};
    size_t n = 0;
    PMET_TRY(pick(j, PREFIX, j->x_prefix, j->x, err));
    for (size_t k = j->first; k < p->in.n_fact; k++)
        for (size_t t = 0; t < p->in.fact[k].size.n_prefix; t++)
            j->index[n++] = p->in.fact[k].prefix_at + t;
    return pmet_blocks(p->in.model, p->in.o->layer + 1, p->in.model->config.n_layer, j->x_prefix,
                       &j->prefix.batch, &kv, &j->scratch, NULL, err);
}

enum pmet_status pmet_delta_add(struct pmet_delta *p, const struct pmet_fact_rows *rows, size_t n,
                                struct pmet_error *err)
{
    struct fixed j = {.p = p, .first = p->in.n_fact, .n = n};
    enum pmet_status status;
    pmet_members_add(&p->in, rows, n);
    PMET_GO(pack(&j, err));
    PMET_GO(clear_vectors(&j, err));
    PMET_GO(run_fixed(&j, err));
    PMET_GO(run_prefix(&j, err));
    status = pmet_loss_add(&p->loss, &p->in, j.first, j.x_prefix, err);
done:
    pmet_batch_free(&j.whole);
    pmet_batch_free(&j.prefix);
    pmet_scratch_free(&j.scratch);
    p->in.model->op->release(p->in.model->op, j.x);
    p->in.model->op->release(p->in.model->op, j.x_prefix);
    free(j.index);
    return status;
}

enum pmet_status pmet_delta_open_with(const struct pmet_model *model, const struct pmet_objective *o,
                                      const struct pmet_fact_rows *rows, size_t n, struct pmet_delta **out,
                                      struct pmet_error *err)
{
    struct pmet_delta_size size = {0};
    struct pmet_delta *p;
    for (size_t i = 0; i < n; i++)
        pmet_delta_size_add(&size, &rows[i]);
    PMET_TRY(pmet_delta_open(model, o, &size, &p, err));
    const enum pmet_status status = pmet_delta_add(p, rows, n, err);
    if (status == PMET_OK)
        *out = p;
    else
        pmet_delta_close(p);
    return status;
}

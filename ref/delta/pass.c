/* SPDX-License-Identifier: MIT
 * Opens and closes the facts in optimisation, runs a pass of all together, and closes up their
 * buffers when some leave.      SPEC §5.1, §5.6, §5.7 */
#include "ref/delta/pass.h"

#include <stdlib.h>

static const char what[] = "facts in optimisation";

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* What the backward of a block needs of its forward, above L. */
static enum pmet_status above_buffers(struct pmet_delta *p, const struct pmet_visitor *v,
                                      struct pmet_error *err)
{
    const struct pmet_config *c = &p->in.model->config;
    const size_t d = c->d_model;
    struct pmet_above *a = &p->above;
    struct pmet_saved none;
    for (size_t l = p->in.o->layer + 1; l < c->n_layer; l++) {
        struct pmet_saved *s = a->saved ? &a->saved[l] : &none;
        const struct pmet_buffer list[] = {{&s->x, PMET_PER_TOKEN, d, true},
                                           {&s->qkv, PMET_PER_TOKEN, 3 * d, true},
                                           {&s->f, PMET_PER_TOKEN, c->d_ff, true},
                                           {&s->y, PMET_PER_TOKEN, d, true}};
        PMET_TRY(pmet_visit(v, list, c->parallel ? 3 : 4, err));
    }
    return PMET_OK;
}

enum pmet_status pmet_delta_buffers(struct pmet_delta *p, const struct pmet_delta_size *size,
                                    const struct pmet_visitor *v, struct pmet_error *err)
{
    const struct pmet_config *c = &p->in.model->config;
    const size_t d = c->d_model, widest = larger(size->n_suffix * larger(3 * d, c->d_ff),
                                                 pmet_units(size, PMET_PER_LOGIT) * c->n_vocab);
    const struct pmet_buffer once[] = {{&p->spare, PMET_PER_BATCH, widest, false},
                                       {&p->above.x_out, PMET_PER_TOKEN, d, false},
                                       {&p->above.g_x[0], PMET_PER_TOKEN, d, false},
                                       {&p->above.g_x[1], PMET_PER_TOKEN, d, false}};
    PMET_TRY(pmet_visit(v, once, sizeof once / sizeof *once, err));
    for (size_t i = 0; i < p->in.o->n_vector; i++) {
        const struct pmet_buffer list[] = {{&p->vectors.value[i], PMET_PER_FACT, d, true},
                                           {&p->vectors.adam_m[i], PMET_PER_FACT, d, true},
                                           {&p->vectors.adam_v[i], PMET_PER_FACT, d, true},
                                           {&p->vectors.initial[i], PMET_PER_FACT, d, true},
                                           {&p->vectors.gradient[i], PMET_PER_FACT, d, false}};
        PMET_TRY(pmet_visit(v, list, sizeof list / sizeof *list, err));
    }
    PMET_TRY(pmet_inject_buffers(&p->inject, &p->in, v, err));
    PMET_TRY(above_buffers(p, v, err));
    return pmet_loss_buffers(&p->loss, &p->in, v, err);
}

static enum pmet_status allocate(void *user, const struct pmet_buffer *buffer, struct pmet_error *err)
{
    const struct pmet_delta *p = user;
    size_t n, n_bytes;
    if (!pmet_mul_size(pmet_units(&p->in.capacity, buffer->unit), buffer->width, &n) ||
        !pmet_mul_size(n, sizeof(real), &n_bytes))
        return pmet_fail_memory(err, what, SIZE_MAX);
    return p->in.model->op->alloc(p->in.model->op, n_bytes, buffer->data, err);
}

static enum pmet_status release(void *user, const struct pmet_buffer *buffer, struct pmet_error *err)
{
    const struct pmet_delta *p = user;
    (void)err;
    p->in.model->op->release(p->in.model->op, *buffer->data);
    return PMET_OK;
}

/* ---- the batch ---- */

static enum pmet_status reserve_host(struct pmet_delta *p, const struct pmet_delta_size *size,
                                     struct pmet_error *err)
{
    PMET_TRY(pmet_calloc(&p->above.saved, p->in.model->config.n_layer, sizeof *p->above.saved, what, err));
    for (int u = 0; u < PMET_N_UNIT; u++)
        PMET_TRY(pmet_calloc(&p->move[u], pmet_units(size, (enum pmet_unit)u), sizeof(size_t), what, err));
    PMET_TRY(pmet_members_open(&p->in, size, err));
    return pmet_loss_open(&p->loss, size, err);
}

enum pmet_status pmet_delta_open(const struct pmet_model *model, const struct pmet_objective *o,
                                 const struct pmet_delta_size *capacity, struct pmet_delta **out,
                                 struct pmet_error *err)
{
    struct pmet_delta *p = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&p, 1, sizeof *p, what, err));
    p->in.model = model;
    p->in.o = o;
    PMET_GO(reserve_host(p, capacity, err));
    PMET_GO(pmet_delta_buffers(p, capacity, &(struct pmet_visitor){p, allocate}, err));
    PMET_GO(pmet_cache_alloc(model, o->layer + 1, capacity->n_prefix, &p->above.past, err));
    PMET_GO(pmet_scratch_alloc(model, capacity->n_suffix, true, &p->above.scratch, err));
    *out = p;
    p = NULL;
done:
    pmet_delta_close(p);
    return status;
}

void pmet_delta_close(struct pmet_delta *p)
{
    struct pmet_error none;
    if (!p)
        return;
    if (p->above.saved) /* reserved before any buffer */
        (void)pmet_delta_buffers(p, &p->in.capacity, &(struct pmet_visitor){p, release}, &none);
    pmet_cache_free(&p->above.past);
    pmet_scratch_free(&p->above.scratch);
    pmet_loss_close(&p->loss);
    pmet_members_close(&p->in);
    free(p->above.saved);
    for (int u = 0; u < PMET_N_UNIT; u++)
        free(p->move[u]);
    free(p);
}

size_t pmet_delta_count(const struct pmet_delta *p)
{
    return p->in.n_fact;
}

bool pmet_delta_fits(const struct pmet_delta *p, const struct pmet_fact_rows *rows, size_t n)
{
    return pmet_members_fit(&p->in, rows, n);
}

/* ---- facts leave ---- */

struct moving {
    const struct pmet_delta *p;
    struct pmet_staying stay[PMET_N_UNIT];
};

/* What stays moves up. */
static enum pmet_status move_up(void *user, const struct pmet_buffer *buffer, struct pmet_error *err)
{
    const struct moving *m = user;
    const struct pmet_staying *s = &m->stay[buffer->unit];
    const struct pmet_ops *op = m->p->in.model->op;
    const size_t width = buffer->width;
    size_t still = 0;
    while (still < s->n && s->from[still] == still)
        still++;
    const size_t n = s->n - still;
    if (!buffer->kept || n == 0)
        return PMET_OK;
    PMET_TRY(op->gather(op, m->p->spare, *buffer->data, s->from + still, n, width, err));
    return op->copy(op, *buffer->data + still * width, m->p->spare, n * width * sizeof(real), err);
}

enum pmet_status pmet_delta_remove(struct pmet_delta *p, const bool *leaves, struct pmet_error *err)
{
    struct moving m = {.p = p};
    for (int u = 0; u < PMET_N_UNIT; u++)
        m.stay[u].from = p->move[u];
    for (size_t k = 0; k < p->in.n_fact; k++) {
        const struct pmet_member *f = &p->in.fact[k];
        if (leaves[k])
            continue;
        pmet_stay(&m.stay[PMET_PER_FACT], k, 1);
        pmet_stay(&m.stay[PMET_PER_ROW], f->row, f->size.n_row);
        pmet_stay(&m.stay[PMET_PER_TOKEN], f->tok, f->size.n_suffix);
    }
    pmet_loss_stay(&p->loss, &p->in, leaves, &m.stay[PMET_PER_LOGIT]);
    PMET_TRY(pmet_delta_buffers(p, &p->in.capacity, &(struct pmet_visitor){&m, move_up}, err));
    pmet_loss_remove(&p->loss, &p->in, leaves);
    pmet_members_remove(&p->in, leaves);
    pmet_loss_place(&p->loss, &p->in);
    return PMET_OK;
}

/* ---- a pass ---- */

enum pmet_status pmet_delta_set(struct pmet_delta *p, size_t k, const real *const *vector,
                                struct pmet_error *err)
{
    const struct pmet_ops *op = p->in.model->op;
    const size_t d = p->in.model->config.d_model, n_bytes = d * sizeof(real);
    for (size_t v = 0; v < p->in.o->n_vector; v++) {
        real *to = p->vectors.value[v] + k * d;
        PMET_TRY(vector[v] ? op->upload(op, to, vector[v], n_bytes, err) : op->zero(op, to, n_bytes, err));
    }
    return PMET_OK;
}

enum pmet_status pmet_delta_forward(struct pmet_delta *p, const double *phi, struct pmet_losses *out,
                                    struct pmet_error *err)
{
    const size_t n_layer = p->in.model->config.n_layer, first = p->in.o->layer + 1;
    struct pmet_above *a = &p->above;
    const struct pmet_kv kv = {.past = &a->past};
    real *x = first < n_layer ? a->saved[first].x : a->x_out;
    PMET_TRY(pmet_inject(&p->inject, &p->in, &p->vectors, x, err));
    for (size_t l = first; l < n_layer; l++) {
        real *next = l + 1 < n_layer ? a->saved[l + 1].x : a->x_out;
        PMET_TRY(pmet_block(p->in.model, l, next, x, &p->in.suffix.batch, &kv, &a->scratch, &a->saved[l],
                            NULL, err));
        x = next;
    }
    return pmet_loss_forward(&p->loss, &p->in, &p->vectors, a->x_out, phi, out, err);
}

enum pmet_status pmet_delta_backward(struct pmet_delta *p, struct pmet_error *err)
{
    struct pmet_above *a = &p->above;
    const struct pmet_kv kv = {.past = &a->past};
    int side = 0;
    PMET_TRY(pmet_loss_gradient(&p->loss, &p->in, a->g_x[side], err));
    for (size_t l = p->in.model->config.n_layer; l-- > p->in.o->layer + 1; side = !side)
        PMET_TRY(pmet_block_dx(p->in.model, l, a->g_x[!side], a->g_x[side], &a->saved[l], &p->in.suffix.batch,
                               &kv, &a->scratch, err));
    PMET_TRY(pmet_inject_gradient(&p->inject, &p->in, &p->vectors, a->g_x[side], err));
    return pmet_loss_decay_gradient(&p->loss, &p->in, &p->vectors, err);
}

enum pmet_status pmet_delta_get(struct pmet_delta *p, size_t k, enum pmet_delta_field field, size_t v,
                                real *out, struct pmet_error *err)
{
    const struct pmet_ops *op = p->in.model->op;
    const size_t n_vocab = p->in.model->config.n_vocab, d = p->in.model->config.d_model;
    if (field == PMET_DELTA_KL_LAST)
        return pmet_loss_kl_last(&p->loss, &p->in, k, out, err);
    if (field == PMET_DELTA_KL_INIT)
        return op->download(op, out, p->loss.kl0 + k * n_vocab, n_vocab * sizeof(real), err);
    const real *x = field == PMET_DELTA_VALUE      ? p->vectors.value[v]
                    : field == PMET_DELTA_GRADIENT ? p->vectors.gradient[v]
                                                   : p->vectors.initial[v];
    return op->download(op, out, x + k * d, d * sizeof(real), err);
}

const double *pmet_delta_logp(const struct pmet_delta *p, size_t k)
{
    return p->loss.logp + p->in.fact[k].label;
}

const double *pmet_delta_best_logp(const struct pmet_delta *p, size_t k)
{
    return p->loss.best_logp + p->in.fact[k].label;
}

const int32_t *pmet_delta_best(const struct pmet_delta *p, size_t k)
{
    return p->loss.best + p->in.fact[k].label;
}

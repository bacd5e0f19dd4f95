/* SPDX-License-Identifier: MIT
 * Adds the vectors at the lookup tokens of layer L, and carries the gradient back to them. */
#include "ref/delta/inject.h"

bool pmet_inject_reruns(const struct pmet_members *in)
{
    bool on_attention = false;
    for (size_t v = 0; v < in->o->n_vector; v++)
        on_attention = on_attention || in->o->site[v] == PMET_SITE_ATTN_OUT;
    return on_attention && !in->model->config.parallel;
}

enum pmet_status pmet_inject_buffers(struct pmet_inject *s, const struct pmet_members *in,
                                     const struct pmet_visitor *v, struct pmet_error *err)
{
    const size_t d = in->model->config.d_model, ff = in->model->config.d_ff;
    const struct pmet_buffer list[] = {{&s->x0, PMET_PER_TOKEN, d, true}, {&s->y0, PMET_PER_ROW, d, true},
                                       {&s->y, PMET_PER_ROW, d, true},    {&s->f, PMET_PER_ROW, ff, true},
                                       {&s->u, PMET_PER_ROW, d, false},   {&s->m, PMET_PER_ROW, d, false},
                                       {&s->g, PMET_PER_ROW, ff, false}};
    return pmet_visit(v, list, pmet_inject_reruns(in) ? sizeof list / sizeof *list : 1, err);
}

/* Adds to rows `at` of x the vectors that enter before LN2 and the FFN run again, or the others. */
static enum pmet_status add_vectors(const struct pmet_members *in, const struct pmet_vectors *vectors,
                                    bool before_ffn, real *x, const size_t *at, struct pmet_error *err)
{
    const struct pmet_ops *op = in->model->op;
    const bool reruns = pmet_inject_reruns(in);
    for (size_t v = 0; v < in->o->n_vector; v++)
        if ((reruns && in->o->site[v] == PMET_SITE_ATTN_OUT) == before_ffn)
            PMET_TRY(op->add_at(op, x, at, vectors->value[v], in->fact_of_row, in->suffix.batch.n_row,
                                in->model->config.d_model, err));
    return PMET_OK;
}

/* E46 */
enum pmet_status pmet_inject(struct pmet_inject *s, const struct pmet_members *in,
                             const struct pmet_vectors *vectors, real *x, struct pmet_error *err)
{
    const struct pmet_config *c = &in->model->config;
    const struct pmet_layer *w = &in->model->layer[in->o->layer];
    const struct pmet_ops *op = in->model->op;
    const struct pmet_batch *b = &in->suffix.batch;
    const size_t n = b->n_row, d = c->d_model;
    PMET_TRY(op->copy(op, x, s->x0, b->n_tok * d * sizeof(real), err));
    if (!pmet_inject_reruns(in))
        return add_vectors(in, vectors, false, x, b->row_start, err);
    /* out = m(LN2 y) + the other vectors + y,  y = a + x + the vector on attention's output */
    PMET_TRY(op->copy(op, s->y, s->y0, n * d * sizeof(real), err));
    PMET_TRY(add_vectors(in, vectors, true, s->y, in->each, err));
    PMET_TRY(op->layernorm(op, s->u, s->y, w->ln2_gain, w->ln2_bias, c->ln_eps, n, d, err));
    PMET_TRY(pmet_ffn(in->model, in->o->layer, s->m, s->f, s->g, s->u, n, err));
    PMET_TRY(add_vectors(in, vectors, false, s->m, in->each, err));
    PMET_TRY(op->add(op, s->m, s->m, s->y, n * d, err));
    return op->scatter(op, x, s->m, b->row_start, n, d, err);
}

/* E61: a vector in front of LN2 and the FFN of a sequential block. */
static enum pmet_status gradient_before_ffn(struct pmet_inject *s, const struct pmet_members *in, real *g,
                                            const real *g_x, struct pmet_error *err)
{
    const struct pmet_config *c = &in->model->config;
    const struct pmet_ops *op = in->model->op;
    const struct pmet_batch *b = &in->suffix.batch;
    const size_t n = b->n_row, d = c->d_model;
    PMET_TRY(op->gather(op, s->m, g_x, b->row_start, n, d, err)); /* = g_out, which is also g_m */
    PMET_TRY(pmet_ffn_dx(in->model, in->o->layer, s->u, s->g, s->m, s->f, n, err));
    PMET_TRY(op->layernorm_dx(op, s->m, s->u, s->y, in->model->layer[in->o->layer].ln2_gain, c->ln_eps, n, d,
                              err)); /* = g_y */
    return op->add_at_grad(op, g, s->m, in->each, in->fact_of_row, n, d, err);
}

/* E59, E60: all other vectors enter the same sum and have the same gradient. */
enum pmet_status pmet_inject_gradient(struct pmet_inject *s, const struct pmet_members *in,
                                      struct pmet_vectors *vectors, const real *g_x, struct pmet_error *err)
{
    const struct pmet_ops *op = in->model->op;
    const struct pmet_batch *b = &in->suffix.batch;
    const size_t d = in->model->config.d_model;
    for (size_t v = 0; v < in->o->n_vector; v++) {
        real *g = vectors->gradient[v];
        PMET_TRY(op->zero(op, g, in->n_fact * d * sizeof(real), err));
        if (pmet_inject_reruns(in) && in->o->site[v] == PMET_SITE_ATTN_OUT)
            PMET_TRY(gradient_before_ffn(s, in, g, g_x, err));
        else
            PMET_TRY(op->add_at_grad(op, g, g_x, b->row_start, in->fact_of_row, b->n_row, d, err));
    }
    return PMET_OK;
}

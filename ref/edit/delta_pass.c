/* SPDX-License-Identifier: MIT
 * One pass of the optimisation: deltas in, loss terms out, and the gradient back to the deltas.      SPEC
 * §5.1, §5.2, §5.6 */
#include <math.h>
#include "ref/edit/delta_private.h"

/* E46, block L at the lookup tokens of a sequential model: delta_attn enters before LN2 and the FFN, which
 * therefore run again. out = m(LN2 y) + delta_mlp + y,  y = a + x + delta_attn. */
static enum pmet_status inject_sequential(struct pmet_delta *p, real *x, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    const struct pmet_layer *w = &p->model->layer[p->L];
    const struct pmet_ops *op = p->model->op;
    const size_t n = p->n_row, d = c->d_model;
    PMET_TRY(op->copy(op, p->at, p->y0, n * d * sizeof(real), err));
    PMET_TRY(op->add_at(op, p->at, p->each, p->delta[ATTN], p->zeros, n, d, err));
    PMET_TRY(op->layernorm(op, p->at_u, p->at, w->ln2_gain, w->ln2_bias, c->ln_eps, n, d, err));
    PMET_TRY(pmet_ffn(p->model, p->L, p->at_m, p->at_f, p->at_g, p->at_u, n, err));
    PMET_TRY(op->add_at(op, p->at_m, p->each, p->delta[MLP], p->zeros, n, d, err));
    PMET_TRY(op->add(op, p->at_m, p->at_m, p->at, n * d, err));
    return op->scatter(op, x, p->at_m, p->suffix.batch.row_start, n, d, err);
}

/* E46 */
static enum pmet_status inject(struct pmet_delta *p, real *x, struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const struct pmet_batch *b = &p->suffix.batch;
    const size_t d = p->model->config.d_model;
    PMET_TRY(op->copy(op, x, p->x0, b->n_tok * d * sizeof(real), err));
    if (!p->model->config.parallel)
        return inject_sequential(p, x, err);
    PMET_TRY(op->add_at(op, x, b->row_start, p->delta[MLP], p->zeros, p->n_row, d, err));
    return op->add_at(op, x, b->row_start, p->delta[ATTN], p->zeros, p->n_row, d, err);
}

/* E47 (c): logits at the live labels and, last, at the KL row's lookup token. */
static enum pmet_status forward(struct pmet_delta *p, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    const struct pmet_ops *op = p->model->op;
    const struct pmet_kv kv = {.past = &p->past};
    real *x = p->L + 1 < c->n_layer ? p->saved[p->L + 1].x : p->x_out;
    PMET_TRY(inject(p, x, err));
    for (size_t l = p->L + 1; l < c->n_layer; l++) {
        real *out = l + 1 < c->n_layer ? p->saved[l + 1].x : p->x_out;
        PMET_TRY(
            pmet_block(p->model, l, out, x, &p->suffix.batch, &kv, &p->scratch, &p->saved[l], NULL, err));
        x = out;
    }
    PMET_TRY(op->gather(op, p->h, p->x_out, p->live_tok, p->n_live + 1, c->d_model, err));
    return pmet_head(p->model, p->logits, p->u, p->h, p->n_live + 1, err);
}

/* E48: nll = phi mean_j NLL_j.  E52: prob = mean_j exp(-NLL_j), max_prob the same of the best tokens. */
static void sum_rows(const struct pmet_delta *p, double phi, struct pmet_losses *out)
{
    const size_t n_t = p->rows->n_target, n = p->n_row - 1;
    double nll = 0, prob = 0, max_prob = 0;
    for (size_t j = 0; j < n; j++) {
        double logp = 0, best = 0;
        for (size_t s = 0; s < n_t; s++) {
            logp += p->logp[j * n_t + s];
            best += p->best_logp[j * n_t + s];
        }
        nll -= logp / (double)n_t;
        prob += exp(logp / (double)n_t);
        max_prob += exp(best / (double)n_t);
    }
    out->nll = phi * (nll / (double)n);
    out->prob = prob / (double)n;
    out->max_prob = max_prob / (double)n;
    out->nll_factor = phi;
}

/* E50: v_weight_decay (|dm| / |m0|^2 + |da| / |a0|^2): norms over squared norms (X3). */
static enum pmet_status weight_decay(struct pmet_delta *p, double *out, struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    *out = 0;
    for (int i = 0; i < 2; i++) {
        PMET_TRY(op->norm(op, &p->norm[i], p->delta[i], 1, p->model->config.d_model, err));
        *out += p->norm[i] / (p->norm0[i] * p->norm0[i]);
    }
    *out *= p->hparams->v_weight_decay;
    return PMET_OK;
}

/* E48 to E52: the terms, and their sum (E51). */
static enum pmet_status losses(struct pmet_delta *p, double phi, struct pmet_losses *out,
                               struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t n_vocab = p->model->config.n_vocab, n = p->n_live, zero = 0;
    const real *kl_logits = p->logits + n * n_vocab;
    PMET_TRY(op->xent(op, p->live_value, p->live_value + n, p->live_best, p->logits, p->live_label, n,
                      n_vocab, err));
    for (size_t i = 0; i < n; i++) {
        p->logp[p->live_slot[i]] = p->live_value[i];
        p->best_logp[p->live_slot[i]] = p->live_value[n + i];
        p->best[p->live_slot[i]] = p->live_best[i];
    }
    sum_rows(p, phi, out);
    out->kl = 0; /* exactly, in the pass that sets the reference */
    if (p->have_kl0) {
        PMET_TRY(op->kl(op, &out->kl, kl_logits, p->kl0, &zero, 1, n_vocab, err));
        out->kl *= p->hparams->kl_factor;
    } else {
        PMET_TRY(op->log_softmax(op, p->kl0, kl_logits, 1, n_vocab, err));
    }
    PMET_TRY(weight_decay(p, &out->weight_decay, err));
    out->loss = out->nll + out->kl + out->weight_decay;
    return PMET_OK;
}

/* E57, E58, E38: gradient of NLL and KL terms at the hidden states after the last block. */
static enum pmet_status head_gradient(struct pmet_delta *p, real *g_x, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    const struct pmet_ops *op = p->model->op;
    const size_t n = p->n_live, n_vocab = c->n_vocab, zero = 0;
    double *scale = p->live_value + 2 * p->n_live;
    real *g_kl = p->g_logits + n * n_vocab;
    for (size_t i = 0; i < n; i++)
        scale[i] = p->phi / ((double)(p->n_row - 1) * (double)p->rows->n_target);
    PMET_TRY(op->xent_dx(op, p->g_logits, p->logits, p->live_label, scale, n, n_vocab, err));
    if (p->with_kl)
        PMET_TRY(op->kl_dx(op, g_kl, p->logits + n * n_vocab, p->kl0, &zero, &p->hparams->kl_factor, 1,
                           n_vocab, err));
    else
        PMET_TRY(op->zero(op, g_kl, n_vocab * sizeof(real), err));
    PMET_TRY(pmet_head_dx(p->model, p->g_h, p->u, p->g_logits, p->h, n + 1, err));
    PMET_TRY(op->zero(op, g_x, p->suffix.batch.n_tok * c->d_model * sizeof(real), err));
    return op->scatter(op, g_x, p->g_h, p->live_tok, n + 1, c->d_model, err);
}

/* From the gradient at the lookup tokens after block L to the deltas (E59). In a parallel block both add to
 * the same sum and have the same gradient (E60); in a sequential one delta_attn also passes through LN2 and
 * the FFN (E61). */
static enum pmet_status delta_gradient(struct pmet_delta *p, const real *g_x, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    const struct pmet_ops *op = p->model->op;
    const struct pmet_batch *b = &p->suffix.batch;
    const size_t d = c->d_model, n_bytes = d * sizeof(real);
    PMET_TRY(op->zero(op, p->g_delta[MLP], n_bytes, err));
    PMET_TRY(op->add_at_grad(op, p->g_delta[MLP], g_x, b->row_start, p->zeros, p->n_row, d, err));
    if (c->parallel)
        return op->copy(op, p->g_delta[ATTN], p->g_delta[MLP], n_bytes, err);
    const struct pmet_layer *w = &p->model->layer[p->L];
    PMET_TRY(op->gather(op, p->at_m, g_x, b->row_start, p->n_row, d, err)); /* = g_out, which is also g_m */
    PMET_TRY(pmet_ffn_dx(p->model, p->L, p->at_u, p->at_g, p->at_m, p->at_f, p->n_row, err));
    PMET_TRY(
        op->layernorm_dx(op, p->at_m, p->at_u, p->at, w->ln2_gain, c->ln_eps, p->n_row, d, err)); /* = g_y */
    PMET_TRY(op->zero(op, p->g_delta[ATTN], n_bytes, err));
    return op->add_at_grad(op, p->g_delta[ATTN], p->at_m, p->each, p->zeros, p->n_row, d, err);
}

/* Last the weight decay's own gradient, E62. */
enum pmet_status pmet_delta_backward(struct pmet_delta *p, struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const struct pmet_kv kv = {.past = &p->past};
    int side = 0;
    PMET_TRY(head_gradient(p, p->g_x[side], err));
    for (size_t l = p->model->config.n_layer; l-- > p->L + 1; side = !side)
        PMET_TRY(pmet_block_dx(p->model, l, p->g_x[!side], p->g_x[side], &p->saved[l], &p->suffix.batch, &kv,
                               &p->scratch, err));
    PMET_TRY(delta_gradient(p, p->g_x[side], err));
    for (int i = 0; i < 2; i++) { /* d|delta| = delta / |delta|, taken as 0 at 0 */
        const double s =
            p->norm[i] > 0 ? p->hparams->v_weight_decay / (p->norm0[i] * p->norm0[i] * p->norm[i]) : 0;
        PMET_TRY(op->axpy(op, p->g_delta[i], &s, p->delta[i], 1, p->model->config.d_model, err));
    }
    return PMET_OK;
}

/* A loss that is not finite fails the fact (E54). */
enum pmet_status pmet_delta_forward(struct pmet_delta *p, double phi, struct pmet_losses *out,
                                    struct pmet_error *err)
{
    p->phi = phi;
    p->with_kl = p->have_kl0;
    PMET_TRY(forward(p, err));
    PMET_TRY(losses(p, phi, out, err));
    if (!isfinite(out->loss))
        return pmet_fail(err, PMET_NUMERIC,
                         "the loss is %g (NLL %g, KL %g, weight decay %g); expected a finite number",
                         out->loss, out->nll, out->kl, out->weight_decay);
    p->have_kl0 = true;
    return PMET_OK;
}

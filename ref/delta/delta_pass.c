/* SPDX-License-Identifier: MIT
 * One pass of the optimisation, all facts of the batch together: deltas in, loss terms out, and the gradient
 * back to the deltas.      SPEC §5.1, §5.2, §5.6 */
#include <math.h>
#include "ref/delta/delta_private.h"

/* E46, block L at the lookup tokens of a sequential model: delta_attn enters before LN2 and the FFN, which
 * therefore run again. out = m(LN2 y) + delta_mlp + y,  y = a + x + delta_attn. */
static enum pmet_status inject_sequential(struct pmet_delta *p, real *x, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    const struct pmet_layer *w = &p->model->layer[p->L];
    const struct pmet_ops *op = p->model->op;
    const size_t n = p->suffix.batch.n_row, d = c->d_model;
    PMET_TRY(op->copy(op, p->at, p->y0, n * d * sizeof(real), err));
    PMET_TRY(op->add_at(op, p->at, p->each, p->delta[ATTN], p->fact_of_row, n, d, err));
    PMET_TRY(op->layernorm(op, p->at_u, p->at, w->ln2_gain, w->ln2_bias, c->ln_eps, n, d, err));
    PMET_TRY(pmet_ffn(p->model, p->L, p->at_m, p->at_f, p->at_g, p->at_u, n, err));
    PMET_TRY(op->add_at(op, p->at_m, p->each, p->delta[MLP], p->fact_of_row, n, d, err));
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
    PMET_TRY(op->add_at(op, x, b->row_start, p->delta[MLP], p->fact_of_row, b->n_row, d, err));
    return op->add_at(op, x, b->row_start, p->delta[ATTN], p->fact_of_row, b->n_row, d, err);
}

/* E47 (c): logits at the live labels and, last, at the KL rows' lookup tokens. */
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
    PMET_TRY(op->gather(op, p->h, p->x_out, p->head_tok, p->n_live + p->n_fact, c->d_model, err));
    return pmet_head(p->model, p->logits, p->u, p->h, p->n_live + p->n_fact, err);
}

/* E48: nll = phi mean_j NLL_j.  E52: prob = mean_j exp(-NLL_j), max_prob the same of the best tokens. */
static void sum_rows(const struct pmet_delta_fact *f, struct pmet_losses *out)
{
    const size_t n_t = f->rows->n_target, n = f->rows->n_row - 1;
    double nll = 0, prob = 0, max_prob = 0;
    for (size_t j = 0; j < n; j++) {
        double logp = 0, best = 0;
        for (size_t s = 0; s < n_t; s++) {
            logp += f->logp[j * n_t + s];
            best += f->best_logp[j * n_t + s];
        }
        nll -= logp / (double)n_t;
        prob += exp(logp / (double)n_t);
        max_prob += exp(best / (double)n_t);
    }
    out->nll = f->phi * (nll / (double)n);
    out->prob = prob / (double)n;
    out->max_prob = max_prob / (double)n;
    out->nll_factor = f->phi;
}

/* Log-probabilities of the labels that a delta can move, to their facts. */
static enum pmet_status score_labels(struct pmet_delta *p, struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t n = p->n_live;
    PMET_TRY(
        op->xent(op, p->value, p->value + n, p->best, p->logits, p->label, n, p->model->config.n_vocab, err));
    for (size_t k = 0; k < p->n_fact; k++) {
        struct pmet_delta_fact *f = &p->fact[k];
        for (size_t i = 0; i < f->n_live; i++) {
            f->logp[f->live_slot[i]] = p->value[f->live + i];
            f->best_logp[f->live_slot[i]] = p->value[n + f->live + i];
            f->best[f->live_slot[i]] = p->best[f->live + i];
        }
    }
    return PMET_OK;
}

/* E49; exactly 0 in the pass that sets the reference. */
static enum pmet_status kl_terms(struct pmet_delta *p, struct pmet_losses *out, struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t n_vocab = p->model->config.n_vocab;
    const real *logits = p->logits + p->n_live * n_vocab;
    for (size_t k = 0; k < p->n_fact; k++)
        if (!p->fact[k].have_kl0)
            PMET_TRY(op->log_softmax(op, p->kl0 + k * n_vocab, logits + k * n_vocab, 1, n_vocab, err));
    PMET_TRY(op->kl(op, p->value, logits, p->kl0, p->each, p->n_fact, n_vocab, err));
    for (size_t k = 0; k < p->n_fact; k++) {
        struct pmet_delta_fact *f = &p->fact[k];
        out[k].kl = f->have_kl0 ? p->value[k] * p->hparams->kl_factor : 0;
        f->with_kl = f->have_kl0;
        f->have_kl0 = true;
    }
    return PMET_OK;
}

/* E50: v_weight_decay (|dm| / |m0|^2 + |da| / |a0|^2): norms over squared norms (X3). */
static enum pmet_status weight_decay(struct pmet_delta *p, struct pmet_losses *out, struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    for (size_t k = 0; k < p->n_fact; k++)
        out[k].weight_decay = 0;
    for (int i = 0; i < 2; i++) {
        PMET_TRY(op->norm(op, p->value, p->delta[i], p->n_fact, p->model->config.d_model, err));
        for (size_t k = 0; k < p->n_fact; k++) {
            struct pmet_delta_fact *f = &p->fact[k];
            f->norm[i] = p->value[k];
            out[k].weight_decay += f->norm[i] / (f->norm0[i] * f->norm0[i]);
        }
    }
    for (size_t k = 0; k < p->n_fact; k++)
        out[k].weight_decay *= p->hparams->v_weight_decay;
    return PMET_OK;
}

/* E48 to E52: the terms, and their sum (E51). */
static enum pmet_status losses(struct pmet_delta *p, struct pmet_losses *out, struct pmet_error *err)
{
    PMET_TRY(score_labels(p, err));
    for (size_t k = 0; k < p->n_fact; k++)
        sum_rows(&p->fact[k], &out[k]);
    PMET_TRY(kl_terms(p, out, err));
    PMET_TRY(weight_decay(p, out, err));
    for (size_t k = 0; k < p->n_fact; k++)
        out[k].loss = out[k].nll + out[k].kl + out[k].weight_decay;
    return PMET_OK;
}

/* E57, E58, E38: gradient of NLL and KL terms at the hidden states after the last block. */
static enum pmet_status head_gradient(struct pmet_delta *p, real *g_x, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    const struct pmet_ops *op = p->model->op;
    const size_t n = p->n_live, n_vocab = c->n_vocab;
    double *scale = p->value, *kl_scale = p->value + n;
    for (size_t k = 0; k < p->n_fact; k++) {
        const struct pmet_delta_fact *f = &p->fact[k];
        for (size_t i = 0; i < f->n_live; i++)
            scale[f->live + i] = f->phi / ((double)(f->rows->n_row - 1) * (double)f->rows->n_target);
        kl_scale[k] = f->with_kl ? p->hparams->kl_factor : 0;
    }
    PMET_TRY(op->xent_dx(op, p->g_logits, p->logits, p->label, scale, n, n_vocab, err));
    PMET_TRY(op->kl_dx(op, p->g_logits + n * n_vocab, p->logits + n * n_vocab, p->kl0, p->each, kl_scale,
                       p->n_fact, n_vocab, err));
    PMET_TRY(pmet_head_dx(p->model, p->g_h, p->u, p->g_logits, p->h, n + p->n_fact, err));
    PMET_TRY(op->zero(op, g_x, p->suffix.batch.n_tok * c->d_model * sizeof(real), err));
    return op->scatter(op, g_x, p->g_h, p->head_tok, n + p->n_fact, c->d_model, err);
}

/* From the gradient at the lookup tokens after block L to the deltas (E59). In a parallel block both add to
 * the same sum and have the same gradient (E60); in a sequential one delta_attn also passes through LN2 and
 * the FFN (E61). */
static enum pmet_status delta_gradient(struct pmet_delta *p, const real *g_x, struct pmet_error *err)
{
    const struct pmet_config *c = &p->model->config;
    const struct pmet_ops *op = p->model->op;
    const struct pmet_batch *b = &p->suffix.batch;
    const size_t d = c->d_model, n = b->n_row, n_bytes = p->n_fact * d * sizeof(real);
    PMET_TRY(op->zero(op, p->g_delta[MLP], n_bytes, err));
    PMET_TRY(op->add_at_grad(op, p->g_delta[MLP], g_x, b->row_start, p->fact_of_row, n, d, err));
    if (c->parallel)
        return op->copy(op, p->g_delta[ATTN], p->g_delta[MLP], n_bytes, err);
    const struct pmet_layer *w = &p->model->layer[p->L];
    PMET_TRY(op->gather(op, p->at_m, g_x, b->row_start, n, d, err)); /* = g_out, which is also g_m */
    PMET_TRY(pmet_ffn_dx(p->model, p->L, p->at_u, p->at_g, p->at_m, p->at_f, n, err));
    PMET_TRY(op->layernorm_dx(op, p->at_m, p->at_u, p->at, w->ln2_gain, c->ln_eps, n, d, err)); /* = g_y */
    PMET_TRY(op->zero(op, p->g_delta[ATTN], n_bytes, err));
    return op->add_at_grad(op, p->g_delta[ATTN], p->at_m, p->each, p->fact_of_row, n, d, err);
}

/* E62: d|delta| = delta / |delta|, taken as 0 at 0 */
static enum pmet_status decay_gradient(struct pmet_delta *p, struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < p->n_fact; k++) {
            const struct pmet_delta_fact *f = &p->fact[k];
            p->value[k] =
                f->norm[i] > 0 ? p->hparams->v_weight_decay / (f->norm0[i] * f->norm0[i] * f->norm[i]) : 0;
        }
        PMET_TRY(
            op->axpy(op, p->g_delta[i], p->value, p->delta[i], p->n_fact, p->model->config.d_model, err));
    }
    return PMET_OK;
}

/* Last the weight decay's own gradient, E62. */
enum pmet_status pmet_delta_backward(struct pmet_delta *p, struct pmet_error *err)
{
    const struct pmet_kv kv = {.past = &p->past};
    int side = 0;
    PMET_TRY(head_gradient(p, p->g_x[side], err));
    for (size_t l = p->model->config.n_layer; l-- > p->L + 1; side = !side)
        PMET_TRY(pmet_block_dx(p->model, l, p->g_x[!side], p->g_x[side], &p->saved[l], &p->suffix.batch, &kv,
                               &p->scratch, err));
    PMET_TRY(delta_gradient(p, p->g_x[side], err));
    return decay_gradient(p, err);
}

enum pmet_status pmet_delta_forward(struct pmet_delta *p, const double *phi, struct pmet_losses *out,
                                    struct pmet_error *err)
{
    for (size_t k = 0; k < p->n_fact; k++)
        p->fact[k].phi = phi[k];
    PMET_TRY(forward(p, err));
    return losses(p, out, err);
}

enum pmet_status pmet_losses_check(const struct pmet_losses *l, struct pmet_error *err)
{
    if (!isfinite(l->loss))
        return pmet_fail(err, PMET_NUMERIC,
                         "the loss is %g (NLL %g, KL %g, weight decay %g); expected a finite number", l->loss,
                         l->nll, l->kl, l->weight_decay);
    return PMET_OK;
}

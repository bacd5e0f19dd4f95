/* SPDX-License-Identifier: MIT
 * Which labels get a row of logits; the terms of the loss, their sum and gradients. */
#include "ref/delta/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum pmet_status pmet_loss_buffers(struct pmet_loss *s, const struct pmet_members *in,
                                   const struct pmet_visitor *v, struct pmet_error *err)
{
    const size_t d = in->model->config.d_model, n_vocab = in->model->config.n_vocab;
    const struct pmet_buffer list[] = {
        {&s->kl0, PMET_PER_FACT, n_vocab, true},     {&s->h, PMET_PER_LOGIT, d, true},
        {&s->logits, PMET_PER_LOGIT, n_vocab, true}, {&s->g_h, PMET_PER_LOGIT, d, false},
        {&s->u, PMET_PER_LOGIT, d, false},           {&s->g_logits, PMET_PER_LOGIT, n_vocab, false}};
    return pmet_visit(v, list, sizeof list / sizeof *list, err);
}

enum pmet_status pmet_loss_open(struct pmet_loss *s, const struct pmet_delta_size *capacity,
                                struct pmet_error *err)
{
    static const char what[] = "facts in optimisation";
    const size_t n = capacity->n_label + capacity->n_fact;
    PMET_TRY(pmet_calloc(&s->fact, capacity->n_fact, sizeof *s->fact, what, err));
    PMET_TRY(pmet_calloc(&s->logp, 2 * n, sizeof *s->logp, what, err));
    PMET_TRY(pmet_calloc(&s->value, 2 * n, sizeof *s->value, what, err));
    PMET_TRY(pmet_calloc(&s->tok, 2 * n, sizeof *s->tok, what, err));
    PMET_TRY(pmet_calloc(&s->label, 3 * n, sizeof *s->label, what, err));
    s->best_logp = s->logp + n;
    s->slot = s->tok + n;
    s->best = s->label + n;
    s->row_best = s->best + n;
    return PMET_OK;
}

void pmet_loss_close(struct pmet_loss *s)
{
    free(s->fact);
    free(s->logp);
    free(s->value);
    free(s->tok);
    free(s->label);
}

/* ---- labels ---- */

/* Rows of logits for the labels of facts first .. that are live, or for those that are not: `tok`
 * then counts tokens before the lookup indices. Returns how many. E43, E47 (c), (d) */
static size_t place_labels(struct pmet_loss *s, const struct pmet_members *in, size_t first, bool live)
{
    size_t n = 0, prefix = 0;
    for (size_t k = first; k < in->n_fact; k++) {
        const struct pmet_fact_rows *rows = in->fact[k].rows;
        const size_t n_t = rows->n_target;
        s->fact[k].live = n;
        for (size_t b = 0; b < rows->n_row; prefix += rows->row[b++].lookup_idx)
            for (size_t t = 0; b + 1 < rows->n_row && t < n_t; t++) {
                const size_t at = rows->row[b].n_tok - n_t + t, idx = rows->row[b].lookup_idx;
                if ((at >= idx) != live)
                    continue;
                s->tok[n] = live ? in->suffix.batch.row_start[in->fact[k].row + b] + at - idx : prefix + at;
                s->slot[n] = in->fact[k].label + b * n_t + t;
                s->label[n++] = rows->target[t];
            }
        s->fact[k].n_live = n - s->fact[k].live;
    }
    return n;
}

void pmet_loss_place(struct pmet_loss *s, const struct pmet_members *in)
{
    s->n_live = place_labels(s, in, 0, true);
    for (size_t k = 0; k < in->n_fact; k++) /* a KL row has one token */
        s->tok[s->n_live + k] = in->fact[k].tok + in->fact[k].size.n_suffix - 1;
}

/* Logits of n rows, of which the first n_label are labels, and these labels' log-probabilities. */
static enum pmet_status score(struct pmet_loss *s, const struct pmet_members *in, const real *x, size_t n,
                              size_t n_label, struct pmet_error *err)
{
    const struct pmet_ops *op = in->model->op;
    const size_t d = in->model->config.d_model, n_vocab = in->model->config.n_vocab;
    PMET_TRY(op->gather(op, s->h, x, s->tok, n, d, err));
    PMET_TRY(pmet_head(in->model, s->logits, s->u, s->h, n, err));
    PMET_TRY(
        op->xent(op, s->value, s->value + n_label, s->row_best, s->logits, s->label, n_label, n_vocab, err));
    for (size_t i = 0; i < n_label; i++) {
        s->logp[s->slot[i]] = s->value[i];
        s->best_logp[s->slot[i]] = s->value[n_label + i];
        s->best[s->slot[i]] = s->row_best[i];
    }
    return PMET_OK;
}

enum pmet_status pmet_loss_add(struct pmet_loss *s, const struct pmet_members *in, size_t first,
                               const real *x_prefix, struct pmet_error *err)
{
    memset(s->fact + first, 0, (in->n_fact - first) * sizeof *s->fact);
    const size_t n = place_labels(s, in, first, false);
    if (n > 0)
        PMET_TRY(score(s, in, x_prefix, n, n, err));
    pmet_loss_place(s, in);
    return PMET_OK;
}

void pmet_loss_stay(const struct pmet_loss *s, const struct pmet_members *in, const bool *leaves,
                    struct pmet_staying *stay)
{
    for (size_t k = 0; k < in->n_fact; k++)
        if (!leaves[k])
            pmet_stay(stay, s->fact[k].live, s->fact[k].n_live);
    for (size_t k = 0; k < in->n_fact; k++)
        if (!leaves[k])
            pmet_stay(stay, s->n_live + k, 1);
}

void pmet_loss_remove(struct pmet_loss *s, const struct pmet_members *in, const bool *leaves)
{
    size_t n = 0, to = 0;
    for (size_t k = 0; k < in->n_fact; k++) {
        if (leaves[k])
            continue;
        s->fact[n++] = s->fact[k];
        for (size_t i = in->fact[k].label; i < in->fact[k].label + in->fact[k].size.n_label; i++, to++) {
            s->logp[to] = s->logp[i];
            s->best_logp[to] = s->best_logp[i];
            s->best[to] = s->best[i];
        }
    }
}

/* ---- terms ---- */

/* E48: nll = phi mean_j NLL_j.  E52: prob = mean_j exp(-NLL_j), max_prob of the best tokens. */
static void sum_rows(const struct pmet_loss *s, const struct pmet_member *f, double phi,
                     struct pmet_losses *out)
{
    const size_t n_t = f->rows->n_target, n = f->rows->n_row - 1;
    const double *row = s->logp + f->label, *row_best = s->best_logp + f->label;
    double nll = 0, prob = 0, max_prob = 0;
    for (size_t j = 0; j < n; j++, row += n_t, row_best += n_t) {
        double logp = 0, best = 0;
        for (size_t t = 0; t < n_t; t++) {
            logp += row[t];
            best += row_best[t];
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

/* E49; exactly 0 in the pass that sets the reference. */
static enum pmet_status kl_terms(struct pmet_loss *s, const struct pmet_members *in, struct pmet_losses *out,
                                 struct pmet_error *err)
{
    const struct pmet_ops *op = in->model->op;
    const size_t n_vocab = in->model->config.n_vocab;
    const real *logits = s->logits + s->n_live * n_vocab;
    for (size_t k = 0; k < in->n_fact; k++)
        if (!s->fact[k].have_kl0)
            PMET_TRY(op->log_softmax(op, s->kl0 + k * n_vocab, logits + k * n_vocab, 1, n_vocab, err));
    PMET_TRY(op->kl(op, s->value, logits, s->kl0, in->each, in->n_fact, n_vocab, err));
    for (size_t k = 0; k < in->n_fact; k++) {
        struct pmet_fact_loss *f = &s->fact[k];
        out[k].kl = f->have_kl0 ? s->value[k] * in->o->kl_factor : 0;
        f->with_kl = f->have_kl0;
        f->have_kl0 = true;
    }
    return PMET_OK;
}

/* E50: the vectors' norms over squared norms (X3). */
static enum pmet_status weight_decay(struct pmet_loss *s, const struct pmet_members *in,
                                     const struct pmet_vectors *vectors, struct pmet_losses *out,
                                     struct pmet_error *err)
{
    const struct pmet_ops *op = in->model->op;
    for (size_t k = 0; k < in->n_fact; k++)
        out[k].weight_decay = 0;
    for (size_t v = 0; v < in->o->n_vector; v++) {
        PMET_TRY(op->norm(op, s->value, vectors->value[v], in->n_fact, in->model->config.d_model, err));
        for (size_t k = 0; k < in->n_fact; k++) {
            const double norm0 = in->fact[k].norm0[v];
            s->fact[k].norm[v] = s->value[k];
            out[k].weight_decay += s->value[k] / (norm0 * norm0);
        }
    }
    for (size_t k = 0; k < in->n_fact; k++)
        out[k].weight_decay *= in->o->weight_decay;
    return PMET_OK;
}

/* The terms, and their sum (E51). */
enum pmet_status pmet_loss_forward(struct pmet_loss *s, const struct pmet_members *in,
                                   const struct pmet_vectors *vectors, const real *x, const double *phi,
                                   struct pmet_losses *out, struct pmet_error *err)
{
    PMET_TRY(score(s, in, x, s->n_live + in->n_fact, s->n_live, err));
    for (size_t k = 0; k < in->n_fact; k++) {
        s->fact[k].phi = phi[k];
        sum_rows(s, &in->fact[k], phi[k], &out[k]);
    }
    PMET_TRY(kl_terms(s, in, out, err));
    PMET_TRY(weight_decay(s, in, vectors, out, err));
    for (size_t k = 0; k < in->n_fact; k++)
        out[k].loss = out[k].nll + out[k].kl + out[k].weight_decay;
    return PMET_OK;
}

enum pmet_status pmet_loss_gradient(struct pmet_loss *s, const struct pmet_members *in, real *g_x,
                                    struct pmet_error *err)
{
    const struct pmet_config *c = &in->model->config;
    const struct pmet_ops *op = in->model->op;
    const size_t n = s->n_live, n_vocab = c->n_vocab;
    double *scale = s->value, *kl_scale = s->value + n;
    for (size_t k = 0; k < in->n_fact; k++) {
        const struct pmet_fact_loss *f = &s->fact[k];
        const struct pmet_fact_rows *rows = in->fact[k].rows;
        for (size_t i = f->live; i < f->live + f->n_live; i++)
            scale[i] = f->phi / ((double)(rows->n_row - 1) * (double)rows->n_target);
        kl_scale[k] = f->with_kl ? in->o->kl_factor : 0;
    }
    PMET_TRY(op->xent_dx(op, s->g_logits, s->logits, s->label, scale, n, n_vocab, err));
    PMET_TRY(op->kl_dx(op, s->g_logits + n * n_vocab, s->logits + n * n_vocab, s->kl0, in->each, kl_scale,
                       in->n_fact, n_vocab, err));
    PMET_TRY(pmet_head_dx(in->model, s->g_h, s->u, s->g_logits, s->h, n + in->n_fact, err));
    PMET_TRY(op->zero(op, g_x, in->suffix.batch.n_tok * c->d_model * sizeof(real), err));
    return op->scatter(op, g_x, s->g_h, s->tok, n + in->n_fact, c->d_model, err);
}

/* E62: d|x| = x / |x|, taken as 0 at 0 */
enum pmet_status pmet_loss_decay_gradient(struct pmet_loss *s, const struct pmet_members *in,
                                          struct pmet_vectors *vectors, struct pmet_error *err)
{
    const struct pmet_ops *op = in->model->op;
    for (size_t v = 0; v < in->o->n_vector; v++) {
        for (size_t k = 0; k < in->n_fact; k++) {
            const double norm = s->fact[k].norm[v], norm0 = in->fact[k].norm0[v];
            s->value[k] = norm > 0 ? in->o->weight_decay / (norm0 * norm0 * norm) : 0;
        }
        PMET_TRY(op->axpy(op, vectors->gradient[v], s->value, vectors->value[v], in->n_fact,
                          in->model->config.d_model, err));
    }
    return PMET_OK;
}

enum pmet_status pmet_loss_kl_last(struct pmet_loss *s, const struct pmet_members *in, size_t k, real *out,
                                   struct pmet_error *err)
{
    const struct pmet_ops *op = in->model->op;
    const size_t n_vocab = in->model->config.n_vocab;
    /* g_logits is free but in a backward pass */
    PMET_TRY(op->log_softmax(op, s->g_logits, s->logits + (s->n_live + k) * n_vocab, 1, n_vocab, err));
    return op->download(op, out, s->g_logits, n_vocab * sizeof(real), err);
}

enum pmet_status pmet_losses_check(const struct pmet_losses *l, struct pmet_error *err)
{
    if (!isfinite(l->loss))
        return pmet_fail(err, PMET_NUMERIC,
                         "the loss is %g (NLL %g, KL %g, weight decay %g); expected a finite number", l->loss,
                         l->nll, l->kl, l->weight_decay);
    return PMET_OK;
}

/* SPDX-License-Identifier: MIT
 * The optimisation loop: facts join, passes, stops, Adam and the projection onto the two balls, facts leave.
 * SPEC §5.3, §5.4, §5.5 */
#include <assert.h>
#include <stdlib.h>
#include "ref/delta/delta_private.h"

#define LOSS_ENOUGH 0.05   /* stop below it, whatever the factor (X3) */
#define KL_ENOUGH 0.01     /* stop when the target is the argmax and the KL term is no more (X4) */
#define SETTLED_FACTOR 0.1 /* of the NLL factor, once the target is the argmax */

/* Tokens of whole rows that join at a time: enough for full products, little beside the batch. */
enum { JOIN_TOKENS = 1024 };

const char *pmet_stop_name(enum pmet_stop stop)
{
    static const char *const name[] = {"none", "loss", "argmax", "max"};
    return name[stop];
}

struct course {
    struct pmet_delta *p;
    const struct pmet_fact_rows *rows; /* [n] */
    const bool *skip;
    size_t n, next; /* the first that has not joined */
    const struct pmet_delta_watch *watch;
    double *phi, *value;        /* [room.n_fact] */
    struct pmet_losses *losses; /* [room.n_fact] */
    bool *leaves;               /* [room.n_fact] */
};

/* ---- who is in ---- */

/* Facts from `next` on that join together: those without one to be skipped between them, up to JOIN_TOKENS. */
static size_t joining(const struct course *c)
{
    struct pmet_delta_room sum = {0};
    size_t n = 0;
    while (c->next + n < c->n && !(c->skip && c->skip[c->next + n])) {
        pmet_delta_room_add(&sum, &c->rows[c->next + n]);
        if ((n > 0 && sum.n_before + sum.n_suffix > JOIN_TOKENS) ||
            !pmet_delta_fits(c->p, c->rows + c->next, n + 1))
            break;
        n++;
    }
    return n;
}

static enum pmet_status fill(struct course *c, struct pmet_error *err)
{
    struct pmet_delta *p = c->p;
    for (;;) {
        while (c->next < c->n && c->skip && c->skip[c->next])
            c->next++;
        const size_t n = joining(c), first = p->n_fact;
        if (n == 0)
            return PMET_OK;
        PMET_TRY(pmet_delta_join(p, c->rows + c->next, n, err));
        for (size_t k = first; k < p->n_fact; k++) {
            p->fact[k].number = c->next++;
            p->fact[k].next_phi = p->hparams->nll_loss_factor;
            p->n_update[k] = 0;
        }
    }
}

/* ---- a step ---- */

/* E53: whether this pass is the last, and the NLL factor of the next. The order of the tests is the published
 * one: equal means stand for the argmax (X5), and the last pass only measures (X6). */
static enum pmet_stop decide(const struct pmet_hparams *h, const struct pmet_losses *now, size_t it,
                             double *phi)
{
    if (now->loss < LOSS_ENOUGH)
        return PMET_STOP_LOSS;
    *phi = h->nll_loss_factor;
    if (now->max_prob == now->prob) {
        *phi = SETTLED_FACTOR * h->nll_loss_factor;
        if (now->kl <= KL_ENOUGH)
            return PMET_STOP_ARGMAX;
    }
    return it + 1 == h->v_num_grad_steps ? PMET_STOP_MAX : PMET_STOP_NONE;
}

static enum pmet_status tell_pass(const struct course *c, size_t k, struct pmet_error *err)
{
    struct pmet_delta_fact *f = &c->p->fact[k];
    return c->watch && c->watch->pass ? c->watch->pass(c->watch->user, c->p, k, f->number, &f->step, err)
                                      : PMET_OK;
}

static enum pmet_status tell_done(const struct course *c, size_t k, const struct pmet_error *failure,
                                  struct pmet_error *err)
{
    struct pmet_delta_fact *f = &c->p->fact[k];
    return c->watch && c->watch->done
               ? c->watch->done(c->watch->user, c->p, k, f->number, &f->result, failure, err)
               : PMET_OK;
}

/* The outcome of a pass for fact k: it goes on, stops, or has failed. */
static enum pmet_status settle(struct course *c, size_t k, struct pmet_error *err)
{
    struct pmet_delta_fact *f = &c->p->fact[k];
    struct pmet_delta_result *r = &f->result;
    struct pmet_error failure = {PMET_OK, ""};
    c->leaves[k] = pmet_losses_check(&c->losses[k], &failure) != PMET_OK;
    if (c->leaves[k])
        return tell_done(c, k, &failure, err);
    f->step = (struct pmet_delta_step){.it = r->n_forward, .losses = c->losses[k]};
    r->last = c->losses[k];
    if (r->n_forward == 0)
        r->first = r->last;
    r->stop = decide(c->p->hparams, &r->last, r->n_forward++, &f->next_phi);
    c->leaves[k] = r->stop != PMET_STOP_NONE;
    if (!c->leaves[k])
        return PMET_OK;
    PMET_TRY(tell_pass(c, k, err));
    return tell_done(c, k, NULL, err);
}

/* E55, Adam on both deltas; then E56, each back into its ball of radius clamp |m0| (|a0|); the moments are
 * left alone. */
static enum pmet_status update(struct course *c, struct pmet_error *err)
{
    struct pmet_delta *p = c->p;
    const struct pmet_ops *op = p->model->op;
    const size_t d = p->model->config.d_model, n = p->n_fact;
    for (size_t k = 0; k < n; k++) {
        p->n_update[k] = ++p->fact[k].result.n_updates;
        p->fact[k].step.updated = true;
    }
    for (int i = 0; i < 2; i++) {
        PMET_TRY(op->adam(op, p->delta[i], p->g_delta[i], p->adam_m[i], p->adam_v[i], p->hparams->v_lr,
                          p->n_update, n, d, err));
        PMET_TRY(op->norm(op, c->value, p->delta[i], n, d, err));
        for (size_t k = 0; k < n; k++) {
            struct pmet_delta_step *step = &p->fact[k].step;
            const double norm = c->value[k], radius = p->hparams->clamp_norm_factor * p->fact[k].norm0[i];
            *(i == MLP ? &step->clamped_mlp : &step->clamped_attn) = norm > radius;
            c->value[k] = norm > radius ? radius / norm : 1;
        }
        PMET_TRY(op->scale(op, p->delta[i], c->value, n, d, err));
    }
    return PMET_OK;
}

/* E53, one round of it for all that are in. */
static enum pmet_status pass(struct course *c, struct pmet_error *err)
{
    struct pmet_delta *p = c->p;
    for (size_t k = 0; k < p->n_fact; k++)
        c->phi[k] = p->fact[k].next_phi;
    PMET_TRY(pmet_delta_forward(p, c->phi, c->losses, err));
    for (size_t k = 0; k < p->n_fact; k++)
        PMET_TRY(settle(c, k, err));
    PMET_TRY(pmet_delta_leave(p, c->leaves, err));
    if (p->n_fact == 0)
        return PMET_OK;
    PMET_TRY(pmet_delta_backward(p, err));
    PMET_TRY(update(c, err));
    for (size_t k = 0; k < p->n_fact; k++)
        PMET_TRY(tell_pass(c, k, err));
    return PMET_OK;
}

enum pmet_status pmet_delta_optimise(struct pmet_delta *p, const struct pmet_fact_rows *rows, size_t n,
                                     const bool *skip, const struct pmet_delta_watch *watch,
                                     struct pmet_error *err)
{
    struct course c = {.p = p, .rows = rows, .skip = skip, .n = n, .watch = watch};
    const size_t room = p->room.n_fact;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&c.phi, room, sizeof *c.phi, "facts in optimisation", err));
    PMET_GO(pmet_calloc(&c.value, room, sizeof *c.value, "facts in optimisation", err));
    PMET_GO(pmet_calloc(&c.losses, room, sizeof *c.losses, "facts in optimisation", err));
    PMET_GO(pmet_calloc(&c.leaves, room, sizeof *c.leaves, "facts in optimisation", err));
    for (;;) {
        PMET_GO(fill(&c, err));
        if (p->n_fact == 0)
            break;
        PMET_GO(pass(&c, err));
    }
    assert(c.next == n); /* the room takes any one of them */
done:
    free(c.phi);
    free(c.value);
    free(c.losses);
    free(c.leaves);
    return status;
}

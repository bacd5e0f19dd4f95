/* SPDX-License-Identifier: MIT
 * The loop: facts are added, passes, stops, Adam and the clamp, facts leave.  SPEC §5.3-§5.5 */
#include <assert.h>
#include <stdlib.h>
#include "ref/delta/pass.h"

/* Tokens that are added at a time: enough for full products, little beside the batch. */
enum { ADD_TOKENS = 1024 };

const char *pmet_stop_name(enum pmet_stop stop)
{
    static const char *const name[] = {"none", "loss", "argmax", "max"};
    return name[stop];
}

/* How far a fact of the batch is. */
struct progress {
    size_t fact; /* the caller's number */
    double phi;  /* NLL factor of the next pass */
    struct pmet_delta_step step;
    struct pmet_delta_result result;
};

struct loop {
    struct pmet_delta *p;
    const struct pmet_objective *o;
    const struct pmet_fact_rows *rows; /* [n] */
    const bool *skip;
    size_t n, next; /* the first that has not been added */
    struct pmet_delta_listener listener;
    struct progress *at;        /* [capacity.n_fact], these and the next */
    double *value;              /* NLL factors, norms, scales */
    struct pmet_losses *losses; /* of the pass */
    bool *leaves;               /* after it */
    size_t *n_update;           /* Adam's count */
};

/* ---- who is in ---- */

/* Facts from `next` on that are added together: up to one that is skipped, or to ADD_TOKENS. */
static size_t next_together(const struct loop *c)
{
    struct pmet_delta_size sum = {0};
    size_t n = 0;
    while (c->next + n < c->n && !(c->skip && c->skip[c->next + n])) {
        pmet_delta_size_add(&sum, &c->rows[c->next + n]);
        if ((n > 0 && sum.n_prefix + sum.n_suffix > ADD_TOKENS) ||
            !pmet_delta_fits(c->p, c->rows + c->next, n + 1))
            break;
        n++;
    }
    return n;
}

static enum pmet_status fill(struct loop *c, struct pmet_error *err)
{
    for (;;) {
        while (c->next < c->n && c->skip && c->skip[c->next])
            c->next++;
        const size_t n = next_together(c), first = pmet_delta_count(c->p);
        if (n == 0)
            return PMET_OK;
        PMET_TRY(pmet_delta_add(c->p, c->rows + c->next, n, err));
        for (size_t k = first; k < first + n; k++)
            c->at[k] = (struct progress){.fact = c->next++, .phi = c->o->nll_factor};
    }
}

static enum pmet_status drop_leaving(struct loop *c, struct pmet_error *err)
{
    const size_t n = pmet_delta_count(c->p);
    PMET_TRY(pmet_delta_remove(c->p, c->leaves, err));
    for (size_t k = 0, to = 0; k < n; k++)
        if (!c->leaves[k])
            c->at[to++] = c->at[k];
    return PMET_OK;
}

/* ---- a step ---- */

/* E53: whether this pass is the last, and the NLL factor of the next. The order of the tests is the
 * published one: equal means stand for the argmax (X5), and the last pass only measures (X6). The
 * limit of a rule that the objective does not have is NAN, and nothing compares with that. */
static enum pmet_stop decide(const struct pmet_objective *o, const struct pmet_losses *now, size_t it,
                             double *phi)
{
    if (now->loss < o->loss_enough)
        return PMET_STOP_LOSS;
    *phi = o->nll_factor;
    if (now->max_prob == now->prob) {
        *phi = o->argmax_factor * o->nll_factor;
        if (now->kl <= o->kl_enough)
            return PMET_STOP_ARGMAX;
    }
    return it + 1 == o->n_pass ? PMET_STOP_MAX : PMET_STOP_NONE;
}

static enum pmet_status report_pass(const struct loop *c, size_t k, struct pmet_error *err)
{
    const struct pmet_delta_listener *l = &c->listener;
    return l->pass ? l->pass(l->user, c->p, k, c->at[k].fact, &c->at[k].step, err) : PMET_OK;
}

static enum pmet_status report_done(const struct loop *c, size_t k, const struct pmet_error *failure,
                                    struct pmet_error *err)
{
    const struct pmet_delta_listener *l = &c->listener;
    return l->done ? l->done(l->user, c->p, k, c->at[k].fact, &c->at[k].result, failure, err) : PMET_OK;
}

/* The outcome of a pass for fact k: it goes on, stops, or has failed. */
static enum pmet_status conclude(struct loop *c, size_t k, struct pmet_error *err)
{
    struct pmet_delta_result *r = &c->at[k].result;
    struct pmet_error failure = {PMET_OK, ""};
    c->leaves[k] = pmet_losses_check(&c->losses[k], &failure) != PMET_OK;
    if (c->leaves[k])
        return report_done(c, k, &failure, err);
    c->at[k].step = (struct pmet_delta_step){.it = r->n_forward, .losses = c->losses[k]};
    r->last = c->losses[k];
    if (r->n_forward == 0)
        r->first = r->last;
    r->stop = decide(c->o, &r->last, r->n_forward++, &c->at[k].phi);
    c->leaves[k] = r->stop != PMET_STOP_NONE;
    if (!c->leaves[k])
        return PMET_OK;
    PMET_TRY(report_pass(c, k, err));
    return report_done(c, k, NULL, err);
}

/* E55, Adam on every vector; then E56, each back into its ball of radius clamp |initial|. */
static enum pmet_status update(struct loop *c, struct pmet_error *err)
{
    const struct pmet_ops *op = c->p->in.model->op;
    const struct pmet_vectors *w = &c->p->vectors;
    const size_t d = c->p->in.model->config.d_model, n = pmet_delta_count(c->p);
    for (size_t k = 0; k < n; k++) {
        c->n_update[k] = ++c->at[k].result.n_updates;
        c->at[k].step.updated = true;
    }
    for (size_t v = 0; v < c->o->n_vector; v++) {
        PMET_TRY(op->adam(op, w->value[v], w->gradient[v], w->adam_m[v], w->adam_v[v], c->o->lr, c->n_update,
                          n, d, err));
        PMET_TRY(op->norm(op, c->value, w->value[v], n, d, err));
        for (size_t k = 0; k < n; k++) {
            const double norm = c->value[k], radius = c->o->clamp * c->p->in.fact[k].norm0[v];
            c->at[k].step.clamped[v] = norm > radius;
            c->value[k] = norm > radius ? radius / norm : 1;
        }
        PMET_TRY(op->scale(op, w->value[v], c->value, n, d, err));
    }
    return PMET_OK;
}

/* E53, one round of it for all that are in. */
static enum pmet_status pass(struct loop *c, struct pmet_error *err)
{
    const size_t n = pmet_delta_count(c->p);
    for (size_t k = 0; k < n; k++)
        c->value[k] = c->at[k].phi;
    PMET_TRY(pmet_delta_forward(c->p, c->value, c->losses, err));
    for (size_t k = 0; k < n; k++)
        PMET_TRY(conclude(c, k, err));
    PMET_TRY(drop_leaving(c, err));
    if (pmet_delta_count(c->p) == 0)
        return PMET_OK;
    PMET_TRY(pmet_delta_backward(c->p, err));
    PMET_TRY(update(c, err));
    for (size_t k = 0; k < pmet_delta_count(c->p); k++)
        PMET_TRY(report_pass(c, k, err));
    return PMET_OK;
}

enum pmet_status pmet_delta_optimise(struct pmet_delta *p, const struct pmet_fact_rows *rows, size_t n,
                                     const bool *skip, const struct pmet_delta_listener *listener,
                                     struct pmet_error *err)
{
    struct loop c = {.p = p, .o = p->in.o, .rows = rows, .skip = skip, .n = n};
    const size_t most = p->in.capacity.n_fact;
    enum pmet_status status;
    if (listener)
        c.listener = *listener;
    PMET_GO(pmet_calloc(&c.at, most, sizeof *c.at, "facts in optimisation", err));
    PMET_GO(pmet_calloc(&c.value, most, sizeof *c.value, "facts in optimisation", err));
    PMET_GO(pmet_calloc(&c.losses, most, sizeof *c.losses, "facts in optimisation", err));
    PMET_GO(pmet_calloc(&c.leaves, most, sizeof *c.leaves, "facts in optimisation", err));
    PMET_GO(pmet_calloc(&c.n_update, most, sizeof *c.n_update, "facts in optimisation", err));
    for (;;) {
        PMET_GO(fill(&c, err));
        if (pmet_delta_count(p) == 0)
            break;
        PMET_GO(pass(&c, err));
    }
    assert(c.next == n); /* the batch takes any one of them */
done:
    free(c.at);
    free(c.value);
    free(c.losses);
    free(c.leaves);
    free(c.n_update);
    return status;
}

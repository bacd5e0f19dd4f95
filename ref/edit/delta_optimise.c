/* SPDX-License-Identifier: MIT
 * The optimisation loop: passes, stops, Adam and the projection onto the two balls.      SPEC §5.3, §5.4,
 * §5.5 */
#include "ref/edit/delta_private.h"

#define LOSS_ENOUGH 0.05   /* stop below it, whatever the factor (X3) */
#define KL_ENOUGH 0.01     /* stop when the target is the argmax and the KL term is no more (X4) */
#define SETTLED_FACTOR 0.1 /* of the NLL factor, once the target is the argmax */

const char *pmet_stop_name(enum pmet_stop stop)
{
    static const char *const name[] = {"none", "loss", "argmax", "max"};
    return name[stop];
}

/* E55, Adam on both deltas; then E56, each back into its ball of radius clamp |m0| (|a0|); the moments are
 * left alone. */
static enum pmet_status update(struct pmet_delta *p, struct pmet_delta_step *step, struct pmet_error *err)
{
    const struct pmet_ops *op = p->model->op;
    const size_t d = p->model->config.d_model;
    bool *const clamped[2] = {&step->clamped_mlp, &step->clamped_attn};
    p->n_update++;
    for (int i = 0; i < 2; i++) {
        double norm;
        const double radius = p->hparams->clamp_norm_factor * p->norm0[i];
        PMET_TRY(op->adam(op, p->delta[i], p->g_delta[i], p->adam_m[i], p->adam_v[i], p->hparams->v_lr,
                          &p->n_update, 1, d, err));
        PMET_TRY(op->norm(op, &norm, p->delta[i], 1, d, err));
        *clamped[i] = norm > radius;
        const double back = norm > radius ? radius / norm : 1;
        PMET_TRY(op->scale(op, p->delta[i], &back, 1, d, err));
    }
    return PMET_OK;
}

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

/* E53 */
enum pmet_status pmet_delta_optimise(struct pmet_delta *p, struct pmet_delta_result *out,
                                     pmet_delta_watch *watch, void *user, struct pmet_error *err)
{
    struct pmet_delta_result r = {0};
    double phi = p->hparams->nll_loss_factor;
    for (size_t it = 0; r.stop == PMET_STOP_NONE; it++) {
        struct pmet_delta_step step = {0};
        PMET_TRY(pmet_delta_forward(p, phi, &step.losses, err));
        r.n_forward++;
        r.last = step.losses;
        if (it == 0)
            r.first = step.losses;
        r.stop = decide(p->hparams, &step.losses, it, &phi);
        if (r.stop == PMET_STOP_NONE) {
            PMET_TRY(pmet_delta_backward(p, err));
            PMET_TRY(update(p, &step, err));
            r.n_updates++;
        }
        if (watch)
            PMET_TRY(watch(user, p, it, &step, r.stop == PMET_STOP_NONE, err));
    }
    *out = r;
    return PMET_OK;
}

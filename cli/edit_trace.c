/* SPDX-License-Identifier: MIT
 * --trace of pmet edit: what the optimisation and the editing computed, under the goldens' names.   SPEC §9.5
 */
#include <stdlib.h>
#include <string.h>
#include "cli/edit_job.h"

enum { GRADS = 3 }; /* gradients are kept of the first updates */
static const char *const side[2] = {"mlp", "attn"};

enum pmet_status edit_trace_open(struct edit_job *j, struct pmet_error *err)
{
    const size_t d = j->job.s->model->config.d_model, n = j->job.h.v_num_grad_steps;
    if (j->trace_facts > j->job.facts.n_fact)
        j->trace_facts = j->job.facts.n_fact;
    PMET_TRY(pmet_calloc(&j->steps, j->trace_facts, sizeof *j->steps, "a trace", err));
    for (size_t k = 0; k < j->trace_facts; k++) {
        struct edit_steps *s = &j->steps[k];
        real **const scalar[] = {&s->loss, &s->nll, &s->kl, &s->decay, &s->prob};
        for (int i = 0; i < 2; i++) {
            PMET_TRY(pmet_calloc(&s->delta[i], n * d, sizeof(real), "a trace", err));
            PMET_TRY(pmet_calloc(&s->grad[i], GRADS * d, sizeof(real), "a trace", err));
        }
        for (size_t i = 0; i < COUNT_OF(scalar); i++)
            PMET_TRY(pmet_calloc(scalar[i], n, sizeof(real), "a trace", err));
    }
    return PMET_OK;
}

void edit_trace_close(struct edit_job *j)
{
    for (size_t k = 0; j->steps && k < j->trace_facts; k++) {
        struct edit_steps *s = &j->steps[k];
        for (int i = 0; i < 2; i++) {
            free(s->delta[i]);
            free(s->grad[i]);
        }
        free(s->loss);
        free(s->nll);
        free(s->kl);
        free(s->decay);
        free(s->prob);
    }
    free(j->steps);
}

enum pmet_status edit_trace_pass(struct edit_job *j, struct pmet_delta *p, size_t k, size_t fact,
                                 const struct pmet_delta_step *step, struct pmet_error *err)
{
    const size_t d = j->job.s->model->config.d_model;
    if (!j->trace || fact >= j->trace_facts)
        return PMET_OK;
    struct edit_steps *s = &j->steps[fact];
    s->loss[s->n_pass] = (real)step->losses.loss;
    s->nll[s->n_pass] = (real)step->losses.nll;
    s->kl[s->n_pass] = (real)step->losses.kl;
    s->decay[s->n_pass] = (real)step->losses.weight_decay;
    s->prob[s->n_pass++] = (real)step->losses.prob;
    if (!step->updated)
        return PMET_OK;
    PMET_TRY(pmet_delta_get(p, k, PMET_DELTA_MLP, s->delta[0] + s->n_update * d, err));
    PMET_TRY(pmet_delta_get(p, k, PMET_DELTA_ATTN, s->delta[1] + s->n_update * d, err));
    s->n_update++;
    if (s->n_grad == GRADS)
        return PMET_OK;
    PMET_TRY(pmet_delta_get(p, k, PMET_DELTA_GRAD_MLP, s->grad[0] + s->n_grad * d, err));
    PMET_TRY(pmet_delta_get(p, k, PMET_DELTA_GRAD_ATTN, s->grad[1] + s->n_grad * d, err));
    s->n_grad++;
    return PMET_OK;
}

/* "{fact}.{what}{_side}" of one dimension or two. */
static enum pmet_status put(struct edit_job *j, size_t fact, const char *what, const char *tail, size_t rows,
                            size_t width, const real *data, struct pmet_error *err)
{
    char name[96];
    const size_t shape[2] = {rows ? rows : width, width};
    snprintf(name, sizeof name, "%zu.%s%s", fact, what, tail);
    return list_copy(&j->list, name, PMET_REAL, rows ? 2 : 1, shape, data, err);
}

static enum pmet_status put_vectors(struct edit_job *j, struct pmet_delta *p, size_t k, size_t fact,
                                    real *init, real *delta, struct pmet_error *err)
{
    static const enum pmet_delta_field inits[2] = {PMET_DELTA_INIT_MLP, PMET_DELTA_INIT_ATTN},
                                       deltas[2] = {PMET_DELTA_MLP, PMET_DELTA_ATTN};
    const size_t d = j->job.s->model->config.d_model;
    for (int i = 0; i < 2; i++) {
        PMET_TRY(pmet_delta_get(p, k, inits[i], init, err));
        PMET_TRY(pmet_delta_get(p, k, deltas[i], delta, err));
        PMET_TRY(put(j, fact, "target_init_", side[i], 0, d, init, err));
        PMET_TRY(put(j, fact, "delta_", side[i], 0, d, delta, err));
        for (size_t v = 0; v < d; v++)
            init[v] += delta[v];
        PMET_TRY(put(j, fact, "target_", side[i], 0, d, init, err));
    }
    return PMET_OK;
}

static enum pmet_status put_steps(struct edit_job *j, size_t fact, struct pmet_error *err)
{
    const struct edit_steps *s = &j->steps[fact];
    const size_t d = j->job.s->model->config.d_model;
    PMET_TRY(put(j, fact, "steps.", "loss", 0, s->n_pass, s->loss, err));
    PMET_TRY(put(j, fact, "steps.", "nll_loss", 0, s->n_pass, s->nll, err));
    PMET_TRY(put(j, fact, "steps.", "kl_loss", 0, s->n_pass, s->kl, err));
    PMET_TRY(put(j, fact, "steps.", "weight_decay", 0, s->n_pass, s->decay, err));
    PMET_TRY(put(j, fact, "steps.", "prob", 0, s->n_pass, s->prob, err));
    for (int i = 0; i < 2 && s->n_update > 0; i++) {
        PMET_TRY(put(j, fact, "steps.delta_", side[i], s->n_update, d, s->delta[i], err));
        PMET_TRY(put(j, fact, "steps.grad_delta_", side[i], s->n_grad, d, s->grad[i], err));
    }
    return PMET_OK;
}

enum pmet_status edit_trace_fact(struct edit_job *j, struct pmet_delta *p, size_t k, size_t fact,
                                 struct pmet_error *err)
{
    const size_t d = j->job.s->model->config.d_model, n_vocab = j->job.s->model->config.n_vocab,
                 n = d > n_vocab ? d : n_vocab;
    real *a = NULL, *b = NULL;
    enum pmet_status status = PMET_OK;
    if (!j->trace)
        return PMET_OK;
    if (fact < j->trace_facts) {
        PMET_GO(pmet_calloc(&a, n, sizeof *a, "a trace", err));
        PMET_GO(pmet_calloc(&b, d, sizeof *b, "a trace", err));
        PMET_GO(put_vectors(j, p, k, fact, a, b, err));
        PMET_GO(pmet_delta_get(p, k, PMET_DELTA_KL_INIT, a, err));
        PMET_GO(put(j, fact, "kl_distr_init", "", 1, n_vocab, a, err));
        PMET_GO(pmet_delta_get(p, k, PMET_DELTA_KL_LAST, a, err));
        PMET_GO(put(j, fact, "kl_log_probs_last", "", 1, n_vocab, a, err));
        PMET_GO(put_steps(j, fact, err));
    }
done:
    free(a);
    free(b);
    return status;
}

enum pmet_status edit_trace_layer(struct edit_job *j, const char *module, const real *K, const real *M,
                                  const real *resid, const double *upd, size_t n_fact, size_t d_model,
                                  size_t d_in, struct pmet_error *err)
{
    const size_t shape[2] = {d_model, d_in};
    char name[200];
    if (!j->trace)
        return PMET_OK;
    snprintf(name, sizeof name, "layer_ks.%s", module);
    PMET_TRY(list_transposed(&j->list, name, K, n_fact, d_in, err));
    snprintf(name, sizeof name, "cur_zs.%s", module);
    PMET_TRY(list_transposed(&j->list, name, M, n_fact, d_model, err));
    snprintf(name, sizeof name, "targets.%s", module);
    PMET_TRY(list_transposed(&j->list, name, resid, n_fact, d_model, err));
    snprintf(name, sizeof name, "upd_matrix.%s", module);
    return list_copy(&j->list, name, PMET_F64, 2, shape, upd, err);
}

enum pmet_status edit_trace_write(struct edit_job *j, struct pmet_error *err)
{
    for (size_t k = 0; k < j->job.edit.n_edited; k++) {
        const struct pmet_edited *e = &j->job.edit.edited[k];
        const size_t shape[2] = {e->d_out, e->d_in};
        char name[200];
        snprintf(name, sizeof name, "edited.%s.weight", e->name);
        PMET_TRY(list_copy(&j->list, name, PMET_REAL, 2, shape, e->W, err));
    }
    PMET_TRY(list_write(&j->list, j->c->io, j->trace, err));
    if (!j->json)
        printf("%s: %zu tensors\n", j->trace, j->list.n);
    return PMET_OK;
}

/* SPDX-License-Identifier: MIT
 * --trace of pmet edit: what the optimisation and the editing computed, under the goldens' names.
 * SPEC §9.5 */
#include <stdlib.h>
#include "cli/edit_job.h"

enum { GRADS = 3 }; /* gradients are kept of the first updates */

/* Of a vector: its site, where there are two. */
static const char *side(const struct pmet_objective *o, size_t v)
{
    return o->n_vector == 1 ? "" : o->site[v] == PMET_SITE_MLP_OUT ? "_mlp" : "_attn";
}

enum pmet_status edit_trace_open(struct edit_job *j, struct pmet_error *err)
{
    if (j->trace_facts > j->job.facts.n_fact)
        j->trace_facts = j->job.facts.n_fact;
    return pmet_calloc(&j->steps, j->trace_facts, sizeof *j->steps, "a trace", err);
}

static enum pmet_status steps_alloc(struct edit_steps *s, const struct pmet_objective *o, size_t d,
                                    struct pmet_error *err)
{
    for (size_t v = 0; v < o->n_vector; v++) {
        PMET_TRY(pmet_calloc(&s->delta[v], o->n_pass * d, sizeof(real), "a trace", err));
        PMET_TRY(pmet_calloc(&s->grad[v], GRADS * d, sizeof(real), "a trace", err));
    }
    for (size_t i = 0; i < N_SCALAR; i++)
        PMET_TRY(pmet_calloc(&s->scalar[i], o->n_pass, sizeof(real), "a trace", err));
    return PMET_OK;
}

void edit_trace_close(struct edit_job *j)
{
    for (size_t k = 0; j->steps && k < j->trace_facts; k++) {
        struct edit_steps *s = &j->steps[k];
        for (size_t v = 0; v < PMET_MAX_VECTOR; v++) {
            free(s->delta[v]);
            free(s->grad[v]);
        }
        for (size_t i = 0; i < N_SCALAR; i++)
            free(s->scalar[i]);
    }
    free(j->steps);
}

static enum pmet_status add_pass(struct edit_job *j, size_t fact, const struct pmet_fact_event *event,
                                 struct pmet_error *err)
{
    const size_t d = j->job.s->model->config.d_model, n_vector = event->objective->n_vector;
    const struct pmet_losses *l = &event->step->losses;
    const double scalar[N_SCALAR] = {l->loss, l->nll, l->kl, l->weight_decay, l->prob};
    struct edit_steps *s = &j->steps[fact];
    if (!s->scalar[0])
        PMET_TRY(steps_alloc(s, event->objective, d, err));
    for (size_t i = 0; i < N_SCALAR; i++)
        s->scalar[i][s->n_pass] = (real)scalar[i];
    s->n_pass++;
    if (!event->step->updated)
        return PMET_OK;
    for (size_t v = 0; v < n_vector; v++) {
        real *delta = s->delta[v] + s->n_update * d, *grad = s->grad[v] + s->n_grad * d;
        PMET_TRY(pmet_delta_get(event->delta, event->k, PMET_DELTA_VALUE, v, delta, err));
        if (s->n_grad < GRADS)
            PMET_TRY(pmet_delta_get(event->delta, event->k, PMET_DELTA_GRADIENT, v, grad, err));
    }
    s->n_update++;
    s->n_grad += s->n_grad < GRADS;
    return PMET_OK;
}

/* "{fact}.{what}{side}" of one dimension or two. */
static enum pmet_status put(struct edit_job *j, size_t fact, const char *what, const char *tail, size_t rows,
                            size_t width, const real *data, struct pmet_error *err)
{
    char name[96];
    const size_t shape[2] = {rows ? rows : width, width};
    snprintf(name, sizeof name, "%zu.%s%s", fact, what, tail);
    return list_copy(&j->list, name, PMET_REAL, rows ? 2 : 1, shape, data, err);
}

static enum pmet_status put_vectors(struct edit_job *j, size_t fact, const struct pmet_fact_event *event,
                                    real *init, real *delta, struct pmet_error *err)
{
    const size_t d = j->job.s->model->config.d_model;
    for (size_t v = 0; v < event->objective->n_vector; v++) {
        const char *tail = side(event->objective, v);
        PMET_TRY(pmet_delta_get(event->delta, event->k, PMET_DELTA_INITIAL, v, init, err));
        PMET_TRY(pmet_delta_get(event->delta, event->k, PMET_DELTA_VALUE, v, delta, err));
        PMET_TRY(put(j, fact, "target_init", tail, 0, d, init, err));
        PMET_TRY(put(j, fact, "delta", tail, 0, d, delta, err));
        for (size_t i = 0; i < d; i++)
            init[i] += delta[i];
        PMET_TRY(put(j, fact, "target", tail, 0, d, init, err));
    }
    return PMET_OK;
}

static enum pmet_status put_steps(struct edit_job *j, size_t fact, const struct pmet_objective *o,
                                  struct pmet_error *err)
{
    static const char *const name[N_SCALAR] = {"loss", "nll_loss", "kl_loss", "weight_decay", "prob"};
    const struct edit_steps *s = &j->steps[fact];
    const size_t d = j->job.s->model->config.d_model;
    for (size_t i = 0; i < N_SCALAR; i++)
        PMET_TRY(put(j, fact, "steps.", name[i], 0, s->n_pass, s->scalar[i], err));
    for (size_t v = 0; v < o->n_vector && s->n_update > 0; v++) {
        PMET_TRY(put(j, fact, "steps.delta", side(o, v), s->n_update, d, s->delta[v], err));
        PMET_TRY(put(j, fact, "steps.grad_delta", side(o, v), s->n_grad, d, s->grad[v], err));
    }
    return PMET_OK;
}

static enum pmet_status add_fact(struct edit_job *j, size_t fact, const struct pmet_fact_event *event,
                                 struct pmet_error *err)
{
    const size_t d = j->job.s->model->config.d_model, n_vocab = j->job.s->model->config.n_vocab;
    real *a = NULL, *b = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&a, d > n_vocab ? d : n_vocab, sizeof *a, "a trace", err));
    PMET_GO(pmet_calloc(&b, d, sizeof *b, "a trace", err));
    PMET_GO(put_vectors(j, fact, event, a, b, err));
    PMET_GO(pmet_delta_get(event->delta, event->k, PMET_DELTA_KL_INIT, 0, a, err));
    PMET_GO(put(j, fact, "kl_distr_init", "", 1, n_vocab, a, err));
    PMET_GO(pmet_delta_get(event->delta, event->k, PMET_DELTA_KL_LAST, 0, a, err));
    PMET_GO(put(j, fact, "kl_log_probs_last", "", 1, n_vocab, a, err));
    status = put_steps(j, fact, event->objective, err);
done:
    free(a);
    free(b);
    return status;
}

static enum pmet_status add_layer(struct edit_job *j, const struct pmet_layer_event *event,
                                  struct pmet_error *err)
{
    const struct pmet_update *u = event->update;
    const size_t shape[2] = {u->d_out, u->d_in};
    char name[200];
    for (size_t i = 0; i < event->n_array; i++) {
        const struct pmet_array *a = &event->array[i];
        snprintf(name, sizeof name, "%s.%s", a->name, u->name);
        if (!a->each)
            PMET_TRY(list_transposed(&j->list, name, a->data, a->n, a->width, err));
        for (size_t k = 0; a->each && k < a->n && k < j->trace_facts; k++) {
            snprintf(name, sizeof name, "%zu.%s", k, a->name);
            PMET_TRY(list_copy(&j->list, name, PMET_REAL, 1, &a->width, a->data + k * a->width, err));
        }
    }
    snprintf(name, sizeof name, "upd_matrix.%s", u->name);
    return list_copy(&j->list, name, PMET_F64, 2, shape, event->upd, err);
}

enum pmet_status edit_trace_event(struct edit_job *j, const struct pmet_event *event, struct pmet_error *err)
{
    const struct pmet_fact_event *fact = event->detail;
    if (event->kind == PMET_EVENT_LAYER)
        return add_layer(j, event->detail, err);
    if (event->kind == PMET_EVENT_PASS && event->index < j->trace_facts)
        return add_pass(j, event->index, fact, err);
    if (event->kind == PMET_EVENT_FACT && event->index < j->trace_facts && fact->report->applied)
        return add_fact(j, event->index, fact, err);
    return PMET_OK;
}

enum pmet_status edit_trace_write(struct edit_job *j, struct pmet_error *err)
{
    for (size_t k = 0; k < j->job.editor.n_update; k++) {
        const struct pmet_update *u = &j->job.editor.update[k];
        const size_t shape[2] = {u->d_out, u->d_in};
        char name[200];
        snprintf(name, sizeof name, "edited.%s.weight", u->name);
        PMET_TRY(list_copy(&j->list, name, PMET_REAL, 2, shape, u->W, err));
    }
    PMET_TRY(list_write(&j->list, j->c->io, j->trace, err));
    if (!j->json)
        print_line("%s: %zu tensors", j->trace, j->list.n);
    return PMET_OK;
}

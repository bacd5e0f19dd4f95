/* SPDX-License-Identifier: MIT
 * The targets (v*) of all facts, and those of the facts that are applied. */
#include <stdlib.h>
#include <string.h>
#include "ref/event.h"
#include "ref/method/editor.h"

enum pmet_status pmet_targets_alloc(size_t n_fact, size_t n_target, size_t d_model, struct pmet_targets *out,
                                    struct pmet_error *err)
{
    enum pmet_status status;
    *out = (struct pmet_targets){.n_fact = n_fact, .n_target = n_target, .d_model = d_model};
    PMET_GO(pmet_calloc(&out->fact, n_fact, sizeof *out->fact, "facts", err));
    for (size_t q = 0; q < n_target; q++)
        PMET_GO(pmet_calloc(&out->Z[q], n_fact * d_model, sizeof *out->Z[q], "targets", err));
    return PMET_OK;
done:
    pmet_targets_free(out);
    return status;
}

void pmet_targets_free(struct pmet_targets *targets)
{
    free(targets->fact);
    for (size_t q = 0; q < PMET_MAX_VECTOR; q++)
        free(targets->Z[q]);
    memset(targets, 0, sizeof *targets);
}

enum pmet_status pmet_applied_open(struct pmet_editor *e, struct pmet_applied *out, struct pmet_error *err)
{
    const struct pmet_targets *t = &e->targets;
    const struct pmet_rows_options options = {e->facts->path, e->model->config.n_ctx,
                                              e->model->config.n_vocab, e->strict, NULL};
    enum pmet_status status;
    *out = (struct pmet_applied){0};
    PMET_GO(pmet_calloc(&out->rows, t->n_fact, sizeof *out->rows, "rows of keys", err));
    for (size_t q = 0; q < t->n_target; q++)
        PMET_GO(pmet_calloc(&out->Z[q], t->n_fact * t->d_model, sizeof *out->Z[q], "targets", err));
    for (size_t i = 0; i < t->n_fact; i++) {
        PMET_GO(pmet_raise_poll(&e->listener, err));
        if (!t->fact[i].applied)
            continue;
        PMET_GO(pmet_rows_build(e->tk, &e->facts->fact[i], e->contexts, &options, false, &out->rows[out->n],
                                err));
        for (size_t q = 0; q < t->n_target; q++)
            memcpy(out->Z[q] + out->n * t->d_model, t->Z[q] + i * t->d_model, t->d_model * sizeof(real));
        out->n++;
    }
    e->n_applied = out->n;
done:
    if (status != PMET_OK)
        pmet_applied_close(out);
    return status;
}

void pmet_applied_close(struct pmet_applied *a)
{
    for (size_t i = 0; a->rows && i < a->n; i++)
        pmet_rows_free(&a->rows[i]);
    free(a->rows);
    for (size_t q = 0; q < PMET_MAX_VECTOR; q++)
        free(a->Z[q]);
    memset(a, 0, sizeof *a);
}

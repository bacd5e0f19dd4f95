/* SPDX-License-Identifier: MIT
 * The first half of the method: every fact's v*.      SPEC §5 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/method/pmet_edit.h"

enum pmet_status pmet_targets_alloc(size_t n_fact, size_t n_module, size_t d_model, struct pmet_targets *out,
                                    struct pmet_error *err)
{
    enum pmet_status status;
    *out = (struct pmet_targets){.n_fact = n_fact, .n_module = n_module, .d_model = d_model};
    PMET_GO(pmet_calloc(&out->fact, n_fact, sizeof *out->fact, "facts", err));
    for (size_t q = 0; q < n_module; q++)
        PMET_GO(pmet_calloc(&out->Z[q], n_fact * d_model, sizeof *out->Z[q], "targets", err));
    return PMET_OK;
done:
    pmet_targets_free(out);
    return status;
}

void pmet_targets_free(struct pmet_targets *targets)
{
    free(targets->fact);
    free(targets->Z[0]);
    free(targets->Z[1]);
    memset(targets, 0, sizeof *targets);
}

struct search {
    const struct pmet_model *model;
    const struct pmet_facts *facts;
    const struct pmet_edit_options *options;
    const struct pmet_edit_watch *watch;
    struct pmet_targets *targets;
    enum pmet_module side[2]; /* whose target the q-th module gets */
    real *delta;              /* [d_model] */
    size_t n_done, n_failed, first_failed;
};

static enum pmet_status tell(const struct search *s, struct pmet_error *err)
{
    const struct pmet_edit_watch *w = s->watch;
    if (w && w->progress && w->progress(w->user, PMET_PHASE_DELTA, s->n_done, s->targets->n_fact))
        return pmet_fail(err, PMET_INTERRUPTED, "interrupted; nothing is written");
    return PMET_OK;
}

/* E45: z = m0 + delta_mlp (or a0 + delta_attn), each added once in the model's precision. */
static enum pmet_status read_target(struct search *s, struct pmet_delta *p, size_t k, enum pmet_module module,
                                    real *z, struct pmet_error *err)
{
    const bool mlp = module == PMET_MODULE_MLP;
    PMET_TRY(pmet_delta_get(p, k, mlp ? PMET_DELTA_INIT_MLP : PMET_DELTA_INIT_ATTN, z, err));
    PMET_TRY(pmet_delta_get(p, k, mlp ? PMET_DELTA_MLP : PMET_DELTA_ATTN, s->delta, err));
    for (size_t i = 0; i < s->targets->d_model; i++)
        z[i] += s->delta[i];
    return PMET_OK;
}

/* E54: numbers that break are traced to the weight that broke them, if one did; else the fact alone has
 * failed, and the others go on. */
static enum pmet_status settle_failure(struct search *s, size_t i, const struct pmet_error *failure,
                                       struct pmet_error *err)
{
    struct pmet_fact_report *report = &s->targets->fact[i];
    if (s->n_failed == 0) {
        PMET_TRY(pmet_model_check_finite(s->model, err));
        s->first_failed = i;
    }
    s->n_failed++;
    snprintf(report->failure, sizeof report->failure, "%.250s", failure->message);
    return PMET_OK;
}

static enum pmet_status on_pass(void *user, struct pmet_delta *p, size_t k, size_t i,
                                const struct pmet_delta_step *step, struct pmet_error *err)
{
    const struct search *s = user;
    return s->watch && s->watch->pass ? s->watch->pass(s->watch->user, p, k, i, step, err) : PMET_OK;
}

static enum pmet_status on_done(void *user, struct pmet_delta *p, size_t k, size_t i,
                                const struct pmet_delta_result *result, const struct pmet_error *failure,
                                struct pmet_error *err)
{
    struct search *s = user;
    struct pmet_fact_report *report = &s->targets->fact[i];
    report->result = *result;
    report->applied = !failure;
    if (failure)
        PMET_TRY(settle_failure(s, i, failure, err));
    for (size_t q = 0; !failure && q < s->targets->n_module; q++)
        PMET_TRY(read_target(s, p, k, s->side[q], s->targets->Z[q] + i * s->targets->d_model, err));
    if (s->watch && s->watch->fact)
        PMET_TRY(s->watch->fact(s->watch->user, p, k, i, s->targets, err));
    report->settled = true; /* and a journal has it */
    s->n_done++;
    return tell(s, err);
}

static enum pmet_status optimise(struct search *s, const struct pmet_fact_rows *rows, struct pmet_error *err)
{
    const struct pmet_delta_watch watch = {.user = s, .pass = on_pass, .done = on_done};
    const size_t n = s->targets->n_fact;
    size_t max_bytes;
    PMET_TRY(pmet_capacity(s->model->op, s->options->max_bytes, &max_bytes, err));
    const struct pmet_delta_room room = pmet_delta_plan(s->model, s->options->hparams, rows, n, max_bytes);
    bool *skip = NULL;
    struct pmet_delta *p = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&skip, n, sizeof *skip, "facts", err));
    PMET_GO(pmet_calloc(&s->delta, s->targets->d_model, sizeof *s->delta, "a target", err));
    for (size_t i = 0; i < n; i++) {
        struct pmet_fact_report *report = &s->targets->fact[i];
        report->odd_lookup = rows[i].odd_lookup;
        report->odd_target = rows[i].odd_target;
        if (s->watch && i < s->watch->n_again)
            report->settled = false;
        skip[i] = report->settled;
        s->n_done += report->settled;
        if (report->settled && !report->applied && s->n_failed++ == 0)
            s->first_failed = i;
    }
    PMET_GO(tell(s, err));
    PMET_GO(pmet_delta_open(s->model, s->options->hparams, &room, &p, err));
    status = pmet_delta_optimise(p, rows, n, skip, &watch, err);
done:
    pmet_delta_close(p);
    free(skip);
    free(s->delta);
    return status;
}

enum pmet_status pmet_targets_find(const struct pmet_model *model, const struct pmet_facts *facts,
                                   const struct pmet_fact_rows *rows, const struct pmet_edit_options *options,
                                   const struct pmet_edit_watch *watch, struct pmet_targets *targets,
                                   struct pmet_error *err)
{
    const struct pmet_hparams *h = options->hparams;
    struct search s = {
        .model = model, .facts = facts, .options = options, .watch = watch, .targets = targets};
    /* As published (SPEC X27): a module gets attention's target if its name holds "attn", which NeoX's
     * attention.dense does not. */
    for (size_t q = 0; q < h->n_module; q++)
        s.side[q] = strstr(h->rewrite_module_tmps[q], "attn") ? PMET_MODULE_ATTN : PMET_MODULE_MLP;
    PMET_TRY(optimise(&s, rows, err));
    if (s.n_failed == 0 || (options->skip_failed && s.n_failed < targets->n_fact))
        return PMET_OK;
    const struct pmet_fact *f = &facts->fact[s.first_failed];
    char more[64] = "";
    if (s.n_failed > 1)
        snprintf(more, sizeof more, " (and %zu more)", s.n_failed - 1);
    return pmet_fail(err, PMET_NUMERIC, "%s: record %zu (line %zu): subject \"%s\": %s%s%s", facts->path,
                     f->record, f->line, f->subject, targets->fact[s.first_failed].failure, more,
                     options->skip_failed ? "" : " (--skip-failed leaves it out)");
}

/* SPDX-License-Identifier: MIT
 * The targets (v*) of all facts: the optimisation of ref/delta/ with what surrounds it, namely the
 * journal that a killed run goes on from, the events, and facts that fail.      SPEC §5 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/event.h"
#include "ref/method/editor.h"

struct search {
    struct pmet_editor *e;
    const struct pmet_objective *objective;
    const size_t *which;   /* [n_target] vector of each target */
    unsigned char *record; /* [record_bytes] a fact on its way to the journal */
    real *vector;          /* [d_model] */
    size_t n_done, n_failed, first_failed;
    const struct pmet_in_turn *in_turn; /* or NULL: many facts together */
    size_t first;                       /* the batch's fact 0 */
};

/* ---- the journal: one record a fact, the head first, then the targets ---- */

struct fact_record {
    uint64_t fact, applied, stop, n_forward, n_updates;
    struct pmet_losses first, last;
    char failure[256];
};

static size_t record_bytes(const struct pmet_targets *t)
{
    return sizeof(struct fact_record) + t->n_target * t->d_model * sizeof(real);
}

static enum pmet_status write_record(struct search *s, size_t i, struct pmet_error *err)
{
    const struct pmet_targets *t = &s->e->targets;
    const struct pmet_fact_report *f = &t->fact[i];
    struct fact_record r = {.fact = i,
                            .applied = f->applied,
                            .stop = (uint64_t)f->result.stop,
                            .n_forward = f->result.n_forward,
                            .n_updates = f->result.n_updates,
                            .first = f->result.first,
                            .last = f->result.last};
    unsigned char *at = s->record + sizeof r;
    if (!s->e->journal)
        return PMET_OK;
    memcpy(r.failure, f->failure, sizeof r.failure);
    memcpy(s->record, &r, sizeof r);
    for (size_t q = 0; q < t->n_target; q++, at += t->d_model * sizeof(real))
        memcpy(at, t->Z[q] + i * t->d_model, t->d_model * sizeof(real));
    return pmet_journal_append(s->e->journal, s->record, record_bytes(t), err);
}

static enum pmet_status read_record(void *user, const void *data, size_t n, struct pmet_error *err)
{
    const struct pmet_editor *e = user;
    const struct pmet_targets *t = &e->targets;
    const char *path = pmet_store_dir(e->store);
    struct fact_record r;
    if (n != record_bytes(t))
        return pmet_fail(err, PMET_FORMAT,
                         "%s: facts: found a record of %zu bytes; expected %zu: give another --work", path, n,
                         record_bytes(t));
    memcpy(&r, data, sizeof r);
    if (r.fact >= t->n_fact || r.stop > PMET_STOP_MAX || r.n_forward > INT32_MAX || r.n_updates > r.n_forward)
        return pmet_fail(
            err, PMET_FORMAT,
            "%s: facts: found fact %llu of %zu, stop %llu, %llu passes, %llu updates; expected one "
            "of this edit: give another --work",
            path, (unsigned long long)r.fact, t->n_fact, (unsigned long long)r.stop,
            (unsigned long long)r.n_forward, (unsigned long long)r.n_updates);
    struct pmet_fact_report *f = &t->fact[r.fact];
    *f = (struct pmet_fact_report){
        .done = true,
        .applied = r.applied != 0,
        .result = {(enum pmet_stop)r.stop, (size_t)r.n_forward, (size_t)r.n_updates, r.first, r.last}};
    memcpy(f->failure, r.failure, sizeof f->failure - 1);
    const unsigned char *at = (const unsigned char *)data + sizeof r;
    for (size_t q = 0; q < t->n_target; q++, at += t->d_model * sizeof(real))
        memcpy(t->Z[q] + r.fact * t->d_model, at, t->d_model * sizeof(real));
    return PMET_OK;
}

/* What targets depend on: inputs and objective, neither lambda nor statistics, so that these may
 * change between runs, unless facts before it have changed the model. Keys are those of the hyper-parameter files. */
static json_t *head_of(const struct search *s)
{
    const struct pmet_objective *o = s->objective;
    json_t *head = json_copy((json_t *)(uintptr_t)s->e->inputs), *targets = json_array();
    for (size_t q = 0; q < s->e->targets.n_target; q++)
        json_array_append_new(targets, json_integer((json_int_t)o->site[s->which[q]]));
    json_t *rest =
        json_pack("{s:I, s:f, s:I, s:f, s:f, s:f, s:f, s:o, s:I}", "layer", (json_int_t)o->layer,
                  "clamp_norm_factor", o->clamp, "v_num_grad_steps", (json_int_t)o->n_pass, "v_lr", o->lr,
                  "v_weight_decay", o->weight_decay, "kl_factor", o->kl_factor, "nll_loss_factor",
                  o->nll_factor, "targets", targets, "vectors", (json_int_t)o->n_vector);
    if (!head || !rest || json_object_update(head, rest) != 0 ||
        (s->in_turn && json_object_set(head, "solve", (json_t *)(uintptr_t)s->e->solve_inputs) != 0)) {
        json_decref(head);
        head = NULL;
    }
    json_decref(rest);
    return head;
}

static enum pmet_status open_journal(struct search *s, struct pmet_error *err)
{
    struct pmet_editor *e = s->e;
    if (!e->store)
        return PMET_OK;
    json_t *head = head_of(s);
    enum pmet_status status =
        pmet_journal_open(e->store, "facts", head, "edit", read_record, e, &e->journal, err);
    json_decref(head);
    if (status == PMET_OK)
        status = pmet_calloc(&s->record, record_bytes(&e->targets), 1, "a fact", err);
    size_t n = 0;
    for (size_t i = 0; i < e->targets.n_fact; i++)
        n += e->targets.fact[i].done;
    if (n > 0)
        pmet_raise_note(&e->listener, false, "%s: %zu of %zu facts are done", pmet_store_dir(e->store), n,
                        e->targets.n_fact);
    return status;
}

/* ---- what the optimisation reports ---- */

static enum pmet_status raise(const struct search *s, enum pmet_event_kind kind, size_t fact,
                              const struct pmet_fact_event *detail, struct pmet_error *err)
{
    return pmet_raise(
        &s->e->listener,
        &(struct pmet_event){.kind = kind, .phase = PMET_PHASE_DELTA, .index = fact, .detail = detail}, err);
}

static enum pmet_status on_pass(void *user, struct pmet_delta *p, size_t k, size_t fact,
                                const struct pmet_delta_step *step, struct pmet_error *err)
{
    const struct search *s = user;
    const struct pmet_fact_event detail = {.delta = p, .k = k, .objective = s->objective, .step = step};
    return raise(s, PMET_EVENT_PASS, s->first + fact, &detail, err);
}

/* E45: the model's own output and the vector, added once in the model's precision. */
static enum pmet_status read_target(const struct search *s, struct pmet_delta *p, size_t k, size_t v, real *z,
                                    struct pmet_error *err)
{
    PMET_TRY(pmet_delta_get(p, k, PMET_DELTA_INITIAL, v, z, err));
    PMET_TRY(pmet_delta_get(p, k, PMET_DELTA_VALUE, v, s->vector, err));
    for (size_t i = 0; i < s->e->targets.d_model; i++)
        z[i] += s->vector[i];
    return PMET_OK;
}

/* E54: numbers that break are traced to the weight that broke them, if one did; else this fact
 * alone has failed, and the others go on. */
static enum pmet_status take_failure(struct search *s, size_t i, const struct pmet_error *failure,
                                     struct pmet_error *err)
{
    struct pmet_fact_report *report = &s->e->targets.fact[i];
    if (s->n_failed++ == 0) {
        PMET_TRY(pmet_model_check_finite(s->e->model, err));
        s->first_failed = i;
    }
    snprintf(report->failure, sizeof report->failure, "%.250s", failure->message);
    return PMET_OK;
}

static enum pmet_status on_done(void *user, struct pmet_delta *p, size_t k, size_t fact,
                                const struct pmet_delta_result *result, const struct pmet_error *failure,
                                struct pmet_error *err)
{
    struct search *s = user;
    struct pmet_targets *t = &s->e->targets;
    const size_t i = s->first + fact;
    struct pmet_fact_report *report = &t->fact[i];
    report->result = *result;
    report->applied = !failure;
    if (failure)
        PMET_TRY(take_failure(s, i, failure, err));
    for (size_t q = 0; !failure && q < t->n_target; q++)
        PMET_TRY(read_target(s, p, k, s->which[q], t->Z[q] + i * t->d_model, err));
    PMET_TRY(write_record(s, i, err));
    const struct pmet_fact_event detail = {.delta = p, .k = k, .objective = s->objective, .report = report};
    PMET_TRY(raise(s, PMET_EVENT_FACT, i, &detail, err));
    report->done = true;
    return pmet_raise_progress(&s->e->listener, PMET_PHASE_DELTA, ++s->n_done, t->n_fact, err);
}

/* ---- all facts ---- */

/* One fact after the other; what is known of an earlier run is applied all the same. */
static enum pmet_status optimise_in_turn(struct search *s, struct pmet_delta *p, const bool *skip,
                                         const struct pmet_delta_listener *listener, struct pmet_error *err)
{
    for (s->first = 0; s->first < s->e->targets.n_fact; s->first++) {
        if (!skip[s->first])
            PMET_TRY(pmet_delta_optimise(p, s->e->rows + s->first, 1, NULL, listener, err));
        PMET_TRY(s->in_turn->apply(s->in_turn->user, s->first, err));
        pmet_editor_stage(s->e, PMET_STAGE_DELTA);
    }
    return PMET_OK;
}

static enum pmet_status optimise(struct search *s, struct pmet_error *err)
{
    struct pmet_editor *e = s->e;
    const struct pmet_delta_listener listener = {.user = s, .pass = on_pass, .done = on_done};
    const size_t n = e->targets.n_fact;
    size_t max_bytes;
    bool *skip = NULL;
    struct pmet_delta *p = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&skip, n, sizeof *skip, "facts", err));
    PMET_GO(pmet_calloc(&s->vector, e->targets.d_model, sizeof *s->vector, "a target", err));
    for (size_t i = 0; i < n; i++) {
        struct pmet_fact_report *report = &e->targets.fact[i];
        report->done = report->done && i >= e->n_again;
        skip[i] = report->done;
        s->n_done += report->done;
        if (report->done && !report->applied && s->n_failed++ == 0)
            s->first_failed = i;
    }
    PMET_GO(pmet_raise_progress(&e->listener, PMET_PHASE_DELTA, s->n_done, n, err));
    if (s->n_done < n) {
        PMET_GO(pmet_capacity(e->model->op, e->max_bytes, &max_bytes, err));
        const struct pmet_delta_size size =
            pmet_delta_plan(e->model, s->objective, e->rows, n, s->in_turn ? 0 : max_bytes);
        PMET_GO(pmet_delta_open(e->model, s->objective, &size, &p, err));
    }
    status = s->in_turn      ? optimise_in_turn(s, p, skip, &listener, err)
             : s->n_done < n ? pmet_delta_optimise(p, e->rows, n, skip, &listener, err)
                             : PMET_OK;
done:
    pmet_delta_close(p);
    free(skip);
    free(s->vector);
    return status;
}

static enum pmet_status check_failures(const struct search *s, struct pmet_error *err)
{
    const struct pmet_editor *e = s->e;
    const struct pmet_fact *f = &e->facts->fact[s->first_failed];
    char more[64] = "";
    if (s->n_failed == 0 || (e->skip_failed && s->n_failed < e->targets.n_fact))
        return PMET_OK;
    if (s->n_failed > 1)
        snprintf(more, sizeof more, " (and %zu more)", s->n_failed - 1);
    return pmet_fail(err, PMET_NUMERIC, "%s: record %zu (line %zu): subject \"%s\": %s%s%s", e->facts->path,
                     f->record, f->line, f->subject, e->targets.fact[s->first_failed].failure, more,
                     e->skip_failed ? "" : " (--skip-failed leaves it out)");
}

enum pmet_status pmet_targets_find(struct pmet_editor *e, const struct pmet_objective *objective,
                                   const size_t *which, size_t n_target, const struct pmet_in_turn *in_turn,
                                   struct pmet_error *err)
{
    struct search s = {.e = e, .objective = objective, .which = which, .in_turn = in_turn};
    enum pmet_status status = PMET_OK;
    pmet_editor_stage(e, PMET_STAGE_DELTA);
    if (!e->targets.fact)
        PMET_GO(pmet_targets_alloc(e->facts->n_fact, n_target, e->model->config.d_model, &e->targets, err));
    PMET_GO(open_journal(&s, err));
    PMET_GO(optimise(&s, err));
    status = check_failures(&s, err);
done:
    free(s.record);
    pmet_editor_stage(e, PMET_STAGE_NONE);
    return status;
}

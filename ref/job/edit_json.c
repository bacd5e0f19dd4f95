/* SPDX-License-Identifier: MIT
 * What an edit says of itself: the record pmet_edit.json, a line for each fact, and the inputs that
 * a work folder is identified by.      SPEC §9.5, §9.11 */
#include <string.h>
#include "ref/facts/facts_record.h"
#include "ref/job/edit.h"
#include "tensors/dtype.h"
#include "tensors/json.h"
#include "tensors/sha256.h"

json_t *pmet_edit_job_facts_json(const struct pmet_edit_job *j)
{
    json_t *list = json_array();
    for (size_t i = 0; i < j->facts.n_fact; i++) {
        const struct pmet_fact *f = &j->facts.fact[i];
        const struct pmet_fact_report *r = &j->editor.targets.fact[i];
        json_t *line = json_pack(
            "{s:o, s:s, s:s, s:s, s:b, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:b}", "case_id",
            pmet_fact_id(f), "prompt", f->prompt, "subject", f->subject, "target", f->target, "applied",
            r->applied, "stop", pmet_stop_name(r->result.stop), "passes", (json_int_t)r->result.n_forward,
            "updates", (json_int_t)r->result.n_updates, "loss_first", pmet_json_real(r->result.first.loss),
            "loss_last", pmet_json_real(r->result.last.loss), "prob_before",
            pmet_json_real(j->before[i].prob), "prob_after", pmet_json_real(j->after[i].prob),
            "greedy_before", j->before[i].greedy, "greedy_after", j->after[i].greedy, "odd_lookup",
            j->rows[i].odd_lookup, "odd_target", j->rows[i].odd_target);
        if (line && r->failure[0])
            json_object_set_new(line, "failure", json_string(r->failure));
        json_array_append_new(list, line);
    }
    return list;
}

json_t *pmet_edit_job_matrices_json(const struct pmet_edit_job *j)
{
    json_t *list = json_array();
    for (size_t k = 0; k < j->editor.n_update; k++) {
        const struct pmet_update *u = &j->editor.update[k];
        json_array_append_new(list, json_pack("{s:s, s:s, s:f, s:f, s:f, s:s, s:f, s:I}", "module", u->name,
                                              "dtype", pmet_dtype_name(j->written[k].dtype), "update_norm",
                                              u->upd_norm, "weight_norm", u->w_norm, "rounding_lost",
                                              j->written[k].lost, "solver", pmet_solver_name(u->solve.used),
                                              "residual", u->solve.residual, "iterations",
                                              (json_int_t)u->solve.iterations));
    }
    return list;
}

static json_t *contexts_json(const struct pmet_edit_job *j)
{
    return json_pack("{s:s, s:b, s:o}", "sha256", j->contexts_sha256, "generated", j->contexts_made,
                     "templates", pmet_contexts_json(&j->contexts));
}

static json_t *ancestors_json(const struct pmet_edit_job *j)
{
    json_t *list = json_array();
    json_array_append_new(list, json_string(j->s->fingerprint));
    for (size_t i = 0; i < j->record.n_ancestor; i++)
        json_array_append_new(list, json_string(j->record.ancestor[i]));
    return list;
}

static json_t *parts_json(const struct pmet_parts *p)
{
    return json_pack("{s:s, s:s, s:s}", "weights", p->weights, "config", p->config, "tokenizer",
                     p->tokenizer);
}

/* In the order of ancestors. */
static json_t *ancestor_parts_json(const struct pmet_edit_job *j)
{
    json_t *list = json_array();
    json_array_append_new(list, parts_json(&j->s->parts));
    for (size_t i = 0; i < j->record.n_ancestor; i++)
        json_array_append_new(list, parts_json(&j->record.ancestor_parts[i]));
    return list;
}

static json_t *stats_json(const struct pmet_edit_job *j)
{
    static const char *const origin[] = {"verified", "of an ancestor", "unverified"};
    json_t *list = json_array();
    for (size_t k = 0; k < j->moments.n_entry; k++) {
        const struct pmet_moments_entry *m = &j->moments.entry[k];
        json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "module", m->name, "origin",
                                              origin[m->info.origin], "tokens", (json_int_t)m->info.count));
    }
    return list;
}

/* The facts that were edited, and those left out, if there are any. */
static json_t *edited_json(const struct pmet_edit_job *j)
{
    json_t *facts = json_pack("{s:s, s:I, s:I}", "sha256", j->facts.sha256, "count",
                              (json_int_t)j->facts.n_fact, "applied", (json_int_t)j->editor.n_applied);
    if (j->facts.skipped.n > 0)
        json_object_set_new(facts, "skipped", pmet_skipped_json(&j->facts.skipped));
    return facts;
}

json_t *pmet_edit_job_record_json(const struct pmet_edit_job *j)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:I, s:o, s:o, s:o, s:f, s:o, s:o}", "version",
                     PMET_VERSION, "method", j->name, "device", j->s->op->kind, "fingerprint", j->fingerprint,
                     "parts", parts_json(&j->parts), "base", j->s->fingerprint, "ancestors",
                     ancestors_json(j), "ancestor_parts", ancestor_parts_json(j), "seed",
                     (json_int_t)j->request.seed, "facts", edited_json(j), "hparams",
                     pmet_hparams_json(&j->h), "contexts", contexts_json(j), "ridge", j->request.ridge,
                     "stats", stats_json(j), "matrices", pmet_edit_job_matrices_json(j));
}

/* The facts as they are edited, whatever file and options they come from. */
static void digest_facts(const struct pmet_facts *facts, char hex[65])
{
    struct pmet_sha256 sha;
    pmet_sha256_begin(&sha);
    for (size_t i = 0; i < facts->n_fact; i++) {
        const struct pmet_fact *f = &facts->fact[i];
        pmet_sha256_add(&sha, f->prompt, strlen(f->prompt) + 1);
        pmet_sha256_add(&sha, f->subject, strlen(f->subject) + 1);
        pmet_sha256_add(&sha, f->target, strlen(f->target) + 1);
    }
    pmet_sha256_hex(&sha, hex);
}

json_t *pmet_edit_job_inputs_json(const struct pmet_edit_job *j)
{
    char facts[65];
    digest_facts(&j->facts, facts);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "version", PMET_VERSION, "method", j->name,
                     "precision", sizeof(real) == 4 ? "float" : "double", "device", j->s->op->kind, "model",
                     j->s->fingerprint, "facts", facts, "contexts", j->contexts_sha256);
}

/* `auto` chooses by solve_bytes, and the solver shows in the last bits. */
json_t *pmet_edit_job_solve_inputs_json(const struct pmet_edit_job *j)
{
    const bool asks_memory = j->request.solver == PMET_SOLVER_AUTO;
    json_t *moments = json_array();
    for (size_t k = 0; k < j->moments.n_entry; k++) /* with a factor there is another way to solve */
        json_array_append_new(
            moments, json_pack("[s, b]", j->moments.entry[k].info.id, j->moments.entry[k].info.factor));
    return json_pack("{s:o, s:s, s:f, s:I, s:o}", "hparams", pmet_hparams_json(&j->h), "solver",
                     pmet_solver_name(j->request.solver), "ridge", j->request.ridge, "solve_bytes",
                     (json_int_t)(asks_memory ? j->editor.solve_bytes : 0), "moments", moments);
}

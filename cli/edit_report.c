/* SPDX-License-Identifier: MIT
 * What pmet edit says of the facts and of the matrices. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cli/edit_job.h"
#include "tensors/dtype.h"

void edit_warn(const struct edit_job *j)
{
    for (size_t i = 0; i < j->facts.n_fact; i++) {
        const struct pmet_fact *f = &j->facts.fact[i];
        const struct pmet_fact_rows *r = &j->rows[i];
        if (r->odd_lookup || r->odd_target)
            say_warning(
                j->c,
                "%s: line %zu: \"%s\": %s not where the whole row's tokens are; computed as published "
                "(--strict refuses)",
                j->facts.path, f->line, f->subject,
                !r->odd_target   ? "the lookup token is"
                : !r->odd_lookup ? "the target's labels are"
                                 : "the lookup token and the target's labels are");
    }
    if (j->facts.n_shared_subject > 0)
        say_note(j->c, "%zu facts share their subject with another", j->facts.n_shared_subject);
    if (j->facts.n_dropped > 0)
        say_note(j->c, "%zu facts dropped: they contradict another (--conflicts)", j->facts.n_dropped);
}

json_t *edit_facts_json(const struct edit_job *j)
{
    json_t *list = json_array();
    for (size_t i = 0; i < j->facts.n_fact; i++) {
        const struct pmet_fact *f = &j->facts.fact[i];
        const struct pmet_fact_report *r = &j->edit.fact[i];
        json_t *line = json_pack(
            "{s:I, s:s, s:s, s:s, s:b, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:b}", "case_id",
            (json_int_t)f->case_id, "prompt", f->prompt, "subject", f->subject, "target", f->target,
            "applied", r->applied, "stop", pmet_stop_name(r->result.stop), "passes",
            (json_int_t)r->result.n_forward, "updates", (json_int_t)r->result.n_updates, "loss_first",
            json_number_or_null(r->result.first.loss), "loss_last", json_number_or_null(r->result.last.loss),
            "prob_before", json_number_or_null(j->before[i].prob), "prob_after",
            json_number_or_null(j->after[i].prob), "greedy_before", j->before[i].greedy, "greedy_after",
            j->after[i].greedy, "odd_lookup", r->odd_lookup, "odd_target", r->odd_target);
        if (line && r->failure[0])
            json_object_set_new(line, "failure", json_string(r->failure));
        json_array_append_new(list, line);
    }
    return list;
}

json_t *edit_matrices_json(const struct edit_job *j)
{
    json_t *list = json_array();
    for (size_t k = 0; k < j->edit.n_edited; k++) {
        const struct pmet_edited *e = &j->edit.edited[k];
        json_array_append_new(list, json_pack("{s:s, s:s, s:f, s:f, s:f, s:s, s:f, s:I}", "module", e->name,
                                              "dtype", pmet_dtype_name(j->written[k].dtype), "update_norm",
                                              e->upd_norm, "weight_norm", e->w_norm, "rounding_lost",
                                              j->written[k].lost, "solver", pmet_solver_name(e->solve.used),
                                              "residual", e->solve.residual, "iterations",
                                              (json_int_t)e->solve.iterations));
    }
    return list;
}

static double passes_gflop(const struct edit_job *j)
{
    size_t *n_forward;
    struct pmet_error ignored = {PMET_OK, ""};
    if (pmet_calloc(&n_forward, j->facts.n_fact, sizeof *n_forward, "passes", &ignored) != PMET_OK)
        return 0;
    for (size_t i = 0; i < j->facts.n_fact; i++)
        n_forward[i] = j->edit.fact[i].result.n_forward;
    const double flop = edit_delta_flop(j, n_forward);
    free(n_forward);
    return flop * 1e-9;
}

static void report_json(const struct edit_job *j, size_t n_greedy)
{
    print_json(json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:{s:f, s:f, s:f, s:f, s:f, s:f}, s:{s:f, s:f, s:f}, s:I, s:s, s:f, s:o, "
        "s:o}",
        "out", j->out, "facts", (json_int_t)j->facts.n_fact, "applied", (json_int_t)j->edit.n_applied,
        "greedy", (json_int_t)n_greedy, "steps", (json_int_t)j->n_pass, "seconds", "load", j->s_load, "stats",
        j->s_stats, "delta", j->edit.s_delta, "keys", j->edit.s_keys, "solve", j->edit.s_solve, "write",
        j->s_write, "gflop", "delta", passes_gflop(j), "keys", edit_keys_flop(j) * 1e-9, "solve",
        edit_solve_flop(j, j->edit.n_applied) * 1e-9, "peak_memory_bytes", (json_int_t)peak_memory(),
        "fingerprint", j->fingerprint, "ridge", j->ridge, "layers", edit_matrices_json(j), "facts_detail",
        edit_facts_json(j)));
}

static void print_fact(const struct edit_job *j, size_t i)
{
    const struct pmet_fact *f = &j->facts.fact[i];
    const struct pmet_fact_report *r = &j->edit.fact[i];
    printf("%6lld  %-7s %6zu  %8.4f -> %6.4f  %-6s  %s: %s%s%s\n", (long long)f->case_id,
           r->applied ? pmet_stop_name(r->result.stop) : "failed", r->result.n_forward, j->before[i].prob,
           j->after[i].prob, j->after[i].greedy ? "yes" : "no", f->subject, f->target + (f->target[0] == ' '),
           r->odd_lookup || r->odd_target ? "  (odd)" : "", r->applied ? "" : "  (left out)");
}

static void print_matrices(const struct edit_job *j)
{
    printf("\n%-44s %10s %9s  %-9s %9s  rounding lost\n", "matrix", "|dW|", "|dW|/|W|", "solver", "residual");
    for (size_t k = 0; k < j->edit.n_edited; k++) {
        const struct pmet_edited *e = &j->edit.edited[k];
        printf("%-44s %10.4g %9.2g  %-9s %9.1e  %.2g %% (%s)\n", e->name, e->upd_norm,
               e->w_norm > 0 ? e->upd_norm / e->w_norm : 0, pmet_solver_name(e->solve.used),
               e->solve.residual, 100 * j->written[k].lost, pmet_dtype_name(j->written[k].dtype));
    }
}

void edit_report(const struct edit_job *j)
{
    size_t n_before = 0, n_after = 0;
    char bytes[32], took[32];
    for (size_t i = 0; i < j->facts.n_fact; i++) {
        n_before += j->before[i].greedy;
        n_after += j->after[i].greedy;
        if (!j->edit.fact[i].applied)
            say_warning(j->c, "%s: line %zu: \"%s\": left out: %s", j->facts.path, j->facts.fact[i].line,
                        j->facts.fact[i].subject, j->edit.fact[i].failure);
    }
    if (j->json) {
        report_json(j, n_after);
        return;
    }
    printf("%6s  %-7s %6s  %18s  %-6s  %s\n", "case", "stop", "passes", "probability", "greedy",
           "subject: target");
    for (size_t i = 0; i < j->facts.n_fact; i++)
        print_fact(j, i);
    print_matrices(j);
    printf("\n%s: %zu of %zu facts applied; the target is the model's answer to the plain prompt for %zu of "
           "them (before: %zu)\n",
           j->out, j->edit.n_applied, j->facts.n_fact, n_after, n_before);
    if (j->ridge > 0)
        printf("solved with --ridge %g\n", j->ridge);
    if (j->trace)
        printf("%s: %zu tensors\n", j->trace, j->list.n);
    format_bytes(bytes, sizeof bytes, (double)peak_memory());
    printf("%s in all, %s of memory at most\n",
           format_seconds(took, sizeof took,
                          j->s_load + j->s_stats + j->edit.s_delta + j->edit.s_keys + j->edit.s_solve +
                              j->s_write),
           bytes);
}

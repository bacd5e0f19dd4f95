/* SPDX-License-Identifier: MIT
 * What pmet edit says of the facts and of the matrices. */
#include <string.h>
#include "cli/edit_job.h"
#include "tensors/dtype.h"
#include "tensors/json.h"

static size_t count_passes(const struct pmet_edit_job *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->facts.n_fact; i++)
        n += j->editor.targets.fact[i].result.n_forward;
    return n;
}

static void report_json(const struct pmet_edit_job *j, size_t n_greedy)
{
    const double *seconds = j->editor.seconds;
    struct pmet_needs needs = {0};
    struct pmet_error ignored = {PMET_OK, ""};
    j->method->plan(&j->editor, &needs, &ignored);
    print_json(json_pack(
        "{s:o, s:s, s:I, s:I, s:I, s:I, s:{s:f, s:f, s:f, s:f, s:f, s:f}, s:{s:f, s:f, s:f}, s:I, s:s, s:f, "
        "s:o, s:o}",
        "out", pmet_json_name(j->request.out), "method", j->name, "facts", (json_int_t)j->facts.n_fact,
        "applied", (json_int_t)j->editor.n_applied, "greedy", (json_int_t)n_greedy, "steps",
        (json_int_t)count_passes(j), "seconds", "load", j->s_load, "stats", j->moments.seconds, "delta",
        seconds[PMET_STAGE_DELTA], "keys", seconds[PMET_STAGE_KEYS], "solve", seconds[PMET_STAGE_SOLVE],
        "write", j->s_write, "gflop", "delta", needs.flop_delta * 1e-9, "keys", needs.flop_keys * 1e-9,
        "solve", needs.flop_solve * 1e-9, "peak_memory_bytes", (json_int_t)peak_memory(), "fingerprint",
        j->fingerprint, "ridge", j->request.ridge, "layers", pmet_edit_job_matrices_json(j), "facts_detail",
        pmet_edit_job_facts_json(j)));
}

struct formatted format_case(const struct pmet_fact *f)
{
    struct formatted out;
    if (f->case_name)
        snprintf(out.text, sizeof out.text, "%s", f->case_name);
    else
        snprintf(out.text, sizeof out.text, "%lld", (long long)f->case_id);
    return out;
}

static void print_fact(const struct pmet_edit_job *j, size_t i)
{
    const struct pmet_fact *f = &j->facts.fact[i];
    const struct pmet_fact_report *r = &j->editor.targets.fact[i];
    print_line(
        "%6s  %-7s %6zu  %8.4f -> %6.4f  %-6s  %s: %s%s%s", format_case(f).text,
        r->applied ? pmet_stop_name(r->result.stop) : "failed", r->result.n_forward, j->before[i].prob,
        j->after[i].prob, j->after[i].greedy ? "yes" : "no", f->subject, f->target + (f->target[0] == ' '),
        j->rows[i].odd_lookup || j->rows[i].odd_target ? "  (odd)" : "", r->applied ? "" : "  (left out)");
}

static void print_matrices(const struct pmet_edit_job *j)
{
    printf("\n%-44s %10s %9s  %-9s %9s  rounding lost\n", "matrix", "|dW|", "|dW|/|W|", "solver", "residual");
    for (size_t k = 0; k < j->editor.n_update; k++) {
        const struct pmet_update *u = &j->editor.update[k];
        printf("%-44s %10.4g %9.2g  %-9s %9.1e  %.2g %% (%s)\n", u->name, u->upd_norm,
               u->w_norm > 0 ? u->upd_norm / u->w_norm : 0, pmet_solver_name(u->solve.used),
               u->solve.residual, 100 * j->written[k].lost, pmet_dtype_name(j->written[k].dtype));
    }
}

void edit_report(const struct edit_job *x)
{
    const struct pmet_edit_job *j = &x->job;
    const double *seconds = j->editor.seconds;
    size_t n_before = 0, n_after = 0;
    for (size_t i = 0; i < j->facts.n_fact; i++) {
        n_before += j->before[i].greedy;
        n_after += j->after[i].greedy;
        if (!j->editor.targets.fact[i].applied)
            say(x->c, WARNING, "%s: line %zu: \"%s\": left out: %s", j->facts.path, j->facts.fact[i].line,
                j->facts.fact[i].subject, j->editor.targets.fact[i].failure);
    }
    if (x->json) {
        report_json(j, n_after);
        return;
    }
    printf("%6s  %-7s %6s  %18s  %-6s  %s\n", "case", "stop", "passes", "probability", "greedy",
           "subject: target");
    for (size_t i = 0; i < j->facts.n_fact; i++)
        print_fact(j, i);
    print_matrices(j);
    putchar('\n');
    print_line(
        "%s: %zu of %zu facts applied; the target is the model's answer to the plain prompt for %zu of "
        "them (before: %zu)",
        j->request.out, j->editor.n_applied, j->facts.n_fact, n_after, n_before);
    if (strcmp(j->name, j->method->name) != 0)
        printf("by %s: an ablation, not the method as published\n", j->name);
    if (j->request.ridge > 0)
        printf("solved with --ridge %g\n", j->request.ridge);
    printf("%s in all, %s of memory at most\n",
           format_seconds(j->s_load + j->moments.seconds + seconds[PMET_STAGE_DELTA] +
                          seconds[PMET_STAGE_KEYS] + seconds[PMET_STAGE_SOLVE] + j->s_write)
               .text,
           format_bytes((double)peak_memory()).text);
}

/* SPDX-License-Identifier: MIT
 * pmet edit --dry-run: the plan in words or JSON, and the rows of facts. */
#include <math.h>
#include <stdlib.h>
#include "cli/edit_job.h"
#include "ref/facts/facts_record.h"
#include "tensors/json.h"

/* Text of n tokens: parts of a character (a token may end inside one) are shown as bytes. */
static enum pmet_status print_tokens(const struct pmet_edit_job *j, const int32_t *id, size_t n,
                                     struct pmet_error *err)
{
    struct pmet_text text = {0};
    const enum pmet_status status = pmet_tokenizer_decode(j->s->tk, id, n, PMET_DECODE_BYTES, &text, err);
    if (status == PMET_OK)
        print_plain(text.data ? text.data : "", text.n);
    free(text.data);
    return status;
}

/* Does row b hold a context that is not there yet? */
static bool is_to_write(const struct pmet_edit_job *j, size_t b)
{
    return j->contexts_to_write && b > 0 && b < j->contexts.n_template;
}

static enum pmet_status show_fact(const struct pmet_edit_job *j, size_t i, struct pmet_error *err)
{
    const struct pmet_fact *f = &j->facts.fact[i];
    const struct pmet_fact_rows *r = &j->rows[i];
    putchar('\n');
    print_line("fact %zu (case %s, line %zu): \"%s\", subject \"%s\"%s", i, format_case(f).text, f->line,
               f->prompt, f->subject, r->odd_lookup || r->odd_target ? "  (odd)" : "");
    for (size_t b = 0; b < r->n_row; b++) {
        const struct pmet_row *row = &r->row[b];
        if (is_to_write(j, b))
            continue;
        printf(b + 1 == r->n_row ? "  KL     " : "  row %-2zu ", b);
        const size_t after = row->lookup_idx + 1;
        PMET_TRY(print_tokens(j, row->id, row->lookup_idx, err));
        putchar('[');
        PMET_TRY(print_tokens(j, row->id + row->lookup_idx, 1, err));
        putchar(']');
        PMET_TRY(print_tokens(j, row->id + after, row->n_tok - after, err));
        putchar('\n');
    }
    if (j->contexts_to_write)
        printf("  rows 1 to %zu wait for their contexts\n", j->contexts.n_template - 1);
    printf("  target");
    for (size_t s = 0; s < r->n_target; s++) { /* in the plain prompt: the token it is predicted at, itself */
        printf("%s \"", s ? "," : "");
        PMET_TRY(print_tokens(j, &r->row[0].id[r->row[0].n_tok - r->n_target + s], 1, err));
        printf("\" -> \"");
        PMET_TRY(print_tokens(j, &r->target[s], 1, err));
        putchar('"');
    }
    putchar('\n');
    return PMET_OK;
}

/* Of the first `show` facts. */
static json_t *rows_json(const struct pmet_edit_job *j, size_t show)
{
    json_t *list = json_array();
    for (size_t i = 0; i < j->facts.n_fact && i < show; i++) {
        const struct pmet_fact_rows *r = &j->rows[i];
        json_t *rows = json_array(), *target = pmet_json_ids(r->target, r->n_target);
        for (size_t b = 0; b < r->n_row; b++)
            if (!is_to_write(j, b))
                json_array_append_new(rows, json_pack("{s:o, s:I}", "ids",
                                                      pmet_json_ids(r->row[b].id, r->row[b].n_tok),
                                                      "lookup_idx", (json_int_t)r->row[b].lookup_idx));
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:b, s:b}", "case_id",
                                              pmet_fact_id(&j->facts.fact[i]), "rows", rows, "target", target,
                                              "odd_lookup", r->odd_lookup, "odd_target", r->odd_target));
    }
    return list;
}

/* null where the device's memory is the host's. */
static json_t *device_json(const struct pmet_edit_job *j, const struct pmet_edit_plan *p)
{
    return p->device_all == 0 ? json_null()
                              : json_pack("{s:f, s:f, s:I, s:I, s:b}", "weights", j->s->model->weight_bytes,
                                          "beside", p->device, "free", (json_int_t)p->device_free, "all",
                                          (json_int_t)p->device_all, "solves", j->solve_op == NULL);
}

/* With contexts_to_write true the counts are upper bounds. */
static void plan_json(const struct pmet_edit_job *j, const struct pmet_edit_plan *p, size_t show)
{
    print_json(json_pack(
        "{s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:f, s:f, s:f, s:f}, s:o, s:{s:f, s:f}, s:{s:f, s:f}, "
        "s:o}",
        "dry_run", 1, "contexts_to_write", j->contexts_to_write, "facts", (json_int_t)j->facts.n_fact, "rows",
        (json_int_t)p->n_row, "tokens", (json_int_t)p->n_token, "matrices", (json_int_t)j->editor.n_update,
        "passes_at_most", (json_int_t)(j->facts.n_fact * p->needs.n_pass), "facts_together",
        (json_int_t)p->needs.together, "bytes", "weights", p->weights, "batch", p->batch, "matrices",
        p->matrices, "solve", p->solve, "device", device_json(j, p), "seconds", "delta_at_most", p->s_delta,
        "solve", p->s_solve, "gflop", "keys", p->needs.flop_keys * 1e-9, "solve", p->needs.flop_solve * 1e-9,
        "facts_shown", rows_json(j, show)));
}

/* What must be in memory at once, whatever its stage, against what there is. */
static void plan_memory(const struct pmet_edit_job *j, const struct pmet_edit_plan *p)
{
    size_t n_free, n_all;
    pmet_host_memory(&n_free, &n_all);
    const double total = (double)n_all, editing = p->matrices + p->solve, need = fmax(p->batch, editing);
    if (need > total)
        printf("          too small: %s are needed at once beside the weights; this machine has %s%s\n",
               format_bytes(need).text, format_bytes(total).text,
               j->request.solver == PMET_SOLVER_CG ? "" : " (--solver cg needs less)");
    else
        printf("          at once at most %s beside the weights; this machine has %s, %s free\n",
               format_bytes(need).text, format_bytes(total).text, format_bytes((double)n_free).text);
    if (p->weights + need > total)
        printf("          weights do not stay in memory beside that: parts are read anew in every pass\n");
    if (p->needs.together == 1 && p->batch > (double)j->request.max_bytes)
        printf("          one fact takes more than there is to spend; they are optimised one by one all the "
               "same\n");
    if (p->device_all > 0)
        printf("device    weights %s, at once at most %s beside them; it has %s, %s free now%s\n",
               format_bytes(j->s->model->weight_bytes).text, format_bytes(p->device).text,
               format_bytes((double)p->device_all).text, format_bytes((double)p->device_free).text,
               j->solve_op ? "; the solve runs on the host" : "");
}

static void plan_text(const struct pmet_edit_job *j, const struct pmet_edit_plan *p)
{
    const struct pmet_config *c = &j->s->model->config;
    printf("Nothing is written: this is the plan.\n\n");
    print_line("model     %s: %s, %zu layers of width %zu, on %s", j->s->ck->dir, c->family->name, c->n_layer,
               c->d_model, j->s->op->name);
    printf("facts     %zu: %zu rows, %zu tokens, the longest row %zu of %zu\n", j->facts.n_fact, p->n_row,
           p->n_token, p->longest, c->n_ctx);
    print_line("contexts  %zu, %s%s", j->contexts.n_template,
               j->contexts_to_write
                   ? "yet to be written by the model: rows, tokens, memory and time are upper bounds"
               : j->contexts_made ? "written by the model"
                                  : "from ",
               j->contexts_made ? "" : j->request.contexts);
    printf("method    %s\n", j->name);
    for (size_t k = 0; k < j->editor.n_update; k++)
        printf("%s%s\n", k ? "          " : "edits     ", j->editor.update[k].name);
    if (p->needs.n_pass > 0)
        printf("passes    %zu to %zu: 1 to %zu for each fact, %zu facts together\n", j->facts.n_fact,
               j->facts.n_fact * p->needs.n_pass, p->needs.n_pass, p->needs.together);
    printf("memory    weights %s (mapped), ", format_bytes(p->weights).text);
    if (p->batch > 0)
        printf("the facts together %s, ", format_bytes(p->batch).text);
    printf("edited matrices %s, the solve %s\n", format_bytes(p->matrices).text, format_bytes(p->solve).text);
    plan_memory(j, p);
    printf("time      optimising at most %s (every pass made; by the rate of one product),\n"
           "          solving about %s; reading, keys and writing are not estimated\n",
           format_seconds(p->s_delta).text, format_seconds(p->s_solve).text);
    if (!j->request.stats)
        printf("stats     not checked: no --stats given\n");
}

enum pmet_status edit_plan(struct edit_job *j, struct pmet_error *err)
{
    struct pmet_edit_plan p;
    PMET_TRY(pmet_edit_job_plan(&j->job, &p, err));
    if (j->json) {
        plan_json(&j->job, &p, j->show);
        return PMET_OK;
    }
    plan_text(&j->job, &p);
    for (size_t i = 0; i < j->job.facts.n_fact && i < j->show; i++)
        PMET_TRY(show_fact(&j->job, i, err));
    return PMET_OK;
}

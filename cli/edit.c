/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"
#include "ref/edit/pmet_edit.h"
#include "ref/eval/generate.h"

struct edit {
    const struct pmet_io *io;
    const char *model, *facts_path, *stats, *out, *hparams_path, *contexts_path, *solver, *limit, *conflicts,
        *threads, *seed, *ridge;
    bool strict, skip_failed, force, link, quiet;
    struct cli_session s;
    struct pmet_hparams h;
    struct pmet_contexts contexts;
    struct pmet_facts facts;
    struct pmet_edit result;
    char fingerprint[65];
    struct pmet_outdir *dir;
};

static int progress(void *user, enum pmet_phase phase, size_t done, size_t total)
{
    (void)user;
    return cli_progress(phase == PMET_PHASE_DELTA ? "facts optimised" : "matrices edited", done, total);
}

static enum pmet_status cov(void *user, const char *module, size_t d_in, double **out, struct pmet_error *err)
{
    struct edit *e = user;
    enum pmet_stats_origin origin;
    size_t count;
    PMET_TRY(
        pmet_stats_load(e->io, e->stats, module, d_in, e->fingerprint, NULL, 0, out, &count, &origin, err));
    if (origin == PMET_STATS_UNVERIFIED)
        fprintf(stderr, "pmet: warning: statistics of %s come from an .npz file: unverified\n", module);
    return PMET_OK;
}

static void skipped(void *user, const char *name)
{
    (void)user;
    fprintf(stderr, "pmet: %s: left out of the edited folder\n", name);
}

/* The record of what was done, beside the weights. */
static enum pmet_status write_record(const struct edit *e, struct pmet_error *err)
{
    json_t *facts = json_array();
    for (size_t i = 0; i < e->facts.n_fact; i++) {
        const struct pmet_fact *f = &e->facts.fact[i];
        const struct pmet_fact_report *r = &e->result.fact[i];
        json_array_append_new(facts, json_pack("{s:I, s:s, s:s, s:s, s:b, s:s, s:I, s:f, s:f}", "case_id",
                                               (json_int_t)f->case_id, "prompt", f->prompt, "subject",
                                               f->subject, "target", f->target, "applied", r->applied, "stop",
                                               pmet_stop_name(r->result.stop), "passes",
                                               (json_int_t)r->result.n_forward, "prob_before",
                                               r->result.first.prob, "prob_after", r->result.last.prob));
    }
    json_t *record = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o}", "method", "pmet", "version", PMET_VERSION,
                               "base", e->fingerprint, "facts_sha256", e->facts.sha256, "hparams_sha256",
                               e->h.sha256, "facts", facts);
    char *text = record ? json_dumps(record, JSON_INDENT(1)) : NULL, *path = NULL;
    struct pmet_out *out = NULL;
    enum pmet_status status;
    json_decref(record);
    if (!text)
        return pmet_fail(err, PMET_INPUT, "pmet_edit.json: the facts cannot be written as JSON");
    PMET_GO(pmet_path_join(pmet_outdir_path(e->dir), "pmet_edit.json", &path, err));
    PMET_GO(pmet_out_open(e->io, path, &out, err));
    PMET_GO(pmet_out_write(out, text, strlen(text), err));
    PMET_GO(pmet_out_write(out, "\n", 1, err));
    status = pmet_out_commit(out, err);
    out = NULL;
done:
    pmet_out_discard(out);
    free(path);
    free(text);
    return status;
}

/* Rounds each edited matrix once to the file's type, tells what that lost, and writes the folder. */
static enum pmet_status write_folder(struct edit *e, struct pmet_error *err)
{
    const size_t n = e->result.n_edited;
    struct pmet_replacement *r = NULL;
    char(*names)[160] = NULL;
    void **data = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&r, n, sizeof *r, "edited matrices", err));
    PMET_GO(pmet_calloc(&names, n, sizeof *names, "edited matrices", err));
    PMET_GO(pmet_calloc(&data, n, sizeof *data, "edited matrices", err));
    for (size_t k = 0; k < n; k++) {
        const struct pmet_edited *m = &e->result.edited[k];
        const size_t n_elem = m->d_out * m->d_in;
        snprintf(names[k], sizeof names[k], "%s.weight", m->name);
        const enum pmet_dtype dtype = pmet_checkpoint_find(e->s.ck, names[k])->dtype;
        PMET_GO(pmet_calloc(&data[k], n_elem, pmet_dtype_size(dtype), "edited matrices", err));
#ifdef PMET_REAL_DOUBLE
        pmet_from_f64(data[k], dtype, m->W, n_elem);
#else
        pmet_from_f32(data[k], dtype, m->W, n_elem);
#endif
        double lost = 0;
        for (size_t i = 0; i < n_elem; i++) {
            double x;
            pmet_to_f64(&x, (char *)data[k] + i * pmet_dtype_size(dtype), dtype, 1);
            lost += (x - (double)m->W[i]) * (x - (double)m->W[i]);
        }
        const double share = m->upd_norm > 0 ? sqrt(lost) / m->upd_norm : 0;
        printf("%s: |dW| %.4g, |dW|/|W| %.4g, solved by %s (residual %.1e), lost to %s rounding %.2g %%\n",
               m->name, m->upd_norm, m->w_norm > 0 ? m->upd_norm / m->w_norm : 0,
               pmet_solver_name(m->solve.used), m->solve.residual, pmet_dtype_name(dtype), 100 * share);
        if (share > 0.05)
            fprintf(stderr, "pmet: warning: %s: %.0f %% of the update is lost to %s rounding\n", m->name,
                    100 * share, pmet_dtype_name(dtype));
        r[k] = (struct pmet_replacement){names[k], dtype, data[k]};
    }
    PMET_GO(
        pmet_checkpoint_write(e->io, e->s.ck, pmet_outdir_path(e->dir), r, n, e->link, skipped, NULL, err));
    PMET_GO(write_record(e, err));
    struct pmet_outdir *dir = e->dir;
    e->dir = NULL;
    status = pmet_outdir_commit(dir, err);
done:
    for (size_t k = 0; data && k < n; k++)
        free(data[k]);
    free(data);
    free(names);
    free(r);
    return status;
}

static void report(const struct edit *e)
{
    for (size_t i = 0; i < e->facts.n_fact; i++) {
        const struct pmet_fact *f = &e->facts.fact[i];
        const struct pmet_fact_report *r = &e->result.fact[i];
        printf("%6lld  %-24s -> %-20s %s %2zu passes, probability %.3f -> %.3f%s%s\n", (long long)f->case_id,
               f->subject, f->target, r->applied ? pmet_stop_name(r->result.stop) : "failed",
               r->result.n_forward, r->result.first.prob, r->result.last.prob,
               r->odd_lookup ? ", odd lookup" : "", r->odd_target ? ", odd target" : "");
        if (r->odd_lookup || r->odd_target)
            fprintf(stderr,
                    "pmet: warning: fact %lld (\"%s\"): %s off after tokenising the row whole; computed as "
                    "published\n",
                    (long long)f->case_id, f->subject, r->odd_lookup ? "lookup index" : "target labels");
    }
}

static enum pmet_status run(struct edit *e, size_t n_threads, size_t n_limit, uint64_t seed,
                            struct pmet_error *err)
{
    static const char *const solvers[] = {"auto", "cholesky", "cg"}, *const conflicts[] = {"refuse", "first",
                                                                                           "last"};
    int solver = 0, conflict = 0;
    while (solver < 3 && strcmp(e->solver ? e->solver : "auto", solvers[solver]) != 0)
        solver++;
    while (conflict < 3 && strcmp(e->conflicts ? e->conflicts : "refuse", conflicts[conflict]) != 0)
        conflict++;
    if (solver == 3 || conflict == 3)
        return pmet_fail(err, PMET_INPUT, "--%s: found \"%s\"; expected %s",
                         solver == 3 ? "solver" : "conflicts", solver == 3 ? e->solver : e->conflicts,
                         solver == 3 ? "auto, cholesky or cg" : "refuse, first or last");
    PMET_TRY(pmet_outdir_begin(e->io, e->out, e->force, &e->dir, err));
    PMET_TRY(cli_open(e->io, e->model, n_threads, &e->s, err));
    const struct pmet_config *c = &e->s.model->config;
    PMET_TRY(e->hparams_path
                 ? pmet_hparams_load(e->io, e->hparams_path, &e->h, err)
                 : pmet_hparams_default(pmet_family_name(c->family), c->n_layer, c->d_model, &e->h, err));
    PMET_TRY(pmet_facts_load(
        e->io, e->facts_path,
        (struct pmet_facts_options){.limit = n_limit, .conflicts = (enum pmet_conflicts)conflict}, &e->facts,
        err));
    PMET_TRY(pmet_checkpoint_fingerprint(e->s.ck, e->fingerprint, err));
    if (e->contexts_path) {
        PMET_TRY(pmet_contexts_load(e->io, e->contexts_path, &e->contexts, err));
    } else {
        char *path;
        PMET_TRY(pmet_contexts_generate(e->s.model, e->s.tk, seed, &e->contexts, err));
        PMET_TRY(pmet_path_join(pmet_outdir_path(e->dir), "pmet_contexts.json", &path, err));
        const enum pmet_status saved = pmet_contexts_save(e->io, path, &e->contexts, err);
        free(path);
        PMET_TRY(saved);
    }
    const struct pmet_edit_options o = {.hparams = &e->h,
                                        .contexts = &e->contexts,
                                        .solver = (enum pmet_solver)solver,
                                        .ridge = e->ridge ? strtod(e->ridge, NULL) : 0,
                                        .strict = e->strict,
                                        .skip_failed = e->skip_failed,
                                        .max_bytes = (size_t)4 << 30};
    const struct pmet_edit_watch watch = {.user = e, .progress = progress};
    PMET_TRY(pmet_edit_run(e->s.model, e->s.tk, &e->facts, &o, cov, e, &watch, &e->result, err));
    report(e);
    PMET_TRY(write_folder(e, err));
    printf("%s: %zu of %zu facts written; delta %.1f s, keys %.1f s, solve %.1f s\n", e->out,
           e->result.n_applied, e->facts.n_fact, e->result.s_delta, e->result.s_keys, e->result.s_solve);
    return PMET_OK;
}

int cli_edit(int argc, char **argv, const struct pmet_io *io)
{
    struct edit e = {.io = io};
    size_t n_threads = 0, n_limit = 0, seed = 0;
    const struct cli_option options[] = {
        {"model", &e.model, NULL, NULL, NULL, true, "DIR   the checkpoint to edit (never written to)"},
        {"facts", &e.facts_path, NULL, NULL, NULL, true,
         "FILE  CounterFact, zsRE or plain records, JSON or JSON lines"},
        {"stats", &e.stats, NULL, NULL, NULL, true, "DIR   from pmet stats, or published .npz files"},
        {"out", &e.out, NULL, NULL, NULL, true, "DIR   the edited checkpoint"},
        {"hparams", &e.hparams_path, NULL, NULL, NULL, false, "FILE  [built in for GPT-J-6B and NeoX-20B]"},
        {"contexts", &e.contexts_path, NULL, NULL, NULL, false,
         "FILE  context templates [generated by the model, and saved]"},
        {"solver", &e.solver, NULL, NULL, NULL, false, "auto|cholesky|cg [auto]"},
        {"ridge", &e.ridge, NULL, NULL, NULL, false, "X     added to the diagonal [0]"},
        {"limit", &e.limit, NULL, NULL, NULL, false, "N     the first N facts [all]"},
        {"conflicts", &e.conflicts, NULL, NULL, NULL, false,
         "refuse|first|last, of facts that contradict each other [refuse]"},
        {"strict", NULL, &e.strict, NULL, NULL, false, "refuse facts whose tokens do not line up"},
        {"skip-failed", NULL, &e.skip_failed, NULL, NULL, false, "leave out facts whose optimisation breaks"},
        {"link", NULL, &e.link, NULL, NULL, false, "hard-link unedited shards"},
        {"force", NULL, &e.force, NULL, NULL, false, "replace an existing folder"},
        {"seed", &e.seed, NULL, NULL, NULL, false, "N     of generated contexts [0]"},
        {"threads", &e.threads, NULL, NULL, NULL, false, "N     [all]"},
        {"quiet", NULL, &cli_quiet, NULL, NULL, false, "no progress"}};
    const int status = cli_parse(argc, argv, options, sizeof options / sizeof *options,
                                 "pmet edit --model DIR --facts FILE --stats DIR --out DIR [options]");
    if (status != 0 || !cli_number("edit", "threads", e.threads, &n_threads) ||
        !cli_number("edit", "limit", e.limit, &n_limit) || !cli_number("edit", "seed", e.seed, &seed))
        return status < 0 ? EXIT_OK : EXIT_WRONG_USAGE;
    struct pmet_error err = {PMET_OK, ""};
    cli_catch_signals();
    const enum pmet_status ok = run(&e, n_threads, n_limit, seed, &err);
    pmet_outdir_discard(e.dir);
    pmet_edit_free(&e.result);
    pmet_facts_free(&e.facts);
    pmet_contexts_free(&e.contexts);
    cli_close(&e.s);
    return ok == PMET_OK ? EXIT_OK : cli_fail(&err);
}

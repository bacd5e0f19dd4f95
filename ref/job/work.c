/* SPDX-License-Identifier: MIT
 * The work folder of an edit: facts.journal (journal.c), contexts that the model wrote, and each edited matrix as
 * soon as it is solved. Everything in it is known by what it was computed from, never by time or path.
 * SPEC §9.11 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ref/job/job.h"
#include "ref/job/journal.h"
#include "tensors/safetensors.h"
#include "tensors/sha256.h"

struct pmet_work {
    struct pmet_job *job;
    const struct pmet_edit_watch *inner; /* or NULL */
    struct pmet_fact_journal *journal;
    json_t *head;
    char key[65]; /* of the matrices */
};

/* ---- what it all depends on ---- */

static void add_text(struct pmet_sha256 *sha, const char *text)
{
    pmet_sha256_add(sha, text, strlen(text) + 1);
}

/* The facts as they are edited, whatever file and options they come from. */
static void facts_digest(const struct pmet_facts *facts, char hex[65])
{
    struct pmet_sha256 sha;
    pmet_sha256_begin(&sha);
    for (size_t i = 0; i < facts->n_fact; i++) {
        add_text(&sha, facts->fact[i].prompt);
        add_text(&sha, facts->fact[i].subject);
        add_text(&sha, facts->fact[i].target);
    }
    pmet_sha256_hex(&sha, hex);
}

/* What targets depend on: not lambda nor statistics, so that these may change between runs. */
static json_t *head_of(const struct pmet_job *j)
{
    const struct pmet_hparams *h = &j->h;
    char facts[65];
    json_t *modules = json_array();
    facts_digest(&j->facts, facts);
    for (size_t q = 0; q < h->n_module; q++)
        json_array_append_new(modules, json_string(h->rewrite_module_tmps[q]));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:f, s:I, s:f, s:f, s:f, s:f, s:o}", "version",
                     PMET_VERSION, "precision", sizeof(real) == 4 ? "float" : "double", "device",
                     j->s->op->kind, "model", j->s->fingerprint, "facts", facts, "contexts",
                     j->contexts_sha256, "layer", (json_int_t)h->layers[h->n_layer - 1], "clamp_norm_factor",
                     h->clamp_norm_factor, "v_num_grad_steps", (json_int_t)h->v_num_grad_steps, "v_lr",
                     h->v_lr, "v_weight_decay", h->v_weight_decay, "kl_factor", h->kl_factor,
                     "nll_loss_factor", h->nll_loss_factor, "modules", modules);
}

/* What the matrices depend on besides: set once all facts are settled. */
static enum pmet_status set_key(struct pmet_work *w, struct pmet_error *err)
{
    const struct pmet_job *j = w->job;
    const bool asks_memory = j->request.solver == PMET_SOLVER_AUTO; /* which solver it is to be */
    const uint64_t number[] = {(uint64_t)j->request.solver, j->h.n_layer, asks_memory ? j->solve_bytes : 0};
    const double weight[] = {j->h.mom2_update_weight, j->request.ridge};
    char *head = json_dumps(w->head, JSON_COMPACT | JSON_SORT_KEYS);
    struct pmet_sha256 sha;
    if (!head)
        return pmet_fail_memory(err, "a work folder", 0);
    pmet_sha256_begin(&sha);
    add_text(&sha, head);
    free(head);
    pmet_sha256_add(&sha, number, sizeof number);
    pmet_sha256_add(&sha, weight, sizeof weight);
    pmet_sha256_add(&sha, j->h.layers, j->h.n_layer * sizeof *j->h.layers);
    pmet_sha256_add(&sha, j->cov_sum, j->n_cov * sizeof *j->cov_sum);
    for (size_t i = 0; i < j->targets.n_fact; i++)
        pmet_sha256_add(&sha, &j->targets.fact[i].applied, sizeof j->targets.fact[i].applied);
    pmet_sha256_hex(&sha, w->key);
    return PMET_OK;
}

/* ---- contexts ---- */

/* WORK/contexts-SEED-MODEL.json */
static enum pmet_status contexts_path(const struct pmet_job *j, char **out, struct pmet_error *err)
{
    char name[96];
    snprintf(name, sizeof name, "contexts-%llu-%.16s.json", (unsigned long long)j->request.seed,
             j->s->fingerprint);
    return pmet_path_join(j->request.work, name, out, err);
}

enum pmet_status pmet_work_contexts(struct pmet_job *j, bool *known, struct pmet_error *err)
{
    char *path;
    PMET_TRY(contexts_path(j, &path, err));
    *known = access(path, F_OK) == 0;
    const enum pmet_status status = *known ? pmet_contexts_load(j->s->io, path, &j->contexts, err) : PMET_OK;
    free(path);
    return status;
}

static enum pmet_status keep_contexts(const struct pmet_job *j, struct pmet_error *err)
{
    char *path;
    PMET_TRY(contexts_path(j, &path, err));
    const enum pmet_status status =
        access(path, F_OK) == 0 ? PMET_OK : pmet_contexts_save(j->s->io, path, &j->contexts, err);
    free(path);
    return status;
}

/* ---- matrices ---- */

static enum pmet_status matrix_path(const struct pmet_work *w, size_t k, char **out, struct pmet_error *err)
{
    char name[48];
    snprintf(name, sizeof name, "matrix-%zu.safetensors", k);
    return pmet_path_join(w->job->request.work, name, out, err);
}

enum { N_NUMBER = 5 };
static const char *const number_name[N_NUMBER] = {"update_norm", "weight_norm", "residual", "solver",
                                                  "iterations"};

/* Of a matrix and its numbers as they are written: a bit that changed on the disk must not reach a model. */
static void matrix_digest(const void *W, size_t n_bytes, const char *const number[N_NUMBER], char hex[65])
{
    struct pmet_sha256 sha;
    pmet_sha256_begin(&sha);
    for (size_t i = 0; i < N_NUMBER; i++)
        add_text(&sha, number[i]);
    pmet_sha256_add(&sha, W, n_bytes);
    pmet_sha256_hex(&sha, hex);
}

/* Whether the file is this edit's matrix k, undamaged; then e receives it. */
static enum pmet_status take_matrix(const struct pmet_work *w, const struct pmet_safetensors *st,
                                    struct pmet_edited *e, bool *known, struct pmet_error *err)
{
    const char *key = pmet_safetensors_metadata(st, "key"), *name = pmet_safetensors_metadata(st, "module"),
               *sha256 = pmet_safetensors_metadata(st, "sha256"), *number[N_NUMBER];
    const struct pmet_tensor *t = pmet_safetensors_find(st, "W");
    char hex[65];
    bool ours = key && name && sha256 && t && strcmp(key, w->key) == 0 && strcmp(name, e->name) == 0 &&
                t->dtype == PMET_REAL && t->n_dim == 2 && t->shape[0] == e->d_out && t->shape[1] == e->d_in;
    for (size_t i = 0; i < N_NUMBER; i++)
        ours = (number[i] = pmet_safetensors_metadata(st, number_name[i])) != NULL && ours;
    if (!ours)
        return PMET_OK;
    matrix_digest(t->data, t->n_bytes, number, hex);
    if (strcmp(hex, sha256) != 0)
        return PMET_OK;
    PMET_TRY(pmet_calloc(&e->W, t->n_elem, sizeof *e->W, "an edited matrix", err));
    memcpy(e->W, t->data, t->n_bytes);
    e->upd_norm = strtod(number[0], NULL);
    e->w_norm = strtod(number[1], NULL);
    e->solve.residual = strtod(number[2], NULL);
    e->solve.used = (enum pmet_solver)strtod(number[3], NULL);
    e->solve.iterations = (size_t)strtod(number[4], NULL);
    *known = true;
    return PMET_OK;
}

static enum pmet_status recall(void *user, size_t k, struct pmet_edited *e, bool *known,
                               struct pmet_error *err)
{
    struct pmet_work *w = user;
    struct pmet_safetensors *st = NULL;
    char *path;
    enum pmet_status status = PMET_OK;
    if (k == 0)
        PMET_TRY(set_key(w, err));
    *known = false;
    if (w->inner && w->inner->layer) /* who traces wants to see it solved */
        return PMET_OK;
    PMET_TRY(matrix_path(w, k, &path, err));
    if (access(path, F_OK) != 0)
        goto done;
    PMET_GO(pmet_safetensors_open(w->job->s->io, path, &st, err));
    status = take_matrix(w, st, e, known, err);
done:
    pmet_safetensors_close(st);
    free(path);
    return status;
}

static enum pmet_status keep(void *user, size_t k, const struct pmet_edited *e, struct pmet_error *err)
{
    const struct pmet_work *w = user;
    char number[N_NUMBER][40], hex[65], *path;
    const double value[N_NUMBER] = {e->upd_norm, e->w_norm, e->solve.residual, (double)e->solve.used,
                                    (double)e->solve.iterations};
    const char *text[N_NUMBER];
    struct pmet_pair pair[3 + N_NUMBER] = {{"key", w->key}, {"module", e->name}, {"sha256", hex}};
    const struct pmet_tensor t = {.name = "W",
                                  .dtype = PMET_REAL,
                                  .n_dim = 2,
                                  .shape = {e->d_out, e->d_in},
                                  .n_elem = e->d_out * e->d_in,
                                  .n_bytes = e->d_out * e->d_in * sizeof(real),
                                  .data = e->W};
    for (size_t i = 0; i < N_NUMBER; i++) {
        snprintf(number[i], sizeof number[i], "%a", value[i]);
        pair[3 + i] = (struct pmet_pair){number_name[i], text[i] = number[i]};
    }
    matrix_digest(e->W, t.n_bytes, text, hex);
    PMET_TRY(matrix_path(w, k, &path, err));
    const enum pmet_status status =
        pmet_safetensors_write(w->job->s->io, path, &t, 1, pair, 3 + N_NUMBER, err);
    free(path);
    return status;
}

/* ---- the rest is handed on ---- */

static int on_progress(void *user, enum pmet_phase phase, size_t done, size_t total)
{
    const struct pmet_work *w = user;
    return w->inner && w->inner->progress ? w->inner->progress(w->inner->user, phase, done, total) : 0;
}

static enum pmet_status on_pass(void *user, struct pmet_delta *p, size_t k, size_t i,
                                const struct pmet_delta_step *step, struct pmet_error *err)
{
    const struct pmet_work *w = user;
    return w->inner && w->inner->pass ? w->inner->pass(w->inner->user, p, k, i, step, err) : PMET_OK;
}

static enum pmet_status on_fact(void *user, struct pmet_delta *p, size_t k, size_t i,
                                const struct pmet_targets *targets, struct pmet_error *err)
{
    const struct pmet_work *w = user;
    PMET_TRY(pmet_fact_journal_add(w->journal, targets, i, err));
    return w->inner && w->inner->fact ? w->inner->fact(w->inner->user, p, k, i, targets, err) : PMET_OK;
}

static enum pmet_status on_layer(void *user, const char *module, size_t layer, const real *K, const real *M,
                                 const real *resid, const double *upd, size_t n_fact, size_t d_model,
                                 size_t d_in, struct pmet_error *err)
{
    const struct pmet_work *w = user;
    return w->inner && w->inner->layer
               ? w->inner->layer(w->inner->user, module, layer, K, M, resid, upd, n_fact, d_model, d_in, err)
               : PMET_OK;
}

static size_t n_settled(const struct pmet_job *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->targets.n_fact; i++)
        n += j->targets.fact[i].settled;
    return n;
}

enum pmet_status pmet_work_open(struct pmet_job *j, const struct pmet_edit_watch *inner,
                                struct pmet_edit_watch *watch, struct pmet_error *err)
{
    PMET_TRY(pmet_calloc(&j->work, 1, sizeof *j->work, j->request.work, err));
    j->work->job = j;
    j->work->inner = inner;
    j->work->head = head_of(j);
    PMET_TRY(pmet_fact_journal_open(j->s->io, j->request.work, j->work->head, &j->targets, &j->work->journal,
                                    err));
    if (j->contexts_made)
        PMET_TRY(keep_contexts(j, err));
    const size_t n = n_settled(j);
    if (n > 0)
        pmet_note(&j->watch, false, "%s: %zu of %zu facts are done", j->request.work, n, j->targets.n_fact);
    *watch = (struct pmet_edit_watch){.user = j->work,
                                      .progress = on_progress,
                                      .pass = on_pass,
                                      .fact = on_fact,
                                      .n_again = inner ? inner->n_again : 0,
                                      .recall = recall,
                                      .keep = keep,
                                      .layer = on_layer};
    return PMET_OK;
}

void pmet_work_tell(const struct pmet_job *j, char *line, size_t size)
{
    snprintf(line, size, "%s keeps %zu of %zu facts: the same command goes on from there", j->request.work,
             n_settled(j), j->targets.n_fact);
}

void pmet_work_close(struct pmet_work *w)
{
    if (!w)
        return;
    pmet_fact_journal_close(w->journal);
    json_decref(w->head);
    free(w);
}

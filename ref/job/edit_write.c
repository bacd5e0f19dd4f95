/* SPDX-License-Identifier: MIT
 * The edited folder: rounded, written, read back and compared.      SPEC §8.4, §9.6 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "ref/event.h"
#include "ref/job/edit.h"
#include "tensors/dtype.h"
#include "tensors/folder.h"
#include "tensors/json.h"

static enum pmet_dtype out_dtype(const struct pmet_edit_job *j, const struct pmet_tensor *t)
{
    return j->request.cast ? j->request.out_dtype : t->dtype;
}

static void narrow(void *data, enum pmet_dtype dtype, const real *W, size_t n)
{
#ifdef PMET_REAL_DOUBLE
    pmet_from_f64(data, dtype, W, n);
#else
    pmet_from_f32(data, dtype, W, n);
#endif
}

/* One matrix in the type it is written in, and the share of its update that this loses (E76). */
static enum pmet_status round_matrix(const struct pmet_edit_job *j, const struct pmet_update *u,
                                     struct pmet_written *w, struct pmet_error *err)
{
    const size_t n = u->d_out * u->d_in;
    double lost = 0;
    snprintf(w->name, sizeof w->name, "%s.weight", u->name);
    const struct pmet_tensor *t = pmet_model_tensor(j->s->model, w->name);
    snprintf(w->name, sizeof w->name, "%s", t->name);
    w->dtype = out_dtype(j, t);
    PMET_TRY(pmet_calloc(&w->data, n, pmet_dtype_size(w->dtype), "an edited matrix", err));
    for (size_t i = 0; i < n; i++) {
        double x;
        if (i % u->d_in == 0) {
            PMET_TRY(pmet_raise_poll(&j->listener, err));
            narrow((char *)w->data + i * pmet_dtype_size(w->dtype), w->dtype, u->W + i, u->d_in);
        }
        pmet_to_f64(&x, (const char *)w->data + i * pmet_dtype_size(w->dtype), w->dtype, 1);
        if (!isfinite(x))
            return pmet_fail(err, PMET_NUMERIC,
                             "%s: element [%zu,%zu] is %g, which %s cannot hold; expected less (--out-dtype "
                             "f32 holds it)",
                             w->name, i / u->d_in, i % u->d_in, (double)u->W[i], pmet_dtype_name(w->dtype));
        lost += (x - (double)u->W[i]) * (x - (double)u->W[i]);
    }
    w->lost = u->upd_norm > 0 ? sqrt(lost) / u->upd_norm : 0;
    if (w->lost > 0.05)
        pmet_raise_note(&j->listener, true,
                        "%s: %.0f %% of the update is lost in rounding to %s (--out-dtype f32 keeps it)",
                        w->name, 100 * w->lost, pmet_dtype_name(w->dtype));
    return PMET_OK;
}

static void left_out(void *user, const char *name)
{
    const struct pmet_edit_job *j = user;
    pmet_raise_note(&j->listener, false, "%s: left out of the edited folder", name);
}

static enum pmet_status write_weights(struct pmet_edit_job *j, struct pmet_error *err)
{
    const size_t n = j->editor.n_update;
    struct pmet_replacement *replace;
    PMET_TRY(pmet_calloc(&j->written, n, sizeof *j->written, "edited matrices", err));
    for (size_t k = 0; k < n; k++) {
        PMET_TRY(pmet_raise_progress(&j->listener, PMET_PHASE_WRITE, k, n + 1, err));
        PMET_TRY(round_matrix(j, &j->editor.update[k], &j->written[k], err));
    }
    PMET_TRY(pmet_raise_progress(&j->listener, PMET_PHASE_WRITE, n, n + 1, err));
    PMET_TRY(pmet_calloc(&replace, n, sizeof *replace, "edited matrices", err));
    for (size_t k = 0; k < n; k++)
        replace[k] = (struct pmet_replacement){j->written[k].name, j->written[k].dtype, j->written[k].data};
    const enum pmet_status status = pmet_checkpoint_write(j->s->io, j->s->ck, pmet_outdir_path(j->dir),
                                                          replace, n, j->request.link, left_out, j, err);
    free(replace);
    return status;
}

static enum pmet_status score(const struct pmet_edit_job *j, const struct pmet_model *model,
                              struct pmet_score **out, struct pmet_error *err)
{
    PMET_TRY(pmet_calloc(out, j->facts.n_fact, sizeof **out, "scores", err));
    return pmet_score_facts(model, j->rows, j->facts.n_fact, *out, err);
}

static enum pmet_status compare(const struct pmet_edit_job *j, const struct pmet_checkpoint *ck,
                                struct pmet_error *err)
{
    for (size_t k = 0; k < j->editor.n_update; k++) {
        const struct pmet_written *w = &j->written[k];
        const struct pmet_tensor *t = pmet_checkpoint_find(ck, w->name);
        const size_t n_bytes =
            j->editor.update[k].d_out * j->editor.update[k].d_in * pmet_dtype_size(w->dtype);
        PMET_TRY(pmet_raise_poll(&j->listener, err));
        if (!t || t->dtype != w->dtype || t->n_bytes != n_bytes || memcmp(t->data, w->data, n_bytes) != 0)
            return pmet_fail(err, PMET_IO,
                             "%s: %s: read back, it is not what was written; expected the edited matrix",
                             ck->dir, w->name);
    }
    return PMET_OK;
}

/* The written folder as anyone would open it: edited matrices bit for bit, fingerprint, scores of
 * the facts. */
static enum pmet_status read_back(struct pmet_edit_job *j, struct pmet_error *err)
{
    struct pmet_checkpoint *ck = NULL;
    struct pmet_model *model = NULL;
    enum pmet_status status;
    PMET_GO(pmet_checkpoint_open(j->s->io, pmet_outdir_path(j->dir), &ck, err));
    PMET_GO(compare(j, ck, err));
    PMET_GO(pmet_checkpoint_fingerprint(ck, j->fingerprint, err));
    PMET_GO(pmet_model_open(ck, j->s->op, &model, err));
    PMET_GO(pmet_model_parts(model, &j->parts, err));
    PMET_GO(score(j, j->s->model, &j->before, err));
    status = score(j, model, &j->after, err);
done:
    pmet_model_close(model);
    pmet_checkpoint_close(ck);
    return status;
}

static enum pmet_status write_contexts(const struct pmet_edit_job *j, struct pmet_error *err)
{
    char *path;
    PMET_TRY(pmet_path_join(pmet_outdir_path(j->dir), PMET_CONTEXTS_FILE, &path, err));
    const enum pmet_status status = pmet_contexts_save(j->s->io, path, &j->contexts, err);
    free(path);
    return status;
}

/* All that the folder holds: --force replaces nothing else. */
static enum pmet_status add_files(const struct pmet_edit_job *j, json_t *record, struct pmet_error *err)
{
    char **names;
    size_t n;
    json_t *files = json_array();
    PMET_TRY(pmet_list_folder(pmet_outdir_path(j->dir), &names, &n, err));
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], PMET_UNFINISHED) != 0)
            json_array_append_new(files, pmet_json_name(names[i]));
    pmet_free_names(names, n);
    json_array_append_new(files, json_string(PMET_RECORD_FILE));
    json_object_set_new(record, "files", files);
    return PMET_OK;
}

static enum pmet_status write_record(const struct pmet_edit_job *j, struct pmet_error *err)
{
    char *path;
    PMET_TRY(pmet_path_join(pmet_outdir_path(j->dir), PMET_RECORD_FILE, &path, err));
    json_t *record = pmet_edit_job_record_json(j);
    enum pmet_status status = record ? add_files(j, record, err) : PMET_OK;
    if (status == PMET_OK)
        status = pmet_json_save(j->s->io, path, record, 1, err);
    json_decref(record);
    free(path);
    return status;
}

/* A line for each fact: how its optimisation went, and what the written model says. */
static enum pmet_status write_facts(const struct pmet_edit_job *j, struct pmet_error *err)
{
    char *path;
    struct pmet_out *out = NULL;
    json_t *list = pmet_edit_job_facts_json(j);
    enum pmet_status status;
    PMET_TRY(pmet_path_join(pmet_outdir_path(j->dir), PMET_FACTS_FILE, &path, err));
    PMET_GO(pmet_out_open(j->s->io, path, &out, err));
    for (size_t i = 0; i < j->facts.n_fact; i++) {
        char *line = json_dumps(json_array_get(list, i), JSON_COMPACT | JSON_PRESERVE_ORDER);
        status = line ? pmet_out_write(out, line, strlen(line), err) : pmet_fail_memory(err, path, 0);
        free(line);
        if (status != PMET_OK)
            goto done;
        PMET_GO(pmet_out_write(out, "\n", 1, err));
    }
    struct pmet_out *whole = out;
    out = NULL;
    status = pmet_out_commit(whole, err);
done:
    pmet_out_discard(out);
    json_decref(list);
    free(path);
    return status;
}

enum pmet_status pmet_edit_job_write(struct pmet_edit_job *j, struct pmet_error *err)
{
    const double started = pmet_seconds();
    PMET_TRY(write_weights(j, err));
    PMET_TRY(write_contexts(j, err));
    PMET_TRY(read_back(j, err));
    PMET_TRY(write_facts(j, err));
    PMET_TRY(write_record(j, err));
    PMET_TRY(pmet_raise_progress(&j->listener, PMET_PHASE_WRITE, j->editor.n_update + 1,
                                 j->editor.n_update + 1, err));
    j->s_write = pmet_seconds() - started;
    return PMET_OK;
}

/* SPDX-License-Identifier: MIT
 * The edited folder: written, read back, and only then believed.      SPEC §8.4, §9.6 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cli/edit_job.h"
#include "tensors/dtype.h"

static enum pmet_dtype out_dtype(const struct edit_job *j, const struct pmet_tensor *t)
{
    return j->dtype == DTYPE_FILE ? t->dtype : (enum pmet_dtype)(j->dtype - 1);
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
static enum pmet_status round_matrix(const struct edit_job *j, const struct pmet_edited *e,
                                     struct edit_written *w, struct pmet_error *err)
{
    const size_t n = e->d_out * e->d_in;
    double lost = 0;
    snprintf(w->name, sizeof w->name, "%s.weight", e->name);
    w->dtype = out_dtype(j, pmet_checkpoint_find(j->s.ck, w->name));
    PMET_TRY(pmet_calloc(&w->data, n, pmet_dtype_size(w->dtype), "an edited matrix", err));
    narrow(w->data, w->dtype, e->W, n);
    for (size_t i = 0; i < n; i++) {
        double x;
        pmet_to_f64(&x, (const char *)w->data + i * pmet_dtype_size(w->dtype), w->dtype, 1);
        if (!isfinite(x))
            return pmet_fail(err, PMET_NUMERIC,
                             "%s: element [%zu,%zu] is %g, which %s cannot hold; expected less (--out-dtype "
                             "f32 holds it)",
                             w->name, i / e->d_in, i % e->d_in, (double)e->W[i], pmet_dtype_name(w->dtype));
        lost += (x - (double)e->W[i]) * (x - (double)e->W[i]);
    }
    w->lost = e->upd_norm > 0 ? sqrt(lost) / e->upd_norm : 0;
    if (w->lost > 0.05)
        say_warning(j->c, "%s: %.0f %% of the update is lost in rounding to %s (--out-dtype f32 keeps it)",
                    w->name, 100 * w->lost, pmet_dtype_name(w->dtype));
    return PMET_OK;
}

static void left_out(void *user, const char *name)
{
    const struct edit_job *j = user;
    say_note(j->c, "%s: left out of the edited folder", name);
}

static enum pmet_status write_weights(struct edit_job *j, struct pmet_error *err)
{
    const size_t n = j->edit.n_edited;
    struct pmet_replacement *replace;
    PMET_TRY(pmet_calloc(&j->written, n, sizeof *j->written, "edited matrices", err));
    for (size_t k = 0; k < n; k++)
        PMET_TRY(round_matrix(j, &j->edit.edited[k], &j->written[k], err));
    PMET_TRY(pmet_calloc(&replace, n, sizeof *replace, "edited matrices", err));
    for (size_t k = 0; k < n; k++)
        replace[k] = (struct pmet_replacement){j->written[k].name, j->written[k].dtype, j->written[k].data};
    const enum pmet_status status = pmet_checkpoint_write(j->c->io, j->s.ck, pmet_outdir_path(j->dir),
                                                          replace, n, j->link, left_out, j, err);
    free(replace);
    return status;
}

static enum pmet_status score(const struct edit_job *j, const struct pmet_model *model,
                              struct pmet_score **out, struct pmet_error *err)
{
    PMET_TRY(pmet_calloc(out, j->facts.n_fact, sizeof **out, "scores", err));
    return pmet_score_facts(model, j->rows, j->facts.n_fact, *out, err);
}

static enum pmet_status compare(const struct edit_job *j, const struct pmet_checkpoint *ck,
                                struct pmet_error *err)
{
    for (size_t k = 0; k < j->edit.n_edited; k++) {
        const struct edit_written *w = &j->written[k];
        const struct pmet_tensor *t = pmet_checkpoint_find(ck, w->name);
        const size_t n_bytes = j->edit.edited[k].d_out * j->edit.edited[k].d_in * pmet_dtype_size(w->dtype);
        if (!t || t->dtype != w->dtype || t->n_bytes != n_bytes || memcmp(t->data, w->data, n_bytes) != 0)
            return pmet_fail(err, PMET_IO,
                             "%s: %s: read back, it is not what was written; expected the edited matrix",
                             pmet_checkpoint_dir(ck), w->name);
    }
    return PMET_OK;
}

/* The written folder as anyone would open it: edited matrices bit for bit, fingerprint, scores of the facts.
 */
static enum pmet_status read_back(struct edit_job *j, struct pmet_error *err)
{
    struct pmet_checkpoint *ck = NULL;
    struct pmet_model *model = NULL;
    enum pmet_status status;
    PMET_GO(pmet_checkpoint_open(j->c->io, pmet_outdir_path(j->dir), &ck, err));
    PMET_GO(compare(j, ck, err));
    PMET_GO(pmet_checkpoint_fingerprint(ck, j->fingerprint, err));
    PMET_GO(pmet_model_open(ck, j->s.op, &model, err));
    PMET_GO(score(j, j->s.model, &j->before, err));
    status = score(j, model, &j->after, err);
done:
    pmet_model_close(model);
    pmet_checkpoint_close(ck);
    return status;
}

static json_t *contexts_json(const struct edit_job *j)
{
    json_t *groups = json_array();
    for (size_t g = 0; g < j->contexts.n_group; g++) {
        json_t *group = json_array();
        for (size_t i = j->contexts.group_start[g]; i < j->contexts.group_start[g + 1]; i++)
            json_array_append_new(group, json_string(j->contexts.text[i]));
        json_array_append_new(groups, group);
    }
    return json_pack("{s:s, s:b, s:o}", "sha256", j->contexts_sha256, "generated", j->contexts_made,
                     "templates", groups);
}

static json_t *hparams_json(const struct pmet_hparams *h)
{
    json_t *layers = json_array(), *modules = json_array();
    for (size_t i = 0; i < h->n_layer; i++)
        json_array_append_new(layers, json_integer((json_int_t)h->layers[i]));
    for (size_t q = 0; q < h->n_module; q++)
        json_array_append_new(modules, json_string(h->rewrite_module_tmps[q]));
    return json_pack(
        "{s:s, s:o, s:o, s:f, s:I, s:f, s:I, s:f, s:f, s:f, s:f, s:I, s:s, s:s}", "sha256", h->sha256,
        "layers", layers, "rewrite_module_tmps", modules, "clamp_norm_factor", h->clamp_norm_factor,
        "v_num_grad_steps", (json_int_t)h->v_num_grad_steps, "v_lr", h->v_lr, "v_loss_layer",
        (json_int_t)h->v_loss_layer, "v_weight_decay", h->v_weight_decay, "kl_factor", h->kl_factor,
        "nll_loss_factor", h->nll_loss_factor, "mom2_update_weight", h->mom2_update_weight, "mom2_n_samples",
        (json_int_t)h->mom2_n_samples, "mom2_dtype", h->mom2_dtype, "mom2_dataset", h->mom2_dataset);
}

static json_t *ancestors_json(const struct edit_job *j)
{
    json_t *list = json_array();
    json_array_append_new(list, json_string(j->s.fingerprint));
    for (size_t i = 0; i < j->n_ancestor; i++)
        json_array_append_new(list, json_string(j->ancestor[i]));
    return list;
}

static json_t *stats_json(const struct edit_job *j)
{
    static const char *const origin[] = {"verified", "of an ancestor", "unverified"};
    json_t *list = json_array();
    for (size_t k = 0; k < j->n_cov; k++) {
        char name[160];
        edit_matrix_name(j, k, name, sizeof name);
        json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "module", name, "origin",
                                              origin[j->origin[k]], "tokens", (json_int_t)j->cov_count[k]));
    }
    return list;
}

/* The same inputs give the same record: no times, no paths. */
static enum pmet_status write_record(const struct edit_job *j, struct pmet_error *err)
{
    json_t *record = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:I, s:{s:s, s:I, s:I}, s:o, s:o, s:f, s:o, s:o, s:o}", "version",
        PMET_VERSION, "method", "pmet", "fingerprint", j->fingerprint, "base", j->s.fingerprint, "ancestors",
        ancestors_json(j), "seed", (json_int_t)j->c->seed, "facts", "sha256", j->facts.sha256, "count",
        (json_int_t)j->facts.n_fact, "applied", (json_int_t)j->edit.n_applied, "hparams", hparams_json(&j->h),
        "contexts", contexts_json(j), "ridge", j->ridge, "stats", stats_json(j), "matrices",
        edit_matrices_json(j), "fact", edit_facts_json(j));
    const enum pmet_status status = json_save(j->c->io, pmet_outdir_path(j->dir), RECORD_FILE, record, err);
    json_decref(record);
    return status;
}

enum pmet_status edit_write(struct edit_job *j, struct pmet_error *err)
{
    char *path;
    PMET_TRY(write_weights(j, err));
    PMET_TRY(pmet_path_join(pmet_outdir_path(j->dir), CONTEXTS_FILE, &path, err));
    const enum pmet_status status = pmet_contexts_save(j->c->io, path, &j->contexts, err);
    free(path);
    PMET_TRY(status);
    PMET_TRY(read_back(j, err));
    return write_record(j, err);
}

/* SPDX-License-Identifier: MIT
 * pmet_edit.json: what an edited folder says of itself.      SPEC §9.5 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ref/job/job.h"
#include "tensors/dtype.h"
#include "tensors/json.h"

static const size_t max_record = (size_t)1 << 30;

static enum pmet_status take_ancestors(struct pmet_record *r, const char *path, struct pmet_error *err)
{
    const json_t *list = json_object_get(r->json, "ancestors");
    const char *own;
    PMET_TRY(pmet_json_string(r->json, path, "fingerprint", &own, err));
    if (strlen(own) != 64 || !json_is_array(list))
        return pmet_fail(
            err, PMET_FORMAT,
            "%s: found no fingerprint of 64 digits, or no array of ancestors; expected what pmet "
            "edit writes",
            path);
    memcpy(r->fingerprint, own, 65);
    PMET_TRY(pmet_calloc(&r->ancestor, json_array_size(list), sizeof *r->ancestor, path, err));
    for (; r->n_ancestor < json_array_size(list); r->n_ancestor++) {
        const json_t *v = json_array_get(list, r->n_ancestor);
        if (!json_is_string(v))
            return pmet_fail(err, PMET_FORMAT, "%s: ancestors[%zu]: found %s; expected a fingerprint", path,
                             r->n_ancestor, pmet_json_kind(v));
        r->ancestor[r->n_ancestor] = json_string_value(v);
    }
    return PMET_OK;
}

enum pmet_status pmet_record_read(const struct pmet_io *io, const char *dir, struct pmet_record *out,
                                  struct pmet_error *err)
{
    char *path;
    enum pmet_status status = PMET_OK;
    memset(out, 0, sizeof *out);
    PMET_TRY(pmet_path_join(dir, PMET_RECORD_FILE, &path, err));
    if (access(path, F_OK) != 0 && errno == ENOENT)
        goto done;
    PMET_GO(pmet_json_load(io, path, max_record, &out->json, err));
    status = take_ancestors(out, path, err);
done:
    free(path);
    if (status != PMET_OK)
        pmet_record_free(out);
    return status;
}

void pmet_record_free(struct pmet_record *r)
{
    json_decref(r->json);
    free(r->ancestor);
    memset(r, 0, sizeof *r);
}

static json_t *number_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *pmet_job_facts_json(const struct pmet_job *j)
{
    json_t *list = json_array();
    for (size_t i = 0; i < j->facts.n_fact; i++) {
        const struct pmet_fact *f = &j->facts.fact[i];
        const struct pmet_fact_report *r = &j->targets.fact[i];
        json_t *line = json_pack(
            "{s:I, s:s, s:s, s:s, s:b, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:b}", "case_id",
            (json_int_t)f->case_id, "prompt", f->prompt, "subject", f->subject, "target", f->target,
            "applied", r->applied, "stop", pmet_stop_name(r->result.stop), "passes",
            (json_int_t)r->result.n_forward, "updates", (json_int_t)r->result.n_updates, "loss_first",
            number_or_null(r->result.first.loss), "loss_last", number_or_null(r->result.last.loss),
            "prob_before", number_or_null(j->before[i].prob), "prob_after", number_or_null(j->after[i].prob),
            "greedy_before", j->before[i].greedy, "greedy_after", j->after[i].greedy, "odd_lookup",
            r->odd_lookup, "odd_target", r->odd_target);
        if (line && r->failure[0])
            json_object_set_new(line, "failure", json_string(r->failure));
        json_array_append_new(list, line);
    }
    return list;
}

json_t *pmet_job_matrices_json(const struct pmet_job *j)
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

static json_t *contexts_json(const struct pmet_job *j)
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

static json_t *ancestors_json(const struct pmet_job *j)
{
    json_t *list = json_array();
    json_array_append_new(list, json_string(j->s->fingerprint));
    for (size_t i = 0; i < j->n_ancestor; i++)
        json_array_append_new(list, json_string(j->ancestor[i]));
    return list;
}

static json_t *stats_json(const struct pmet_job *j)
{
    static const char *const origin[] = {"verified", "of an ancestor", "unverified"};
    json_t *list = json_array();
    for (size_t k = 0; k < j->n_cov; k++) {
        char name[160];
        pmet_job_matrix(j, k, name, sizeof name);
        json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "module", name, "origin",
                                              origin[j->origin[k]], "tokens", (json_int_t)j->cov_count[k]));
    }
    return list;
}

json_t *pmet_job_record_json(const struct pmet_job *j)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:{s:s, s:I, s:I}, s:o, s:o, s:f, s:o, s:o}",
                     "version", PMET_VERSION, "method", "pmet", "device", j->s->op->kind, "fingerprint",
                     j->fingerprint, "base", j->s->fingerprint, "ancestors", ancestors_json(j), "seed",
                     (json_int_t)j->request.seed, "facts", "sha256", j->facts.sha256, "count",
                     (json_int_t)j->facts.n_fact, "applied", (json_int_t)j->edit.n_applied, "hparams",
                     hparams_json(&j->h), "contexts", contexts_json(j), "ridge", j->request.ridge, "stats",
                     stats_json(j), "matrices", pmet_job_matrices_json(j));
}

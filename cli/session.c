/* SPDX-License-Identifier: MIT */
#include "cli/session.h"

#include <stdlib.h>
#include <string.h>

enum pmet_status session_open(const struct cli *c, const char *dir, struct session *s, struct pmet_error *err)
{
    if (c->device == DEVICE_CUDA)
        return pmet_fail(err, PMET_UNSUPPORTED, "--device cuda: this build has no CUDA");
    PMET_TRY(pmet_ops_cpu(c->threads, &s->op, err));
    PMET_TRY(pmet_checkpoint_open(c->io, dir, &s->ck, err));
    PMET_TRY(pmet_model_open(s->ck, s->op, &s->model, err));
    PMET_TRY(pmet_tokenizer_open(c->io, dir, &s->tk, err));
    say_detail(c, "%s: %s, %zu layers of width %zu, on %s", dir, pmet_family_name(s->model->config.family),
               s->model->config.n_layer, s->model->config.d_model, s->op->name);
    return pmet_checkpoint_fingerprint(s->ck, s->fingerprint, err);
}

void session_close(struct session *s)
{
    pmet_tokenizer_close(s->tk);
    pmet_model_close(s->model);
    pmet_checkpoint_close(s->ck);
    pmet_ops_free(s->op);
    memset(s, 0, sizeof *s);
}

enum pmet_status session_hparams(const struct session *s, const struct cli *c, const char *path,
                                 struct pmet_hparams *out, char **tmpl, struct pmet_error *err)
{
    const struct pmet_config *config = &s->model->config;
    const char *family = pmet_family_name(config->family);
    *tmpl = NULL;
    if (path)
        return pmet_hparams_load(c->io, path, out, err);
    const enum pmet_status status = pmet_hparams_default(family, config->n_layer, config->d_model, out, err);
    if (status != PMET_OK) {
        struct pmet_error ignored = {PMET_OK, ""};
        pmet_hparams_template(family, config->n_layer, tmpl, &ignored);
    }
    return status;
}

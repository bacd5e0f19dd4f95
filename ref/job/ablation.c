/* SPDX-License-Identifier: MIT
 * PMET with parts left out, as its paper measures them.      SPEC §8.5 */
#include <stdio.h>
#include <string.h>
#include "ref/job/edit.h"

static void set_modules(struct pmet_hparams *h, const struct pmet_family *family, bool both)
{
    h->n_module = both ? 2 : 1;
    for (size_t q = 0; q < h->n_module; q++)
        snprintf(h->rewrite_module_tmps[q], sizeof h->rewrite_module_tmps[q], "%s",
                 family->module[both && q == 0 ? PMET_MODULE_ATTN : PMET_MODULE_MLP]);
}

/* "pmet with --delta mlp": what a record and a report call it. */
static void set_name(struct pmet_edit_job *j, const struct pmet_ablation *a)
{
    static const char *const modules[] = {"", "", " --modules attn+mlp"}, *const spread[] = {
                                                                              "", " --spread even",
                                                                              " --spread last"};
    const bool any = a->delta || a->modules == PMET_MODULES_BOTH || a->spread;
    snprintf(j->name, sizeof j->name, "%s%s%s%s%s", j->method->name, any ? " with" : "",
             a->delta ? " --delta mlp" : "", modules[a->modules], spread[a->spread]);
}

enum pmet_status pmet_edit_job_ablate(struct pmet_edit_job *j, struct pmet_error *err)
{
    const struct pmet_ablation *a = &j->request.ablation;
    set_name(j, a);
    if (!a->delta && !a->modules && !a->spread)
        return PMET_OK;
    if (!j->method->ablates)
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "--delta, --modules, --spread: found with %s; expected with pmet", j->method->name);
    j->h.ablation = *a;
    if (a->modules != PMET_MODULES_FILE)
        set_modules(&j->h, j->s->model->config.family, a->modules == PMET_MODULES_BOTH);
    for (size_t q = 0; a->delta && q < j->h.n_module; q++)
        if (pmet_hparams_module(&j->h, j->s->model, q) == PMET_MODULE_ATTN)
            return pmet_fail(
                err, PMET_INPUT,
                "--delta mlp: found \"%s\" among the modules to edit, which needs the attention's "
                "vector; give --modules mlp",
                j->h.rewrite_module_tmps[q]);
    return PMET_OK;
}

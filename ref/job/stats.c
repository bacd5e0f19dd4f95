/* SPDX-License-Identifier: MIT
 * Second moments from texts to a folder, for the public header.      SPEC §7 */
#include <string.h>
#include "ref/job/job.h"
#include "ref/method/pmet_edit.h"
#include "ref/method/stats_work.h"

static int forward_progress(void *user, size_t done, size_t total)
{
    const struct pmet_watch *watch = user;
    return watch && watch->progress ? watch->progress(watch->user, PMET_PHASE_STATS, done, total) : 0;
}

static enum pmet_status check_request(const struct pmet_session *s, const struct pmet_stats_request *r,
                                      struct pmet_error *err)
{
    if (!r->out || !r->texts || r->n_text == 0)
        return pmet_fail(err, PMET_INPUT, "the request lacks texts or out");
    PMET_TRY(pmet_check_apart(r->out, pmet_checkpoint_dir(s->ck), "the model", err));
    PMET_TRY(pmet_check_apart(r->work, pmet_checkpoint_dir(s->ck), "the model", err));
    PMET_TRY(pmet_check_apart(r->out, r->work, "the work folder", err));
    for (size_t i = 0; i < r->n_text; i++)
        PMET_TRY(pmet_check_apart(r->out, r->texts[i], "the text", err));
    return pmet_check_new(r->out, r->force, err);
}

enum pmet_status pmet_make_stats(const struct pmet_session *s, const struct pmet_stats_request *request,
                                 const struct pmet_watch *watch, struct pmet_error *err)
{
    struct pmet_watch w = {0};
    struct pmet_hparams h;
    struct pmet_docs *docs = NULL;
    struct pmet_outdir *dir = NULL;
    struct pmet_stats stats = {0};
    struct pmet_stats_work *work = NULL;
    enum pmet_status status;
    if (watch)
        w = *watch;
    PMET_TRY(check_request(s, request, err));
    PMET_TRY(pmet_session_hparams(s, request->hparams, &h, NULL, err));
    PMET_TRY(pmet_hparams_check(&h, s->model, err));
    bool attn = false;
    for (size_t q = 0; q < h.n_module; q++)
        attn |= pmet_hparams_module(&h, s->model, q) == PMET_MODULE_ATTN;
    struct pmet_stats_options options = {.layers = h.layers,
                                         .n_layer = h.n_layer,
                                         .attn = attn,
                                         .n_samples =
                                             request->n_samples ? request->n_samples : h.mom2_n_samples,
                                         .max_length = request->max_length,
                                         .seed = request->seed,
                                         .factor = request->factor};
    PMET_GO(pmet_docs_open(s->io, request->texts, request->n_text, &docs, err));
    if (request->work)
        PMET_GO(
            pmet_stats_work_open(s->io, request->work, s->fingerprint, pmet_docs_sha256(docs), &work, err));
    options.work = work;
    PMET_GO(pmet_outdir_begin(s->io, request->out, request->force, &dir, err));
    PMET_GO(pmet_stats_collect(s->model, s->tk, docs, &options, forward_progress, &w, &stats, err));
    PMET_GO(pmet_stats_write(s->io, pmet_outdir_path(dir), s->model, &stats, &options, s->fingerprint,
                             pmet_docs_sha256(docs), err));
    for (size_t i = 0; options.factor && i < stats.n_moment; i++)
        if (!stats.moment[i].factored)
            pmet_note(&w, true, PMET_NO_FACTOR, stats.moment[i].layer, stats.moment[i].pivot,
                      stats.moment[i].d_in, stats.moment[i].value);
    status = pmet_outdir_commit(dir, err);
    dir = NULL;
    if (status == PMET_OK && work)
        pmet_stats_work_discard(work);
done:
    pmet_outdir_discard(dir);
    pmet_stats_work_close(work);
    pmet_stats_free(&stats);
    pmet_docs_close(docs);
    return status;
}

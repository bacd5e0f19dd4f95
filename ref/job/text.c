/* SPDX-License-Identifier: MIT
 * Text, ids and logits of an open model, for the public header. */
#include <stdlib.h>
#include <string.h>
#include "ref/job/session.h"
#include "ref/eval/generate.h"

enum pmet_status pmet_encode(const struct pmet_session *s, const char *text, size_t n_bytes, int32_t **ids,
                             size_t *n_ids, struct pmet_error *err)
{
    struct pmet_ids list = {0};
    const enum pmet_status status = pmet_tokenizer_encode(s->tk, text, n_bytes, &list, err);
    *ids = status == PMET_OK ? list.id : NULL;
    *n_ids = list.n;
    if (status != PMET_OK)
        free(list.id);
    return status;
}

enum pmet_status pmet_decode(const struct pmet_session *s, const int32_t *ids, size_t n_ids, char **text,
                             size_t *n_bytes, struct pmet_error *err)
{
    struct pmet_text out = {0};
    const enum pmet_status status = pmet_tokenizer_decode(s->tk, ids, n_ids, 0, &out, err);
    *text = status == PMET_OK ? out.data : NULL;
    *n_bytes = out.n;
    if (status != PMET_OK)
        free(out.data);
    return status;
}

static enum pmet_status check_length(const struct pmet_session *s, size_t n_ids, struct pmet_error *err)
{
    const size_t n_ctx = s->model->config.n_ctx;
    if (n_ids == 0 || n_ids > n_ctx)
        return pmet_fail(err, PMET_INPUT, "found %zu ids; expected 1 to %zu", n_ids, n_ctx);
    return PMET_OK;
}

static enum pmet_status download(const struct pmet_model *model, float *out, const real *dev, size_t n,
                                 struct pmet_error *err)
{
    real *host;
    PMET_TRY(pmet_calloc(&host, n, sizeof *host, "logits", err));
    enum pmet_status status = model->op->download(model->op, host, dev, n * sizeof *host, err);
    for (size_t i = 0; status == PMET_OK && i < n; i++)
        out[i] = (float)host[i];
    if (status == PMET_OK && pmet_first_not_finite(host, PMET_REAL, n) < n)
        status = pmet_model_not_finite(model, "the logits are", err);
    free(host);
    return status;
}

enum pmet_status pmet_logits(const struct pmet_session *s, const int32_t *ids, size_t n_ids, float *logits,
                             struct pmet_error *err)
{
    const struct pmet_config *c = &s->model->config;
    const struct pmet_ops *op = s->op;
    struct pmet_rows rows = {0};
    struct pmet_scratch scratch = {0};
    real *x = NULL, *u = NULL, *out = NULL;
    enum pmet_status status;
    PMET_TRY(check_length(s, n_ids, err));
    PMET_GO(pmet_batch_alloc(1, n_ids, &rows, err));
    pmet_batch_add(&rows, ids, n_ids, 0, 0);
    PMET_GO(pmet_scratch_alloc(s->model, n_ids, false, &scratch, err));
    PMET_GO(op->alloc(op, n_ids * c->d_model * sizeof(real), &x, err));
    PMET_GO(op->alloc(op, n_ids * c->d_model * sizeof(real), &u, err));
    PMET_GO(op->alloc(op, n_ids * c->n_vocab * sizeof(real), &out, err));
    PMET_GO(pmet_embed(s->model, x, ids, n_ids, err));
    PMET_GO(pmet_blocks(s->model, 0, c->n_layer, x, &rows.batch, NULL, &scratch, NULL, err));
    PMET_GO(pmet_head(s->model, out, u, x, n_ids, err));
    status = download(s->model, logits, out, n_ids * c->n_vocab, err);
done:
    pmet_batch_free(&rows);
    pmet_scratch_free(&scratch);
    op->release(op, x);
    op->release(op, u);
    op->release(op, out);
    return status;
}

enum pmet_status pmet_continue(const struct pmet_session *s, int32_t *ids, size_t n_prompt, size_t n_total,
                               size_t top_k, uint64_t seed, struct pmet_error *err)
{
    const struct pmet_generate_options options = {.n_total = n_total, .top_k = top_k};
    struct pmet_ids list = {0};
    struct pmet_rng rng;
    enum pmet_status status;
    PMET_TRY(check_length(s, n_prompt, err));
    if (top_k == 0)
        return pmet_fail(err, PMET_INPUT, "top_k: found 0; expected at least 1");
    PMET_TRY(pmet_ids_reserve(&list, n_total > n_prompt ? n_total : n_prompt, err));
    memcpy(list.id, ids, n_prompt * sizeof *ids);
    list.n = n_prompt;
    pmet_rng_seed(&rng, seed);
    PMET_GO(pmet_generate(s->model, &list, 1, &options, &rng, NULL, NULL, err));
    memcpy(ids, list.id, list.n * sizeof *ids);
done:
    free(list.id);
    return status;
}

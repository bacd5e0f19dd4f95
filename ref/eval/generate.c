/* SPDX-License-Identifier: MIT
 * Generation with cached keys and values, one prompt at a time.      SPEC §4.2 */
#include "ref/eval/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tokenizer/unicode.h"

struct generation {
    const struct pmet_model *model;
    struct pmet_cache cache;
    struct pmet_scratch scratch;
    real *x, *u, *logits; /* (dev) */
    real *host;           /* [n_vocab] */
    size_t *position;     /* 0, 1, 2, ... */
    bool *taken;          /* [n_vocab] */
};

/* Tokens [from, ids->n) through the model; host receives the logits of the last. */
static enum pmet_status advance(struct generation *g, const struct pmet_ids *ids, size_t from,
                                struct pmet_error *err)
{
    const struct pmet_ops *op = g->model->op;
    const size_t n = ids->n - from, d = g->model->config.d_model, n_vocab = g->model->config.n_vocab;
    struct pmet_rows rows;
    PMET_TRY(pmet_batch_alloc(1, n, &rows, err));
    pmet_batch_add(&rows, ids->id + from, n, from, 0);
    const struct pmet_kv kv = {.past = &g->cache, .store = &g->cache, .store_idx = g->position + from};
    enum pmet_status status = pmet_embed(g->model, g->x, rows.id, n, err);
    if (status == PMET_OK)
        status = pmet_blocks(g->model, 0, g->model->config.n_layer, g->x, &rows.batch, &kv, &g->scratch, NULL,
                             err);
    if (status == PMET_OK)
        status = pmet_head(g->model, g->logits, g->u, g->x + (n - 1) * d, 1, err);
    if (status == PMET_OK)
        status = op->download(op, g->host, g->logits, n_vocab * sizeof(real), err);
    pmet_batch_free(&rows);
    return status;
}

/* E39: one of the k best, drawn by its share of their probability; ties go to the lower id. Greedy for k =
 * 1. */
static int32_t draw(struct generation *g, size_t k, struct pmet_rng *rng)
{
    int32_t best[1024];
    double share[1024], total = 0;
    const size_t n_vocab = g->model->config.n_vocab, n = k < n_vocab ? k : n_vocab;
    memset(g->taken, 0, n_vocab * sizeof *g->taken);
    for (size_t i = 0; i < n; i++) {
        size_t top = n_vocab;
        for (size_t v = 0; v < n_vocab; v++)
            if (!g->taken[v] && (top == n_vocab || g->host[v] > g->host[top]))
                top = v;
        g->taken[top] = true;
        best[i] = (int32_t)top;
        total += share[i] = exp((double)g->host[top] - (double)g->host[best[0]]);
    }
    if (n == 1)
        return best[0];
    double at = pmet_rng_uniform(rng) * total;
    for (size_t i = 0; i + 1 < n; i++)
        if ((at -= share[i]) < 0)
            return best[i];
    return best[n - 1];
}

static enum pmet_status reserve(struct generation *g, size_t n_total, struct pmet_error *err)
{
    const struct pmet_ops *op = g->model->op;
    const size_t d = g->model->config.d_model, n_vocab = g->model->config.n_vocab;
    PMET_TRY(pmet_cache_alloc(g->model, 0, n_total, &g->cache, err));
    PMET_TRY(pmet_scratch_alloc(g->model, n_total, false, &g->scratch, err));
    PMET_TRY(op->alloc(op, n_total * d * sizeof(real), &g->x, err));
    PMET_TRY(op->alloc(op, d * sizeof(real), &g->u, err));
    PMET_TRY(op->alloc(op, n_vocab * sizeof(real), &g->logits, err));
    PMET_TRY(pmet_calloc(&g->host, n_vocab, sizeof *g->host, "logits", err));
    PMET_TRY(pmet_calloc(&g->taken, n_vocab, sizeof *g->taken, "logits", err));
    PMET_TRY(pmet_calloc(&g->position, n_total, sizeof *g->position, "positions", err));
    for (size_t t = 0; t < n_total; t++)
        g->position[t] = t;
    return PMET_OK;
}

enum pmet_status pmet_generate(const struct pmet_model *model, struct pmet_ids *ids,
                               const struct pmet_generate_options *options, struct pmet_rng *rng,
                               pmet_generate_watch *watch, void *user, struct pmet_error *err)
{
    struct generation g = {.model = model};
    enum pmet_status status = PMET_OK;
    if (ids->n == 0)
        return pmet_fail(err, PMET_INPUT, "the prompt has no tokens");
    if (options->n_total > model->config.n_ctx)
        return pmet_fail(err, PMET_INPUT, "found %zu tokens with those to add; the model takes %zu",
                         options->n_total, model->config.n_ctx);
    if (options->top_k < 1 || options->top_k > 1024)
        return pmet_fail(err, PMET_INPUT, "top-k: found %zu; expected 1 to 1024", options->top_k);
    if (ids->n >= options->n_total)
        return PMET_OK;
    PMET_GO(pmet_ids_reserve(ids, options->n_total - ids->n, err));
    PMET_GO(reserve(&g, options->n_total, err));
    for (size_t from = 0; ids->n < options->n_total;) {
        PMET_GO(advance(&g, ids, from, err));
        from = ids->n;
        const int32_t next = draw(&g, options->top_k, rng);
        if (!isfinite((double)g.host[next])) {
            status = pmet_model_check_finite(model, err);
            status = status ? status : pmet_fail(err, PMET_NUMERIC, "the logits are not finite");
            goto done;
        }
        ids->id[ids->n++] = next;
        if (watch && watch(user, ids->id, ids->n))
            break;
    }
done:
    pmet_cache_free(&g.cache);
    pmet_scratch_free(&g.scratch);
    model->op->release(model->op, g.x);
    model->op->release(model->op, g.u);
    model->op->release(model->op, g.logits);
    free(g.host);
    free(g.taken);
    free(g.position);
    return status;
}

/* text[from..) with `find` replaced by `put`, which is no longer. */
static void replace(struct pmet_text *text, size_t from, const char *find, const char *put)
{
    size_t to = from;
    for (size_t i = from; i < text->n;) {
        if (strncmp(text->data + i, find, strlen(find)) == 0) {
            memcpy(text->data + to, put, strlen(put));
            to += strlen(put);
            i += strlen(find);
        } else {
            text->data[to++] = text->data[i++];
        }
    }
    text->n = to;
    text->data[to] = '\0';
}

/* E40, up to the text. */
enum pmet_status pmet_generated_text(const struct pmet_tokenizer *tk, const struct pmet_ids *ids,
                                     struct pmet_text *out, struct pmet_error *err)
{
    struct pmet_text plain = {0};
    const size_t from = out->n;
    enum pmet_status status = pmet_tokenizer_decode(tk, ids->id, ids->n, PMET_DECODE_CLEANUP, &plain, err);
    if (status == PMET_OK)
        status = pmet_nfkd(plain.data, plain.n, out, err);
    if (status == PMET_OK) {
        replace(out, from, "\n\n", " ");
        replace(out, from, "<|endoftext|>", "");
    }
    free(plain.data);
    return status;
}

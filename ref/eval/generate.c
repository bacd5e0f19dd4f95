/* SPDX-License-Identifier: MIT
 * Continues a row of tokens, one at a time, over cached keys and values.      SPEC §4.2 (E39, E40) */
#include "ref/eval/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tokenizer/unicode.h"

struct candidate {
    double logit;
    int32_t id;
};

struct generator {
    const struct pmet_model *model;
    struct pmet_cache cache; /* of the whole row */
    size_t n_cached;         /* positions in it */
    size_t *place;           /* [n_total] 0, 1, ... where token t is kept */
    real *x, *h, *u;         /* (dev) [n, d] the pass; [1, d] its last token, before and after the norm */
    real *logits_dev;        /* (dev) [n_vocab] */
    real *logits;            /* [n_vocab] */
    struct candidate *best;  /* [top_k] */
    size_t top_k;
};

static enum pmet_status generator_open(struct generator *g, const struct pmet_model *model, size_t n_total,
                                       size_t n_first, size_t top_k, struct pmet_error *err)
{
    const struct pmet_ops *op = model->op;
    const size_t d = model->config.d_model, n_vocab = model->config.n_vocab;
    g->model = model;
    g->top_k = top_k < n_vocab ? top_k : n_vocab;
    PMET_TRY(pmet_cache_alloc(model, 0, n_total, &g->cache, err));
    PMET_TRY(pmet_calloc(&g->place, n_total, sizeof *g->place, "a generated row", err));
    for (size_t t = 0; t < n_total; t++)
        g->place[t] = t;
    PMET_TRY(op->alloc(op, n_first * d * sizeof(real), &g->x, err));
    PMET_TRY(op->alloc(op, d * sizeof(real), &g->h, err));
    PMET_TRY(op->alloc(op, d * sizeof(real), &g->u, err));
    PMET_TRY(op->alloc(op, n_vocab * sizeof(real), &g->logits_dev, err));
    PMET_TRY(pmet_calloc(&g->logits, n_vocab, sizeof *g->logits, "logits", err));
    return pmet_calloc(&g->best, g->top_k, sizeof *g->best, "candidates", err);
}

static void generator_close(struct generator *g)
{
    const struct pmet_ops *op = g->model->op;
    if (g->cache.op)
        pmet_cache_free(&g->cache);
    op->release(op, g->x);
    op->release(op, g->h);
    op->release(op, g->u);
    op->release(op, g->logits_dev);
    free(g->place);
    free(g->logits);
    free(g->best);
}

/* Passes n new ids through the model behind what is cached; logits of the last one on the host. */
static enum pmet_status advance(struct generator *g, const int32_t *ids, size_t n, struct pmet_error *err)
{
    const struct pmet_model *model = g->model;
    const struct pmet_ops *op = model->op;
    const size_t last = n - 1;
    const struct pmet_kv kv = {.past = g->n_cached > 0 ? &g->cache : NULL,
                               .store = &g->cache,
                               .store_idx = g->place + g->n_cached};
    struct pmet_rows rows = {0};
    struct pmet_scratch scratch = {0};
    enum pmet_status status;
    PMET_GO(pmet_batch_alloc(1, n, &rows, err));
    pmet_batch_add(&rows, ids, n, g->n_cached, 0);
    PMET_GO(pmet_scratch_alloc(model, n, false, &scratch, err));
    PMET_GO(pmet_embed(model, g->x, ids, n, err));
    PMET_GO(pmet_blocks(model, 0, model->config.n_layer, g->x, &rows.batch, &kv, &scratch, NULL, err));
    PMET_GO(op->gather(op, g->h, g->x, &last, 1, model->config.d_model, err));
    PMET_GO(pmet_head(model, g->logits_dev, g->u, g->h, 1, err));
    status = op->download(op, g->logits, g->logits_dev, model->config.n_vocab * sizeof(real), err);
    g->n_cached += n;
done:
    pmet_batch_free(&rows);
    pmet_scratch_free(&scratch);
    return status;
}

/* The top_k largest logits, falling; of equal ones the lower id first, since ids come in ascending order. */
static enum pmet_status choose(const struct generator *g, struct pmet_error *err)
{
    size_t n = 0;
    for (size_t v = 0; v < g->model->config.n_vocab; v++) {
        const double logit = (double)g->logits[v];
        size_t lo = 0, hi = n;
        if (!isfinite(logit))
            return pmet_fail(err, PMET_NUMERIC, "generating: logit of id %zu is %g", v, logit);
        if (n == g->top_k && logit <= g->best[n - 1].logit)
            continue;
        while (lo < hi) {
            const size_t mid = (lo + hi) / 2;
            if (g->best[mid].logit >= logit)
                lo = mid + 1;
            else
                hi = mid;
        }
        n += n < g->top_k;
        memmove(g->best + lo + 1, g->best + lo, (n - 1 - lo) * sizeof *g->best);
        g->best[lo] = (struct candidate){logit, (int32_t)v};
    }
    return PMET_OK;
}

/* E39: the first candidate at which the sum of probabilities passes u. */
static int32_t draw(const struct generator *g, double u)
{
    double total = 0, sum = 0;
    size_t j = 0;
    for (size_t i = 0; i < g->top_k; i++)
        total += exp(g->best[i].logit - g->best[0].logit);
    for (; j + 1 < g->top_k; j++) {
        sum += exp(g->best[j].logit - g->best[0].logit) / total;
        if (sum > u)
            break;
    }
    return g->best[j].id;
}

static enum pmet_status reserve(struct pmet_ids *ids, size_t n, struct pmet_error *err)
{
    if (ids->cap >= n)
        return PMET_OK;
    int32_t *grown = realloc(ids->id, n * sizeof *grown);
    if (!grown)
        return pmet_fail_memory(err, "a generated row", n * sizeof *grown);
    ids->id = grown;
    ids->cap = n;
    return PMET_OK;
}

enum pmet_status pmet_generate(const struct pmet_model *model, struct pmet_ids *ids,
                               const struct pmet_generate_options *options, struct pmet_rng *rng,
                               pmet_generate_watch *watch, void *user, struct pmet_error *err)
{
    const size_t n_total = options->n_total;
    struct generator g = {.model = model};
    enum pmet_status status = PMET_OK;
    if (ids->n >= n_total)
        return PMET_OK;
    if (ids->n == 0)
        return pmet_fail(err, PMET_INPUT, "generating: the prompt holds no tokens; expected at least one");
    if (options->top_k == 0)
        return pmet_fail(err, PMET_INPUT, "generating: found top_k 0; expected at least 1");
    if (n_total > model->config.n_ctx)
        return pmet_fail(err, PMET_INPUT,
                         "generating: %zu tokens, prompt included; expected at most the model's %zu", n_total,
                         model->config.n_ctx);
    PMET_TRY(reserve(ids, n_total, err));
    PMET_GO(generator_open(&g, model, n_total, ids->n, options->top_k, err));
    while (ids->n < n_total) {
        PMET_GO(advance(&g, ids->id + g.n_cached, ids->n - g.n_cached, err));
        PMET_GO(choose(&g, err));
        ids->id[ids->n++] = draw(&g, pmet_rng_uniform(rng));
        if (watch && watch(user, ids->id, ids->n))
            break;
    }
done:
    generator_close(&g);
    return status;
}

/* Appends text with each `from` replaced. */
static enum pmet_status replace(const char *text, size_t n, const char *from, const char *to,
                                struct pmet_text *out, struct pmet_error *err)
{
    const size_t n_from = strlen(from);
    size_t begin = 0, i = 0;
    while (i < n) {
        if (n - i < n_from || memcmp(text + i, from, n_from) != 0) {
            i++;
            continue;
        }
        PMET_TRY(pmet_text_append(out, text + begin, i - begin, err));
        PMET_TRY(pmet_text_append(out, to, strlen(to), err));
        begin = i += n_from;
    }
    return pmet_text_append(out, text + begin, n - begin, err);
}

enum pmet_status pmet_generated_text(const struct pmet_tokenizer *tk, const struct pmet_ids *ids,
                                     struct pmet_text *out, struct pmet_error *err)
{
    struct pmet_text plain = {0}, normal = {0}, single = {0};
    enum pmet_status status;
    PMET_GO(pmet_tokenizer_decode(tk, ids->id, ids->n, PMET_DECODE_CLEANUP, &plain, err));
    PMET_GO(pmet_nfkd(plain.data, plain.n, &normal, err));
    PMET_GO(replace(normal.data, normal.n, "\n\n", " ", &single, err));
    status = replace(single.data, single.n, "<|endoftext|>", "", out, err);
done:
    free(plain.data);
    free(normal.data);
    free(single.data);
    return status;
}

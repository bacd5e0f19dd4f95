/* SPDX-License-Identifier: MIT
 * Generation with cached keys and values, many prompts at a time: a pass takes one token of each
 * row in progress, or all of a prompt that takes the place of a row that ended.      SPEC §4.2 */
#include "ref/eval/generate.h"

#include <math.h>
#include <stdlib.h>
#include "tokenizer/unicode.h"

enum { PASS_TOKENS = 512, MOST_ROWS = 256, MOST_TOP_K = 1024 };
#define CACHE_BYTES ((size_t)2 << 30)

/* A place in the batch, with n_total positions of the cache. */
struct slot {
    size_t row; /* SIZE_MAX: free */
    size_t n_cached;
};

struct generation {
    const struct pmet_model *model;
    struct pmet_ids *row; /* [n_row] of the caller */
    struct pmet_rng *rng;
    size_t n_row, next; /* rows from `next` on have not begun */
    size_t n_total, top_k, capacity;
    struct slot *slot; /* [n_slot] */
    size_t n_slot;
    struct pmet_cache cache; /* [n_slot * n_total] */
    struct pmet_rows rows;   /* of a pass */
    struct pmet_scratch scratch;
    real *x, *h, *u, *logits; /* (dev) [capacity, d], then [n_slot, d] twice and [n_slot, n_vocab] */
    real *host;               /* [n_slot, n_vocab] */
    size_t *store_idx;        /* [capacity] */
    size_t *last;             /* [n_slot] each packed row's last token */
};

/* Packs what slots [first, *end) have not yet cached, and runs it; row i of host receives the
 * logits of the i-th slot in use among them. */
static enum pmet_status advance(struct generation *g, size_t first, size_t *end, struct pmet_error *err)
{
    const struct pmet_ops *op = g->model->op;
    const struct pmet_config *c = &g->model->config;
    struct pmet_batch *batch = &g->rows.batch;
    const struct pmet_kv kv = {.past = &g->cache, .store = &g->cache, .store_idx = g->store_idx};
    batch->n_row = batch->n_tok = 0;
    for (*end = first; *end < g->n_slot; ++*end) {
        struct slot *s = &g->slot[*end];
        if (s->row == SIZE_MAX)
            continue;
        const struct pmet_ids *row = &g->row[s->row];
        const size_t n = row->n - s->n_cached, at = batch->n_tok;
        if (at > 0 && at + n > g->capacity)
            break;
        for (size_t t = 0; t < n; t++)
            g->store_idx[at + t] = *end * g->n_total + s->n_cached + t;
        g->last[batch->n_row] = at + n - 1;
        pmet_batch_add(&g->rows, row->id + s->n_cached, n, s->n_cached, *end * g->n_total);
        s->n_cached = row->n;
    }
    PMET_TRY(pmet_embed(g->model, g->x, g->rows.id, batch->n_tok, err));
    PMET_TRY(pmet_blocks(g->model, 0, c->n_layer, g->x, batch, &kv, &g->scratch, NULL, err));
    PMET_TRY(op->gather(op, g->h, g->x, g->last, batch->n_row, c->d_model, err));
    PMET_TRY(pmet_head(g->model, g->logits, g->u, g->h, batch->n_row, err));
    return op->download(op, g->host, g->logits, batch->n_row * c->n_vocab * sizeof(real), err);
}

/* E39: one of the k best, drawn by its share of their probability; ties go to the lower id. Greedy
 * for k = 1. */
static int32_t draw(const real *logits, size_t n_vocab, size_t k, struct pmet_rng *rng)
{
    int32_t best[MOST_TOP_K]; /* of the ids so far, the likeliest first */
    double share[MOST_TOP_K], total = 0;
    size_t n = 0;
    for (size_t v = 0; v < n_vocab; v++) {
        if (n == k && !(logits[v] > logits[best[k - 1]]))
            continue;
        size_t at = n < k ? n++ : k - 1;
        for (; at > 0 && logits[v] > logits[best[at - 1]]; at--)
            best[at] = best[at - 1];
        best[at] = (int32_t)v;
    }
    for (size_t i = 0; i < n; i++)
        total += share[i] = exp((double)logits[best[i]] - (double)logits[best[0]]);
    if (n == 1)
        return best[0];
    double at = pmet_rng_uniform(rng) * total;
    for (size_t i = 0; i + 1 < n; i++)
        if ((at -= share[i]) < 0)
            return best[i];
    return best[n - 1];
}

/* Rows in progress: as asked, else what n_bytes hold, in whole blocks of 16 rows where there are
 * many. */
static size_t choose_slots(const struct generation *g, size_t n_batch, size_t n_bytes)
{
    const struct pmet_config *c = &g->model->config;
    size_t n = n_batch;
    if (n == 0) {
        n = n_bytes / (2 * c->n_layer * c->d_model * sizeof(real)) / g->n_total;
        n = n > MOST_ROWS ? MOST_ROWS : n > 16 ? n / 16 * 16 : n > 0 ? n : 1;
    }
    return n < g->n_row ? n : g->n_row;
}

static enum pmet_status reserve(struct generation *g, struct pmet_error *err)
{
    const struct pmet_ops *op = g->model->op;
    const size_t d = g->model->config.d_model, n_vocab = g->model->config.n_vocab, n = g->n_slot;
    g->capacity = n * g->n_total < PASS_TOKENS ? n * g->n_total : PASS_TOKENS;
    g->capacity = n > g->capacity ? n : g->capacity;
    g->capacity = g->n_total > g->capacity ? g->n_total : g->capacity; /* a prompt is never cut in two */
    PMET_TRY(pmet_cache_alloc(g->model, 0, n * g->n_total, &g->cache, err));
    PMET_TRY(pmet_batch_alloc(n, g->capacity, &g->rows, err));
    PMET_TRY(pmet_scratch_alloc(g->model, g->capacity, false, &g->scratch, err));
    PMET_TRY(op->alloc(op, g->capacity * d * sizeof(real), &g->x, err));
    PMET_TRY(op->alloc(op, n * d * sizeof(real), &g->h, err));
    PMET_TRY(op->alloc(op, n * d * sizeof(real), &g->u, err));
    PMET_TRY(op->alloc(op, n * n_vocab * sizeof(real), &g->logits, err));
    PMET_TRY(pmet_calloc(&g->host, n * n_vocab, sizeof *g->host, "logits", err));
    PMET_TRY(pmet_calloc(&g->last, n, sizeof *g->last, "positions", err));
    PMET_TRY(pmet_calloc(&g->store_idx, g->capacity, sizeof *g->store_idx, "positions", err));
    PMET_TRY(pmet_calloc(&g->slot, n, sizeof *g->slot, "rows", err));
    for (size_t i = 0; i < n; i++)
        g->slot[i].row = SIZE_MAX;
    return PMET_OK;
}

static void release(struct generation *g)
{
    const struct pmet_ops *op = g->model->op;
    pmet_cache_free(&g->cache);
    pmet_batch_free(&g->rows);
    pmet_scratch_free(&g->scratch);
    op->release(op, g->x);
    op->release(op, g->h);
    op->release(op, g->u);
    op->release(op, g->logits);
    free(g->host);
    free(g->last);
    free(g->store_idx);
    free(g->slot);
}

/* Rows that have not begun take free slots; false once none is in progress. */
static bool refill(struct generation *g)
{
    bool busy = false;
    for (size_t i = 0; i < g->n_slot; i++) {
        struct slot *s = &g->slot[i];
        if (s->row != SIZE_MAX && g->row[s->row].n >= g->n_total)
            s->row = SIZE_MAX;
        while (s->row == SIZE_MAX && g->next < g->n_row) {
            if (g->row[g->next].n < g->n_total)
                *s = (struct slot){.row = g->next, .n_cached = 0};
            g->next++;
        }
        busy |= s->row != SIZE_MAX;
    }
    return busy;
}

/* One token more for every row in progress. */
static enum pmet_status step(struct generation *g, struct pmet_error *err)
{
    const size_t n_vocab = g->model->config.n_vocab;
    for (size_t first = 0, end; first < g->n_slot; first = end) {
        const real *logits = g->host;
        PMET_TRY(advance(g, first, &end, err));
        for (size_t i = first; i < end; i++) {
            if (g->slot[i].row == SIZE_MAX)
                continue;
            struct pmet_ids *row = &g->row[g->slot[i].row];
            if (pmet_first_not_finite(logits, PMET_REAL, n_vocab) < n_vocab)
                return pmet_model_not_finite(g->model, "the logits are", err);
            const int32_t next = draw(logits, n_vocab, g->top_k, &g->rng[g->slot[i].row]);
            row->id[row->n++] = next;
            logits += n_vocab;
        }
    }
    return PMET_OK;
}

enum pmet_status pmet_generate(const struct pmet_model *model, struct pmet_ids *row, size_t n_row,
                               const struct pmet_generate_options *options, struct pmet_rng *rng,
                               pmet_generate_stop *stop, void *user, struct pmet_error *err)
{
    struct generation g = {.model = model,
                           .row = row,
                           .rng = rng,
                           .n_row = n_row,
                           .n_total = options->n_total,
                           .top_k = options->top_k};
    enum pmet_status status = PMET_OK;
    size_t n_short = 0, n_bytes;
    for (size_t i = 0; i < n_row; i++) {
        if (row[i].n == 0)
            return pmet_fail(err, PMET_INPUT, "found no tokens in the prompt; expected text");
        n_short += row[i].n < options->n_total;
    }
    if (options->n_total > model->config.n_ctx)
        return pmet_fail(err, PMET_INPUT,
                         "found %zu tokens with those to add; the model takes %zu: ask for fewer "
                         "(--max-tokens), or shorten the prompt",
                         options->n_total, model->config.n_ctx);
    if (options->top_k < 1 || options->top_k > MOST_TOP_K)
        return pmet_fail(err, PMET_INPUT, "top-k: found %zu; expected 1 to %d", options->top_k, MOST_TOP_K);
    if (n_short == 0)
        return PMET_OK;
    for (size_t i = 0; i < n_row; i++)
        if (row[i].n < options->n_total)
            PMET_TRY(pmet_ids_reserve(&row[i], options->n_total - row[i].n, err));
    PMET_TRY(pmet_capacity(model->op, CACHE_BYTES, &n_bytes, err));
    g.n_slot = choose_slots(&g, options->n_batch, n_bytes);
    PMET_GO(reserve(&g, err));
    while (refill(&g)) {
        PMET_GO(step(&g, err));
        if (stop && stop(user))
            break;
    }
done:
    release(&g);
    return status;
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
        pmet_text_replace(out, from, "\n\n", " ");
        pmet_text_replace(out, from, "<|endoftext|>", "");
    }
    free(plain.data);
    return status;
}

/* SPDX-License-Identifier: MIT
 * The tree of rows, level by level through the model (E79).      SPEC §11.2 */
#include <stdlib.h>
#include <string.h>
#include "ref/eval/readout.h"

enum { PASS_TOKENS = 512, DEVICE_TOKENS = 4096, READ_PLACES = 256 };

/* A place of the chunk: where it lies in the tree. Sorted, those of a pass follow each other, equal
 * ones too. */
struct spot {
    size_t order, at; /* of the branch among the passes; the token */
    struct pmet_place *place;
};

/* A chunk of the rows, and what its passes share. */
struct run {
    const struct pmet_model *model;
    const struct pmet_readout *r;
    struct pmet_tree tree;
    struct pmet_branch **order; /* [n_branch] by depth */
    struct spot *spot;
    size_t n_spot, n_seen; /* spots that passes have read */
    size_t capacity;       /* tokens of a pass */
    struct pmet_cache cache;
    struct pmet_rows rows;
    struct pmet_scratch scratch;
    real *x, *h, *u, *logits,
        *each;         /* (dev) [capacity, d], then [READ_PLACES, d] twice and [READ_PLACES, n_vocab] twice */
    size_t *store_idx; /* [capacity] */
};

static int by_depth(const void *a, const void *b)
{
    const struct pmet_branch *const *x = a, *const *y = b;
    if ((*x)->depth != (*y)->depth)
        return (*x)->depth < (*y)->depth ? -1 : 1;
    return *x < *y ? -1 : *x > *y;
}

static int by_order(const void *a, const void *b)
{
    const struct spot *x = a, *y = b;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The order of the passes, and the places of the chunk's rows in it. */
static enum pmet_status order_passes(struct run *c, const size_t *sorted, size_t n_row,
                                     struct pmet_readout *r, struct pmet_error *err)
{
    const size_t n = c->tree.n_branch;
    PMET_TRY(pmet_calloc(&c->order, n, sizeof *c->order, "branches", err));
    for (size_t i = 0; i < n; i++)
        c->order[i] = &c->tree.branch[i];
    qsort(c->order, n, sizeof *c->order, by_depth);
    for (size_t i = 0; i < n; i++)
        c->order[i]->rank = i;
    for (size_t i = 0; i < n_row; i++)
        c->n_spot += r->place_start[sorted[i] + 1] - r->place_start[sorted[i]];
    PMET_TRY(pmet_calloc(&c->spot, c->n_spot, sizeof *c->spot, "places", err));
    for (size_t i = 0, k = 0; i < n_row; i++)
        for (size_t p = r->place_start[sorted[i]]; p < r->place_start[sorted[i] + 1]; p++) {
            const size_t branch = pmet_tree_find(&c->tree, sorted[i], r->place[p].at);
            c->spot[k++] = (struct spot){c->tree.branch[branch].rank, r->place[p].at, &r->place[p]};
        }
    qsort(c->spot, c->n_spot, sizeof *c->spot, by_order);
    return PMET_OK;
}

/* A pass stores the keys of all its tokens; those of branches without children go behind the
 * others. Memory allows `most` cached positions. */
static enum pmet_status reserve(struct run *c, size_t most, struct pmet_error *err)
{
    const struct pmet_ops *op = c->model->op;
    const size_t d = c->model->config.d_model, n_vocab = c->model->config.n_vocab;
    c->capacity = PASS_TOKENS;
    if (op->own_memory && most / 8 > PASS_TOKENS) /* many processors */
        c->capacity = most / 8 < DEVICE_TOKENS ? most / 8 : DEVICE_TOKENS;
    for (size_t i = 0; i < c->tree.n_branch; i++) {
        const size_t n = c->tree.branch[i].end - c->tree.branch[i].begin;
        c->capacity = n > c->capacity ? n : c->capacity;
    }
    PMET_TRY(pmet_cache_alloc(c->model, 0, c->tree.n_cached + c->capacity, &c->cache, err));
    PMET_TRY(pmet_batch_alloc(c->tree.n_branch, c->capacity, &c->rows, err));
    PMET_TRY(pmet_scratch_alloc(c->model, c->capacity, false, &c->scratch, err));
    PMET_TRY(op->alloc(op, c->capacity * d * sizeof(real), &c->x, err));
    PMET_TRY(op->alloc(op, READ_PLACES * d * sizeof(real), &c->h, err));
    PMET_TRY(op->alloc(op, READ_PLACES * d * sizeof(real), &c->u, err));
    PMET_TRY(op->alloc(op, READ_PLACES * n_vocab * sizeof(real), &c->logits, err));
    PMET_TRY(op->alloc(op, READ_PLACES * n_vocab * sizeof(real), &c->each, err));
    return pmet_calloc(&c->store_idx, c->capacity, sizeof *c->store_idx, "positions", err);
}

static void release(struct run *c)
{
    const struct pmet_ops *op = c->model->op;
    pmet_tree_free(&c->tree);
    free(c->order);
    free(c->spot);
    pmet_cache_free(&c->cache);
    pmet_batch_free(&c->rows);
    pmet_scratch_free(&c->scratch);
    op->release(op, c->x);
    op->release(op, c->h);
    op->release(op, c->u);
    op->release(op, c->logits);
    op->release(op, c->each);
    free(c->store_idx);
}

/* The cached prefix of a row must be contiguous: a branch with children begins with a copy of its
 * parents' positions. */
static enum pmet_status inherit(struct run *c, const struct pmet_branch *b, struct pmet_error *err)
{
    const struct pmet_ops *op = c->model->op;
    const size_t d = c->model->config.d_model, n_bytes = b->begin * d * sizeof(real);
    if (b->parent == SIZE_MAX || !b->has_child)
        return PMET_OK;
    const size_t to = b->cache_start * d, from = c->tree.branch[b->parent].cache_start * d;
    for (size_t l = 0; l < c->model->config.n_layer; l++) {
        PMET_TRY(op->copy(op, c->cache.k[l] + to, c->cache.k[l] + from, n_bytes, err));
        PMET_TRY(op->copy(op, c->cache.v[l] + to, c->cache.v[l] + from, n_bytes, err));
    }
    return PMET_OK;
}

/* Packs branches [first, *end) of one depth. */
static enum pmet_status pack(struct run *c, size_t first, size_t *end, struct pmet_error *err)
{
    struct pmet_batch *batch = &c->rows.batch;
    batch->n_row = batch->n_tok = 0;
    for (*end = first; *end < c->tree.n_branch; ++*end) {
        const struct pmet_branch *b = c->order[*end];
        const size_t n = b->end - b->begin, at = batch->n_tok;
        if (b->depth != c->order[first]->depth || (at > 0 && at + n > c->capacity))
            break;
        PMET_TRY(inherit(c, b, err));
        pmet_batch_add(&c->rows, c->r->id + c->r->row_start[b->row] + b->begin, n, b->begin,
                       b->parent == SIZE_MAX ? 0 : c->tree.branch[b->parent].cache_start);
        for (size_t t = 0; t < n; t++)
            c->store_idx[at + t] = b->has_child ? b->cache_start + b->begin + t : c->tree.n_cached + at + t;
    }
    return PMET_OK;
}

/* Logits of n <= READ_PLACES spots of the pass that begins with branch `first`: each position once,
 * then a row of them a label. */
static enum pmet_status read(struct run *c, size_t first, struct spot *spot, size_t n, struct pmet_error *err)
{
    const struct pmet_ops *op = c->model->op;
    const size_t d = c->model->config.d_model, n_vocab = c->model->config.n_vocab;
    size_t place[READ_PLACES], which[READ_PLACES], n_place = 0;
    int32_t label[READ_PLACES], best[READ_PLACES];
    double logp[READ_PLACES], best_logp[READ_PLACES];
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || by_order(&spot[i - 1], &spot[i]) != 0)
            place[n_place++] =
                c->rows.batch.row_start[spot[i].order - first] + spot[i].at - c->order[spot[i].order]->begin;
        which[i] = n_place - 1;
        label[i] = spot[i].place->label;
    }
    PMET_TRY(op->gather(op, c->h, c->x, place, n_place, d, err));
    PMET_TRY(pmet_head(c->model, c->logits, c->u, c->h, n_place, err));
    if (n_place < n)
        PMET_TRY(op->gather(op, c->each, c->logits, which, n, n_vocab, err));
    PMET_TRY(op->xent(op, logp, best_logp, best, n_place < n ? c->each : c->logits, label, n, n_vocab, err));
    for (size_t i = 0; i < n; i++) {
        spot[i].place->logp = logp[i];
        spot[i].place->best = best[i];
    }
    return PMET_OK;
}

static enum pmet_status run_pass(struct run *c, size_t first, size_t *end, struct pmet_error *err)
{
    const struct pmet_kv kv = {.past = &c->cache, .store = &c->cache, .store_idx = c->store_idx};
    PMET_TRY(pack(c, first, end, err));
    PMET_TRY(pmet_embed(c->model, c->x, c->rows.id, c->rows.batch.n_tok, err));
    PMET_TRY(pmet_blocks(c->model, 0, c->model->config.n_layer, c->x, &c->rows.batch, &kv, &c->scratch, NULL,
                         err));
    while (c->n_seen < c->n_spot && c->spot[c->n_seen].order < *end) {
        size_t n = 0;
        while (n < READ_PLACES && c->n_seen + n < c->n_spot && c->spot[c->n_seen + n].order < *end)
            n++;
        PMET_TRY(read(c, first, c->spot + c->n_seen, n, err));
        c->n_seen += n;
    }
    return PMET_OK;
}

static enum pmet_status run_chunk(struct pmet_readout *r, const struct pmet_model *model,
                                  const size_t *sorted, size_t n_row, size_t most, struct pmet_error *err)
{
    struct run c = {.model = model, .r = r};
    enum pmet_status status;
    PMET_GO(pmet_tree_build(r, sorted, n_row, &c.tree, err));
    PMET_GO(order_passes(&c, sorted, n_row, r, err));
    PMET_GO(reserve(&c, most, err));
    for (size_t i = 0, end; i < c.tree.n_branch; i = end)
        PMET_GO(run_pass(&c, i, &end, err));
done:
    release(&c);
    return status;
}

/* A row, for sorting: alike beginnings side by side, a row before those that go on from it. */
struct key {
    const int32_t *id;
    size_t n, row;
};

static int by_ids(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    for (size_t i = 0; i < x->n && i < y->n; i++)
        if (x->id[i] != y->id[i])
            return x->id[i] < y->id[i] ? -1 : 1;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static enum pmet_status sort_rows(const struct pmet_readout *r, size_t *sorted, struct pmet_error *err)
{
    struct key *key;
    PMET_TRY(pmet_calloc(&key, r->n_row, sizeof *key, "rows", err));
    for (size_t i = 0; i < r->n_row; i++)
        key[i] = (struct key){r->id + r->row_start[i], r->row_start[i + 1] - r->row_start[i], i};
    qsort(key, r->n_row, sizeof *key, by_ids);
    for (size_t i = 0; i < r->n_row; i++)
        sorted[i] = key[i].row;
    free(key);
    return PMET_OK;
}

enum pmet_status pmet_readout_run(struct pmet_readout *r, const struct pmet_model *model, size_t max_bytes,
                                  struct pmet_error *err)
{
    const size_t per_token = 2 * model->config.n_layer * model->config.d_model * sizeof(real),
                 most = max_bytes / per_token; /* a tree caches no more positions than its rows have tokens */
    size_t *sorted;
    PMET_TRY(pmet_calloc(&sorted, r->n_row, sizeof *sorted, "rows", err));
    enum pmet_status status = sort_rows(r, sorted, err);
    for (size_t i = 0, n; status == PMET_OK && i < r->n_row; i += n) {
        size_t n_tok = 0;
        for (n = 0; i + n < r->n_row; n++) {
            const size_t more = r->row_start[sorted[i + n] + 1] - r->row_start[sorted[i + n]];
            if (n > 0 && n_tok + more > most)
                break;
            n_tok += more;
        }
        status = run_chunk(r, model, sorted + i, n, most, err);
    }
    free(sorted);
    return status;
}

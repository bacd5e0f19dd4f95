/* SPDX-License-Identifier: MIT
 * Packed rows, the cache of keys and values, and the scratch of a pass.      SPEC §3.5 */
#include "ref/model/batch.h"

#include <stdlib.h>
#include <string.h>

enum pmet_status pmet_batch_alloc(size_t n_row, size_t n_tok, struct pmet_rows *out, struct pmet_error *err)
{
    memset(out, 0, sizeof *out);
    PMET_TRY(pmet_calloc(&out->mem, 3 * n_row + 1, sizeof *out->mem, "a batch of rows", err));
    const enum pmet_status status = pmet_calloc(&out->id, n_tok, sizeof *out->id, "a batch of rows", err);
    if (status != PMET_OK) {
        pmet_batch_free(out);
        return status;
    }
    out->batch.row_start = out->mem;
    out->batch.n_past = out->mem + n_row + 1;
    out->batch.past_start = out->mem + 2 * n_row + 1;
    return PMET_OK;
}

/* The batch by which E8 counts. */
void pmet_batch_add(struct pmet_rows *rows, const int32_t *ids, size_t n_tok, size_t n_past,
                    size_t past_start)
{
    struct pmet_batch *b = &rows->batch;
    size_t *start = rows->mem, *past = rows->mem + (b->n_past - b->row_start),
           *from = rows->mem + (b->past_start - b->row_start);
    if (n_tok > 0)
        memcpy(rows->id + b->n_tok, ids, n_tok * sizeof *ids);
    past[b->n_row] = n_past;
    from[b->n_row] = past_start;
    b->n_tok += n_tok;
    b->n_row++;
    start[b->n_row] = b->n_tok;
}

void pmet_batch_free(struct pmet_rows *rows)
{
    free(rows->mem);
    free(rows->id);
    memset(rows, 0, sizeof *rows);
}

enum pmet_status pmet_cache_alloc(const struct pmet_model *model, size_t first_layer, size_t n_pos,
                                  struct pmet_cache *out, struct pmet_error *err)
{
    const size_t n_layer = model->config.n_layer;
    enum pmet_status status;
    size_t n_bytes;
    *out = (struct pmet_cache){.op = model->op, .first_layer = first_layer, .n_layer = n_layer};
    if (!pmet_mul_size(n_pos, model->config.d_model * sizeof(real), &n_bytes))
        return pmet_fail_memory(err, "the cache of keys and values", SIZE_MAX);
    PMET_GO(pmet_calloc(&out->k, n_layer, sizeof *out->k, "the cache", err));
    PMET_GO(pmet_calloc(&out->v, n_layer, sizeof *out->v, "the cache", err));
    for (size_t l = first_layer; l < n_layer; l++) {
        PMET_GO(model->op->alloc(model->op, n_bytes, &out->k[l], err));
        PMET_GO(model->op->alloc(model->op, n_bytes, &out->v[l], err));
    }
    return PMET_OK;
done:
    pmet_cache_free(out);
    return status;
}

void pmet_cache_free(struct pmet_cache *cache)
{
    for (size_t l = cache->first_layer; l < cache->n_layer; l++) {
        if (cache->k)
            cache->op->release(cache->op, cache->k[l]);
        if (cache->v)
            cache->op->release(cache->op, cache->v[l]);
    }
    free(cache->k);
    free(cache->v);
    memset(cache, 0, sizeof *cache);
}

enum pmet_status pmet_scratch_alloc(const struct pmet_model *model, size_t n_tok, bool backward,
                                    struct pmet_scratch *out, struct pmet_error *err)
{
    const struct pmet_ops *op = model->op;
    const size_t d = model->config.d_model, ff = model->config.d_ff;
    enum pmet_status status;
    *out = (struct pmet_scratch){.op = op};
    const struct {
        real **p;
        size_t width;
    } part[] = {{&out->u, d},  {&out->o, d},  {&out->a, d},       {&out->m, d},    {&out->y, d},
                {&out->g, ff}, {&out->f, ff}, {&out->qkv, 3 * d}, {&out->g_f, ff}, {&out->g_qkv, 3 * d}};
    const size_t n_part = sizeof part / sizeof *part - (backward ? 0 : 2);
    for (size_t i = 0; i < n_part; i++) {
        size_t n_bytes;
        if (!pmet_mul_size(n_tok, part[i].width * sizeof(real), &n_bytes)) {
            status = pmet_fail_memory(err, "the scratch of a pass", SIZE_MAX);
            goto done;
        }
        PMET_GO(op->alloc(op, n_bytes, part[i].p, err));
    }
    return PMET_OK;
done:
    pmet_scratch_free(out);
    return status;
}

void pmet_scratch_free(struct pmet_scratch *s)
{
    real *const part[] = {s->u, s->o, s->a, s->m, s->y, s->g, s->f, s->qkv, s->g_f, s->g_qkv};
    for (size_t i = 0; s->op && i < sizeof part / sizeof *part; i++)
        s->op->release(s->op, part[i]);
    memset(s, 0, sizeof *s);
}

/* SPDX-License-Identifier: MIT
 * What a pass needs beside the weights: packed rows, cached keys and values, scratch, saved
 * states.      SPEC §3.5 */
#ifndef PMET_REF_MODEL_BATCH_H
#define PMET_REF_MODEL_BATCH_H

#include "ref/model/load.h"

/* E8: a batch that owns its arrays. */
struct pmet_rows {
    struct pmet_batch batch;
    size_t *mem;
    int32_t *id; /* [n_tok] */
};

/* Reserves for n_row rows and n_tok tokens in all; fill with pmet_batch_add. */
enum pmet_status pmet_batch_alloc(size_t n_row, size_t n_tok, struct pmet_rows *out, struct pmet_error *err);
/* Appends a row of n_tok ids; its prefix is n_past positions of the cache from past_start on. */
void pmet_batch_add(struct pmet_rows *rows, const int32_t *ids, size_t n_tok, size_t n_past,
                    size_t past_start);
void pmet_batch_free(struct pmet_rows *rows);

/* E35: keys and values of every layer from `first_layer` on, for n_pos positions: k[l], v[l] (dev)
 * [n_pos, d_model]. */
struct pmet_cache {
    const struct pmet_ops *op;
    size_t first_layer, n_layer;
    real **k, **v; /* indexed by layer; NULL below first_layer */
};
enum pmet_status pmet_cache_alloc(const struct pmet_model *model, size_t first_layer, size_t n_pos,
                                  struct pmet_cache *out, struct pmet_error *err);
void pmet_cache_free(struct pmet_cache *cache);

/* Keys and values of a pass: `past` holds those of the rows' cached prefixes (NULL: no prefix);
 * those of token t are kept in `store` at position store_idx[t] (NULL: not kept). */
struct pmet_kv {
    const struct pmet_cache *past;
    struct pmet_cache *store;
    const size_t *store_idx;
};

/* Scratch of a pass of up to n_tok tokens. */
struct pmet_scratch {
    const struct pmet_ops *op;
    real *u, *o, *a, *m; /* (dev) [n_tok, d_model] */
    real *g;             /* (dev) [n_tok, d_ff] */
    real *y, *f, *qkv;   /* (dev) [n_tok, d_model], [n_tok, d_ff], [n_tok, 3 d_model] */
    real *g_f, *g_qkv;   /* for the backward; NULL unless asked for */
};
enum pmet_status pmet_scratch_alloc(const struct pmet_model *model, size_t n_tok, bool backward,
                                    struct pmet_scratch *out, struct pmet_error *err);
void pmet_scratch_free(struct pmet_scratch *s);

/* What a block's backward needs of its forward, all (dev): input x, keys and values after rope,
 * pre-activation f, and the middle y of a sequential block. */
struct pmet_saved {
    real *x;   /* [n_tok, d_model] */
    real *qkv; /* [n_tok, 3 d_model] */
    real *f;   /* [n_tok, d_ff] */
    real *y;   /* [n_tok, d_model], sequential blocks only */
};

#endif

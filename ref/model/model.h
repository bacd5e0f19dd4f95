/* SPDX-License-Identifier: MIT
 * GPT-J and GPT-NeoX as compositions of operators: weights in place, forward over packed rows, and the
 * backward that delta needs (gradients of activations only, never of weights).      SPEC §3 */
#ifndef PMET_REF_MODEL_MODEL_H
#define PMET_REF_MODEL_MODEL_H

#include "ref/model/config.h"
#include "tensors/checkpoint.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- weights ---- */

/* Pointers are (dev). Biases and norms are held as real; matrices stay in the file's dtype, mapped. */
struct pmet_layer {
    real *ln1_gain, *ln1_bias;   /* before attention; in GPT-J before the FFN, too */
    real *ln2_gain, *ln2_bias;   /* before the FFN; NULL in GPT-J */
    struct pmet_weight q, k, v;  /* GPT-J */
    struct pmet_weight qkv;      /* NeoX: for each head q, k and v rows in turn */
    real *qkv_bias;              /* NeoX */
    struct pmet_weight attn_out; /* out_proj | dense */
    real *attn_out_bias;         /* NULL in GPT-J */
    struct pmet_weight fc_in, fc_out;
    real *fc_in_bias, *fc_out_bias;
};

struct pmet_model {
    struct pmet_config config;
    const struct pmet_ops *op;
    struct pmet_weight embed, head;
    real *head_bias; /* NULL in NeoX */
    real *ln_f_gain, *ln_f_bias;
    struct pmet_layer *layer; /* [n_layer] */
    const struct pmet_checkpoint *checkpoint;
    void **owned; /* (dev) what the model allocated */
    size_t n_owned;
    const void **mapped; /* (dev) what weight_map returned */
    size_t n_mapped;
    double weight_bytes; /* of the tensors that are read, on a device that holds them */
};

/* Binds the checkpoint's tensors to a model after checking every name, dtype and shape against its config.
 * Buffers of old checkpoints are ignored, other unknown tensors refused. ck and op must outlive the model. */
enum pmet_status pmet_model_open(const struct pmet_checkpoint *ck, const struct pmet_ops *op,
                                 struct pmet_model **out, struct pmet_error *err);
void pmet_model_close(struct pmet_model *model); /* accepts NULL */

/* The matrix of an editable module, by its name in the checkpoint without ".weight"
 * ("transformer.h.3.mlp.fc_out"), with the layer it belongs to; NULL if the model has none of that name.
 * Setting data (dev) and dtype PMET_REAL overlays it. */
enum pmet_module { PMET_MODULE_MLP, PMET_MODULE_ATTN };
struct pmet_weight *pmet_model_module(struct pmet_model *model, enum pmet_module module, size_t layer);
/* "transformer.h.3.mlp.fc_out" of a template "transformer.h.{}.mlp.fc_out" and a layer, into name[size]. */
void pmet_module_name(char *name, size_t size, const char *tmpl, size_t layer);
/* The family's templates of the two editable modules. */
const char *pmet_module_template(enum pmet_family family, enum pmet_module module);

/* Looks for the first NaN or infinity in the weights; the message names file, tensor and element. PMET_OK if
 * all are finite. Buffers, which are never read, may hold anything: NeoX's masked_bias is -inf in f16. */
enum pmet_status pmet_model_check_finite(const struct pmet_model *model, struct pmet_error *err);

/* ---- packed rows ---- */

/* A batch that owns its arrays. */
struct pmet_rows {
    struct pmet_batch batch;
    size_t *mem;
    int32_t *id; /* [n_tok] */
};

/* Reserves for n_row rows and n_tok tokens in all; fill with pmet_batch_add. */
enum pmet_status pmet_batch_alloc(size_t n_row, size_t n_tok, struct pmet_rows *out, struct pmet_error *err);
/* Appends a row: n_tok ids after n_past cached positions found from past_start on. */
void pmet_batch_add(struct pmet_rows *rows, const int32_t *ids, size_t n_tok, size_t n_past,
                    size_t past_start);
void pmet_batch_free(struct pmet_rows *rows);

/* ---- forward ---- */

/* E35: keys and values of every layer from `first_layer` on, for n_pos positions: k[l], v[l] (dev) [n_pos,
 * d_model]. */
struct pmet_cache {
    const struct pmet_ops *op;
    size_t first_layer, n_layer, n_pos;
    real **k, **v; /* indexed by layer; NULL below first_layer */
};
enum pmet_status pmet_cache_alloc(const struct pmet_model *model, size_t first_layer, size_t n_pos,
                                  struct pmet_cache *out, struct pmet_error *err);
void pmet_cache_free(struct pmet_cache *cache);

/* What a block computes on its way, for those who look in: data (dev) [n_tok, width]. */
enum pmet_site {
    PMET_SITE_HIDDEN,     /* entering the block, [n_tok, d_model] */
    PMET_SITE_ATTN_IN,    /* heads merged, what enters attn_out [n_tok, d_model] */
    PMET_SITE_ATTN_OUT,   /* a, bias included */
    PMET_SITE_MLP_KEY,    /* what enters fc_out [n_tok, d_ff] */
    PMET_SITE_MLP_OUT,    /* m, bias included */
    PMET_SITE_ATTN_PROBS, /* only with want_probs: rows in turn [n_head, n_tok, n_past + n_tok]; width 0 */
    PMET_SITE_BLOCK_OUT   /* leaving the block, [n_tok, d_model]: the next one's PMET_SITE_HIDDEN */
};
struct pmet_tap {
    void *user;
    bool want_probs;
    enum pmet_status (*see)(void *user, enum pmet_site site, size_t layer, const real *data, size_t n_tok,
                            size_t width, struct pmet_error *err);
};

/* Scratch of a pass of up to n_tok tokens. */
struct pmet_scratch {
    const struct pmet_ops *op;
    size_t n_tok;
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

/* Where a pass finds and leaves keys and values: `past` for the batch's cached positions (NULL: none), and
 * `store` with store_idx[t], the position of token t in it (NULL: not kept). */
struct pmet_kv {
    const struct pmet_cache *past;
    struct pmet_cache *store;
    const size_t *store_idx;
};

/* x[t] = embedding of ids[t]; an id past the embedding's rows is refused. */
enum pmet_status pmet_embed(const struct pmet_model *model, real *x, const int32_t *ids, size_t n_tok,
                            struct pmet_error *err);
/* One block: out = block l of x; out may be x. saved, if given, receives qkv, f and y (x is the caller's to
 * keep); kv and tap may be NULL. */
enum pmet_status pmet_block(const struct pmet_model *model, size_t l, real *out, const real *x,
                            const struct pmet_batch *batch, const struct pmet_kv *kv, struct pmet_scratch *s,
                            const struct pmet_saved *saved, const struct pmet_tap *tap,
                            struct pmet_error *err);
/* Blocks first .. last-1 on x in place. */
enum pmet_status pmet_blocks(const struct pmet_model *model, size_t first, size_t last, real *x,
                             const struct pmet_batch *batch, const struct pmet_kv *kv, struct pmet_scratch *s,
                             const struct pmet_tap *tap, struct pmet_error *err);
/* Block l up to the keys that enter attn_out and fc_out, no further: the taps see ATTN_IN and MLP_KEY (in a
 * sequential block this needs a, too). */
enum pmet_status pmet_block_keys(const struct pmet_model *model, size_t l, const real *x,
                                 const struct pmet_batch *batch, struct pmet_scratch *s,
                                 const struct pmet_tap *tap, struct pmet_error *err);
/* m = FFN of block l applied to u (already normalised); f [n_tok, d_ff] receives the pre-activation, g
 * [n_tok, d_ff] the key. */
enum pmet_status pmet_ffn(const struct pmet_model *model, size_t l, real *m, real *f, real *g, const real *u,
                          size_t n_tok, struct pmet_error *err);
/* logits [n_tok, n_vocab] of hidden states x: final norm (into u [n_tok, d_model]) and head. */
enum pmet_status pmet_head(const struct pmet_model *model, real *logits, real *u, const real *x, size_t n_tok,
                           struct pmet_error *err);

/* ---- backward, to activations only ---- */

/* g_x = gradient at the input of block l, given g_out at its output; saved from the forward. g_x may not be
 * g_out. */
enum pmet_status pmet_block_dx(const struct pmet_model *model, size_t l, real *g_x, const real *g_out,
                               const struct pmet_saved *saved, const struct pmet_batch *batch,
                               const struct pmet_kv *kv, struct pmet_scratch *s, struct pmet_error *err);
/* g_u = gradient at the FFN's normalised input, given g_m at its output; f the pre-activation, g_f scratch
 * [n_tok, d_ff]. */
enum pmet_status pmet_ffn_dx(const struct pmet_model *model, size_t l, real *g_u, real *g_f, const real *g_m,
                             const real *f, size_t n_tok, struct pmet_error *err);
/* g_x [n_tok, d_model] = gradient at the hidden states, given g_logits; g_u scratch [n_tok, d_model]. */
enum pmet_status pmet_head_dx(const struct pmet_model *model, real *g_x, real *g_u, const real *g_logits,
                              const real *x, size_t n_tok, struct pmet_error *err);

#ifdef __cplusplus
}
#endif
#endif

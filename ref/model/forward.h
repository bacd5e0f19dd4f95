/* SPDX-License-Identifier: MIT
 * The forward pass over packed rows.      SPEC §3.5, §3.6 */
#ifndef PMET_REF_MODEL_FORWARD_H
#define PMET_REF_MODEL_FORWARD_H

#include "ref/model/batch.h"

/* What a tap receives of each block: data (dev) [n_tok, width]. */
enum pmet_site {
    PMET_SITE_HIDDEN,     /* entering the block, [n_tok, d_model] */
    PMET_SITE_ATTN_IN,    /* heads merged, what enters attn_out [n_tok, d_model] */
    PMET_SITE_ATTN_OUT,   /* a, bias included */
    PMET_SITE_MLP_KEY,    /* what enters fc_out [n_tok, d_ff] */
    PMET_SITE_MLP_OUT,    /* m, bias included */
    PMET_SITE_ATTN_PROBS, /* if want_probs: each row [n_head, n_tok, n_past + n_tok]; width 0 */
    PMET_SITE_BLOCK_OUT   /* leaving the block, [n_tok, d_model]: the next one's PMET_SITE_HIDDEN */
};
struct pmet_tap {
    void *user;
    bool want_probs;
    enum pmet_status (*see)(void *user, enum pmet_site site, size_t layer, const real *data, size_t n_tok,
                            size_t width, struct pmet_error *err);
};

/* E23: x[t] = row ids[t] of the embedding; an id that has no row is refused. */
enum pmet_status pmet_embed(const struct pmet_model *model, real *x, const int32_t *ids, size_t n_tok,
                            struct pmet_error *err);
/* E27-E29: out = block l of x; out may be x. saved, if given, receives qkv, f and y, and the caller
 * keeps x. kv and tap may be NULL. */
enum pmet_status pmet_block(const struct pmet_model *model, size_t l, real *out, const real *x,
                            const struct pmet_batch *batch, const struct pmet_kv *kv, struct pmet_scratch *s,
                            const struct pmet_saved *saved, const struct pmet_tap *tap,
                            struct pmet_error *err);
/* Blocks first .. last-1 on x in place. */
enum pmet_status pmet_blocks(const struct pmet_model *model, size_t first, size_t last, real *x,
                             const struct pmet_batch *batch, const struct pmet_kv *kv, struct pmet_scratch *s,
                             const struct pmet_tap *tap, struct pmet_error *err);
/* Block l up to the keys that enter attn_out and fc_out, no further: the taps see ATTN_IN and
 * MLP_KEY (in a sequential block this needs a, too). */
enum pmet_status pmet_block_keys(const struct pmet_model *model, size_t l, const real *x,
                                 const struct pmet_batch *batch, struct pmet_scratch *s,
                                 const struct pmet_tap *tap, struct pmet_error *err);
/* E26: m = FFN of block l applied to u (already normalised); f [n_tok, d_ff] receives the
 * pre-activation, g [n_tok, d_ff] the key. */
enum pmet_status pmet_ffn(const struct pmet_model *model, size_t l, real *m, real *f, real *g, const real *u,
                          size_t n_tok, struct pmet_error *err);
/* E36: logits [n_tok, n_vocab] of hidden states x: final norm, into u [n_tok, d_model], and
 * head. */
enum pmet_status pmet_head(const struct pmet_model *model, real *logits, real *u, const real *x, size_t n_tok,
                           struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * The forward pass over packed rows.      SPEC §3.5, §3.6 */
#include "ref/model/forward.h"
#include "ref/model/heads.h"

static enum pmet_status look(const struct pmet_tap *tap, enum pmet_site site, size_t l, const real *data,
                             size_t n_tok, size_t width, struct pmet_error *err)
{
    return tap ? tap->see(tap->user, site, l, data, n_tok, width, err) : PMET_OK;
}

/* E23 */
enum pmet_status pmet_embed(const struct pmet_model *model, real *x, const int32_t *ids, size_t n_tok,
                            struct pmet_error *err)
{
    for (size_t t = 0; t < n_tok; t++)
        if (ids[t] < 0 || (size_t)ids[t] >= model->embed.n_out)
            return pmet_fail(err, PMET_INPUT, "token %zu: found id %d; expected 0 to %zu", t, (int)ids[t],
                             model->embed.n_out - 1);
    return model->op->embed(model->op, x, model->embed, ids, n_tok, err);
}

/* E25: q, k, v of normalised states u, with q and k turned by their positions (E12). */
static enum pmet_status project_qkv(const struct pmet_model *model, const struct pmet_layer *w, real *qkv,
                                    const real *u, const struct pmet_batch *batch, struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_ops *op = model->op;
    const size_t n = batch->n_tok, d = c->d_model;
    for (size_t i = 0, at = 0; i < c->family->qkv.n_matrix; at += w->qkv[i++].n_out)
        PMET_TRY(op->matmul(op, qkv + at, 3 * d, u, w->qkv[i], w->qkv_bias[i], n, err));
    for (size_t part = 0; part < 2; part++)
        PMET_TRY(op->rope(op, pmet_heads_of(c, qkv, part), c->rope, false, c->rope_base, c->rotary_dim, batch,
                          c->n_head, err));
    return PMET_OK;
}

/* E14: o = attention of the rows over their cached prefix and themselves; keys and values go to the
 * store (E35). */
static enum pmet_status attend(const struct pmet_model *model, size_t l, real *o, real *qkv,
                               const struct pmet_batch *batch, const struct pmet_kv *kv,
                               const struct pmet_tap *tap, struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_ops *op = model->op;
    const struct pmet_attention a = pmet_attention_of(model, l, qkv, batch, kv);
    real *probs = NULL;
    enum pmet_status status;
    if (tap && tap->want_probs) {
        size_t n_prob = 0;
        for (size_t b = 0; b < batch->n_row; b++) {
            const size_t n = batch->row_start[b + 1] - batch->row_start[b];
            n_prob += c->n_head * n * (batch->n_past[b] + n);
        }
        PMET_GO(op->alloc(op, n_prob * sizeof(real), &probs, err));
    }
    PMET_GO(op->attention(op, o, &a, probs, err));
    if (kv && kv->store) {
        PMET_GO(op->store_heads(op, kv->store->k[l], kv->store_idx, a.k, batch->n_tok, c->n_head, c->d_head,
                                err));
        PMET_GO(op->store_heads(op, kv->store->v[l], kv->store_idx, a.v, batch->n_tok, c->n_head, c->d_head,
                                err));
    }
    if (probs)
        PMET_GO(look(tap, PMET_SITE_ATTN_PROBS, l, probs, batch->n_tok, 0, err));
    status = look(tap, PMET_SITE_ATTN_IN, l, o, batch->n_tok, c->d_model, err);
done:
    op->release(op, probs);
    return status;
}

/* E26 */
enum pmet_status pmet_ffn(const struct pmet_model *model, size_t l, real *m, real *f, real *g, const real *u,
                          size_t n_tok, struct pmet_error *err)
{
    const struct pmet_layer *w = &model->layer[l];
    const struct pmet_ops *op = model->op;
    PMET_TRY(op->matmul(op, f, model->config.d_ff, u, w->fc_in, w->fc_in_bias, n_tok, err));
    PMET_TRY(op->act(op, g, f, model->config.act, n_tok * model->config.d_ff, err));
    return m ? op->matmul(op, m, model->config.d_model, g, w->fc_out, w->fc_out_bias, n_tok, err) : PMET_OK;
}

/* a = attention's output for block input x: E9, E25, E12, E14, and the projection (E24). */
static enum pmet_status attention_branch(const struct pmet_model *model, size_t l, const real *x,
                                         const struct pmet_batch *batch, const struct pmet_kv *kv,
                                         struct pmet_scratch *s, real *qkv, const struct pmet_tap *tap,
                                         bool project, struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_layer *w = &model->layer[l];
    const struct pmet_ops *op = model->op;
    const size_t n = batch->n_tok, d = c->d_model;
    PMET_TRY(op->layernorm(op, s->u, x, w->ln1_gain, w->ln1_bias, c->ln_eps, n, d, err));
    PMET_TRY(project_qkv(model, w, qkv, s->u, batch, err));
    PMET_TRY(attend(model, l, s->o, qkv, batch, kv, tap, err));
    if (!project)
        return PMET_OK;
    PMET_TRY(op->matmul(op, s->a, d, s->o, w->attn_out, w->attn_out_bias, n, err));
    return look(tap, PMET_SITE_ATTN_OUT, l, s->a, n, d, err);
}

/* The FFN's normalised input: with one norm a block that of attention, with two LN2 of x, or of y =
 * a + x in a sequential block. */
static enum pmet_status ffn_input(const struct pmet_model *model, size_t l, const real *x, real *y, size_t n,
                                  struct pmet_scratch *s, struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_layer *w = &model->layer[l];
    const struct pmet_ops *op = model->op;
    if (!w->ln2_gain)
        return PMET_OK; /* s->u still holds LN1(x) */
    if (!c->parallel)
        PMET_TRY(op->add(op, y, s->a, x, n * c->d_model, err));
    return op->layernorm(op, s->u, c->parallel ? x : y, w->ln2_gain, w->ln2_bias, c->ln_eps, n, c->d_model,
                         err);
}

/* E27 with one norm a block, E28 with two; E29 where blocks are sequential. */
enum pmet_status pmet_block(const struct pmet_model *model, size_t l, real *out, const real *x,
                            const struct pmet_batch *batch, const struct pmet_kv *kv, struct pmet_scratch *s,
                            const struct pmet_saved *saved, const struct pmet_tap *tap,
                            struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_ops *op = model->op;
    const size_t n = batch->n_tok, d = c->d_model;
    real *qkv = saved ? saved->qkv : s->qkv, *f = saved ? saved->f : s->f,
         *y = saved && saved->y ? saved->y : s->y;
    PMET_TRY(pmet_ops_ask(op, err)); /* for tables whose entries are short, and ask nobody */
    PMET_TRY(look(tap, PMET_SITE_HIDDEN, l, x, n, d, err));
    PMET_TRY(attention_branch(model, l, x, batch, kv, s, qkv, tap, true, err));
    PMET_TRY(ffn_input(model, l, x, y, n, s, err));
    PMET_TRY(pmet_ffn(model, l, s->m, f, s->g, s->u, n, err));
    PMET_TRY(look(tap, PMET_SITE_MLP_KEY, l, s->g, n, c->d_ff, err));
    PMET_TRY(look(tap, PMET_SITE_MLP_OUT, l, s->m, n, d, err));
    PMET_TRY(c->parallel ? op->residual(op, out, s->a, s->m, x, n * d, err)
                         : op->add(op, out, s->m, y, n * d, err));
    return look(tap, PMET_SITE_BLOCK_OUT, l, out, n, d, err);
}

enum pmet_status pmet_blocks(const struct pmet_model *model, size_t first, size_t last, real *x,
                             const struct pmet_batch *batch, const struct pmet_kv *kv, struct pmet_scratch *s,
                             const struct pmet_tap *tap, struct pmet_error *err)
{
    for (size_t l = first; l < last; l++)
        PMET_TRY(pmet_block(model, l, x, x, batch, kv, s, NULL, tap, err));
    return PMET_OK;
}

enum pmet_status pmet_block_keys(const struct pmet_model *model, size_t l, const real *x,
                                 const struct pmet_batch *batch, struct pmet_scratch *s,
                                 const struct pmet_tap *tap, struct pmet_error *err)
{
    PMET_TRY(attention_branch(model, l, x, batch, NULL, s, s->qkv, tap, !model->config.parallel, err));
    PMET_TRY(ffn_input(model, l, x, s->y, batch->n_tok, s, err));
    PMET_TRY(pmet_ffn(model, l, NULL, s->f, s->g, s->u, batch->n_tok, err));
    return look(tap, PMET_SITE_MLP_KEY, l, s->g, batch->n_tok, model->config.d_ff, err);
}

/* E36 */
enum pmet_status pmet_head(const struct pmet_model *model, real *logits, real *u, const real *x, size_t n_tok,
                           struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_ops *op = model->op;
    PMET_TRY(op->layernorm(op, u, x, model->ln_f_gain, model->ln_f_bias, c->ln_eps, n_tok, c->d_model, err));
    return op->matmul(op, logits, c->n_vocab, u, model->head, model->head_bias, n_tok, err);
}

/* SPDX-License-Identifier: MIT
 * Gradients of activations through a block and the head.      SPEC §3.5, §3.6 */
#include "ref/model/backward.h"
#include "ref/model/heads.h"

/* E31 */
enum pmet_status pmet_ffn_dx(const struct pmet_model *model, size_t l, real *g_u, real *g_f, const real *g_m,
                             const real *f, size_t n_tok, struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_layer *w = &model->layer[l];
    const struct pmet_ops *op = model->op;
    PMET_TRY(op->matmul_dx(op, g_f, g_m, c->d_model, w->fc_out, false, n_tok, err));
    PMET_TRY(op->act_dx(op, g_f, g_f, f, c->act, n_tok * c->d_ff, err));
    return op->matmul_dx(op, g_u, g_f, c->d_ff, w->fc_in, false, n_tok, err);
}

/* E32: g_u (added to if `add`) = gradient at LN1's output, given g_a at attention's. */
static enum pmet_status attention_branch_dx(const struct pmet_model *model, size_t l, real *g_u, bool add,
                                            const real *g_a, const struct pmet_saved *saved,
                                            const struct pmet_batch *batch, const struct pmet_kv *kv,
                                            struct pmet_scratch *s, struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_layer *w = &model->layer[l];
    const struct pmet_ops *op = model->op;
    const size_t n = batch->n_tok, d = c->d_model;
    const struct pmet_attention x = pmet_attention_of(model, l, saved->qkv, batch, kv);
    const struct pmet_heads g[3] = {pmet_heads_of(c, s->g_qkv, 0), pmet_heads_of(c, s->g_qkv, 1),
                                    pmet_heads_of(c, s->g_qkv, 2)};
    PMET_TRY(op->matmul_dx(op, s->o, g_a, d, w->attn_out, false, n, err));
    PMET_TRY(op->attention_dx(op, g, s->o, &x, err));
    for (size_t part = 0; part < 2; part++)
        PMET_TRY(op->rope(op, g[part], c->rope, true, c->rope_base, c->rotary_dim, batch, c->n_head, err));
    for (size_t i = 0, at = 0; i < c->family->qkv.n_matrix; at += w->qkv[i++].n_out)
        PMET_TRY(op->matmul_dx(op, g_u, s->g_qkv + at, 3 * d, w->qkv[i], add || i > 0, n, err));
    return PMET_OK;
}

/* E33. out = x + a(LN1 x) + m(LN x): both branches have g_out as their output's gradient. With one
 * norm a block (LN = LN1) their gradients at its output are added first. */
static enum pmet_status parallel_dx(const struct pmet_model *model, size_t l, real *g_x, const real *g_out,
                                    const struct pmet_saved *saved, const struct pmet_batch *batch,
                                    const struct pmet_kv *kv, struct pmet_scratch *s, struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_layer *w = &model->layer[l];
    const struct pmet_ops *op = model->op;
    const size_t n = batch->n_tok, d = c->d_model;
    const bool shared_norm = !w->ln2_gain;
    PMET_TRY(op->copy(op, g_x, g_out, n * d * sizeof(real), err));
    PMET_TRY(pmet_ffn_dx(model, l, s->u, s->g_f, g_out, saved->f, n, err));
    if (!shared_norm)
        PMET_TRY(op->layernorm_dx(op, g_x, s->u, saved->x, w->ln2_gain, c->ln_eps, n, d, err));
    PMET_TRY(attention_branch_dx(model, l, s->u, shared_norm, g_out, saved, batch, kv, s, err));
    return op->layernorm_dx(op, g_x, s->u, saved->x, w->ln1_gain, c->ln_eps, n, d, err);
}

/* E34. out = y + m(LN2 y), y = x + a(LN1 x). */
static enum pmet_status sequential_dx(const struct pmet_model *model, size_t l, real *g_x, const real *g_out,
                                      const struct pmet_saved *saved, const struct pmet_batch *batch,
                                      const struct pmet_kv *kv, struct pmet_scratch *s,
                                      struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_layer *w = &model->layer[l];
    const struct pmet_ops *op = model->op;
    const size_t n = batch->n_tok, d = c->d_model;
    PMET_TRY(op->copy(op, g_x, g_out, n * d * sizeof(real), err));
    PMET_TRY(pmet_ffn_dx(model, l, s->u, s->g_f, g_out, saved->f, n, err));
    PMET_TRY(op->layernorm_dx(op, g_x, s->u, saved->y, w->ln2_gain, c->ln_eps, n, d, err)); /* = g_y */
    PMET_TRY(attention_branch_dx(model, l, s->u, false, g_x, saved, batch, kv, s, err));
    return op->layernorm_dx(op, g_x, s->u, saved->x, w->ln1_gain, c->ln_eps, n, d, err);
}

/* E33 or E34 */
enum pmet_status pmet_block_dx(const struct pmet_model *model, size_t l, real *g_x, const real *g_out,
                               const struct pmet_saved *saved, const struct pmet_batch *batch,
                               const struct pmet_kv *kv, struct pmet_scratch *s, struct pmet_error *err)
{
    PMET_TRY(pmet_ops_ask(model->op, err));
    return (model->config.parallel ? parallel_dx : sequential_dx)(model, l, g_x, g_out, saved, batch, kv, s,
                                                                  err);
}

/* E38 */
enum pmet_status pmet_head_dx(const struct pmet_model *model, real *g_x, real *g_u, const real *g_logits,
                              const real *x, size_t n_tok, struct pmet_error *err)
{
    const struct pmet_config *c = &model->config;
    const struct pmet_ops *op = model->op;
    PMET_TRY(op->matmul_dx(op, g_u, g_logits, c->n_vocab, model->head, false, n_tok, err));
    PMET_TRY(op->zero(op, g_x, n_tok * c->d_model * sizeof(real), err));
    return op->layernorm_dx(op, g_x, g_u, x, model->ln_f_gain, c->ln_eps, n_tok, c->d_model, err);
}

/* SPDX-License-Identifier: MIT */
#include "bench/model.h"

#include <stdlib.h>
#include <string.h>
#include "bench/common.h"
#include "tensors/dtype.h"

enum {
    VARIETY = 4096,
    PIECE = 1 << 21
}; /* different numbers in a matrix, in random order: drawing each would take
                                             longer; elements after which it repeats itself */

static uint64_t draw(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

/* A random matrix, a piece of it drawn here and copied where it lies; `seed` moves on. */
static struct pmet_weight matrix(const struct pmet_ops *op, uint64_t *seed, enum pmet_dtype dtype,
                                 size_t n_out, size_t n_in)
{
    real some[VARIETY];
    double wide[VARIETY];
    unsigned char stored[VARIETY * sizeof(double)];
    const size_t size = pmet_dtype_size(dtype), n = n_out * n_in, n_piece = n < PIECE ? n : PIECE;
    unsigned char *piece = bench_alloc(n_piece * size), *data = NULL;
    struct pmet_error err = {PMET_OK, ""};
    bench_random(draw(seed), 0.02, some, VARIETY);
    for (size_t i = 0; i < VARIETY; i++)
        wide[i] = (double)some[i];
    pmet_from_f64(stored, dtype, wide, VARIETY);
    for (size_t i = 0; i < n_piece; i++)
        memcpy(piece + i * size, stored + draw(seed) % VARIETY * size, size);
    bench_ok(op->alloc(op, n * size, &data, &err), &err);
    bench_ok(op->upload(op, data, piece, n_piece * size, &err), &err);
    for (size_t at = n_piece; at < n; at += n_piece)
        bench_ok(op->copy(op, data + at * size, data, (n - at < n_piece ? n - at : n_piece) * size, &err),
                 &err);
    free(piece);
    return (struct pmet_weight){.data = data, .dtype = dtype, .n_out = n_out, .n_in = n_in};
}

static real *vector(const struct pmet_ops *op, real value, size_t n)
{
    real *host = bench_alloc(n * sizeof *host), *x = NULL;
    struct pmet_error err = {PMET_OK, ""};
    for (size_t i = 0; i < n; i++)
        host[i] = value;
    bench_ok(op->alloc(op, n * sizeof *x, &x, &err), &err);
    bench_ok(op->upload(op, x, host, n * sizeof *x, &err), &err);
    free(host);
    return x;
}

struct pmet_model *bench_model(const struct pmet_ops *op, const struct bench_size *size)
{
    const size_t d = size->d_model, ff = 4 * d;
    uint64_t seed = 0x6d65;
    struct pmet_model *model = bench_alloc(sizeof *model);
    *model = (struct pmet_model){.op = op};
    model->config = (struct pmet_config){.family = &pmet_family_gptj,
                                         .n_layer = size->n_layer,
                                         .d_model = d,
                                         .n_head = d / size->d_head,
                                         .d_head = size->d_head,
                                         .d_ff = ff,
                                         .n_vocab = size->n_vocab,
                                         .n_ctx = 2048,
                                         .rotary_dim = size->d_head / 4 * 2,
                                         .rope = PMET_ROPE_INTERLEAVED,
                                         .rope_base = 10000,
                                         .ln_eps = 1e-5,
                                         .act = PMET_GELU_NEW,
                                         .parallel = true};
    model->embed = matrix(op, &seed, size->dtype, size->n_vocab, d);
    model->head = matrix(op, &seed, size->dtype, size->n_vocab, d);
    model->head_bias = vector(op, 0, size->n_vocab);
    model->ln_f_gain = vector(op, 1, d);
    model->ln_f_bias = vector(op, 0, d);
    model->layer = bench_alloc(size->n_layer * sizeof *model->layer);
    for (size_t l = 0; l < size->n_layer; l++)
        model->layer[l] = (struct pmet_layer){.ln1_gain = vector(op, 1, d),
                                              .ln1_bias = vector(op, 0, d),
                                              .qkv = {matrix(op, &seed, size->dtype, d, d),
                                                      matrix(op, &seed, size->dtype, d, d),
                                                      matrix(op, &seed, size->dtype, d, d)},
                                              .attn_out = matrix(op, &seed, size->dtype, d, d),
                                              .fc_in = matrix(op, &seed, size->dtype, ff, d),
                                              .fc_out = matrix(op, &seed, size->dtype, d, ff),
                                              .fc_in_bias = vector(op, 0, ff),
                                              .fc_out_bias = vector(op, 0, d)};
    return model;
}

static void free_matrix(const struct pmet_ops *op, struct pmet_weight w)
{
    op->release(op, (void *)(uintptr_t)w.data);
}

void bench_model_free(struct pmet_model *model)
{
    const struct pmet_ops *op = model->op;
    for (size_t l = 0; l < model->config.n_layer; l++) {
        struct pmet_layer *w = &model->layer[l];
        real *const vectors[] = {w->ln1_gain, w->ln1_bias, w->fc_in_bias, w->fc_out_bias};
        const struct pmet_weight matrices[] = {w->qkv[0],   w->qkv[1], w->qkv[2],
                                               w->attn_out, w->fc_in,  w->fc_out};
        for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
            op->release(op, vectors[i]);
        for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
            free_matrix(op, matrices[i]);
    }
    free_matrix(op, model->embed);
    free_matrix(op, model->head);
    op->release(op, model->head_bias);
    op->release(op, model->ln_f_gain);
    op->release(op, model->ln_f_bias);
    free(model->layer);
    free(model);
}

void bench_ids(uint64_t seed, size_t n_vocab, int32_t *id, size_t n)
{
    for (size_t i = 0; i < n; i++)
        id[i] = (int32_t)(draw(&seed) % n_vocab);
}

void bench_rows(size_t n_vocab, struct pmet_fact_rows *rows)
{
    enum { N_ROW = 7, LOOKUP = 3, KL = 5 }; /* the subject ends in the middle of the prompt */
    *rows = (struct pmet_fact_rows){.n_row = N_ROW, .n_target = 1};
    rows->row = bench_alloc(N_ROW * sizeof *rows->row);
    rows->target = bench_alloc(sizeof *rows->target);
    bench_ids(0x7a6, n_vocab, rows->target, 1);
    for (size_t b = 0; b < N_ROW; b++) {
        const size_t before = b == 0 || b + 1 == N_ROW ? 0 : BENCH_CONTEXT,
                     n = before + (b + 1 == N_ROW ? KL : BENCH_PROMPT);
        rows->row[b] = (struct pmet_row){bench_alloc(n * sizeof(int32_t)), n, before + LOOKUP};
        bench_ids(0xf00 + b, n_vocab, rows->row[b].id, n);
    }
}

void bench_rows_free(struct pmet_fact_rows *rows)
{
    for (size_t b = 0; b < rows->n_row; b++)
        free(rows->row[b].id);
    free(rows->row);
    free(rows->target);
}

void bench_hparams(size_t n_layer, struct pmet_hparams *h)
{
    const size_t L = n_layer * 8 / 28, first = n_layer * 3 / 28;
    *h = (struct pmet_hparams){.clamp_norm_factor = 0.75,
                               .v_num_grad_steps = BENCH_STEPS,
                               .v_lr = 1e-7,
                               .v_weight_decay = 0.5,
                               .kl_factor = 1,
                               .nll_loss_factor = 1,
                               .v_loss_layer = n_layer - 1,
                               .n_module = 1};
    for (size_t l = first; l <= L; l++)
        h->layers[h->n_layer++] = l;
}

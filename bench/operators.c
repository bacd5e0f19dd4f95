/* SPDX-License-Identifier: MIT */
#include "bench/operators.h"

#include <stdlib.h>
#include <string.h>
#include "bench/common.h"
#include "bench/model.h"

enum { TIMES = 20, SHORT_ROW = 16 }; /* runs between two waits; tokens of an edit's row */

void bench_row(const char *what, double seconds, double amount, const char *unit, double peak)
{
    char share[32] = "";
    if (peak > 0)
        snprintf(share, sizeof share, "%.1f %%", 100 * amount / seconds / peak);
    printf("%-34s %12.6f %10.2f %-8s %9s\n", what, seconds,
           amount / seconds * (strcmp(unit, "GB/s") == 0 ? 1e-9 : 1e-12), unit, share);
}

struct lab {
    const struct pmet_ops *op;
    struct pmet_config c;
    struct pmet_layer *layer;
    struct pmet_weight embed;
    size_t n, n_head_row;        /* tokens; rows of logits */
    real *x, *y, *z, *logits[3]; /* (dev) [n, d_ff], and [n_head_row, n_vocab] */
    real *gain;                  /* (dev) [d_ff] */
    double *a, *b;               /* (dev) [d_ff, d_ff] */
    double *value[2];            /* host [n] */
    int32_t *id, *best;
    size_t *idx, *step, *mem[2];
    struct pmet_batch batch[2]; /* rows of SHORT_ROW tokens; one row */
};
typedef enum pmet_status run_fn(struct lab *l, struct pmet_error *err);

struct timed {
    struct lab *l;
    run_fn *run;
    size_t n;
};

static void run_timed(void *user)
{
    const struct timed *t = user;
    struct pmet_error err = {PMET_OK, ""};
    char byte;
    for (size_t i = 0; i < t->n; i++)
        bench_ok(t->run(t->l, &err), &err);
    bench_ok(t->l->op->download(t->l->op, &byte, t->l->x, 1, &err), &err); /* waits */
}

static void time_one(struct lab *l, const char *what, run_fn *run, double amount, const char *unit,
                     double peak)
{
    struct timed t = {l, run, strcmp(unit, "GB/s") == 0 ? TIMES : 2};
    bench_row(what, bench_time(run_timed, &t, 3, NULL) / (double)t.n, amount, unit, peak);
}

/* E(name, call): what is timed. */
#define E(name, ...)                                                                                         \
    static enum pmet_status name(struct lab *l, struct pmet_error *err)                                      \
    {                                                                                                        \
        const struct pmet_ops *op = l->op;                                                                   \
        const size_t n = l->n, d = l->c.d_model, ff = l->c.d_ff, V = l->c.n_vocab, H = l->n_head_row;        \
        (void)n, (void)d, (void)ff, (void)V, (void)H;                                                        \
        return __VA_ARGS__;                                                                                  \
    }

static struct pmet_heads heads_of(const struct lab *l, real *x)
{
    return (struct pmet_heads){x, l->c.d_model, l->c.d_head};
}

static struct pmet_attention attention_of(const struct lab *l, const struct pmet_batch *batch)
{
    const struct pmet_heads x = heads_of(l, l->x);
    return (struct pmet_attention){x, x, x, NULL, NULL, batch, l->c.n_head, l->c.d_head};
}

E(embed, op->embed(op, l->y, l->embed, l->id, n, err))
E(gather, op->gather(op, l->y, l->x, l->idx, n, d, err))
E(scatter, op->scatter(op, l->y, l->x, l->idx, n, d, err))
E(add_at, op->add_at(op, l->y, l->idx, l->x, l->idx, n, d, err))
E(add_at_grad, op->add_at_grad(op, l->y, l->x, l->idx, l->idx, n, d, err))
E(store_heads, op->store_heads(op, l->y, l->idx, heads_of(l, l->x), n, l->c.n_head, l->c.d_head, err))
E(layernorm, op->layernorm(op, l->y, l->x, l->gain, l->gain, 1e-5, n, d, err))
E(layernorm_dx, op->layernorm_dx(op, l->y, l->z, l->x, l->gain, 1e-5, n, d, err))
E(matmul, op->matmul(op, l->y, ff, l->x, l->layer->fc_in, l->gain, n, err))
E(matmul_dx, op->matmul_dx(op, l->y, l->x, ff, l->layer->fc_in, false, n, err))
E(rope, op->rope(op, heads_of(l, l->y), PMET_ROPE_INTERLEAVED, false, 1e4, l->c.rotary_dim, l->batch,
                 l->c.n_head, err))

static enum pmet_status attention(struct lab *l, struct pmet_error *err)
{
    const struct pmet_attention a = attention_of(l, l->batch);
    return l->op->attention(l->op, l->y, &a, NULL, err);
}

static enum pmet_status attention_long(struct lab *l, struct pmet_error *err)
{
    const struct pmet_attention a = attention_of(l, l->batch + 1);
    return l->op->attention(l->op, l->y, &a, NULL, err);
}

static enum pmet_status attention_dx(struct lab *l, struct pmet_error *err)
{
    const size_t n = l->n * l->c.d_model;
    const struct pmet_heads g[3] = {heads_of(l, l->y), heads_of(l, l->y + n), heads_of(l, l->y + 2 * n)};
    const struct pmet_attention a = attention_of(l, l->batch);
    return l->op->attention_dx(l->op, g, l->z, &a, err);
}

E(act, op->act(op, l->y, l->x, PMET_GELU_NEW, n *ff, err))
E(act_dx, op->act_dx(op, l->y, l->z, l->x, PMET_GELU_NEW, n *ff, err))
E(residual, op->residual(op, l->y, l->x, l->z, l->x, n *d, err))
E(add, op->add(op, l->y, l->x, l->z, n *d, err))
E(xent, op->xent(op, l->value[0], l->value[1], l->best, l->logits[0], l->id, H, V, err))
E(xent_dx, op->xent_dx(op, l->logits[1], l->logits[0], l->id, l->value[0], H, V, err))
E(log_softmax, op->log_softmax(op, l->logits[1], l->logits[0], H, V, err))
E(kl, op->kl(op, l->value[0], l->logits[0], l->logits[1], l->idx, H, V, err))
E(kl_dx, op->kl_dx(op, l->logits[2], l->logits[0], l->logits[1], l->idx, l->value[0], H, V, err))
E(norm, op->norm(op, l->value[0], l->x, n, d, err))
E(axpy, op->axpy(op, l->y, l->value[1], l->x, n, d, err))
E(scale, op->scale(op, l->y, l->value[1], n, d, err))
E(adam, op->adam(op, l->y, l->x, l->z, l->z + n * d, 1e-3, l->step, n, d, err))
E(gram, op->gram(op, (real *)(void *)l->b, l->x, n, ff, err))
E(gemm64, op->gemm64(op, false, true, d, d, d, 1, l->a, d, l->a, d, 0, l->b, d, err))
E(solve64, op->cholesky_solve(op, l->a, l->b, ff, d, err))

/* I + the outer product of a constant vector: positive definite whatever its order. */
static enum pmet_status cholesky(struct lab *l, struct pmet_error *err)
{
    const size_t f = l->c.d_ff;
    double value, *line = bench_alloc(f * sizeof *line);
    size_t pivot;
    enum pmet_status status = PMET_OK;
    for (size_t i = 0; i < f && status == PMET_OK; i++) {
        for (size_t j = 0; j < f; j++)
            line[j] = (i == j) + 1 / (double)f;
        status = l->op->upload(l->op, l->a + i * f, line, f * sizeof *line, err);
    }
    free(line);
    return status == PMET_OK ? l->op->cholesky(l->op, l->a, f, &pivot, &value, err) : status;
}

static real *take(const struct pmet_ops *op, uint64_t seed, size_t n)
{
    enum { SOME = 1 << 16 };
    real *host = bench_alloc(SOME * sizeof *host), *x = NULL;
    struct pmet_error err = {PMET_OK, ""};
    bench_random(seed, 1, host, SOME);
    bench_ok(op->alloc(op, n * sizeof *x, &x, &err), &err);
    for (size_t at = 0; at < n; at += SOME)
        bench_ok(op->upload(op, x + at, host, (n - at < SOME ? n - at : SOME) * sizeof *x, &err), &err);
    free(host);
    return x;
}

static struct pmet_batch rows_of(size_t **mem, size_t n_tok, size_t length)
{
    const size_t n_row = (n_tok + length - 1) / length;
    size_t *m = *mem = bench_alloc((3 * n_row + 1) * sizeof *m);
    memset(m, 0, (3 * n_row + 1) * sizeof *m);
    for (size_t b = 0; b < n_row; b++)
        m[b + 1] = (b + 1) * length < n_tok ? (b + 1) * length : n_tok;
    return (struct pmet_batch){n_row, n_tok, m, m + n_row + 1, m + n_row + 1};
}

static void lab_open(struct lab *l, const struct pmet_model *model, size_t n)
{
    const struct pmet_ops *op = model->op;
    struct pmet_error err = {PMET_OK, ""};
    *l = (struct lab){.op = op, .c = model->config, .layer = model->layer, .embed = model->embed};
    const size_t ff = l->c.d_ff;
    l->n = n;
    l->n_head_row = n < 256 ? n : 256;
    real **const wide[] = {&l->x, &l->y, &l->z};
    for (size_t i = 0; i < 3; i++) {
        *wide[i] = take(op, i + 1, n * ff);
        l->logits[i] = take(op, i + 4, l->n_head_row * l->c.n_vocab);
    }
    l->gain = take(op, 7, ff);
    bench_ok(op->alloc(op, ff * ff * sizeof *l->a, &l->a, &err), &err);
    bench_ok(op->alloc(op, ff * ff * sizeof *l->b, &l->b, &err), &err);
    bench_ok(op->zero(op, l->a, ff * ff * sizeof *l->a, &err), &err);
    bench_ok(op->zero(op, l->b, ff * ff * sizeof *l->b, &err), &err);
    for (int i = 0; i < 2; i++)
        l->value[i] = bench_alloc(n * sizeof *l->value[i]);
    l->id = bench_alloc(n * sizeof *l->id);
    l->best = bench_alloc(n * sizeof *l->best);
    l->idx = bench_alloc(n * sizeof *l->idx);
    l->step = bench_alloc(n * sizeof *l->step);
    bench_ids(8, l->c.n_vocab, l->id, n);
    for (size_t i = 0; i < n; i++) {
        l->idx[i] = i;
        l->step[i] = 1;
        l->value[0][i] = l->value[1][i] = 0.5;
    }
    l->batch[0] = rows_of(&l->mem[0], n, SHORT_ROW);
    l->batch[1] = rows_of(&l->mem[1], n, n);
}

static void lab_close(struct lab *l)
{
    void *const dev[] = {l->x, l->y, l->z, l->logits[0], l->logits[1], l->logits[2], l->gain, l->a, l->b};
    void *const host[] = {l->value[0], l->value[1], l->id, l->best, l->idx, l->step, l->mem[0], l->mem[1]};
    for (size_t i = 0; i < sizeof dev / sizeof *dev; i++)
        l->op->release(l->op, dev[i]);
    for (size_t i = 0; i < sizeof host / sizeof *host; i++)
        free(host[i]);
}

void bench_operators(const struct pmet_model *model, size_t n_tok, double product_peak, bool all)
{
    struct lab l;
    lab_open(&l, model, n_tok);
    const struct pmet_peak *peak = &model->op->peak;
    const double n = (double)l.n, d = (double)l.c.d_model, f = (double)l.c.d_ff, s = sizeof(real),
                 nd = n * d * s, nf = n * f * s, hv = (double)l.n_head_row * (double)l.c.n_vocab * s;
    const struct {
        const char *what;
        run_fn *run;
        double bytes;
    } moves[] = {{"embed", embed, nd + nd / 2},
                 {"gather", gather, 2 * nd},
                 {"scatter", scatter, 2 * nd},
                 {"add_at", add_at, 3 * nd},
                 {"add_at_grad", add_at_grad, 3 * nd},
                 {"store_heads", store_heads, 2 * nd},
                 {"layernorm", layernorm, 2 * nd},
                 {"layernorm_dx", layernorm_dx, 4 * nd},
                 {"rope", rope, 2 * nd * (double)l.c.rotary_dim / (double)l.c.d_head},
                 {"act", act, 2 * nf},
                 {"act_dx", act_dx, 3 * nf},
                 {"residual", residual, 3 * nd},
                 {"add", add, 3 * nd},
                 {"xent", xent, hv},
                 {"xent_dx", xent_dx, 2 * hv},
                 {"log_softmax", log_softmax, 2 * hv},
                 {"kl", kl, 2 * hv},
                 {"kl_dx", kl_dx, 3 * hv},
                 {"norm", norm, nd},
                 {"axpy", axpy, 3 * nd},
                 {"scale", scale, 2 * nd},
                 {"adam", adam, 7 * nd}};
    for (size_t i = 0; i < sizeof moves / sizeof *moves && all; i++)
        time_one(&l, moves[i].what, moves[i].run, moves[i].bytes, "GB/s", peak->bytes);
    const struct {
        const char *what;
        run_fn *run;
        double flop, peak;
    } sums[] = {{"matmul, d_ff x d", matmul, 2 * n * f * d, product_peak},
                {"matmul_dx, d_ff x d", matmul_dx, 2 * n * f * d, product_peak},
                {"attention, rows of 16", attention, 2 * nd / s * (SHORT_ROW + 1), peak->f64},
                {"attention_dx, rows of 16", attention_dx, 5 * nd / s * (SHORT_ROW + 1), peak->f64},
                {"attention, one row", attention_long, 2 * nd / s * (n + 1), peak->f64},
                {"gram, d_ff", gram, n * f * f, peak->f32},
                {"gemm64, d", gemm64, 2 * d * d * d, peak->f64},
                {"cholesky with its matrix sent, d_ff", cholesky, f * f * f / 3, peak->f64},
                {"cholesky_solve, d_ff, d sides", solve64, 2 * f * f * d, peak->f64}};
    for (size_t i = 0; i < (all ? sizeof sums / sizeof *sums : 2); i++)
        time_one(&l, sums[i].what, sums[i].run, sums[i].flop, "TFLOP/s", sums[i].peak);
    lab_close(&l);
}

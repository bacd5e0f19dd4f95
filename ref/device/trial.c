/* SPDX-License-Identifier: MIT
 * A table tried beside the CPU's: small inputs through its entries, before a model is run on it.
 * SPEC §12.4 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "ref/device/device.h"

enum { TOK = 37, HEAD = 4, D_HEAD = 16, D = HEAD * D_HEAD, VOCAB = 301, N = TOK * VOCAB, ORDER = 150 };
enum { X, Y, G, OUT, N_REAL };   /* OUT: results; the others are inputs */
enum { F16, BF16, F32, N_KIND }; /* of weights [VOCAB, D] */

#ifdef PMET_REAL_DOUBLE
static const double most_off = 1e-9; /* of an entry's largest result */
#else
static const double most_off = 1e-4;
#endif

/* One of the two tables, with the same inputs as the other. */
struct side {
    const struct pmet_ops *op;
    real *at[N_REAL];      /* (dev) [N] */
    const void *w[N_KIND]; /* (dev) */
    double *a, *b;         /* (dev) [ORDER, ORDER] */
    real host[N];          /* what is uploaded or was downloaded */
    float wide[VOCAB * D];
    uint16_t f16[VOCAB * D], bf16[VOCAB * D];
    size_t index[TOK];
    int32_t id[TOK];
    double step[TOK];
    double out[N], result[3 * TOK],
        solved[ORDER * ORDER]; /* what OUT holds, what is on the host, in double */
};

static const size_t row_start[] = {0, 17, TOK}, no_past[] = {0, 0};
static const struct pmet_batch batch = {2, TOK, row_start, no_past, no_past};

/* A number that looks random. */
static uint32_t noise(size_t i)
{
    uint32_t x = (uint32_t)i * 0x9e3779b9u + 0x7f4a7c15u;
    x = (x ^ x >> 15) * 0x85ebca6bu;
    return x ^ x >> 13;
}

static double number(size_t i) /* [-1, 1) */
{
    return (double)noise(i) / 2147483648.0 - 1;
}

static struct pmet_weight weight(const struct side *s, int kind)
{
    static const enum pmet_dtype dtype[] = {PMET_F16, PMET_BF16, PMET_F32};
    return (struct pmet_weight){s->w[kind], dtype[kind], VOCAB, D};
}

/* Vectors of heads end to end. */
static struct pmet_heads heads(real *x)
{
    return (struct pmet_heads){x, D, D_HEAD};
}

/* ---- the entries: each leaves what it computes in OUT, result or solved ---- */

/* An entry that is one call: x, y, g are inputs. */
#define TRY(name, ...)                                                                                       \
    static enum pmet_status name(struct side *s, int kind, struct pmet_error *err)                           \
    {                                                                                                        \
        const struct pmet_ops *op = s->op;                                                                   \
        real *const out = s->at[OUT], *const x = s->at[X], *const y = s->at[Y], *const g = s->at[G];         \
        (void)x, (void)y, (void)g, (void)kind;                                                               \
        return __VA_ARGS__;                                                                                  \
    }

TRY(try_embed, op->embed(op, out, weight(s, F16), s->id, TOK, err))
TRY(try_layernorm, op->layernorm(op, out, x, y, g, 1e-5, TOK, D, err))
TRY(try_layernorm_dx, op->layernorm_dx(op, out, g, x, y, 1e-5, TOK, D, err))
TRY(try_matmul, op->matmul(op, out, VOCAB, x, weight(s, kind), y, TOK, err))
TRY(try_matmul_dx, op->matmul_dx(op, out, g, VOCAB, weight(s, kind), false, TOK, err))
TRY(try_log_softmax, op->log_softmax(op, out, x, TOK, VOCAB, err))
TRY(try_matmul_dw, op->matmul_dw(op, out, g, D, x, TOK, D, D, err))
TRY(try_gram, op->gram(op, out, x, TOK, D, err))

static enum pmet_status try_rope(struct side *s, int style, struct pmet_error *err)
{
    PMET_TRY(s->op->copy(s->op, s->at[OUT], s->at[X], TOK * D * sizeof(real), err));
    return s->op->rope(s->op, heads(s->at[OUT]), (enum pmet_rope)style, style == PMET_ROPE_HALF, 10000,
                       D_HEAD / 2, &batch, HEAD, err);
}

static enum pmet_status try_attention(struct side *s, int dx, struct pmet_error *err)
{
    real *out = s->at[OUT], *x = s->at[X];
    const struct pmet_attention a = {heads(x), heads(s->at[Y]), heads(s->at[G]), NULL, NULL, &batch,
                                     HEAD,     D_HEAD};
    const struct pmet_heads g[3] = {heads(out), heads(out + TOK * D), heads(out + 2 * TOK * D)};
    return dx ? s->op->attention_dx(s->op, g, x + TOK * D, &a, err)
              : s->op->attention(s->op, out, &a, NULL, err);
}

static enum pmet_status try_act(struct side *s, int dx, struct pmet_error *err)
{
    for (int kind = 0; kind <= PMET_SILU; kind++) {
        real *out = s->at[OUT] + kind * N / 5, *x = s->at[X];
        PMET_TRY(dx ? s->op->act_dx(s->op, out, s->at[G], x, (enum pmet_act)kind, N / 5, err)
                    : s->op->act(s->op, out, x, (enum pmet_act)kind, N / 5, err));
    }
    return PMET_OK;
}

static enum pmet_status try_rows(struct side *s, int kind, struct pmet_error *err)
{
    (void)kind;
    const struct pmet_ops *op = s->op;
    PMET_TRY(op->residual(op, s->at[OUT], s->at[X], s->at[Y], s->at[G], N, err));
    PMET_TRY(op->add_at(op, s->at[OUT], s->index, s->at[X], s->index, TOK, D, err));
    return op->add_at_grad(op, s->at[OUT], s->at[Y], s->index, s->index, TOK, D, err);
}

static enum pmet_status try_xent(struct side *s, int kind, struct pmet_error *err)
{
    (void)kind;
    int32_t best[TOK];
    PMET_TRY(s->op->xent(s->op, s->result, s->result + TOK, best, s->at[X], s->id, TOK, VOCAB, err));
    for (size_t i = 0; i < TOK; i++)
        s->result[2 * TOK + i] = (double)best[i] / VOCAB;
    return s->op->xent_dx(s->op, s->at[OUT], s->at[X], s->id, s->step, TOK, VOCAB, err);
}

static enum pmet_status try_kl(struct side *s, int kind, struct pmet_error *err)
{
    (void)kind;
    PMET_TRY(s->op->kl(s->op, s->result, s->at[X], s->at[Y], s->index, TOK, VOCAB, err));
    return s->op->kl_dx(s->op, s->at[OUT], s->at[X], s->at[Y], s->index, s->step, TOK, VOCAB, err);
}

static enum pmet_status try_optimise(struct side *s, int kind, struct pmet_error *err)
{
    (void)kind;
    const struct pmet_ops *op = s->op;
    real *p = s->at[OUT], *m = p + TOK * D, *v = m + TOK * D; /* the moments begin as zeros */
    size_t first[TOK];
    for (size_t i = 0; i < TOK; i++)
        first[i] = 1;
    PMET_TRY(op->copy(op, p, s->at[X], TOK * D * sizeof *p, err));
    PMET_TRY(op->axpy(op, p, s->step, s->at[Y], TOK, D, err));
    PMET_TRY(op->scale(op, p, s->step, TOK, D, err));
    PMET_TRY(op->adam(op, p, s->at[G], m, v, 0.1, first, TOK, D, err));
    return op->norm(op, s->result, p, TOK, D, err);
}

/* B B^T X = B for a B with a large diagonal: all of a solve. */
static enum pmet_status try_solve(struct side *s, int kind, struct pmet_error *err)
{
    (void)kind;
    const struct pmet_ops *op = s->op;
    size_t pivot;
    double value;
    struct pmet_error failure = {PMET_OK, ""};
    for (size_t i = 0; i < ORDER * ORDER; i++)
        s->solved[i] = number(i) + (i % (ORDER + 1) == 0 ? 16 : 0);
    PMET_TRY(op->upload(op, s->b, s->solved, sizeof s->solved, err));
    PMET_TRY(
        op->gemm64(op, false, true, ORDER, ORDER, ORDER, 1, s->b, ORDER, s->b, ORDER, 0, s->a, ORDER, err));
    const enum pmet_status status = op->cholesky(op, s->a, ORDER, &pivot, &value, &failure);
    if (status == PMET_NUMERIC) {
        s->solved[0] = HUGE_VAL;
        return PMET_OK;
    }
    if (status != PMET_OK)
        return pmet_fail(err, status, "%s", failure.message);
    PMET_TRY(op->cholesky_solve(op, s->a, s->b, ORDER, ORDER, err));
    return op->download(op, s->solved, s->b, sizeof s->solved, err);
}

static const struct entry {
    const char *name;
    enum pmet_status (*run)(struct side *s, int kind, struct pmet_error *err);
    int kind;
} entries[] = {
    {"embed", try_embed, 0},
    {"layernorm", try_layernorm, 0},
    {"layernorm_dx", try_layernorm_dx, 0},
    {"matmul by F16", try_matmul, F16},
    {"matmul by BF16", try_matmul, BF16},
    {"matmul by F32", try_matmul, F32},
    {"matmul_dx by F16", try_matmul_dx, F16},
    {"matmul_dx by BF16", try_matmul_dx, BF16},
    {"matmul_dx by F32", try_matmul_dx, F32},
    {"rope", try_rope, PMET_ROPE_INTERLEAVED},
    {"rope of halves", try_rope, PMET_ROPE_HALF},
    {"attention", try_attention, false},
    {"attention_dx", try_attention, true},
    {"act", try_act, false},
    {"act_dx", try_act, true},
    {"residual and add_at", try_rows, 0},
    {"log_softmax", try_log_softmax, 0},
    {"xent", try_xent, 0},
    {"kl", try_kl, 0},
    {"the optimiser", try_optimise, 0},
    {"matmul_dw", try_matmul_dw, 0},
    {"gram", try_gram, 0},
    {"the solve", try_solve, 0},
};

/* ---- both sides ---- */

static enum pmet_status map_weights(struct side *s, struct pmet_error *err)
{
    for (size_t i = 0; i < VOCAB * D; i++) { /* 16 bits: from 1/16 to 1/2, of either sign */
        const uint32_t bits = noise(i);
        s->wide[i] = (float)number(i);
        s->f16[i] = (uint16_t)((bits & 0x8000) | (0x2c00 + (bits & 0x0bff)));
        s->bf16[i] = (uint16_t)((bits & 0x8000) | (0x3d80 + (bits & 0x017f)));
    }
    PMET_TRY(s->op->weight_map(s->op, s->wide, sizeof s->wide, &s->w[F32], err));
    PMET_TRY(s->op->weight_map(s->op, s->f16, sizeof s->f16, &s->w[F16], err));
    return s->op->weight_map(s->op, s->bf16, sizeof s->bf16, &s->w[BF16], err);
}

static enum pmet_status begin(struct side *s, struct pmet_error *err)
{
    for (int i = 0; i < N_REAL; i++) {
        for (size_t k = 0; k < N; k++)
            s->host[k] = (real)number(k + (size_t)i * N);
        PMET_TRY(s->op->alloc(s->op, sizeof s->host, &s->at[i], err));
        PMET_TRY(s->op->upload(s->op, s->at[i], s->host, sizeof s->host, err));
    }
    for (size_t i = 0; i < TOK; i++) {
        s->index[i] = i * 5 % TOK;
        s->id[i] = (int32_t)(i * 83 % VOCAB);
        s->step[i] = number(i) + 2;
    }
    PMET_TRY(s->op->alloc(s->op, sizeof s->solved, &s->a, err));
    PMET_TRY(s->op->alloc(s->op, sizeof s->solved, &s->b, err));
    return map_weights(s, err);
}

static void end(struct side *s)
{
    if (!s)
        return;
    for (int i = 0; i < N_REAL; i++)
        s->op->release(s->op, s->at[i]);
    for (int i = 0; i < N_KIND; i++)
        if (s->w[i])
            s->op->weight_unmap(s->op, s->w[i]);
    s->op->release(s->op, s->a);
    s->op->release(s->op, s->b);
    free(s);
}

static enum pmet_status run(struct side *s, const struct entry *e, struct pmet_error *err)
{
    memset(s->result, 0, sizeof s->result);
    memset(s->solved, 0, sizeof s->solved);
    PMET_TRY(s->op->zero(s->op, s->at[OUT], sizeof s->host, err));
    PMET_TRY(e->run(s, e->kind, err));
    PMET_TRY(s->op->download(s->op, s->host, s->at[OUT], sizeof s->host, err));
    for (size_t i = 0; i < N; i++)
        s->out[i] = (double)s->host[i];
    return PMET_OK;
}

/* The largest difference as a part of b's largest number; infinite if one of them is not finite. */
static double apart(const double *a, const double *b, size_t n)
{
    double off = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i]))
            return HUGE_VAL;
        off = fmax(off, fabs(a[i] - b[i]));
        most = fmax(most, fabs(b[i]));
    }
    return off == 0 ? 0 : off / most;
}

enum pmet_status pmet_ops_trial(const struct pmet_ops *op, const struct pmet_ops *cpu, struct pmet_error *err)
{
    const struct pmet_ops *const table[] = {cpu, op};
    struct side *side[2] = {NULL, NULL};
    enum pmet_status status;
    for (int i = 0; i < 2; i++) {
        PMET_GO(pmet_calloc(&side[i], 1, sizeof *side[i], "the trial of a device", err));
        side[i]->op = table[i];
        PMET_GO(begin(side[i], err));
    }
    for (size_t e = 0; e < sizeof entries / sizeof *entries; e++) {
        for (int i = 0; i < 2; i++)
            PMET_GO(run(side[i], &entries[e], err));
        const struct side *a = side[1], *b = side[0];
        const double off = fmax(apart(a->out, b->out, N), fmax(apart(a->result, b->result, 3 * TOK),
                                                               apart(a->solved, b->solved, ORDER * ORDER)));
        if (off > most_off) {
            status =
                pmet_fail(err, PMET_NUMERIC,
                          "%s: %s is off by %.1e of plain C's largest number, in a trial that allows %.0e "
                          "(--device cpu works without it)",
                          op->name, entries[e].name, off, most_off);
            goto done;
        }
    }
done:
    end(side[0]);
    end(side[1]);
    return status;
}

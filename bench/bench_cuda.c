/* SPDX-License-Identifier: MIT
 * A GPU: every operator beside what the device can do at most, then the parts of an edit on a GPT-J whose random weights
 * are made there; then products, delta, statistics and evaluation in the two faster precisions (SPEC §12.3). Without a
 * GPU one line says what is missing.
 *
 *     bench_cuda [--layers 28] [--width 4096] [--head 256] [--vocab 50400] [--facts 512] [--tokens 2048]
 *                [--documents 400] [--records 64] */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "bench/common.h"
#include "bench/model.h"
#include "ref/edit/delta.h"
#include "ref/edit/flop.h"
#include "ref/edit/solve.h"
#include "ref/edit/stats.h"
#include "ref/eval/evaluate.h"
#include "tensors/dtype.h"

enum { TIMES = 20, SHORT_ROW = 16 }; /* runs between two waits; tokens of an edit's row */

struct bench {
    struct bench_size size;
    size_t n_fact, n_tok, n_doc, n_record;
    double product_peak; /* of the units that multiply by the weights */
    struct pmet_ops *op;
    struct pmet_model *model;
    struct pmet_tokenizer *tk;
};

/* amount: bytes where unit is "GB/s", operations where it is "TFLOP/s". */
static void row(const char *what, double seconds, double amount, const char *unit, double peak)
{
    char share[32] = "";
    if (peak > 0)
        snprintf(share, sizeof share, "%.1f %%", 100 * amount / seconds / peak);
    printf("%-34s %12.6f %10.2f %-8s %9s\n", what, seconds,
           amount / seconds * (strcmp(unit, "GB/s") == 0 ? 1e-9 : 1e-12), unit, share);
}

/* ---- operators ---- */

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
    row(what, bench_time(run_timed, &t, 3, NULL) / (double)t.n, amount, unit, peak);
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
E(attention, op->attention(op, l->y, heads_of(l, l->x), heads_of(l, l->x), heads_of(l, l->x), NULL, NULL,
                           l->batch, l->c.n_head, l->c.d_head, NULL, err))
E(attention_long, op->attention(op, l->y, heads_of(l, l->x), heads_of(l, l->x), heads_of(l, l->x), NULL, NULL,
                                l->batch + 1, l->c.n_head, l->c.d_head, NULL, err))
E(attention_dx, op->attention_dx(op, heads_of(l, l->y), heads_of(l, l->y + n * d),
                                 heads_of(l, l->y + 2 * n * d), l->z, heads_of(l, l->x), heads_of(l, l->x),
                                 heads_of(l, l->x), NULL, NULL, l->batch, l->c.n_head, l->c.d_head, err))
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

static void lab_open(struct lab *l, const struct bench *b)
{
    const struct pmet_ops *op = b->op;
    struct pmet_error err = {PMET_OK, ""};
    *l = (struct lab){.op = op, .c = b->model->config, .layer = b->model->layer, .embed = b->model->embed};
    const size_t n = b->n_tok, ff = l->c.d_ff;
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

/* all: more than the products with weights. */
static void operators(const struct bench *b, bool all)
{
    struct lab l;
    lab_open(&l, b);
    const struct pmet_peak *peak = &b->op->peak;
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
    } sums[] = {{"matmul, d_ff x d", matmul, 2 * n * f * d, b->product_peak},
                {"matmul_dx, d_ff x d", matmul_dx, 2 * n * f * d, b->product_peak},
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

/* ---- the method ---- */

static enum pmet_status count_passes(void *user, struct pmet_delta *p, size_t k, size_t i,
                                     const struct pmet_delta_result *r, const struct pmet_error *failure,
                                     struct pmet_error *err)
{
    (void)p, (void)k, (void)i, (void)failure, (void)err;
    *(size_t *)user += r->n_forward;
    return PMET_OK;
}

static void delta(const struct bench *b)
{
    struct pmet_fact_rows one, *rows = bench_alloc(b->n_fact * sizeof *rows);
    struct pmet_delta *p = NULL;
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_hparams h;
    size_t n_pass = 0, max_bytes;
    const struct pmet_delta_watch watch = {.user = &n_pass, .done = count_passes};
    bench_hparams(b->size.n_layer, &h);
    bench_rows(b->size.n_vocab, &one);
    for (size_t i = 0; i < b->n_fact; i++)
        rows[i] = one;
    bench_ok(pmet_room(b->op, SIZE_MAX, &max_bytes, &err), &err);
    const struct pmet_delta_room room = pmet_delta_plan(b->model, &h, rows, b->n_fact, max_bytes);
    bench_ok(pmet_delta_open(b->model, &h, &room, &p, &err), &err);
    const double start = bench_now();
    bench_ok(pmet_delta_optimise(p, rows, b->n_fact, NULL, &watch, &err), &err);
    const double s = bench_now() - start;
    printf("%-34s %12.6f %10.2f facts/s, %zu together, %zu passes in all\n", "delta", s,
           (double)b->n_fact / s, room.n_fact, n_pass);
    row("", s, pmet_delta_flop(&b->model->config, &h, &one, n_pass / b->n_fact) * (double)b->n_fact,
        "TFLOP/s", b->product_peak);
    pmet_delta_close(p);
    bench_rows_free(&one);
    free(rows);
}

static void stats(const struct bench *b)
{
    static const char *const text = "golden/data/text/wikitext2-raw-valid.txt";
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_docs *docs = NULL;
    struct pmet_stats out;
    struct pmet_hparams h;
    bench_hparams(b->size.n_layer, &h);
    const struct pmet_stats_options o = {
        .layers = h.layers, .n_layer = h.n_layer, .n_samples = b->n_doc, .max_length = b->n_tok, .seed = 1};
    bench_ok(pmet_docs_open(pmet_io_system(), &text, 1, &docs, &err), &err);
    const double start = bench_now();
    bench_ok(pmet_stats_collect(b->model, b->tk, docs, &o, NULL, NULL, &out, &err), &err);
    const double s = bench_now() - start;
    printf("%-34s %12.6f %10.0f tokens/s, %zu layers\n", "second moments", s, (double)out.count / s,
           h.n_layer);
    row("", s, pmet_stats_flop(&b->model->config, &out), "TFLOP/s", b->op->peak.f32);
    pmet_stats_free(&out);
    pmet_docs_close(docs);
}

static double *random_doubles(uint64_t seed, size_t n)
{
    real *x = bench_alloc(n * sizeof *x);
    double *wide = bench_alloc(n * sizeof *wide);
    bench_random(seed, 1, x, n);
    for (size_t i = 0; i < n; i++)
        wide[i] = (double)x[i];
    free(x);
    return wide;
}

static void solve(const struct bench *b, size_t f)
{
    const size_t d = b->size.d_model, n = b->n_fact;
    double *cov = bench_alloc(f * f * sizeof *cov), *keys = random_doubles(2, f * n),
           *resid = random_doubles(3, d * n), *upd = bench_alloc(d * f * sizeof *upd);
    struct pmet_solve_report report;
    struct pmet_error err = {PMET_OK, ""};
    char what[64];
    for (size_t i = 0; i < f * f; i++) /* positive definite */
        cov[i] = (i / f == i % f) + 1 / (double)f;
    const double start = bench_now();
    bench_ok(pmet_solve_update(b->op, PMET_SOLVER_CHOLESKY, SIZE_MAX, cov, NULL, 15000, 0, keys, resid, f, d,
                               n, upd, &report, &err),
             &err);
    const double s = bench_now() - start;
    snprintf(what, sizeof what, "solve, d_ff %zu, %zu facts", f, n);
    row(what, s, pmet_solve_flop(f, d, n), "TFLOP/s", b->op->peak.f64);
    free(cov);
    free(keys);
    free(resid);
    free(upd);
}

static void evaluate(const struct bench *b)
{
    struct pmet_eval_record *record = bench_alloc(b->n_record * sizeof *record);
    struct pmet_case *out = bench_alloc(b->n_record * sizeof *out);
    struct pmet_records *records = NULL;
    struct pmet_evaluate_options options = {.top_k = 5, .path = "golden/gptj-A/counterfact.json"};
    struct pmet_error err = {PMET_OK, ""};
    size_t n = 0;
    bool more = true;
    memset(out, 0, b->n_record * sizeof *out);
    bench_ok(pmet_room(b->op, (size_t)1 << 30, &options.max_bytes, &err), &err);
    bench_ok(pmet_records_open(pmet_io_system(), options.path, b->n_record, &records, &err), &err);
    while (more && n < b->n_record) {
        bench_ok(pmet_records_next(records, &record[n], &more, &err), &err);
        n += more;
    }
    const double start = bench_now();
    bench_ok(pmet_evaluate_records(b->model, b->tk, record, n, &options, out, &err), &err);
    const double s = bench_now() - start;
    printf("%-34s %12.6f %10.2f records/s of %zu, probabilities alone\n", "evaluation", s, (double)n / s, n);
    for (size_t i = 0; i < n; i++) {
        pmet_eval_record_free(&record[i]);
        pmet_case_free(&out[i]);
    }
    pmet_records_close(records);
    free(record);
    free(out);
}

static void arguments(struct bench *b, int argc, char **argv)
{
    const struct {
        const char *name;
        size_t *out;
    } counts[] = {{"--layers", &b->size.n_layer}, {"--width", &b->size.d_model}, {"--head", &b->size.d_head},
                  {"--vocab", &b->size.n_vocab},  {"--facts", &b->n_fact},       {"--tokens", &b->n_tok},
                  {"--documents", &b->n_doc},     {"--records", &b->n_record}};
    for (int i = 1; i < argc; i += 2) {
        bool known = false;
        for (size_t k = 0; i + 1 < argc && k < sizeof counts / sizeof *counts; k++)
            if (strcmp(argv[i], counts[k].name) == 0)
                known = (*counts[k].out = strtoul(argv[i + 1], NULL, 10)) > 0;
        if (!known) {
            fprintf(stderr,
                    "bench_cuda: %s: expected --layers, --width, --head, --vocab, --facts, --tokens, "
                    "--documents or "
                    "--records with a count\n",
                    argv[i]);
            exit(2);
        }
    }
    if (b->size.d_model % b->size.d_head != 0 || b->size.n_vocab < 1024) {
        fprintf(stderr,
                "bench_cuda: expected a width that the head's width divides, and 1024 words or more\n");
        exit(2);
    }
}

/* The table of a device opened and a model made in its memory, timed, and given back. */
static void run(struct bench *b, enum pmet_device device, enum pmet_dtype dtype)
{
    struct pmet_error err = {PMET_OK, ""};
    const bool all = device == PMET_DEVICE_CUDA;
    bench_ok(pmet_ops_open(device, 0, &b->op, &err), &err);
    b->size.dtype = dtype;
    b->product_peak = device == PMET_DEVICE_CUDA_TF32 ? b->op->peak.f16 / 2 : b->op->peak.f16;
    b->model = bench_model(b->op, &b->size);
    printf("\n%s, random %s weights\n", b->op->name, pmet_dtype_name(dtype));
    operators(b, all);
    delta(b);
    stats(b);
    evaluate(b);
    if (all) {
        solve(b, 4 * b->size.d_model);
        solve(b, 6 * b->size.d_model);
    }
    bench_model_free(b->model);
    pmet_ops_free(b->op);
}

int main(int argc, char **argv)
{
    struct bench b = {
        .size = {28, 4096, 256, 50400, PMET_F16}, .n_fact = 512, .n_tok = 2048, .n_doc = 400, .n_record = 64};
    struct pmet_error err = {PMET_OK, ""};
    arguments(&b, argc, argv);
    if (pmet_ops_open(PMET_DEVICE_CUDA, 0, &b.op, &err) != PMET_OK) {
        printf("no GPU is timed: %s\n", err.message);
        return 0;
    }
    bench_header(argc, argv);
    printf("device   %s: at most %.0f GB/s, %.1f TFLOP/s in float, %.1f in double, %.0f in f16\n"
           "model    GPT-J, %zu layers, d_model %zu, %zu words\n\n",
           b.op->name, 1e-9 * b.op->peak.bytes, 1e-12 * b.op->peak.f32, 1e-12 * b.op->peak.f64,
           1e-12 * b.op->peak.f16, b.size.n_layer, b.size.d_model, b.size.n_vocab);
    printf("%-34s %12s %10s %-8s %9s\n", "", "seconds", "rate", "", "of peak");
    pmet_ops_free(b.op);
    bench_ok(pmet_tokenizer_open(pmet_io_system(), "golden/gptj-A/model", &b.tk, &err), &err);
    run(&b, PMET_DEVICE_CUDA, PMET_F16);
    run(&b, PMET_DEVICE_CUDA_HALF, PMET_F16);
    run(&b, PMET_DEVICE_CUDA_TF32, PMET_F32);
    pmet_tokenizer_close(b.tk);
    return 0;
}

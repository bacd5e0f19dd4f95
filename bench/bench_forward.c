/* SPDX-License-Identifier: MIT
 * The parts of an edit on a GPT-J with random weights, each beside this machine's rate of one large
 * product.
 *
 *     bench_forward [--layers 12] [--width 768] [--head 64] [--vocab 8192] [--dtype F16] [--facts 100] [--threads N] */
#include <stdlib.h>
#include <string.h>
#include "bench/common.h"
#include "bench/model.h"
#include "ref/cpu/table.h"
#include "ref/delta/delta.h"
#include "ref/method/needs.h"
#include "ref/method/solve.h"
#include "tensors/dtype.h"

enum { ROWS = 8, ROW = 128, DOCUMENTS = 6 };

struct bench {
    struct bench_size size;
    size_t n_thread, n_fact;
    struct pmet_ops *op;
    struct pmet_model *model;
    double ceiling[2]; /* GFLOP/s of one large product in real and in double */
};

static void row(const struct bench *b, const char *what, double seconds, double flop, double n_tok, int wide)
{
    char tokens[32] = "", share[32] = "";
    const double rate = 1e-9 * flop / seconds;
    if (n_tok > 0)
        snprintf(tokens, sizeof tokens, "%.0f", n_tok / seconds);
    if (b->ceiling[wide] > 0)
        snprintf(share, sizeof share, "%.0f %%", 100 * rate / b->ceiling[wide]);
    printf("%-34s %9.4f %9.2f %9s %9.1f %9s\n", what, seconds, 1e-9 * flop, tokens, rate, share);
}

/* ---- one product ---- */

struct product {
    const struct bench *b;
    struct pmet_weight w;
    real *x, *y;
    size_t n_tok;
};

static void run_product(void *user)
{
    const struct product *p = user;
    struct pmet_error err = {PMET_OK, ""};
    bench_ok(p->b->op->matmul(p->b->op, p->y, p->w.n_out, p->x, p->w, NULL, p->n_tok, &err), &err);
}

/* Both rates, then ours at the same shape: fc_in over a batch of tokens. */
static void products(struct bench *b)
{
    const struct pmet_weight w = b->model->layer[0].fc_in;
    const size_t n = ROWS * ROW;
    const double flop = 2 * (double)n * (double)w.n_out * (double)w.n_in;
    struct product p = {b, w, bench_alloc(n * w.n_in * sizeof(real)), bench_alloc(n * w.n_out * sizeof(real)),
                        n};
    bench_random(1, 1, p.x, n * w.n_in);
    for (int wide = 0; wide < 2; wide++) {
        b->ceiling[wide] = bench_peer_gemm(wide, n, w.n_out, w.n_in, b->n_thread);
        if (b->ceiling[wide] > 0)
            row(b, wide ? "OpenBLAS, one product in double" : "OpenBLAS, one product",
                1e-9 * flop / b->ceiling[wide], flop, 0, wide);
    }
    row(b, "ours, the same product", bench_time(run_product, &p, 5, NULL), flop, (double)n, 0);
    free(p.x);
    free(p.y);
}

/* ---- forward ---- */

struct pass {
    const struct bench *b;
    struct pmet_rows rows;
    struct pmet_scratch scratch;
    real *x, *logits;
};

static void run_forward(void *user)
{
    struct pass *p = user;
    struct pmet_error err = {PMET_OK, ""};
    const struct pmet_model *m = p->b->model;
    const size_t n = p->rows.batch.n_tok;
    bench_ok(pmet_embed(m, p->x, p->rows.id, n, &err), &err);
    bench_ok(pmet_blocks(m, 0, m->config.n_layer, p->x, &p->rows.batch, NULL, &p->scratch, NULL, &err), &err);
    bench_ok(pmet_head(m, p->logits, p->scratch.u, p->x, n, &err), &err);
}

static void forward(struct bench *b)
{
    const struct pmet_config *c = &b->model->config;
    const size_t n = ROWS * ROW;
    struct pmet_error err = {PMET_OK, ""};
    struct pass p = {.b = b,
                     .x = bench_alloc(n * c->d_model * sizeof(real)),
                     .logits = bench_alloc(n * c->n_vocab * sizeof(real))};
    int32_t ids[ROW];
    bench_ok(pmet_batch_alloc(ROWS, n, &p.rows, &err), &err);
    bench_ok(pmet_scratch_alloc(b->model, n, false, &p.scratch, &err), &err);
    for (size_t r = 0; r < ROWS; r++) {
        bench_ids(r + 1, c->n_vocab, ids, ROW);
        pmet_batch_add(&p.rows, ids, ROW, 0, 0);
    }
    const double flop = (double)n * ((double)c->n_layer * pmet_block_flop(c) + pmet_head_flop(c));
    row(b, "forward, 8 rows of 128 tokens", bench_time(run_forward, &p, 3, NULL), flop, (double)n, 0);
    pmet_batch_free(&p.rows);
    pmet_scratch_free(&p.scratch);
    free(p.x);
    free(p.logits);
}

/* ---- optimisation of a fact ---- */

struct fact {
    const struct bench *b;
    struct pmet_hparams h;
    struct pmet_fact_rows rows;
    size_t n_forward;
};

static enum pmet_status count_passes(void *user, struct pmet_delta *p, size_t k, size_t i,
                                     const struct pmet_delta_result *r, const struct pmet_error *failure,
                                     struct pmet_error *err)
{
    struct fact *f = user;
    (void)p, (void)k, (void)i, (void)failure, (void)err;
    f->n_forward = r->n_forward;
    return PMET_OK;
}

static void run_delta(void *user)
{
    struct fact *f = user;
    struct pmet_delta *p = NULL;
    struct pmet_error err = {PMET_OK, ""};
    const struct pmet_delta_listener listener = {.user = f, .done = count_passes};
    const struct pmet_objective o = pmet_objective_pmet(&f->h);
    const struct pmet_delta_size size = pmet_delta_plan(f->b->model, &o, &f->rows, 1, SIZE_MAX);
    bench_ok(pmet_delta_open(f->b->model, &o, &size, &p, &err), &err);
    bench_ok(pmet_delta_optimise(p, &f->rows, 1, NULL, &listener, &err), &err);
    pmet_delta_close(p);
}

static void delta(struct bench *b)
{
    struct fact f = {.b = b};
    char what[64];
    bench_hparams(b->size.n_layer, &f.h);
    bench_rows(b->size.n_vocab, &f.rows);
    const double s = bench_time(run_delta, &f, 3, NULL);
    snprintf(what, sizeof what, "delta of a fact, %zu passes", f.n_forward);
    row(b, what, s, pmet_delta_flop(&b->model->config, f.h.layers[f.h.n_layer - 1], &f.rows, f.n_forward),
        (double)(pmet_rows_n_suffix(&f.rows) * f.n_forward), 0);
    bench_rows_free(&f.rows);
}

/* ---- statistics ---- */

static void stats(struct bench *b)
{
    static const char *const text = "golden/data/text/wikitext2-raw-valid.txt";
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_tokenizer *tk = NULL;
    struct pmet_docs *docs = NULL;
    struct pmet_stats out;
    struct pmet_hparams h;
    char what[64];
    bench_hparams(b->size.n_layer, &h);
    const struct pmet_stats_options o = {
        .layers = h.layers, .n_layer = h.n_layer, .n_samples = DOCUMENTS, .seed = 1};
    bench_ok(pmet_tokenizer_open(pmet_io_system(), "golden/gptj-A/model", &tk, &err), &err);
    bench_ok(pmet_docs_open(pmet_io_system(), &text, 1, NULL, &docs, &err), &err);
    const double start = bench_now();
    bench_ok(pmet_stats_collect(b->model, tk, docs, &o, NULL, NULL, &out, &err), &err);
    const double s = bench_now() - start;
    snprintf(what, sizeof what, "statistics, %zu layers, %zu tokens", h.n_layer, out.count);
    row(b, what, s, pmet_stats_flop(&b->model->config, &out), (double)out.count, 0);
    pmet_stats_free(&out);
    pmet_docs_close(docs);
    pmet_tokenizer_close(tk);
}

/* ---- solve ---- */

static void solve(struct bench *b)
{
    const size_t f = b->model->config.d_ff, d = b->model->config.d_model, n = b->n_fact;
    double *cov = bench_alloc(f * f * sizeof *cov), *keys = bench_random_doubles(2, f * n),
           *resid = bench_random_doubles(3, d * n), *upd = bench_alloc(d * f * sizeof *upd);
    struct pmet_solve_report report;
    struct pmet_error err = {PMET_OK, ""};
    char what[64];
    for (size_t i = 0; i < f; i++) /* positive definite: 2 on the diagonal, 1/(1 + |i - j|)^2 beside it */
        for (size_t j = 0; j < f; j++) {
            const double far = 1 + (i > j ? (double)(i - j) : (double)(j - i));
            cov[i * f + j] = (i == j) + 1 / (far * far);
        }
    const double start = bench_now();
    bench_ok(pmet_solve_update(b->op, PMET_SOLVER_CHOLESKY, SIZE_MAX, cov, NULL, 15000, 0, keys, resid, f, d,
                               n, upd, &report, &err),
             &err);
    const double s = bench_now() - start;
    snprintf(what, sizeof what, "solve, d_ff %zu, %zu facts, double", f, n);
    row(b, what, s, pmet_solve_flop(f, d, n), 0, 1);
    free(cov);
    free(keys);
    free(resid);
    free(upd);
}

static void arguments(struct bench *b, int argc, char **argv)
{
    const struct {
        const char *name;
        size_t *out;
    } counts[] = {{"--layers", &b->size.n_layer}, {"--width", &b->size.d_model}, {"--head", &b->size.d_head},
                  {"--vocab", &b->size.n_vocab},  {"--facts", &b->n_fact},       {"--threads", &b->n_thread}};
    for (int i = 1; i < argc; i += 2) {
        bool known = i + 1 < argc && strcmp(argv[i], "--dtype") == 0 &&
                     pmet_dtype_parse(argv[i + 1], &b->size.dtype) && pmet_dtype_is_float(b->size.dtype);
        for (size_t k = 0; i + 1 < argc && k < sizeof counts / sizeof *counts; k++)
            if (strcmp(argv[i], counts[k].name) == 0)
                known = (*counts[k].out = strtoul(argv[i + 1], NULL, 10)) > 0;
        if (!known) {
            fprintf(stderr,
                    "bench_forward: %s: expected --layers, --width, --head, --vocab, --facts, "
                    "--threads with a count, or --dtype F16|BF16|F32|F64\n",
                    argv[i]);
            exit(2);
        }
    }
    if (b->size.d_model % b->size.d_head != 0 || b->size.n_vocab < 1024) {
        fprintf(stderr,
                "bench_forward: expected a width that the head's width divides, and 1024 words or more\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct bench b = {.size = {12, 768, 64, 8192, PMET_F16}, .n_fact = 100};
    struct pmet_error err = {PMET_OK, ""};
    arguments(&b, argc, argv);
    bench_ok(pmet_ops_cpu(b.n_thread, &b.op, &err), &err);
    b.n_thread = bench_threads(b.op);
    b.model = bench_model(b.op, &b.size);
    bench_header(argc, argv);
    printf("model    GPT-J, %zu layers, d_model %zu, %zu words, random %s weights; %s\n\n", b.size.n_layer,
           b.size.d_model, b.size.n_vocab, pmet_dtype_name(b.size.dtype), b.op->name);
    printf("%-34s %9s %9s %9s %9s %9s\n", "", "seconds", "GFLOP", "tokens/s", "GFLOP/s", "of gemm");
    products(&b);
    forward(&b);
    delta(&b);
    stats(&b);
    solve(&b);
    bench_model_free(b.model);
    pmet_ops_free(b.op);
    return 0;
}

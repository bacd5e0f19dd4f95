/* SPDX-License-Identifier: MIT
 * A GPU: every operator beside what the device can do at most, then the parts of an edit on a GPT-J
 * whose random weights are made there; then products, delta, statistics and evaluation in the two
 * faster precisions (SPEC §12.3). Without a GPU one line says what is missing.
 *
 *     bench_cuda [--layers 28] [--width 4096] [--head 256] [--vocab 50400] [--facts 512] [--tokens 2048]
 *                [--documents 400] [--records 64] */
#include <stdlib.h>
#include <string.h>
#include "bench/common.h"
#include "bench/model.h"
#include "bench/operators.h"
#include "ref/delta/delta.h"
#include "ref/method/needs.h"
#include "ref/device/device.h"
#include "ref/method/solve.h"
#include "ref/method/stats.h"
#include "ref/eval/evaluate.h"
#include "tensors/dtype.h"

struct bench {
    struct bench_size size;
    size_t n_fact, n_tok, n_doc, n_record;
    double product_peak; /* of the units that multiply by the weights */
    struct pmet_ops *op;
    struct pmet_model *model;
    struct pmet_tokenizer *tk;
};

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
    const struct pmet_delta_listener listener = {.user = &n_pass, .done = count_passes};
    bench_hparams(b->size.n_layer, &h);
    bench_rows(b->size.n_vocab, &one);
    for (size_t i = 0; i < b->n_fact; i++)
        rows[i] = one;
    bench_ok(pmet_capacity(b->op, SIZE_MAX, &max_bytes, &err), &err);
    const struct pmet_objective o = pmet_objective_pmet(&h);
    const struct pmet_delta_size size = pmet_delta_plan(b->model, &o, rows, b->n_fact, max_bytes);
    bench_ok(pmet_delta_open(b->model, &o, &size, &p, &err), &err);
    const double start = bench_now();
    bench_ok(pmet_delta_optimise(p, rows, b->n_fact, NULL, &listener, &err), &err);
    const double s = bench_now() - start;
    printf("%-34s %12.6f %10.2f facts/s, %zu together, %zu passes in all\n", "delta", s,
           (double)b->n_fact / s, size.n_fact, n_pass);
    bench_row("", s,
              pmet_delta_flop(&b->model->config, o.layer, &one, n_pass / b->n_fact) * (double)b->n_fact,
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
    bench_ok(pmet_docs_open(pmet_io_system(), &text, 1, NULL, &docs, &err), &err);
    const double start = bench_now();
    bench_ok(pmet_stats_collect(b->model, b->tk, docs, &o, NULL, NULL, &out, &err), &err);
    const double s = bench_now() - start;
    printf("%-34s %12.6f %10.0f tokens/s, %zu layers\n", "second moments", s, (double)out.count / s,
           h.n_layer);
    bench_row("", s, pmet_stats_flop(&b->model->config, &out), "TFLOP/s", b->op->peak.f32);
    pmet_stats_free(&out);
    pmet_docs_close(docs);
}

static void solve(const struct bench *b, size_t f)
{
    const size_t d = b->size.d_model, n = b->n_fact;
    double *cov = bench_alloc(f * f * sizeof *cov), *keys = bench_random_doubles(2, f * n),
           *resid = bench_random_doubles(3, d * n), *upd = bench_alloc(d * f * sizeof *upd);
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
    bench_row(what, s, pmet_solve_flop(f, d, n), "TFLOP/s", b->op->peak.f64);
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
    bench_ok(pmet_capacity(b->op, (size_t)1 << 30, &options.max_bytes, &err), &err);
    bench_ok(pmet_records_open(pmet_io_system(), options.path, b->n_record, false, &records, &err), &err);
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
    bench_operators(b->model, b->n_tok, b->product_peak, all);
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

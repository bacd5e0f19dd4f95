/* SPDX-License-Identifier: MIT
 * Allocation k fails, for k = 0, 1, 2 ... until the call succeeds: each failure is reported,
 * nothing leaks and no file is left behind. The program stands in for the C library's allocator,
 * which the address sanitizer does, too: under it these claims are skipped. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include "ref/eval/records.h"
#include "ref/facts/docs.h"
#include "ref/method/pmet_hparams.h"
#include "ref/method/needs.h"
#include "ref/cpu/table.h"
#include "ref/model/load.h"
#include "ref/method/solve.h"
#include "ref/method/stats.h"
#include "ref/text/entropy.h"
#include "ref/text/snippets.h"
#include "ref/text/tfidf.h"
#include "tensors/checkpoint_private.h"
#include "tensors/folder.h"
#include "tensors/npz.h"
#include "tests/test.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__)
#define SANITIZED 1
#endif

#ifndef SANITIZED
static size_t n_until_failure = SIZE_MAX, n_live, n_bytes, most_bytes;
static bool failed;

void *__libc_memalign(size_t align, size_t n);
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static bool refuse(void)
{
    if (n_until_failure == SIZE_MAX || n_until_failure-- > 0)
        return false;
    n_until_failure = SIZE_MAX;
    failed = true;
    errno = ENOMEM;
    return true;
}

static void *count(void *p)
{
    n_live += p != NULL;
    n_bytes += malloc_usable_size(p);
    most_bytes = n_bytes > most_bytes ? n_bytes : most_bytes;
    return p;
}

void *malloc(size_t n)
{
    return count(refuse() ? NULL : __libc_malloc(n));
}

void *aligned_alloc(size_t align, size_t n)
{
    return count(refuse() ? NULL : __libc_memalign(align, n));
}

void *calloc(size_t n, size_t size)
{
    return count(refuse() ? NULL : __libc_calloc(n, size));
}

void *realloc(void *old, size_t n)
{
    const size_t was = malloc_usable_size(old);
    void *p = refuse() ? NULL : __libc_realloc(old, n);
    n_live += !old && p;
    n_bytes += p ? malloc_usable_size(p) - was : 0;
    most_bytes = n_bytes > most_bytes ? n_bytes : most_bytes;
    return p;
}

void free(void *p)
{
    n_live -= p != NULL;
    n_bytes -= malloc_usable_size(p);
    __libc_free(p);
}

static void *malloc_for_json(size_t n)
{
    return count(__libc_malloc(n));
}
#endif

/* Runs `call` with each allocation failing in turn. */
static void fail_each(struct test *t, enum pmet_status (*call)(struct pmet_error *err))
{
#ifdef SANITIZED
    (void)call;
    SKIP("the allocator is not ours here");
#else
    json_set_alloc_funcs(malloc_for_json, free);
    mkdir(test_path("out"), 0777);
    for (size_t k = 0; k < 100000; k++) {
        struct pmet_error err = {PMET_OK, ""};
        const size_t live = n_live;
        failed = false;
        n_until_failure = k;
        const enum pmet_status status = call(&err);
        n_until_failure = SIZE_MAX;
        if (n_live != live)
            test_fail(t, "allocation %zu fails: %ld blocks leak", k, (long)(n_live - live));
        if (!failed) {
            CHECK(status == PMET_OK && k > 3);
            if (status != PMET_OK)
                test_fail(t, "%s", err.message);
            break;
        }
        if (status == PMET_OK || err.message[0] == '\0')
            test_fail(t, "allocation %zu fails: status %d, \"%s\"", k, (int)status, err.message);
        if (test_count_files(test_path("out")) != 0)
            test_fail(t, "allocation %zu fails: files are left behind", k);
    }
    pmet_remove_tree(pmet_io_system(), test_path("out"));
#endif
}

#define CHECKPOINT "golden/gptj-C/model"

static enum pmet_status open_safetensors(struct pmet_error *err)
{
    struct pmet_safetensors *st;
    PMET_TRY(pmet_safetensors_open(pmet_io_system(), "tests/data/layout.safetensors", &st, err));
    pmet_safetensors_close(st);
    return PMET_OK;
}

static enum pmet_status open_and_fingerprint(struct pmet_error *err)
{
    struct pmet_checkpoint *ck;
    char hex[65];
    PMET_TRY(pmet_checkpoint_open(pmet_io_system(), CHECKPOINT, &ck, err));
    const enum pmet_status status = pmet_checkpoint_fingerprint(ck, hex, err);
    pmet_checkpoint_close(ck);
    return status;
}

static enum pmet_status load_published(struct pmet_error *err)
{
    const struct pmet_stats_source from = {
        .io = pmet_io_system(), .dir = test_tmpdir(), .fingerprint = "own"};
    struct pmet_stats_info info;
    double *c = NULL;
    const enum pmet_status status = pmet_stats_load(&from, "m", 3, &c, &info, err);
    free(c);
    return status;
}

static enum pmet_status read_npz(struct pmet_error *err)
{
    struct pmet_npz *z;
    struct pmet_tensor x;
    PMET_TRY(pmet_npz_open(pmet_io_system(), "tests/data/arrays.npz", &z, err));
    const enum pmet_status status = pmet_npz_find(z, "fortran", &x, err);
    pmet_npz_close(z);
    return status;
}

static enum pmet_status read_whole(struct pmet_error *err)
{
    char *data, *path;
    size_t n;
    PMET_TRY(pmet_path_join("golden/gptj-C/model", "tokenizer.json", &path, err));
    enum pmet_status status = PMET_OK;
    for (int i = 0; status == PMET_OK && i < 4; i++) { /* one call has too few allocations to prove much */
        status = pmet_read_file(pmet_io_system(), CHECKPOINT "/pytorch_model.bin", SIZE_MAX, &data, &n, err);
        if (status == PMET_OK)
            free(data);
    }
    free(path);
    return status;
}

static void ignore(void *user, const char *name)
{
    (void)user;
    (void)name;
}

static struct pmet_checkpoint *checkpoint; /* open while write_copy runs */

static enum pmet_status write_copy(struct pmet_error *err)
{
    struct pmet_outdir *dir = NULL;
    static const uint16_t zero[48 * 200];
    const struct pmet_replacement r = {"transformer.h.0.mlp.fc_out.weight", PMET_F16, zero};
    PMET_TRY(pmet_outdir_begin(pmet_io_system(), test_path("out/copy"), false, NULL, &dir, err));
    const enum pmet_status status = pmet_checkpoint_write(pmet_io_system(), checkpoint, pmet_outdir_path(dir),
                                                          &r, 1, true, ignore, NULL, err);
    if (status == PMET_OK)
        return pmet_outdir_commit(dir, err);
    pmet_outdir_discard(dir);
    return status;
}

static const char *torch_file;

static enum pmet_status open_torch_bin(struct pmet_error *err)
{
    struct pmet_torch_bin *b;
    PMET_TRY(pmet_torch_bin_open(pmet_io_system(), torch_file, &b, err));
    pmet_torch_bin_close(b);
    return PMET_OK;
}

#define SNIPPETS "golden/gptj-C/attribute_snippets.json"

static enum pmet_status judge_words(struct pmet_error *err)
{
    static const char text[] = "Dr. No said, \"I can't.\" He wasn't there... (So it is.) \xc3\xa9.";
    struct pmet_words w;
    double value;
    enum pmet_status status = pmet_words(text, sizeof text - 1, &w, err);
    if (status == PMET_OK)
        status = pmet_ngram_entropy(&w, &value, err);
    pmet_words_free(&w);
    return status;
}

static enum pmet_status compare_texts(struct pmet_error *err)
{
    struct pmet_tfidf *tfidf;
    double value;
    PMET_TRY(pmet_tfidf_open(pmet_io_system(), "golden/gptj-C", &tfidf, err));
    const enum pmet_status status =
        pmet_tfidf_cosine(tfidf, "The tower", 9, "the old tower", 13, &value, err);
    pmet_tfidf_close(tfidf);
    return status;
}

static enum pmet_status build_tfidf(struct pmet_error *err)
{
    struct pmet_tfidf *tfidf;
    PMET_TRY(pmet_tfidf_build(pmet_io_system(), SNIPPETS, &tfidf, err));
    pmet_tfidf_close(tfidf);
    return PMET_OK;
}

static enum pmet_status load_snippets(struct pmet_error *err)
{
    static const struct pmet_snippet_query query[] = {{"P36", "Q833997", "Norway"},
                                                      {"P36", "Q833997", "Italy"}};
    struct pmet_snippets s;
    PMET_TRY(pmet_snippets_load(pmet_io_system(), SNIPPETS, query, 2, &s, err));
    pmet_snippets_free(&s);
    return PMET_OK;
}

static const char *text_path;

static enum pmet_status read_text(struct pmet_error *err)
{
    struct pmet_docs *docs;
    char *text = NULL;
    size_t n;
    PMET_TRY(pmet_docs_open(pmet_io_system(), &text_path, 1, NULL, &docs, err));
    const enum pmet_status status = pmet_docs_get(docs, 1, &text, &n, err);
    free(text);
    pmet_docs_close(docs);
    return status;
}

static enum pmet_status load_hparams(struct pmet_error *err)
{
    struct pmet_hparams h;
    return pmet_hparams_load(pmet_io_system(), text_path, &pmet_hparams_pmet, &h, err);
}

static enum pmet_status load_facts(struct pmet_error *err)
{
    const struct pmet_facts_options options = {.skip_invalid = true};
    struct pmet_facts facts;
    PMET_TRY(pmet_facts_load(pmet_io_system(), text_path, options, &facts, err));
    json_t *skipped = pmet_skipped_json(&facts.skipped);
    const bool all = json_array_size(skipped) == 2;
    json_decref(skipped);
    pmet_facts_free(&facts);
    return all ? PMET_OK : pmet_fail_memory(err, "a list", 0);
}

static enum pmet_status read_records(struct pmet_error *err)
{
    struct pmet_records *records;
    struct pmet_eval_record record;
    enum pmet_status status;
    bool more = true;
    PMET_TRY(pmet_records_open(pmet_io_system(), text_path, 0, true, &records, err));
    do {
        status = pmet_records_next(records, &record, &more, err);
        pmet_eval_record_free(&record);
    } while (status == PMET_OK && more);
    pmet_records_close(records);
    return status;
}

TEST(loading_hyper_parameters_in_yaml)
{
    text_path = test_text(t, "%s", test_path("h.yaml"));
    test_write_text(text_path,
                    "alg_name: PMET\nlayers: &l [1, 2]\nclamp_norm_factor: 5e-1\nlayer_selection: *l\n"
                    "fact_token: subject_last\nv_num_grad_steps: 3\nv_lr: 1\nv_loss_layer: 5\n"
                    "v_weight_decay: 0\nkl_factor: 0\nrewrite_module_tmp: x\nrewrite_module_tmps: ['a{}']\n"
                    "layer_module_tmp: a{}\nmlp_module_tmp: a{}\nattn_module_tmp: a{}\nln_f_module: a\n"
                    "lm_head_module: a\nmom2_adjustment: yes\nmom2_update_weight: 1\nmom2_dataset: a\n"
                    "mom2_n_samples: 1\nmom2_dtype: float32\nnll_loss_factor: 1\n");
    fail_each(t, load_hparams);
}

TEST(loading_facts_and_records_some_of_them_bad)
{
    text_path = test_text(t, "%s", test_path("facts"));
    test_write_text(
        text_path,
        "{\"case_id\": \"a\", \"prompt\": \"b is\", \"subject\": \"b\", \"target\": [\"c\"], \"x\": NaN, "
        "\"ground_truth\": [\"d\"], \"rephrase_prompt\": \"r\", \"locality\": {\"n\": [{\"prompt\": "
        "\"p\", \"ground_truth\": [[\"q\"]]}]}, \"portability_r\": {\"prompt\": [\"p\"], "
        "\"ground_truth\": [\"q\"]}}\n{\"prompt\": 7}\n{\"a\": nan}\n");
    fail_each(t, load_facts);
    fail_each(t, read_records);
}

TEST(opening_a_safetensors_file)
{
    fail_each(t, open_safetensors);
}

TEST(opening_a_checkpoint_and_its_fingerprint)
{
    fail_each(t, open_and_fingerprint);
}

TEST(reading_a_text_plain_and_packed)
{
    static const char text[] = "[{\"text\": \"one\"}, {\"text\": \"two\"}]";
    char packed[256];
    text_path = test_text(t, "%s", test_path("text"));
    test_write_text(text_path, text);
    fail_each(t, read_text);
    gzFile f = gzopen(text_path, "wb");
    CHECK(gzwrite(f, text, sizeof text - 1) == (int)sizeof text - 1 && gzclose(f) == Z_OK);
    fail_each(t, read_text);
    const size_t n = ZSTD_compress(packed, sizeof packed, text, sizeof text - 1, 1);
    test_write_file(text_path, packed, n);
    fail_each(t, read_text);
}

TEST(reading_an_npz)
{
    fail_each(t, read_npz);
}

TEST(finding_and_reading_published_statistics)
{
    mkdir(test_path("gpt"), 0777);
    mkdir(test_path("gpt/wikipedia_stats"), 0777);
    size_t n;
    const char *npz = test_slurp(t, "tests/data/compressed.npz", &n);
    test_write_file(test_path("gpt/wikipedia_stats/m_float32_mom2_180.npz"), npz, n);
    fail_each(t, load_published);
}

TEST(reading_a_file_whole)
{
    fail_each(t, read_whole);
}

TEST(writing_an_edited_checkpoint)
{
    if (CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), CHECKPOINT, &checkpoint, &t->err)))
        fail_each(t, write_copy);
    pmet_checkpoint_close(checkpoint);
}

/* In three shards with an index. */
TEST(writing_an_edited_bin_checkpoint)
{
    char bin[PATH_MAX], config[PATH_MAX];
    mkdir(test_path("bin"), 0777);
    if (!CHECK(realpath(CHECKPOINT "/pytorch_model.bin", bin) &&
               realpath(CHECKPOINT "/config.json", config) &&
               symlink(bin, test_path("bin/pytorch_model.bin")) == 0 &&
               symlink(config, test_path("bin/config.json")) == 0))
        return;
    if (CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), test_path("bin"), &checkpoint, &t->err))) {
        checkpoint->max_shard_bytes = 400000;
        fail_each(t, write_copy);
    }
    pmet_checkpoint_close(checkpoint);
}

static struct pmet_ops *ops;

static enum pmet_status open_model(struct pmet_error *err)
{
    struct pmet_model *m = NULL;
    const enum pmet_status status = pmet_model_open(checkpoint, ops, &m, err);
    pmet_model_close(m);
    return status;
}

/* Keys that nobody reads, and a head beside the embedding that is tied to it: three notes. */
TEST(opening_a_model_with_notes)
{
    static const char weights[] = "golden/gptj-A/model/model.safetensors",
                      text[] = "{\"model_type\": \"gptj\", \"n_layer\": 6, \"n_embd\": 64, \"n_head\": 4, "
                               "\"n_positions\": 128, \"vocab_size\": 1024, \"rotary_dim\": 8, "
                               "\"rotary_dims\": 8, \"more\": 1, \"tie_word_embeddings\": true}";
    char path[PATH_MAX];
    mkdir(test_path("model"), 0777);
    test_write_text(test_path("model/config.json"), text);
    if (!CHECK(realpath(weights, path) && symlink(path, test_path("model/model.safetensors")) == 0) ||
        !CHECK_DONE(pmet_ops_cpu(1, &ops, &t->err)))
        return;
    if (CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), test_path("model"), &checkpoint, &t->err)))
        fail_each(t, open_model);
    pmet_checkpoint_close(checkpoint);
    pmet_ops_free(ops);
}

TEST(opening_a_torch_bin)
{
    static const char *const files[] = {"tests/data/kinds.bin", "tests/data/views-legacy4.bin",
                                        "tests/data/views-zip4.bin"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        torch_file = files[i];
        fail_each(t, open_torch_bin);
    }
}

TEST(cutting_a_text_into_words)
{
    fail_each(t, judge_words);
}

TEST(comparing_texts_by_tfidf)
{
    fail_each(t, compare_texts);
}

TEST(building_tfidf_from_snippets)
{
    fail_each(t, build_tfidf);
}

TEST(loading_snippets)
{
    fail_each(t, load_snippets);
}

/* What the plan says of a solve is what the solve takes, within the threads' scratch: by A's
 * factor, with more facts than features, by conjugate gradients, by C's factor. C, keys, R and the
 * update are the caller's, so they are made here; M, Z - M and the keys in `real`, which
 * edit_matrix holds too, are not. */
TEST(the_plan_of_a_solve_holds)
{
#ifdef SANITIZED
    SKIP("the allocator is not ours here");
#else
    enum { F = 384, D = 16 };
    static const struct {
        enum pmet_solver solver;
        size_t n;
        bool factor;
    } way[] = {{PMET_SOLVER_CHOLESKY, 200, false},
               {PMET_SOLVER_CHOLESKY, 700, false},
               {PMET_SOLVER_CG, 100, false},
               {PMET_SOLVER_AUTO, 90, true}};
    struct pmet_ops *op = NULL;
    for (size_t i = 0; i < sizeof way / sizeof *way && CHECK_DONE(pmet_ops_cpu(1, &op, &t->err)); i++) {
        const size_t n = way[i].n, before = n_bytes;
        struct test_rng rng = {7};
        struct pmet_solve_report report;
        double *cov = test_alloc(t, F * F * sizeof *cov),
               *factor = way[i].factor ? calloc(F * F, sizeof *factor) : NULL,
               *keys = test_alloc(t, F * n * sizeof *keys), *R = test_alloc(t, D * n * sizeof *R),
               *upd = test_alloc(t, D * F * sizeof *upd);
        for (size_t k = 0; k < F; k++) /* C is 4 times the identity, its factor twice */
            cov[k * F + k] = 4;
        for (size_t k = 0; factor && k < F; k++)
            factor[k * F + k] = 2;
        for (size_t k = 0; k < F * n; k++)
            keys[k] = test_rng_normal(&rng);
        for (size_t k = 0; k < D * n; k++)
            R[k] = test_rng_normal(&rng);
        most_bytes = n_bytes;
        CHECK_DONE(pmet_solve_update(op, way[i].solver, SIZE_MAX, cov, factor, 100, 0, keys, R, F, D, n, upd,
                                     &report, &t->err));
        const double took = (double)(most_bytes - before),
                     plan = pmet_solve_bytes(way[i].solver, F, D, n) -
                            sizeof(real) * (double)(F + 2 * D) * (double)n;
        if (!CHECK(took < 1.1 * plan && took > 0.9 * plan))
            test_fail(t, "%s, %zu facts: %.0f bytes, planned %.0f", pmet_solver_name(report.used), n, took,
                      plan);
        free(factor);
        pmet_ops_free(op);
    }
#endif
}

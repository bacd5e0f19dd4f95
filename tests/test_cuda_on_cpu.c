/* SPDX-License-Identifier: MIT
 * What tests/cuda_on_cpu/ finds: one broken kernel of broken.cu for each of its checks. And what
 * the CUDA table says when the device has no memory left. */
#include "ref/cpu/table.h"
#include "ref/device/device.h"
#include "tests/device.h"
#include "tests/plain.h"

void run_broken(const char *which, char *message, size_t size);
void cuda_on_cpu_memory(size_t n_bytes);
void cuda_on_cpu_fail(long k, int error);
size_t cuda_on_cpu_alive(void);

/* The launch's message begins with "kernel NAME, block (0,0,0)" and ends with `end`. */
static void found(struct test *t, const char *which, const char *end)
{
    char message[512];
    run_broken(which, message, sizeof message);
    const char *begin = test_text(t, "kernel %s, block (0,0,0)", which);
    const size_t n = strlen(message), n_end = strlen(end);
    t->n_check++;
    if (strncmp(message, begin, strlen(begin)) != 0 || n < n_end || strcmp(message + n - n_end, end) != 0)
        test_fail(t, "found \"%s\"; expected \"%s ... %s\"", message, begin, end);
}

static void says(struct test *t, const char *which, const char *expected)
{
    char message[512];
    run_broken(which, message, sizeof message);
    CHECK_STR(message, expected);
}

TEST(right_kernels_pass)
{
    says(t, "right", "no error");
    says(t, "with_syncwarp", "no error");
}

TEST(a_missing_barrier_is_a_race)
{
    found(t, "no_barrier",
          "thread (32,0,0): race: shared byte 248 is read, and thread 31 was there since the last barrier");
    found(t, "write_after_read",
          "thread (32,0,0): race: shared byte 248 is read, and thread 31 was there since the last barrier");
    found(t, "all_write",
          "thread (1,0,0): race: shared byte 0 is written, and thread 0 was there since the last barrier");
}

TEST(a_missing_syncwarp_is_a_race)
{
    found(t, "no_syncwarp",
          "thread (1,0,0): race: shared byte 0 is read, and thread 0 was there since the last barrier");
}

TEST(a_barrier_that_some_threads_miss)
{
    char message[512];
    run_broken("barrier_in_a_branch", message, sizeof message);
    CHECK(strstr(message, "is reached by 40 of 64 threads"));
    run_broken("two_barriers", message, sizeof message);
    CHECK(strstr(message, "thread 31 waits at the barrier of line") &&
          strstr(message, "thread 32 at that of line"));
}

TEST(bounds_of_shared_arrays)
{
    found(t, "shared_bound", "thread (63,0,0): shared array of 64: index 64");
}

TEST(shared_memory_that_nobody_wrote)
{
    found(t, "shared_unset", "thread (63,0,0): shared byte 0 is read, and nobody wrote it");
}

/* Under ASan the write itself ends the program, with its own report. */
TEST(bounds_of_device_memory)
{
#ifdef __SANITIZE_ADDRESS__
    SKIP("AddressSanitizer ends the program at the write");
#else
    found(t, "global_bound", ": a byte beside the device allocation of 512 bytes was written");
#endif
    says(t, "a copy past the end", "cudaMemcpy: outside of a device allocation");
}

TEST(shuffles_keep_to_their_mask)
{
    char message[512];
    run_broken("lane_outside_the_mask", message, sizeof message);
    CHECK(strstr(message, "thread (8,0,0)") &&
          strstr(message, "a shuffle from lane 16, outside of the mask 0000ffff"));
    run_broken("lane_that_left", message, sizeof message);
    CHECK(strstr(message, "the mask ffffffff names lane 7, which has left"));
}

TEST(launches_that_no_device_takes)
{
    says(t, "many threads",
         "kernel right, block (0,0,0): no device takes a grid of 1 x 1 x 1 blocks of 1025 x 1 x 1 threads");
    says(t, "many blocks",
         "kernel right, block (0,0,0): no device takes a grid of 1 x 65536 x 1 blocks of 64 x 1 x 1 threads");
    says(t, "no blocks",
         "kernel right, block (0,0,0): no device takes a grid of 0 x 1 x 1 blocks of 64 x 1 x 1 threads");
    says(t, "much shared",
         "kernel right, block (0,0,0): 49160 bytes of dynamic shared memory; the kernel may have 49152");
}

TEST(a_device_that_is_too_small_says_what_is_needed)
{
    struct pmet_ops *op;
    void *p = NULL;
    cuda_on_cpu_memory((size_t)1 << 20);
    if (CHECK_DONE(pmet_ops_cuda_on_cpu(sizeof *op, sizeof(real), PMET_DEVICE_CUDA, &op, &t->err))) {
        CHECK_REFUSED(op->alloc(op, (size_t)1 << 21, &p, &t->err), PMET_MEMORY,
                      "cuda: out of memory: an activation needs 2097152 bytes; 1048576 of 1048576 are free");
        pmet_ops_free(op);
    }
    cuda_on_cpu_memory((size_t)1 << 30);
}

/* Plans: half of what is free, whatever the host has; and to the MiB what fits beside the kernels'
 * own sixteenth. */
TEST(plans_follow_what_the_device_has)
{
    static const size_t mib = (size_t)1 << 20;
    struct pmet_ops *op, *host;
    void *p = NULL;
    size_t capacity = 0, n_free = 0, n_all = 0;
    cuda_on_cpu_memory(64 * mib);
    if (CHECK_DONE(pmet_ops_cuda_on_cpu(sizeof *op, sizeof(real), PMET_DEVICE_CUDA, &op, &t->err))) {
        CHECK(CHECK_DONE(op->alloc(op, 16 * mib, &p, &t->err)) && op->own_memory);
        CHECK(CHECK_DONE(op->memory(op, &n_free, &n_all, &t->err)) && n_free == 48 * mib &&
              n_all == 64 * mib);
        CHECK(CHECK_DONE(pmet_capacity(op, 7, &capacity, &t->err)) && capacity == 24 * mib);
        CHECK_DONE(pmet_capacity_check(op, "all", 44. * (double)mib, &t->err));
        CHECK_REFUSED(pmet_capacity_check(op, "all", 45. * (double)mib, &t->err), PMET_MEMORY,
                      "all: needs 49 MiB of the device's memory, of which 4 are for its kernels; "
                      "found 48 of 64 MiB free");
        op->release(op, p);
        pmet_ops_free(op);
    }
    if (CHECK_DONE(pmet_ops_cpu(1, &host, &t->err))) {
        CHECK(CHECK_DONE(pmet_capacity(host, 7, &capacity, &t->err)) && capacity == 7 && !host->own_memory);
        CHECK_DONE(pmet_capacity_check(host, "all", 1e30, &t->err));
        CHECK(CHECK_DONE(host->memory(host, &n_free, &n_all, &t->err)) && n_free > 0 && n_free <= n_all);
        pmet_ops_free(host);
    }
    cuda_on_cpu_memory((size_t)1 << 30);
}

/* A table of another build, whose struct has other entries or whose real has another size, is
 * refused. */
TEST(a_table_of_another_build_is_refused)
{
    struct pmet_ops *op;
    for (int k = 0; k < 2; k++) {
        CHECK_REFUSED(pmet_ops_cuda_on_cpu(sizeof *op + (k ? 8 : 0), k ? sizeof(real) : 12 - sizeof(real),
                                           PMET_DEVICE_CUDA, &op, &t->err),
                      PMET_UNSUPPORTED, "cuda: libpmet_cuda.so is of another build than the program");
    }
}

/* One wrong entry at a time; what it does wrong is small. */
static const struct pmet_ops *right;

static enum pmet_status other_act(const struct pmet_ops *op, real *y, const real *x, enum pmet_act kind,
                                  size_t n, struct pmet_error *err)
{
    (void)op;
    return right->act(right, y, x, kind == PMET_GELU ? PMET_GELU_NEW : kind, n, err);
}

static enum pmet_status no_bias(const struct pmet_ops *op, real *y, size_t y_stride, const real *x,
                                struct pmet_weight w, const real *bias, size_t n_tok, struct pmet_error *err)
{
    (void)op;
    return right->matmul(right, y, y_stride, x, w, w.dtype == PMET_BF16 ? NULL : bias, n_tok, err);
}

static enum pmet_status nan_norm(const struct pmet_ops *op, double *norm, const real *x, size_t n_row,
                                 size_t width, struct pmet_error *err)
{
    (void)op;
    const enum pmet_status status = right->norm(right, norm, x, n_row, width, err);
    norm[0] = (double)NAN;
    return status;
}

static enum pmet_status no_factor(const struct pmet_ops *op, double *a, size_t n, size_t *pivot,
                                  double *value, struct pmet_error *err)
{
    (void)op, (void)a, (void)n, (void)pivot, (void)value;
    return pmet_fail(err, PMET_NUMERIC, "not positive definite");
}

static void tried(struct test *t, struct pmet_ops *op, const struct pmet_ops *plain, const char *entry)
{
    CHECK(pmet_ops_trial(op, plain, &t->err) == PMET_NUMERIC);
    if (!strstr(t->err.message, entry) || strncmp(t->err.message, op->name, strlen(op->name)) != 0)
        test_fail(t, "found \"%s\"; expected %s", t->err.message, entry);
    t->err = (struct pmet_error){PMET_OK, ""};
}

TEST(a_table_is_tried_beside_plain_c)
{
    struct pmet_ops *op, *plain;
    if (!CHECK_DONE(pmet_ops_cpu(1, &plain, &t->err)))
        return;
    if (CHECK_DONE(pmet_ops_cuda_on_cpu(sizeof *op, sizeof(real), PMET_DEVICE_CUDA, &op, &t->err))) {
        struct pmet_ops wrong = *op;
        right = op;
        CHECK_DONE(pmet_ops_trial(op, plain, &t->err));
        wrong.act = other_act;
        tried(t, &wrong, plain, ": act is off by ");
        wrong.matmul = no_bias;
        tried(t, &wrong, plain, ": matmul by BF16 is off by ");
        wrong = *op;
        wrong.norm = nan_norm;
        tried(t, &wrong, plain, ": the optimiser is off by inf");
        wrong.norm = op->norm;
        wrong.cholesky = no_factor;
        tried(t, &wrong, plain, ": the solve is off by inf");
        pmet_ops_free(op);
    }
    pmet_ops_free(plain);
}

/* Every call of a run through products, losses, attention and the solve fails once: the line says
 * so, and nothing is left. */
static enum pmet_status run_entries(struct pmet_ops *op, struct pmet_error *err)
{
    enum { N = 17 };
    static const uint16_t file[N * N];
    static const size_t start[2] = {0, N}, none[1] = {0};
    const struct pmet_batch batch = {1, N, start, none, none};
    static const double solve[6] = {4, 1, 1, 3, 1, 2};
    double value, norm[N], *a = NULL;
    int32_t ids[N] = {0};
    size_t pivot;
    real *x = NULL;
    struct pmet_weight w = {NULL, PMET_BF16, N, N};
    enum pmet_status status;
    PMET_GO(op->alloc(op, 5 * N * N * sizeof *x, &x, err));
    PMET_GO(op->zero(op, x, 5 * N * N * sizeof *x, err));
    PMET_GO(op->weight_map(op, file, sizeof file, &w.data, err));
    PMET_GO(op->embed(op, x, w, ids, N, err));
    PMET_GO(op->matmul(op, x + N * N, N, x, w, NULL, N, err));
    PMET_GO(op->norm(op, norm, x, N, N, err));
    const struct pmet_heads h = {x, N, N},
                            g[3] = {{x + 2 * N * N, N, N}, {x + 3 * N * N, N, N}, {x + 4 * N * N, N, N}};
    const struct pmet_attention a_in = {h, h, h, NULL, NULL, &batch, 1, N};
    PMET_GO(op->attention_dx(op, g, x + N * N, &a_in, err));
    PMET_GO(op->alloc(op, 7 * sizeof *a, &a, err));
    PMET_GO(op->upload(op, a, solve, sizeof solve, err));
    PMET_GO(op->gemm64(op, false, false, 1, 1, 2, 1, a + 4, 2, a + 4, 1, 0, a + 6, 1, err));
    PMET_GO(op->cholesky(op, a, 2, &pivot, &value, err));
    PMET_GO(op->cholesky_solve(op, a, a + 4, 2, 1, err));
done:
    op->release(op, a);
    op->release(op, x);
    if (w.data)
        op->weight_unmap(op, w.data);
    return status;
}

/* Ends with "out of memory" where a device runs out of it, and with the error of a device that is
 * lost. */
static void fail_every_call(struct test *t, int error, const char *end)
{
    const size_t before = cuda_on_cpu_alive();
    for (long k = 0;; k++) {
        struct pmet_ops *op = NULL;
        struct pmet_error err = {PMET_OK, ""};
        cuda_on_cpu_fail(k, error);
        enum pmet_status status = pmet_ops_cuda_on_cpu(sizeof *op, sizeof(real), PMET_DEVICE_CUDA, &op, &err);
        if (status == PMET_OK)
            status = run_entries(op, &err);
        pmet_ops_free(op);
        CHECK(cuda_on_cpu_alive() == before);
        if (status == PMET_OK)
            break; /* all calls of it were tried, but for what gives memory back */
        t->n_check++;
        if (strncmp(err.message, "cuda: ", 6) != 0 ||
            !(strstr(err.message, end) || strstr(err.message, "the GPU program failed to execute")))
            test_fail(t, "call %ld failed: found \"%s\"; expected \"cuda: ... %s\"", k, err.message, end);
        if (!CHECK(k < 300))
            break;
    }
    cuda_on_cpu_fail(-1, 0);
}

TEST(any_call_may_fail)
{
    enum { OUT_OF_MEMORY = 2, LOST = 214 };
    fail_every_call(t, OUT_OF_MEMORY, "out of memory");
    fail_every_call(t, LOST, "uncorrectable ECC error encountered");
}

/* Rows of many tiles, each of which must shrink what came before: against the plain sum. */
TEST(attention_over_rows_of_2048_tokens)
{
    enum { N = 2048 };
    static const size_t start[2] = {0, N}, none[1] = {0};
    const struct pmet_batch batch = {1, N, start, none, none};
    struct lab lab = {.t = t, .rng = {7}};
    if (!CHECK_OK(pmet_ops_cuda_on_cpu(sizeof *lab.op, sizeof(real), PMET_DEVICE_CUDA, &lab.op, &lab.err),
                  &lab.err))
        return;
    double *q = lab_random(&lab, N, 2), *want = lab_zeros(&lab, N), *one = lab_zeros(&lab, N);
    real *x = lab_inout(&lab, q, N), *out = lab_out(&lab, N);
    const struct pmet_heads h = {x, 1, 1};
    const struct pmet_attention a = {h, h, h, NULL, NULL, &batch, 1, 1};
    LAB_OK(&lab, lab.op->attention(lab.op, out, &a, NULL, &lab.err));
    plain_attention(want, NULL, q, q, q, NULL, NULL, N, 0, 1, 1);
    for (size_t i = 0; i < N; i++)
        one[i] = 8;
    lab_close_f64(&lab, "out", lab_get(&lab, out, N), want, one, N, ONE_ROUNDING + 1000);
    lab_close(&lab);
}

/* SPDX-License-Identifier: MIT */
#include "tests/device.h"
#include "ref/cpu/table.h"
#include "ref/device/device.h"
#include "ref/ops/plain.h"
#include "tensors/dtype.h"

#define GUARD 128 /* bytes on either side: keeps the alignment */
#define GUARD_BYTE 0xc3
#define UNSET_BYTE 0xff /* NaN as a float and as a double */

const size_t test_sizes[N_SIZE] = {0, 1, 2, 3, 5, 17, 64, 65};

/* host: what the buffer held when it was made, guards included. */
struct lab_buffer {
    struct lab_buffer *next;
    char *base, *host;
    size_t n_bytes;
    bool dev, input, plain; /* plain: scratch of the test, no guards */
};

enum pmet_status test_table(size_t n_thread, struct pmet_ops **out, struct pmet_error *err)
{
    const char *device = getenv("PMET_TEST_DEVICE");
    if (!device || strcmp(device, "cpu") == 0)
        return pmet_ops_cpu(n_thread, out, err);
    if (strcmp(device, "plain") == 0)
        return pmet_ops_plain(out, err);
    return test_cuda(PMET_DEVICE_CUDA, out, err);
}

enum pmet_status test_cuda(enum pmet_device device, struct pmet_ops **out, struct pmet_error *err)
{
    const char *which = getenv("PMET_TEST_DEVICE");
    return which && strcmp(which, "cuda") == 0
               ? pmet_ops_open(device, 0, out, err)
               : pmet_ops_cuda_on_cpu(sizeof **out, sizeof(real), device, out, err);
}

struct pmet_ops *test_ops(struct test *t)
{
    struct pmet_ops *op = NULL;
    struct pmet_error err = {PMET_OK, ""};
    CHECK_OK(test_table(3, &op, &err), &err);
    return op;
}

static void close_lab(void *user)
{
    struct lab *lab = user;
    lab_close(lab);
    free(lab);
}

struct lab *lab_open(struct test *t)
{
    struct lab *lab = calloc(1, sizeof *lab);
    *lab = (struct lab){.t = t, .op = test_ops(t), .rng = {0x5eed}};
    if (!lab->op)
        exit(1);
    return test_own(t, lab, close_lab);
}

static struct lab_buffer *keep(struct lab *lab, size_t n_bytes)
{
    struct lab_buffer *b = calloc(1, sizeof *b);
    b->n_bytes = n_bytes;
    b->host = malloc(n_bytes + 2 * GUARD);
    b->next = lab->first;
    lab->first = b;
    return b;
}

static void *plain(struct lab *lab, size_t n_bytes)
{
    struct lab_buffer *b = keep(lab, n_bytes);
    b->plain = true;
    memset(b->host, 0, n_bytes);
    return b->host;
}

static void *guarded(struct lab *lab, const void *x, size_t n_bytes, bool dev, bool input)
{
    struct lab_buffer *b = keep(lab, n_bytes);
    const size_t n_all = n_bytes + 2 * GUARD;
    b->dev = dev;
    b->input = input;
    memset(b->host, GUARD_BYTE, n_all);
    memset(b->host + GUARD, UNSET_BYTE, n_bytes);
    if (x && n_bytes > 0)
        memcpy(b->host + GUARD, x, n_bytes);
    if (!dev) {
        b->base = malloc(n_all);
        memcpy(b->base, b->host, n_all);
    } else if (LAB_OK(lab, lab->op->alloc(lab->op, n_all, &b->base, &lab->err))) {
        LAB_OK(lab, lab->op->upload(lab->op, b->base, b->host, n_all, &lab->err));
    } else {
        exit(1);
    }
    return b->base + GUARD;
}

/* The buffer's bytes now, over its former ones if it is no input. */
static void inspect(struct lab *lab, const struct lab_buffer *b)
{
    const size_t n_all = b->n_bytes + 2 * GUARD;
    char *now = malloc(n_all);
    if (b->dev)
        LAB_OK(lab, lab->op->download(lab->op, now, b->base, n_all, &lab->err));
    else
        memcpy(now, b->base, n_all);
    if (memcmp(now, b->host, GUARD) != 0)
        test_fail(lab->t, "a buffer of %zu bytes was written before its start", b->n_bytes);
    if (memcmp(now + GUARD + b->n_bytes, b->host + GUARD + b->n_bytes, GUARD) != 0)
        test_fail(lab->t, "a buffer of %zu bytes was written past its end", b->n_bytes);
    if (b->input && memcmp(now + GUARD, b->host + GUARD, b->n_bytes) != 0)
        test_fail(lab->t, "an input of %zu bytes was written to", b->n_bytes);
    free(now);
}

void lab_close(struct lab *lab)
{
    for (struct lab_buffer *b = lab->first, *next; b; b = next) {
        next = b->next;
        if (!b->plain)
            inspect(lab, b);
        if (b->dev)
            lab->op->release(lab->op, b->base);
        else
            free(b->base);
        free(b->host);
        free(b);
    }
    pmet_ops_free(lab->op);
}

/* ---- host arrays ---- */

double *lab_zeros(struct lab *lab, size_t n)
{
    return plain(lab, n * sizeof(double));
}

double *lab_random(struct lab *lab, size_t n, double deviation)
{
    double *x = lab_zeros(lab, n);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)(real)(deviation * test_rng_normal(&lab->rng));
    return x;
}

size_t *lab_index(struct lab *lab, size_t n)
{
    size_t *x = plain(lab, n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = i;
    return x;
}

size_t lab_below(struct lab *lab, size_t n)
{
    return (size_t)(test_rng_next(&lab->rng) % n);
}

void lab_shuffle(struct lab *lab, size_t *x, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        const size_t j = lab_below(lab, i), was = x[j];
        x[j] = x[i - 1];
        x[i - 1] = was;
    }
}

/* ---- buffers ---- */

static real *reals(struct lab *lab, const double *x, size_t n)
{
    real *y = plain(lab, n * sizeof *y);
    for (size_t i = 0; i < n; i++)
        y[i] = (real)x[i];
    return y;
}

const real *lab_in(struct lab *lab, const double *x, size_t n)
{
    return guarded(lab, reals(lab, x, n), n * sizeof(real), true, true);
}

real *lab_inout(struct lab *lab, const double *x, size_t n)
{
    return guarded(lab, reals(lab, x, n), n * sizeof(real), true, false);
}

real *lab_out(struct lab *lab, size_t n)
{
    return guarded(lab, NULL, n * sizeof(real), true, false);
}

const void *lab_in_bytes(struct lab *lab, const void *x, size_t n_bytes)
{
    return guarded(lab, x, n_bytes, true, true);
}

const double *lab_in_f64(struct lab *lab, const double *x, size_t n)
{
    return guarded(lab, x, n * sizeof *x, true, true);
}

double *lab_inout_f64(struct lab *lab, const double *x, size_t n)
{
    return guarded(lab, x, n * sizeof *x, true, false);
}

double *lab_out_f64(struct lab *lab, size_t n)
{
    return guarded(lab, NULL, n * sizeof(double), false, false);
}

int32_t *lab_out_i32(struct lab *lab, size_t n)
{
    return guarded(lab, NULL, n * sizeof(int32_t), false, false);
}

double *lab_get(struct lab *lab, const real *dev, size_t n)
{
    real *x = plain(lab, n * sizeof *x);
    double *y = lab_zeros(lab, n);
    LAB_OK(lab, lab->op->download(lab->op, x, dev, n * sizeof *x, &lab->err));
    for (size_t i = 0; i < n; i++)
        y[i] = (double)x[i];
    return y;
}

double *lab_get_f64(struct lab *lab, const double *dev, size_t n)
{
    double *x = lab_zeros(lab, n);
    LAB_OK(lab, lab->op->download(lab->op, x, dev, n * sizeof *x, &lab->err));
    return x;
}

struct pmet_weight lab_weight(struct lab *lab, enum pmet_dtype dtype, size_t n_out, size_t n_in, double **w)
{
    const size_t n = n_out * n_in, n_bytes = n * pmet_dtype_size(dtype);
    void *stored = plain(lab, n_bytes);
    double *x = lab_random(lab, n, 1);
    pmet_from_f64(stored, dtype, x, n);
    pmet_to_f64(x, stored, dtype, n);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)(real)x[i]; /* what the float build makes of F64 */
    *w = x;
    return (struct pmet_weight){lab_in_bytes(lab, stored, n_bytes), dtype, n_out, n_in};
}

/* ---- comparisons ---- */

static void close_to(struct lab *lab, const char *what, const double *got, const double *want,
                     const double *scale, size_t n, double tol)
{
    struct test *t = lab->t;
    t->n_check++;
    for (size_t i = 0; i < n; i++) {
        const double e = fabs(got[i] - want[i]), allowed = tol * (scale ? scale[i] : fabs(want[i]));
        if (!(e <= allowed)) {
            test_fail(t, "%s: element %zu of %zu: found %.17g, expected %.17g, off by %.3g, allowed %.3g",
                      what, i, n, got[i], want[i], e, allowed);
            return;
        }
        if (allowed > 0 && (t->tol == 0 || e / allowed > t->worst / t->tol)) {
            t->worst = e;
            t->tol = allowed;
        }
    }
}

void lab_close_to(struct lab *lab, const char *what, const double *got, const double *want,
                  const double *scale, size_t n, double c)
{
    close_to(lab, what, got, want, scale, n, c * REAL_EPS);
}

void lab_close_f64(struct lab *lab, const char *what, const double *got, const double *want,
                   const double *scale, size_t n, double c)
{
    close_to(lab, what, got, want, scale, n, c * DBL_EPSILON);
}

void lab_same(struct lab *lab, const char *what, const double *got, const double *want, size_t n)
{
    lab->t->n_check++;
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0) {
            test_fail(lab->t, "%s: element %zu of %zu: found %.17g, expected %.17g, bit for bit", what, i, n,
                      got[i], want[i]);
            return;
        }
}

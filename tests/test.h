/* SPDX-License-Identifier: MIT
 * A test program is a list of claims:
 *
 *     TEST(a_zero_edit_leaves_W_bit_equal)
 *     {
 *         CHECK(memcmp(w0, w1, n) == 0);
 *     }
 *
 * Each prints "ok   claim" with the worst error and the share of its tolerance that was used, "FAIL claim"
 * with the place, or "skip claim" with the reason. The last line is "N passed, N failed, N
 * skipped"; the exit status is the verdict. A claim that checks nothing fails. */
#ifndef PMET_TESTS_TEST_H
#define PMET_TESTS_TEST_H

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/io.h"
#include "tensors/safetensors.h"
#include "tensors/status.h"

struct test {
    const char *name;
    size_t n_check, n_fail;
    double worst, tol; /* of the closest call among the CHECK_CLOSE, in share of its tolerance */
    char skip[200];
    struct pmet_error err;
    struct test_owned *owned;
};
typedef void test_fn(struct test *t);
void test_enter(const char *name, test_fn *fn);

/* A claim enters itself in the list before main begins, in the order of the file. */
#define TEST(name)                                                                                           \
    static void name(struct test *t);                                                                        \
    __attribute__((constructor)) static void enter_##name(void)                                              \
    {                                                                                                        \
        test_enter(#name, name);                                                                             \
    }                                                                                                        \
    static void name(struct test *t)

#define CHECK(cond) test_check(t, (cond), __FILE__, __LINE__, #cond)
#define CHECK_STR(got, expected) test_str(t, (got), (expected), __FILE__, __LINE__)
#define CHECK_OK(call, err) test_ok(t, (call), (err), __FILE__, __LINE__)
/* The same with the claim's own error, t->err. */
#define CHECK_DONE(call) test_ok(t, (call), &t->err, __FILE__, __LINE__)
/* |got - expected| <= tol for all n elements (double or float arrays have a version each); NaN
 * fails */
#define CHECK_CLOSE(got, expected, n, tol) test_close(t, (got), (expected), (n), (tol), __FILE__, __LINE__)
/* The call fails with this status and leaves this message in t->err, which is clear again
 * afterwards. The path of test_tmpdir() and its slash do not count: they are left out of the
 * message. */
#define CHECK_REFUSED(call, status, message) test_refused(t, (call), (status), (message), __FILE__, __LINE__)
#define SKIP(...) test_skip(t, __VA_ARGS__)

bool test_check(struct test *t, bool ok, const char *file, int line, const char *what);
bool test_str(struct test *t, const char *got, const char *expected, const char *file, int line);
bool test_ok(struct test *t, enum pmet_status status, const struct pmet_error *err, const char *file,
             int line);
bool test_refused(struct test *t, enum pmet_status status, enum pmet_status expected, const char *message,
                  const char *file, int line);
bool test_close(struct test *t, const double *got, const double *expected, size_t n, double tol,
                const char *file, int line);
void test_skip(struct test *t, const char *fmt, ...) PMET_PRINTF(2, 3);
void test_fail(struct test *t, const char *fmt, ...) PMET_PRINTF(2, 3); /* a failure with its own words */

/* Zeroed memory that is free again when the claim ends. */
void *test_alloc(struct test *t, size_t n_bytes);
/* Formatted text, valid until the claim ends. */
const char *test_text(struct test *t, const char *fmt, ...) PMET_PRINTF(2, 3);
/* The same value, released when the claim ends. */
json_t *test_json(struct test *t, json_t *value);
/* Calls done(p) when the claim ends, the last one first; p as it is. */
void *test_own(struct test *t, void *p, void (*done)(void *p));

/* ||a-b||_2 / ||b||_2 (0 when both are zero; the plain norm of a when b is zero) */
double test_rel_l2(const double *a, const double *b, size_t n);

/* Seeded numbers for tests, the same on every machine. */
struct test_rng {
    uint64_t s;
};
uint64_t test_rng_next(struct test_rng *r);
double test_rng_uniform(struct test_rng *r); /* [0, 1) */
double test_rng_normal(struct test_rng *r);

/* A fresh folder under build/ (TMPDIR respected), removed with its contents when the program ends.
 * test_path: the last 16 stay valid. */
const char *test_tmpdir(void);
const char *test_path(const char *fmt, ...) PMET_PRINTF(1, 2);      /* formatted path below test_tmpdir() */
void test_write_file(const char *path, const void *data, size_t n); /* aborts the program on failure */
/* Number of entries below a folder, recursively; to show that nothing was left behind. */
size_t test_count_files(const char *dir);
/* A whole file, '\0' behind it (not in *n; n may be NULL), free when the claim ends; NULL if it
 * cannot be read. */
char *test_slurp(struct test *t, const char *path, size_t *n);
/* The first row of the table of SPEC.md whose heading begins so; fails without such a table. */
const char *test_spec_table(struct test *t, const char *heading);
/* A vector [n] (m = 0) or a matrix [n, m] to be written. */
struct pmet_tensor test_tensor(const char *name, enum pmet_dtype dtype, size_t n, size_t m, const void *data);
bool test_same_file(struct test *t, const char *a, const char *b);
void test_write_text(const char *path, const char *text);

#endif

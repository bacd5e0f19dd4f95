/* SPDX-License-Identifier: MIT
 * The operator table under test and its buffers. Every buffer lies between guard zones: a write
 * past its ends is found when the claim closes its lab, and so is a write to an input. */
#ifndef PMET_TESTS_DEVICE_H
#define PMET_TESTS_DEVICE_H

#include <float.h>
#include "ref/ops/ops.h"
#include "tests/test.h"

#ifdef PMET_REAL_DOUBLE
#define REAL_EPS DBL_EPSILON
#define IN_DOUBLE 1
#else
#define IN_DOUBLE 0
#define REAL_EPS ((double)FLT_EPSILON)
#endif
/* What rounding a result to `real` once may cost on both sides, half a unit each, in rounding units
 * of double. */
#define ONE_ROUNDING (REAL_EPS / DBL_EPSILON)

/* The one place that says which table the tests run on: PMET_TEST_DEVICE=cpu (the default), plain,
 * cuda-on-cpu (kernels/ over tests/cuda_on_cpu/) or cuda. */
enum pmet_status test_table(size_t n_thread, struct pmet_ops **out, struct pmet_error *err);
/* kernels/'s own entry, as compiled for the tests. */
enum pmet_status pmet_ops_cuda_on_cpu(size_t n_table, size_t n_real, enum pmet_device device,
                                      struct pmet_ops **out, struct pmet_error *err);
/* The CUDA table in one of its precisions: on the GPU if PMET_TEST_DEVICE says cuda, else over
 * tests/cuda_on_cpu/. */
enum pmet_status test_cuda(enum pmet_device device, struct pmet_ops **out, struct pmet_error *err);

/* The table that the operator tests hold to the plain one (tests/plain.h). NULL after a failed
 * check. */
struct pmet_ops *test_ops(struct test *t);

/* Sizes that every operator is tried at: none, one, odd, about a power of two. */
#define N_SIZE 8
extern const size_t test_sizes[N_SIZE];

struct lab_buffer;
struct lab {
    struct test *t;
    struct pmet_ops *op;
    struct pmet_error err;
    struct test_rng rng;
    struct lab_buffer *first;
};
/* Closed when the claim ends; a table that does not open ends the program. */
struct lab *lab_open(struct test *t);
/* Checks all guard zones and inputs, then frees everything that the lab gave out. */
void lab_close(struct lab *lab);
#define LAB_OK(lab, call) test_ok((lab)->t, (call), &(lab)->err, __FILE__, __LINE__)

/* ---- host arrays ---- */
double *lab_zeros(struct lab *lab, size_t n);
/* Normal numbers of the given deviation, each a `real`. */
double *lab_random(struct lab *lab, size_t n, double deviation);
size_t *lab_index(struct lab *lab, size_t n); /* 0, 1, 2, ... */
size_t lab_below(struct lab *lab, size_t n);  /* random, < n */
void lab_shuffle(struct lab *lab, size_t *x, size_t n);

/* ---- buffers of the table; an input must stay as it is, an output starts as NaN ---- */
const real *lab_in(struct lab *lab, const double *x, size_t n);
real *lab_inout(struct lab *lab, const double *x, size_t n);
real *lab_out(struct lab *lab, size_t n);
const void *lab_in_bytes(struct lab *lab, const void *x, size_t n_bytes);
/* The same of doubles, the operands of the solve; lab_out_f64 is on the host, for results. */
const double *lab_in_f64(struct lab *lab, const double *x, size_t n);
double *lab_inout_f64(struct lab *lab, const double *x, size_t n);
double *lab_out_f64(struct lab *lab, size_t n);
int32_t *lab_out_i32(struct lab *lab, size_t n);
/* Contents as doubles. */
double *lab_get(struct lab *lab, const real *dev, size_t n);
double *lab_get_f64(struct lab *lab, const double *dev, size_t n);

/* A weight [n_out, n_in] of random numbers of a stored type; *w receives them widened. */
struct pmet_weight lab_weight(struct lab *lab, enum pmet_dtype dtype, size_t n_out, size_t n_in, double **w);

/* |got[i] - want[i]| <= c eps scale[i], eps the rounding unit of `real` (or of double); scale NULL:
 * |want|. */
void lab_close_to(struct lab *lab, const char *what, const double *got, const double *want,
                  const double *scale, size_t n, double c);
void lab_close_f64(struct lab *lab, const char *what, const double *got, const double *want,
                   const double *scale, size_t n, double c);
/* Bit for bit, NaN included. */
void lab_same(struct lab *lab, const char *what, const double *got, const double *want, size_t n);

#endif

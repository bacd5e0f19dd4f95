/* SPDX-License-Identifier: MIT
 * What the benches share: clocks, the machine's name, random numbers and the peer's products. */
#ifndef PMET_BENCH_COMMON_H
#define PMET_BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include "ref/ops/ops.h"

#define BENCH_REPEATS 7 /* of what is fast */

double bench_now(void); /* seconds, monotonic */

/* Seconds of one run: the median of n, n <= BENCH_REPEATS, after one that is not counted; *best the
 * shortest. */
typedef void bench_fn(void *user);
double bench_time(bench_fn *run, void *user, size_t n, double *best);

/* "machine" and "command", the first lines of every bench. */
void bench_header(int argc, char **argv);

/* Ends the program with the error's line unless the call succeeded. */
void bench_ok(enum pmet_status status, const struct pmet_error *err);
void *bench_alloc(size_t n_bytes); /* 64-byte aligned; ends the program without memory */

/* n seeded numbers, near normal, times scale. */
void bench_random(uint64_t seed, double scale, real *x, size_t n);
double *bench_random_doubles(uint64_t seed, size_t n); /* allocated; free releases it */

/* GFLOP/s of the peer's product y = x W^T at n_tok x n_out x n_in on n_thread threads: in `real`,
 * or in double for the solve. 0 without OpenBLAS. */
double bench_peer_gemm(bool in_double, size_t n_tok, size_t n_out, size_t n_in, size_t n_thread);

size_t bench_threads(const struct pmet_ops *op);

#endif

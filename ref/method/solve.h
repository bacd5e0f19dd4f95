/* SPDX-License-Identifier: MIT
 * The update of one matrix: upd = R K^T (lambda C + K K^T)^-1, in double.      SPEC §8.2, §8.3 */
#ifndef PMET_REF_METHOD_SOLVE_H
#define PMET_REF_METHOD_SOLVE_H

#include <stdbool.h>
#include "ref/ops/ops.h"

const char *pmet_solver_name(enum pmet_solver solver);
/* Bytes of the table's memory that pmet_solve_update takes at most, on a device with memory of its
 * own. */
double pmet_solve_device_bytes(size_t f, size_t d, size_t n);

struct pmet_solve_report {
    enum pmet_solver used;
    size_t iterations; /* conjugate gradients: the most of any column */
    double residual;   /* max over columns of |K - A X| / |K| */
};

/* Whether `auto` takes C's own factor where there is one: edits are few, 4 n <= f, so that (E72) 2
 * f^2 n + 4 f n^2 operations replace f^3/3 + 3 f^2 n; there is no ridge; and a second matrix, 8 f^2
 * bytes, fits. Sizes alone decide. */
bool pmet_solver_takes_factor(enum pmet_solver solver, double ridge, size_t max_bytes, size_t f, size_t n);

/* A = lambda C + K K^T + ridge I,  upd [d, f] = R^T (A^-1 K)^T.
 * cov [f, f] symmetric; factor [f, f] C's Cholesky factor, or NULL; keys [f, n] (a column a fact);
 * resid [d, n]; host arrays of double. `auto` takes the factor as said above, else forms A if 8 f^2
 * bytes are no more than max_bytes. A that is not positive definite gives PMET_NUMERIC naming the
 * pivot. resid = 0 gives upd = 0. */
enum pmet_status pmet_solve_update(const struct pmet_ops *op, enum pmet_solver solver, size_t max_bytes,
                                   const double *cov, const double *factor, double lambda, double ridge,
                                   const double *keys, const double *resid, size_t f, size_t d, size_t n,
                                   double *upd, struct pmet_solve_report *report, struct pmet_error *err);

/* X [f, n] = A^-1 K from C's own Cholesky factor L [f, f], which serves any lambda > 0 and any
 * facts: A^-1 K = Y (I + K^T Y)^-1, Y = (lambda C)^-1 K. C must be positive definite itself; no
 * ridge. */
enum pmet_status pmet_solve_factored(const struct pmet_ops *op, const double *factor, double lambda,
                                     const double *keys, size_t f, size_t n, double *x,
                                     struct pmet_error *err);

/* X [f, n] = A^-1 K by conjugate gradients, A never formed: A p = lambda C p + K (K^T p) + ridge p,
 * or without the middle term (`alone`), scaled by A's diagonal. Stops when every column's residual is at most 1e-13 of its right-hand
 * side; more than 20 f + 200 steps give PMET_NUMERIC. */
enum pmet_status pmet_solve_cg(const struct pmet_ops *op, const double *cov, double lambda, double ridge,
                               const double *keys, bool alone, size_t f, size_t n, double *x,
                               struct pmet_solve_report *report, struct pmet_error *err);

/* E131: U [n, f], u_i = x / |x| with x = (C + ridge I)^-1 k_i, or x = k_i if cov is NULL; K [n, f], a row a fact. With C's factor
 * (`auto`, no ridge), by a factorisation or by conjugate gradients, as pmet_solve_update chooses. */
enum pmet_status pmet_solve_directions(const struct pmet_ops *op, enum pmet_solver solver, size_t max_bytes,
                                       const double *cov, const double *factor, double ridge, const real *K,
                                       size_t f, size_t n, real *U, struct pmet_solve_report *report,
                                       struct pmet_error *err);

#endif

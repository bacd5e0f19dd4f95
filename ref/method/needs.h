/* SPDX-License-Identifier: MIT
 * Operations and memory, counted: what a plan announces, a report divides by and benches use.
 * Operations are those of products of matrices, a multiply-add being two; attention's scores are
 * left out. */
#ifndef PMET_REF_METHOD_NEEDS_H
#define PMET_REF_METHOD_NEEDS_H

#include "ref/method/method.h"
#include "ref/method/stats.h"

/* ---- parts of struct pmet_needs, as methods share them ---- */

/* The optimisation: n_pass, together, batch, one_fact, flop_delta. */
enum pmet_status pmet_needs_delta(const struct pmet_editor *e, const struct pmet_objective *o,
                                  struct pmet_needs *out, struct pmet_error *err);
/* Keys and current outputs for n_module matrices in each of the layers: keys, flop_keys. */
void pmet_needs_keys(const struct pmet_editor *e, const size_t *layers, size_t n_layer, size_t n_module,
                     struct pmet_needs *out);
/* The closed-form update of every matrix for n facts: solve, solve_matrix, solve_device,
 * flop_solve. */
void pmet_needs_solve(const struct pmet_editor *e, size_t n, struct pmet_needs *out);

/* ---- what they are made of ---- */

/* Tokens of all rows; of them, those that every pass computes: from the lookup index on, of the KL
 * row that one alone. */
size_t pmet_rows_n_tok(const struct pmet_fact_rows *rows);
size_t pmet_rows_n_suffix(const struct pmet_fact_rows *rows);

/* One token through one block; through the head. */
double pmet_block_flop(const struct pmet_config *c);
double pmet_head_flop(const struct pmet_config *c);
/* A fact's optimisation at layer L with n_forward passes, each but the last followed by a backward
 * one. */
double pmet_delta_flop(const struct pmet_config *c, size_t L, const struct pmet_fact_rows *rows,
                       size_t n_forward);
/* A fact's keys and current outputs, from the rows of its optimisation: for each matrix the blocks
 * up to it over the contexts' rows, and those up to the last layer over the plain prompt. */
double pmet_keys_flop(const struct pmet_config *c, const size_t *layers, size_t n_layer, size_t n_module,
                      const struct pmet_fact_rows *rows);
/* Second moments, collected: the blocks up to the last layer, and a lower triangle a moment. */
double pmet_stats_flop(const struct pmet_config *c, const struct pmet_stats *stats);
/* The update of a matrix [d, f] by Cholesky for n facts: the sum, its factor, two triangular
 * solves, the residual that is checked, the update. */
double pmet_solve_flop(size_t f, size_t d, size_t n);
/* Bytes that the update of a matrix [d, f] holds at most: C and, but for conjugate gradients, a
 * second such matrix; keys and solutions; current outputs, residuals and the update. */
double pmet_solve_bytes(enum pmet_solver solver, size_t f, size_t d, size_t n);

#endif

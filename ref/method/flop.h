/* SPDX-License-Identifier: MIT
 * Operations and memory that the method takes: what the plan announces, the report counts and the benches divide by.
 * Of operations products of matrices only, a multiplication and an addition being two; attention's scores are left
 * out. */
#ifndef PMET_REF_METHOD_FLOP_H
#define PMET_REF_METHOD_FLOP_H

#include "ref/facts/hparams.h"
#include "ref/facts/rows.h"
#include "ref/method/stats.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tokens of all rows; of them, those that every pass computes: from the lookup index on, of the KL row that one
 * alone. */
size_t pmet_rows_n_tok(const struct pmet_fact_rows *rows);
size_t pmet_rows_n_suffix(const struct pmet_fact_rows *rows);

/* One token through one block; through the head. */
double pmet_block_flop(const struct pmet_config *c);
double pmet_head_flop(const struct pmet_config *c);
/* A fact's optimisation with n_forward passes, each but the last followed by a backward one. */
double pmet_delta_flop(const struct pmet_config *c, const struct pmet_hparams *h,
                       const struct pmet_fact_rows *rows, size_t n_forward);
/* A fact's keys and current outputs for all edited matrices, from the rows of its optimisation: for each matrix
 * the blocks up to it over the contexts' rows, and those up to L over the plain prompt. */
double pmet_keys_flop(const struct pmet_config *c, const struct pmet_hparams *h,
                      const struct pmet_fact_rows *rows);
/* Second moments, collected: the blocks up to the last layer, and a lower triangle a moment. */
double pmet_stats_flop(const struct pmet_config *c, const struct pmet_stats *stats);
/* The update of a matrix [d, f] by Cholesky for n facts: the sum, its factor, two triangular solves, the
 * residual that is checked, the update. */
double pmet_solve_flop(size_t f, size_t d, size_t n);
/* Bytes that the update of a matrix [d, f] holds at most: C and, but for conjugate gradients, a second such matrix;
 * keys and solutions; current outputs, residuals and the update. */
double pmet_solve_bytes(enum pmet_solver solver, size_t f, size_t d, size_t n);

#ifdef __cplusplus
}
#endif
#endif

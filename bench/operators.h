/* SPDX-License-Identifier: MIT
 * Every operator of a table beside what its device can do at most. */
#ifndef PMET_BENCH_OPERATORS_H
#define PMET_BENCH_OPERATORS_H

#include "ref/model/model.h"

/* A line: seconds, the rate in unit, and its share of the peak if that is known. amount: bytes
 * where unit is "GB/s", operations where it is "TFLOP/s"; peak a second. */
void bench_row(const char *what, double seconds, double amount, const char *unit, double peak);

/* A line an operator, at n_tok tokens and the model's dimensions; not all: products with weights
 * alone. product_peak: of the units that multiply by these. */
void bench_operators(const struct pmet_model *model, size_t n_tok, double product_peak, bool all);

#endif

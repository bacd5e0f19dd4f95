/* SPDX-License-Identifier: MIT
 * Everything a forward pass computes of each token, so that two ways of running the same rows can
 * be compared bit for bit. */
#ifndef PMET_TESTS_TRACE_H
#define PMET_TESTS_TRACE_H

#include "ref/facts/rows.h"
#include "ref/model/model.h"
#include "tests/test.h"

/* A line of `width` reals a token, in the order of the rows: of each block its input, attention's
 * merged heads and output, its key and the FFN's output; then the logits. */
struct trace {
    size_t n_tok, width;
    real *x;
};

/* Rows order[0..n) of `row`, packed in this order (NULL: as they are). cut, if not NULL: the first
 * cut[j] tokens of row j go first, all rows together, and leave keys and values; the rest follows
 * with these as its past. Rows that are not in `order` have lines of 0. */
bool trace_rows(struct test *t, const struct pmet_model *model, const struct pmet_row *row, size_t n_row,
                const size_t *order, size_t n, const size_t *cut, struct trace *out);

/* n rows of random ids and of the given lengths. */
struct pmet_row *made_lines(struct test *t, struct test_rng *rng, const struct pmet_model *model,
                            const size_t *length, size_t n);

#endif

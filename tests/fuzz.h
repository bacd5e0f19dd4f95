/* SPDX-License-Identifier: MIT
 * Damaged files, the same ones on every machine: bits flipped, bytes replaced by those that mean
 * something to a parser, spans cut out, doubled or moved, the end cut off. */
#ifndef PMET_TESTS_FUZZ_H
#define PMET_TESTS_FUZZ_H

#include "tests/test.h"

/* Writes n_round damaged versions of the n bytes at `text` to a file and has each loaded: `load`
 * frees what it got. Claims that each ends in PMET_OK or in a status with a message of one line.
 * Returns how many were taken. */
size_t fuzz(struct test *t, const char *text, size_t n, size_t n_round, uint64_t seed,
            enum pmet_status (*load)(const char *path, struct pmet_error *err));

#endif

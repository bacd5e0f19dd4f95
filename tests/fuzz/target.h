/* SPDX-License-Identifier: MIT
 * What the targets of `make fuzz` share. A target is one reader: it is given an input, which it puts
 * into a file of the process's own folder, and frees what it got. */
#ifndef PMET_TESTS_FUZZ_TARGET_H
#define PMET_TESTS_FUZZ_TARGET_H

#include <stdlib.h>
#include <string.h>
#include "tensors/io.h"
#include "tensors/safetensors.h"

/* The target: fuzz.c calls it with each input. */
void fuzz_one(const char *data, size_t n);

const char *fuzz_dir(void);
/* Writes DIR/name; the path is valid until the next call. n (size_t)-1: there is no such file. */
const char *fuzz_file(const char *name, const char *data, size_t n);
/* Parts of the input, parted by bytes 0xff, one file for each name; those that are missing are not
 * there. */
void fuzz_files(const char *data, size_t n, const char *const *names, size_t n_name);
void fuzz_copy(const char *from, const char *name); /* a fixed file */

/* Ends the process unless a status other than PMET_OK comes with one line, and PMET_OK with none. */
void fuzz_expect(enum pmet_status status, const struct pmet_error *err);
void fuzz_touch(const void *data, size_t n); /* reads every byte */
void fuzz_touch_all(const struct pmet_tensors *all);

#endif

/* SPDX-License-Identifier: MIT
 * One array as np.save writes it: a file of its own, or a member of an .npz.      SPEC §9.4 */
#ifndef PMET_TENSORS_NPY_H
#define PMET_TENSORS_NPY_H

#include "tensors/safetensors.h"

#define PMET_MAX_NPY_HEADER 4096 /* bytes; numpy writes 128 */

/* The array in n bytes, whose first n_have (all, or PMET_MAX_NPY_HEADER) are at data: t->data points
 * to the elements, NULL where they are not all there; t->name is `name`. *column_major: the elements
 * come first dimension first, for pmet_npy_turn to turn. `path` and `name` (NULL: the file is the
 * array) serve messages. Refused: element types other than <f2, <f4, <f8, <i4, <i8, |u1, |b1, more
 * than PMET_MAX_DIM dimensions, sizes that do not fit the data. */
enum pmet_status pmet_npy_parse(const void *data, size_t n_have, size_t n, const char *path, const char *name,
                                struct pmet_tensor *t, bool *column_major, struct pmet_error *err);
/* Writes the elements of a column-major array to out[t->n_bytes] row-major. */
void pmet_npy_turn(const struct pmet_tensor *t, void *out);

#endif

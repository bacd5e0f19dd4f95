/* SPDX-License-Identifier: MIT
 * Arrays of a numpy .npz file as np.savez writes it: the published second moments come so.
 * SPEC §9.4 */
#ifndef PMET_TENSORS_NPZ_H
#define PMET_TENSORS_NPZ_H

#include "tensors/safetensors.h"

struct pmet_npz;

/* Opens an archive of stored members; compressed ones are refused only when they are asked for. */
enum pmet_status pmet_npz_open(const struct pmet_io *io, const char *path, struct pmet_npz **out,
                               struct pmet_error *err);
void pmet_npz_close(struct pmet_npz *npz); /* accepts NULL; data of its tensors end with it */

/* The array `name` ("mom2.mom2", without ".npy") row-major, whatever its order in the file; t->name
 * is `name` itself. Refused: no such array, a checksum that does not fit, element types other than
 * <f4, <f8, <i8 (F32, F64, I64), more than PMET_MAX_DIM dimensions, sizes that do not fit the
 * data. */
enum pmet_status pmet_npz_find(struct pmet_npz *npz, const char *name, struct pmet_tensor *t,
                               struct pmet_error *err);

#endif

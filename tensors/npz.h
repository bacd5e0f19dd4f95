/* SPDX-License-Identifier: MIT
 * Arrays of a numpy .npz file as np.savez and np.savez_compressed write it: the published second
 * moments come so.
 * SPEC §9.4 */
#ifndef PMET_TENSORS_NPZ_H
#define PMET_TENSORS_NPZ_H

#include "tensors/safetensors.h"

struct pmet_npz;

enum pmet_status pmet_npz_open(const struct pmet_io *io, const char *path, struct pmet_npz **out,
                               struct pmet_error *err);
void pmet_npz_close(struct pmet_npz *npz); /* accepts NULL; data of its tensors end with it */

/* Type and shape of the array `name` ("mom2.mom2", without ".npy"), whose header alone is read;
 * t->name is `name` itself. *crc, unless NULL: the checksum that the archive has of the array.
 * Refused: no such array, encryption, compression other than deflate, types and sizes that
 * pmet_npy_parse refuses. */
enum pmet_status pmet_npz_look(struct pmet_npz *npz, const char *name, struct pmet_tensor *t, uint32_t *crc,
                               struct pmet_error *err);
/* The same with its data, row-major whatever their order in the file, and checked by their
 * checksum. */
enum pmet_status pmet_npz_find(struct pmet_npz *npz, const char *name, struct pmet_tensor *t,
                               struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * What torch.save writes of a dict of tensors (torch 1.6 or later): a zip archive of data.pkl,
 * which says what the tensors are, and of their storages. The file is mapped and nothing of it is
 * run; tensors point into the map.
 *      SPEC §9.12 */
#ifndef PMET_TENSORS_TORCH_BIN_H
#define PMET_TENSORS_TORCH_BIN_H

#include "tensors/safetensors.h"

struct pmet_torch_bin;

/* Every tensor must be contiguous and lie within its storage, and each storage fill its member; two
 * tensors may share one. Reads data.pkl and the archive's directory, not the storages. */
enum pmet_status pmet_torch_bin_open(const struct pmet_io *io, const char *path, struct pmet_torch_bin **out,
                                     struct pmet_error *err);
void pmet_torch_bin_close(struct pmet_torch_bin *b); /* accepts NULL; tensors of b end with it */

const struct pmet_tensors *pmet_torch_bin_all(const struct pmet_torch_bin *b); /* in the dict's order */

#endif

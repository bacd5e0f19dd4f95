/* SPDX-License-Identifier: MIT
 * What torch.save writes of a dict of tensors, as a zip archive or in the form before torch 1.6, by
 * itself or inside another dict ("state_dict"). The file is mapped and nothing of it is run; tensors
 * point into the map, but for views, which are copied.
 *      SPEC §9.12 */
#ifndef PMET_TENSORS_TORCH_BIN_H
#define PMET_TENSORS_TORCH_BIN_H

#include "tensors/safetensors.h"

struct pmet_torch_bin;

/* Every tensor must lie within its storage, and each storage fill its place; two tensors may share
 * one. Reads the pickles and the archive's directory, of the storages only those of views. */
enum pmet_status pmet_torch_bin_open(const struct pmet_io *io, const char *path, struct pmet_torch_bin **out,
                                     struct pmet_error *err);
void pmet_torch_bin_close(struct pmet_torch_bin *b); /* accepts NULL; tensors of b end with it */

const struct pmet_tensors *pmet_torch_bin_all(const struct pmet_torch_bin *b); /* in the dict's order */

#endif

/* SPDX-License-Identifier: MIT
 * Folders: listing, syncing, removing. */
#ifndef PMET_TENSORS_FOLDER_H
#define PMET_TENSORS_FOLDER_H

#include "tensors/io.h"

#ifdef __cplusplus
extern "C" {
#endif

/* fsync of the folder that holds `path`, after a rename in it. */
enum pmet_status pmet_sync_folder_of(const struct pmet_io *io, const char *path, struct pmet_error *err);

/* Names in a folder but "." and "..", sorted; free() each and the array. */
enum pmet_status pmet_list_folder(const char *path, char ***names, size_t *n, struct pmet_error *err);
void pmet_free_names(char **names, size_t n);

/* Removes a folder and all in it, as far as the system lets it. */
void pmet_remove_tree(const struct pmet_io *io, const char *path);

#ifdef __cplusplus
}
#endif
#endif

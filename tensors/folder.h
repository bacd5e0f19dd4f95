/* SPDX-License-Identifier: MIT
 * Folders: names for temporary entries, listing, syncing, removing. */
#ifndef PMET_TENSORS_FOLDER_H
#define PMET_TENSORS_FOLDER_H

#include "tensors/io.h"

#define PMET_MAX_TEMP 100u /* names tried before one gives up */

/* "PATH.KIND-PID-K", which free() releases: the process is the only one to use names with its id; a
 * name that exists is left over from one with the same id that was killed, and the caller tries the
 * next k. */
enum pmet_status pmet_temp_name(const char *path, const char *kind, unsigned k, char **out,
                                struct pmet_error *err);

/* Locks the temporary entry `temp`, just made and opened as fd (or -1, that having failed), until
 * fd is closed: no other process then takes it for a leftover. False with errno, and fd closed,
 * where that fails; EWOULDBLOCK where another process was faster: the caller tries the next name.
 * File systems without locks do without. */
bool pmet_hold_temp(const struct pmet_io *io, const char *temp, int fd);
/* Removes "PATH.tmp-PID-K", files and folders, of processes that were killed: those whose process
 * is not alive on this machine and that nobody holds locked. (*names)[0..*n), NULL and 0 if there
 * was none, are what was removed: pmet_free_names. Never fails: what cannot be looked at or removed
 * stays, and does no harm. */
void pmet_remove_left(const struct pmet_io *io, const char *path, char ***names, size_t *n);

/* fsync of a folder; and of the one that holds `path`, after a rename in it. */
enum pmet_status pmet_sync_folder(const struct pmet_io *io, const char *folder, struct pmet_error *err);
enum pmet_status pmet_sync_folder_of(const struct pmet_io *io, const char *path, struct pmet_error *err);

/* Names in a folder but "." and "..", sorted; free() each and the array. */
enum pmet_status pmet_list_folder(const char *path, char ***names, size_t *n, struct pmet_error *err);
void pmet_free_names(char **names, size_t n);

/* Removes a folder and all in it, as far as the system lets it; symbolic links are removed, not
 * followed. */
void pmet_remove_tree(const struct pmet_io *io, const char *path);

#endif

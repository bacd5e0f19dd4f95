/* SPDX-License-Identifier: MIT
 * Folders: names for temporary entries, listing, syncing, removing. */
#ifndef PMET_TENSORS_FOLDER_H
#define PMET_TENSORS_FOLDER_H

#include "tensors/io.h"

/* A file or folder that is filled under a temporary name beside `path`, "PATH.pmet-tmp-PID-K", and
 * locked until fd is closed: no other process then takes it for what a killed one has left. */
struct pmet_temp {
    const struct pmet_io *io;
    char *path, *temp;
    int fd; /* -1: none */
};
/* Creates t->temp, t->io and t->path being set, and t->fd. `named` is the path of messages. */
enum pmet_status pmet_temp_create(struct pmet_temp *t, bool folder, const char *named,
                                  struct pmet_error *err);
void pmet_temp_free(struct pmet_temp *t); /* closes and frees what is there; removes nothing */

/* The file that says of a folder that it is being filled: gone before the folder gets its name. */
#define PMET_UNFINISHED ".pmet-unfinished"

/* "PATH.pmet-old-PID-K", which free() releases, with the lowest k that is free; NULL with EEXIST if none
 * is. */
enum pmet_status pmet_old_name(const char *path, char **out, struct pmet_error *err);

/* Removes what killed processes have left beside `path` under our two kinds of names: of a process
 * that is not alive on this machine (or has our number: in containers it is often the same one), and
 * that nobody holds locked. A folder must also be one of ours: marked as unfinished, empty, or
 * accepted by `ours` (or NULL). Where `path` itself is gone, what was moved aside gets its name
 * back. (*names)[0..*n), NULL and 0 if there was none, are what was removed: pmet_free_names, after
 * an error too. What cannot be looked at or removed stays, and does no harm: PMET_MEMORY is the only
 * error. */
enum pmet_status pmet_remove_left(const struct pmet_io *io, const char *path, pmet_is_ours *ours,
                                  char ***names, size_t *n, struct pmet_error *err);
/* The same in a folder of ours, beside any name. */
enum pmet_status pmet_remove_left_in(const struct pmet_io *io, const char *folder, char ***names, size_t *n,
                                     struct pmet_error *err);

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

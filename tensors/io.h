/* SPDX-License-Identifier: MIT
 * Every call to the system that reads or writes files goes through one table, so that tests can
 * make call k fail with ENOSPC, EROFS or EIO. Programs pass pmet_io_system(). Each entry behaves as
 * the system call of its name: -1 (or MAP_FAILED) and errno on failure. */
#ifndef PMET_TENSORS_IO_H
#define PMET_TENSORS_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "tensors/status.h"

struct pmet_io {
    void *user; /* handed to each entry */
    int (*open)(void *user, const char *path, int flags, unsigned mode);
    ssize_t (*read)(void *user, int fd, void *buf, size_t n);
    ssize_t (*write)(void *user, int fd, const void *buf, size_t n);
    ssize_t (*copy_range)(void *user, int fd_in, int fd_out, size_t n); /* copy_file_range at both offsets */
    int (*fsync)(void *user, int fd);
    int (*close)(void *user, int fd);
    int (*size)(void *user, int fd, uint64_t *n_bytes); /* EISDIR or EINVAL if not a regular file */
    void *(*map)(void *user, int fd, size_t n_bytes);   /* whole file, read-only, private */
    int (*unmap)(void *user, void *p, size_t n_bytes);
    int (*truncate)(void *user, int fd, uint64_t n_bytes);
    int (*lock)(void *user, int fd); /* for this process alone, until close; EWOULDBLOCK if another has it */
    int (*rename)(void *user, const char *from, const char *to);
    int (*exchange)(void *user, const char *a, const char *b); /* two names, at one moment */
    int (*link)(void *user, const char *from, const char *to); /* follows `from` if it is a symbolic link */
    int (*mkdir)(void *user, const char *path, unsigned mode);
    int (*unlink)(void *user, const char *path);
    int (*rmdir)(void *user, const char *path);
};

const struct pmet_io *pmet_io_system(void);

/* The whole file, NUL-terminated (the NUL is not counted), in *data, which free() releases. Refused
 * above max_bytes. path "-" is standard input. */
enum pmet_status pmet_read_file(const struct pmet_io *io, const char *path, size_t max_bytes, char **data,
                                size_t *n_bytes, struct pmet_error *err);

/* The whole file mapped read-only; *p NULL where it is empty. io's unmap ends it. */
enum pmet_status pmet_map_file(const struct pmet_io *io, const char *path, void **p, size_t *n_bytes,
                               struct pmet_error *err);

/* All n bytes to fd, however many the system takes at a time. `path` serves the message. */
enum pmet_status pmet_write_all(const struct pmet_io *io, int fd, const void *data, size_t n,
                                const char *path, struct pmet_error *err);

/* Of a mapped file these n bytes will be read, and few around them: the system fetches their pages
 * now, instead of the megabytes around each that it would fetch when it is touched. A hint: it
 * cannot fail. */
void pmet_will_read(const void *mapped, size_t n);

double pmet_seconds(void); /* of a clock that only goes forward */

/* "a/b" in a fresh string that free() releases. */
enum pmet_status pmet_path_join(const char *a, const char *b, char **out, struct pmet_error *err);

/* A file being written under a temporary name in the folder of `path`; it appears under `path` only
 * at commit, after fsync of the file and of its folder. Writing is buffered. Exactly one of commit
 * and discard ends it; a commit that fails has discarded: nothing is left behind, and what `path`
 * held is there as before. discard accepts NULL. A symbolic link at `path` stays: the file it
 * points to is replaced. Anything else there that is not a file is refused. */
struct pmet_out;
enum pmet_status pmet_out_open(const struct pmet_io *io, const char *path, struct pmet_out **out,
                               struct pmet_error *err);
enum pmet_status pmet_out_write(struct pmet_out *out, const void *data, size_t n_bytes,
                                struct pmet_error *err);
enum pmet_status pmet_out_commit(struct pmet_out *out, struct pmet_error *err);
void pmet_out_discard(struct pmet_out *out);

/* Refuses unless the folder `path`, which exists, holds nothing but what the program has made. */
typedef enum pmet_status pmet_is_ours(const struct pmet_io *io, const char *path, struct pmet_error *err);

/* A folder being filled under a temporary name beside `path`, renamed to `path` at commit. If
 * `path` exists, begin refuses ("exists; give --force to replace it"), as commit does if it has
 * appeared since, unless `force` is set and `ours` does not refuse: it is asked at begin, and again
 * at commit, which may be hours later. It may be NULL without force. Then commit exchanges the two folders and removes the old one
 * (if only that last step fails, the new folder stays in place and the error says so); where the
 * file system cannot exchange, it moves the old one aside first. Rules of commit and discard as
 * above; discard removes the temporary folder with all that is in it. A path inside or equal to a
 * folder being read is the caller's to refuse. */
struct pmet_outdir;
enum pmet_status pmet_outdir_begin(const struct pmet_io *io, const char *path, bool force, pmet_is_ours *ours,
                                   struct pmet_outdir **dir, struct pmet_error *err);
const char *pmet_outdir_path(const struct pmet_outdir *dir); /* where to write meanwhile */
/* The temporary folder is locked while it is filled. Begin removes those that killed runs have left
 * beside `path` (pmet_remove_left): the name of the i-th, or NULL. */
const char *pmet_outdir_left(const struct pmet_outdir *dir, size_t i);
enum pmet_status pmet_outdir_commit(struct pmet_outdir *dir, struct pmet_error *err);
void pmet_outdir_discard(struct pmet_outdir *dir);

#endif

/* SPDX-License-Identifier: MIT
 * Folders that appear whole or not at all. */
#include "tensors/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tensors/folder.h"

struct pmet_outdir {
    const struct pmet_io *io;
    char *path, *temp;
    int fd; /* of temp, locked while it is filled */
    bool force;
    char **left; /* [n_left] names that killed runs had left, removed */
    size_t n_left;
};

static void release(struct pmet_outdir *d)
{
    if (d->fd >= 0)
        d->io->close(d->io->user, d->fd);
    pmet_free_names(d->left, d->n_left);
    free(d->path);
    free(d->temp);
    free(d);
}

static enum pmet_status take_path(struct pmet_outdir *d, const char *path, struct pmet_error *err)
{
    struct stat st;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    PMET_TRY(pmet_calloc(&d->path, n + 1, 1, path, err));
    memcpy(d->path, path, n);
    if (lstat(d->path, &st) != 0)
        return PMET_OK;
    if (!d->force)
        return pmet_fail(err, PMET_INPUT, "%s: exists; give --force to replace it", d->path);
    if (!S_ISDIR(st.st_mode))
        return pmet_fail(err, PMET_INPUT,
                         "%s: found something that is not a folder; expected a folder to replace", d->path);
    return PMET_OK;
}

static enum pmet_status create_temp(struct pmet_outdir *d, struct pmet_error *err)
{
    for (unsigned k = 0; k < PMET_MAX_TEMP; k++) {
        free(d->temp);
        d->temp = NULL;
        PMET_TRY(pmet_temp_name(d->path, "tmp", k, &d->temp, err));
        if (d->io->mkdir(d->io->user, d->temp, 0777) == 0) {
            const int fd = d->io->open(d->io->user, d->temp, O_RDONLY | O_DIRECTORY, 0);
            if (pmet_hold_temp(d->io, d->temp, fd)) {
                d->fd = fd;
                return PMET_OK;
            }
            const int code = errno;
            d->io->rmdir(d->io->user, d->temp);
            errno = code;
        }
        if (errno != EEXIST && errno != EWOULDBLOCK)
            break;
    }
    return pmet_fail_errno(err, d->path, "create");
}

enum pmet_status pmet_outdir_begin(const struct pmet_io *io, const char *path, bool force,
                                   struct pmet_outdir **out, struct pmet_error *err)
{
    struct pmet_outdir *d = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&d, 1, sizeof *d, path, err));
    d->io = io;
    d->fd = -1;
    d->force = force;
    PMET_GO(take_path(d, path, err));
    pmet_remove_left(io, d->path, &d->left, &d->n_left);
    PMET_GO(create_temp(d, err));
    *out = d;
    d = NULL;
done:
    if (d)
        release(d);
    return status;
}

const char *pmet_outdir_path(const struct pmet_outdir *d)
{
    return d->temp;
}

const char *pmet_outdir_left(const struct pmet_outdir *d, size_t i)
{
    return i < d->n_left ? d->left[i] : NULL;
}

/* Moves what is at `path` to a free name beside it; *aside stays NULL if there is nothing. Hours
 * may lie between begin and commit: without force, what somebody has put there meanwhile stays. */
static enum pmet_status move_aside(struct pmet_outdir *d, char **aside, struct pmet_error *err)
{
    struct stat st;
    if (lstat(d->path, &st) != 0)
        return PMET_OK;
    if (!d->force)
        return pmet_fail(err, PMET_INPUT, "%s: appeared while this was written; give --force to replace it",
                         d->path);
    for (unsigned k = 0; k < PMET_MAX_TEMP; k++) {
        char *name;
        PMET_TRY(pmet_temp_name(d->path, "old", k, &name, err));
        if (lstat(name, &st) != 0) {
            if (d->io->rename(d->io->user, d->path, name) == 0) {
                *aside = name;
                return PMET_OK;
            }
            pmet_fail_errno(err, d->path, "move aside");
            free(name);
            return PMET_IO;
        }
        free(name);
    }
    errno = EEXIST;
    return pmet_fail_errno(err, d->path, "move aside");
}

/* The new folder takes the old one's place; when it cannot, the old one is put back. */
static enum pmet_status put_in_place(struct pmet_outdir *d, char **aside, struct pmet_error *err)
{
    const struct pmet_io *io = d->io;
    PMET_TRY(pmet_sync_folder(io, d->temp, err));
    PMET_TRY(move_aside(d, aside, err));
    enum pmet_status status = PMET_OK;
    if (io->rename(io->user, d->temp, d->path) != 0)
        status = pmet_fail_errno(err, d->path, "rename");
    else if ((status = pmet_sync_folder_of(io, d->path, err)) != PMET_OK)
        io->rename(io->user, d->path, d->temp);
    if (status != PMET_OK && *aside)
        io->rename(io->user, *aside, d->path);
    return status;
}

enum pmet_status pmet_outdir_commit(struct pmet_outdir *d, struct pmet_error *err)
{
    struct stat st;
    char *aside = NULL;
    enum pmet_status status = put_in_place(d, &aside, err);
    if (status != PMET_OK) {
        pmet_remove_tree(d->io, d->temp);
    } else if (aside) {
        pmet_remove_tree(d->io, aside);
        if (lstat(aside, &st) == 0)
            status =
                pmet_fail(err, PMET_IO, "%s: is written; the folder it replaces could not be removed from %s",
                          d->path, aside);
    }
    free(aside);
    release(d);
    return status;
}

void pmet_outdir_discard(struct pmet_outdir *d)
{
    if (!d)
        return;
    pmet_remove_tree(d->io, d->temp);
    release(d);
}

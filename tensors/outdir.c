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
    struct pmet_temp t;
    bool force;
    char **left; /* [n_left] names that killed runs had left, removed */
    size_t n_left;
};

static void release(struct pmet_outdir *d)
{
    pmet_temp_free(&d->t);
    pmet_free_names(d->left, d->n_left);
    free(d);
}

static enum pmet_status take_path(struct pmet_outdir *d, const char *path, struct pmet_error *err)
{
    struct stat st;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    PMET_TRY(pmet_calloc(&d->t.path, n + 1, 1, path, err));
    memcpy(d->t.path, path, n);
    if (lstat(d->t.path, &st) != 0)
        return PMET_OK;
    if (!d->force)
        return pmet_fail(err, PMET_INPUT, "%s: exists; give --force to replace it", d->t.path);
    if (!S_ISDIR(st.st_mode))
        return pmet_fail(err, PMET_INPUT,
                         "%s: found something that is not a folder; expected a folder to replace", d->t.path);
    return PMET_OK;
}

enum pmet_status pmet_outdir_begin(const struct pmet_io *io, const char *path, bool force,
                                   struct pmet_outdir **out, struct pmet_error *err)
{
    struct pmet_outdir *d = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&d, 1, sizeof *d, path, err));
    d->t = (struct pmet_temp){.io = io, .fd = -1};
    d->force = force;
    PMET_GO(take_path(d, path, err));
    PMET_GO(pmet_remove_left(io, d->t.path, &d->left, &d->n_left, err));
    PMET_GO(pmet_temp_create(&d->t, true, d->t.path, err));
    *out = d;
    d = NULL;
done:
    if (d)
        release(d);
    return status;
}

const char *pmet_outdir_path(const struct pmet_outdir *d)
{
    return d->t.temp;
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
    if (lstat(d->t.path, &st) != 0)
        return PMET_OK;
    if (!d->force)
        return pmet_fail(err, PMET_INPUT, "%s: appeared while this was written; give --force to replace it",
                         d->t.path);
    PMET_TRY(pmet_old_name(d->t.path, aside, err));
    if (*aside && d->t.io->rename(d->t.io->user, d->t.path, *aside) == 0)
        return PMET_OK;
    pmet_fail_errno(err, d->t.path, "move aside");
    free(*aside);
    *aside = NULL;
    return PMET_IO;
}

/* The new folder takes the old one's place; when it cannot, the old one is put back. */
static enum pmet_status put_in_place(struct pmet_outdir *d, char **aside, struct pmet_error *err)
{
    const struct pmet_io *io = d->t.io;
    PMET_TRY(pmet_sync_folder(io, d->t.temp, err));
    PMET_TRY(move_aside(d, aside, err));
    enum pmet_status status = PMET_OK;
    if (io->rename(io->user, d->t.temp, d->t.path) != 0)
        status = pmet_fail_errno(err, d->t.path, "rename");
    else if ((status = pmet_sync_folder_of(io, d->t.path, err)) != PMET_OK)
        io->rename(io->user, d->t.path, d->t.temp);
    if (status != PMET_OK && *aside)
        io->rename(io->user, *aside, d->t.path);
    return status;
}

enum pmet_status pmet_outdir_commit(struct pmet_outdir *d, struct pmet_error *err)
{
    struct stat st;
    char *aside = NULL;
    enum pmet_status status = put_in_place(d, &aside, err);
    if (status != PMET_OK) {
        pmet_remove_tree(d->t.io, d->t.temp);
    } else if (aside) {
        pmet_remove_tree(d->t.io, aside);
        if (lstat(aside, &st) == 0)
            status =
                pmet_fail(err, PMET_IO, "%s: is written; the folder it replaces could not be removed from %s",
                          d->t.path, aside);
    }
    free(aside);
    release(d);
    return status;
}

void pmet_outdir_discard(struct pmet_outdir *d)
{
    if (!d)
        return;
    pmet_remove_tree(d->t.io, d->t.temp);
    release(d);
}

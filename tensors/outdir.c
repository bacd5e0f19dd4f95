/* SPDX-License-Identifier: MIT
 * Folders that appear whole or not at all. */
#include "tensors/io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tensors/folder.h"

struct pmet_outdir {
    const struct pmet_io *io;
    char *path, *temp, *aside; /* aside: where an old folder waits until the new one is in place */
};

static void release(struct pmet_outdir *d)
{
    free(d->path);
    free(d->temp);
    free(d->aside);
    free(d);
}

static enum pmet_status name_them(struct pmet_outdir *d, const char *path, struct pmet_error *err)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    PMET_TRY(pmet_calloc(&d->path, n + 1, 1, path, err));
    memcpy(d->path, path, n);
    PMET_TRY(pmet_calloc(&d->temp, n + 32, 1, path, err));
    snprintf(d->temp, n + 32, "%s.tmp-%ld", d->path, (long)getpid());
    PMET_TRY(pmet_calloc(&d->aside, n + 32, 1, path, err));
    snprintf(d->aside, n + 32, "%s.old-%ld", d->path, (long)getpid());
    return PMET_OK;
}

enum pmet_status pmet_outdir_begin(const struct pmet_io *io, const char *path, bool force,
                                   struct pmet_outdir **out, struct pmet_error *err)
{
    struct pmet_outdir *d = NULL;
    struct stat st;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&d, 1, sizeof *d, path, err));
    d->io = io;
    PMET_GO(name_them(d, path, err));
    if (!force && lstat(d->path, &st) == 0) {
        status = pmet_fail(err, PMET_INPUT, "%s: exists; give --force to replace it", d->path);
        goto done;
    }
    if (io->mkdir(io->user, d->temp, 0777) != 0) {
        status = pmet_fail_errno(err, d->path, "create");
        goto done;
    }
    *out = d;
    return PMET_OK;
done:
    if (d)
        release(d);
    return status;
}

const char *pmet_outdir_path(const struct pmet_outdir *d)
{
    return d->temp;
}

/* The new folder takes the old one's place; when it cannot, the old one is put back. */
static enum pmet_status replace(struct pmet_outdir *d, struct pmet_error *err)
{
    const struct pmet_io *io = d->io;
    struct stat st;
    const bool old = lstat(d->path, &st) == 0;
    if (old && io->rename(io->user, d->path, d->aside) != 0)
        return pmet_fail_errno(err, d->path, "move aside");
    enum pmet_status status = PMET_OK;
    if (io->rename(io->user, d->temp, d->path) != 0)
        status = pmet_fail_errno(err, d->path, "rename");
    else if ((status = pmet_sync_folder_of(io, d->path, err)) != PMET_OK)
        rename(d->path, d->temp);
    if (status != PMET_OK) {
        if (old)
            rename(d->aside, d->path);
        return status;
    }
    if (old &&
        (!S_ISDIR(st.st_mode) ? io->unlink(io->user, d->aside) : (pmet_remove_tree(io, d->aside), 0)) != 0)
        return pmet_fail_errno(err, d->aside, "remove");
    return PMET_OK;
}

enum pmet_status pmet_outdir_commit(struct pmet_outdir *d, struct pmet_error *err)
{
    const enum pmet_status status = replace(d, err);
    if (status != PMET_OK)
        pmet_outdir_discard(d);
    else
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

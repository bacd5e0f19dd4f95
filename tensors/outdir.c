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
    pmet_is_ours *ours;
    char **left; /* [n_left] names that killed runs had left, removed */
    size_t n_left;
};

static void release(struct pmet_outdir *d)
{
    pmet_temp_free(&d->t);
    pmet_free_names(d->left, d->n_left);
    free(d);
}

/* The path without slashes and dots at its end: a name beside "out/." would lie inside it. */
static enum pmet_status take_path(struct pmet_outdir *d, const char *path, struct pmet_error *err)
{
    size_t n = strlen(path);
    while ((n > 1 && path[n - 1] == '/') || (n > 2 && path[n - 1] == '.' && path[n - 2] == '/'))
        n--;
    PMET_TRY(pmet_calloc(&d->t.path, n + 1, 1, path, err));
    memcpy(d->t.path, path, n);
    if (strcmp(d->t.path, ".") != 0 && strcmp(d->t.path, "..") != 0 && !pmet_ends_with(d->t.path, "/.."))
        return PMET_OK;
    char *real = realpath(d->t.path, NULL);
    if (!real)
        return pmet_fail_errno(err, path, "open");
    free(d->t.path);
    d->t.path = real;
    return PMET_OK;
}

/* Whether something is at `path`, which is refused unless it may be replaced. `otherwise` is what to
 * say without force. */
static enum pmet_status look(const struct pmet_outdir *d, const char *otherwise, bool *there,
                             struct pmet_error *err)
{
    struct stat st;
    *there = lstat(d->t.path, &st) == 0;
    if (!*there)
        return PMET_OK;
    if (!S_ISDIR(st.st_mode))
        return pmet_fail(err, PMET_INPUT, "%s: found %s; expected a folder to replace, or a free name",
                         d->t.path,
                         S_ISLNK(st.st_mode)   ? "a symbolic link"
                         : S_ISREG(st.st_mode) ? "a file"
                                               : "something that is not a folder");
    return d->force ? d->ours(d->t.io, d->t.path, err)
                    : pmet_fail(err, PMET_INPUT, "%s: %s; give --force to replace it", d->t.path, otherwise);
}

/* The mark of a folder that is being filled, or removed: what a killed run leaves is known by it. */
static enum pmet_status mark(const struct pmet_outdir *d, const char *folder, bool set,
                             struct pmet_error *err)
{
    const struct pmet_io *io = d->t.io;
    enum pmet_status status = PMET_OK;
    char *path;
    PMET_TRY(pmet_path_join(folder, PMET_UNFINISHED, &path, err));
    if (set) {
        const int fd = io->open(io->user, path, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (fd < 0)
            status = pmet_fail_errno(err, path, "create");
        else
            io->close(io->user, fd);
    } else if (io->unlink(io->user, path) != 0) {
        status = pmet_fail_errno(err, path, "remove");
    }
    free(path);
    return status;
}

enum pmet_status pmet_outdir_begin(const struct pmet_io *io, const char *path, bool force, pmet_is_ours *ours,
                                   struct pmet_outdir **out, struct pmet_error *err)
{
    struct pmet_outdir *d = NULL;
    enum pmet_status status;
    bool there;
    PMET_GO(pmet_calloc(&d, 1, sizeof *d, path, err));
    d->t = (struct pmet_temp){.io = io, .fd = -1};
    d->force = force;
    d->ours = ours;
    PMET_GO(take_path(d, path, err));
    PMET_GO(pmet_remove_left(io, d->t.path, ours, &d->left, &d->n_left, err));
    PMET_GO(look(d, "exists", &there, err));
    PMET_GO(pmet_temp_create(&d->t, true, d->t.path, err));
    if ((status = mark(d, d->t.temp, true, err)) != PMET_OK) {
        pmet_remove_tree(io, d->t.temp);
        goto done;
    }
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

/* How far the new folder has come. */
struct placing {
    bool moved;     /* it has its name */
    bool exchanged; /* and the old one the temporary name */
    char *aside;    /* or this one, where the file system exchanges no names */
};

static bool exchanges(const struct pmet_outdir *d, struct placing *p)
{
    p->exchanged = p->moved = d->t.io->exchange(d->t.io->user, d->t.temp, d->t.path) == 0;
    return p->moved || (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP && errno != EXDEV);
}

static enum pmet_status step_aside(struct pmet_outdir *d, struct placing *p, struct pmet_error *err)
{
    PMET_TRY(pmet_old_name(d->t.path, &p->aside, err));
    if (p->aside && d->t.io->rename(d->t.io->user, d->t.path, p->aside) == 0)
        return PMET_OK;
    pmet_fail_errno(err, d->t.path, "move aside");
    free(p->aside);
    p->aside = NULL;
    return PMET_IO;
}

static enum pmet_status place(struct pmet_outdir *d, struct placing *p, struct pmet_error *err)
{
    const struct pmet_io *io = d->t.io;
    bool there;
    PMET_TRY(mark(d, d->t.temp, false, err));
    PMET_TRY(pmet_sync_folder(io, d->t.temp, err));
    PMET_TRY(look(d, "appeared while this was written", &there, err));
    if (there && exchanges(d, p)) {
        if (!p->moved)
            return pmet_fail_errno(err, d->t.path, "exchange");
    } else {
        if (there)
            PMET_TRY(step_aside(d, p, err));
        if (io->rename(io->user, d->t.temp, d->t.path) != 0)
            return pmet_fail_errno(err, d->t.path, "rename");
        p->moved = true;
    }
    return pmet_sync_folder_of(io, d->t.path, err);
}

/* The old folder under its name, the new one under the temporary one. */
static void undo(const struct pmet_outdir *d, const struct placing *p)
{
    const struct pmet_io *io = d->t.io;
    if (p->exchanged)
        io->exchange(io->user, d->t.temp, d->t.path);
    else if (p->moved)
        io->rename(io->user, d->t.path, d->t.temp);
    if (p->aside)
        io->rename(io->user, p->aside, d->t.path);
}

enum pmet_status pmet_outdir_commit(struct pmet_outdir *d, struct pmet_error *err)
{
    struct stat st;
    struct placing p = {false, false, NULL};
    enum pmet_status status = place(d, &p, err);
    const char *old = p.exchanged ? d->t.temp : p.aside;
    if (status != PMET_OK) {
        undo(d, &p);
        pmet_remove_tree(d->t.io, d->t.temp);
    } else if (old) {
        struct pmet_error ignored = {PMET_OK, ""};
        mark(d, old, true, &ignored);
        pmet_remove_tree(d->t.io, old);
        if (lstat(old, &st) == 0)
            status =
                pmet_fail(err, PMET_IO, "%s: is written; the folder it replaces could not be removed from %s",
                          d->t.path, old);
    }
    free(p.aside);
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

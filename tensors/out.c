/* SPDX-License-Identifier: MIT
 * Files that appear whole or not at all. */
#include "tensors/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tensors/folder.h"

#define BUFFER 65536

struct pmet_out {
    struct pmet_temp t;
    char *before; /* a second name of what `path` held, while it may have to be put back; or NULL */
    size_t n;
    unsigned char buffer[BUFFER];
};

static void release(struct pmet_out *o)
{
    pmet_temp_free(&o->t);
    free(o->before);
    free(o);
}

/* The name to write to: `path`, or what a symbolic link there points to. */
static enum pmet_status take_path(struct pmet_out *o, const char *path, struct pmet_error *err)
{
    struct stat st;
    PMET_TRY(pmet_copy_text(path, &o->t.path, path, err));
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
        char *real = realpath(path, NULL);
        if (!real)
            return pmet_fail_errno(err, path, "follow the link");
        free(o->t.path);
        o->t.path = real;
    }
    if (stat(o->t.path, &st) == 0 && !S_ISREG(st.st_mode))
        return pmet_fail(err, PMET_INPUT, "%s: found %s; expected a file or a free name", path,
                         S_ISDIR(st.st_mode) ? "a folder" : "something that is not a file");
    return PMET_OK;
}

enum pmet_status pmet_out_open(const struct pmet_io *io, const char *path, struct pmet_out **out,
                               struct pmet_error *err)
{
    struct pmet_out *o = NULL;
    char **left = NULL;
    size_t n_left = 0;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&o, 1, sizeof *o, path, err));
    o->t = (struct pmet_temp){.io = io, .fd = -1};
    PMET_GO(take_path(o, path, err));
    PMET_GO(pmet_remove_left(io, o->t.path, NULL, &left, &n_left, err));
    PMET_GO(pmet_temp_create(&o->t, false, path, err));
    *out = o;
    o = NULL;
done:
    pmet_free_names(left, n_left);
    if (o)
        release(o);
    return status;
}

static enum pmet_status flush(struct pmet_out *o, struct pmet_error *err)
{
    const size_t n = o->n;
    o->n = 0;
    return pmet_write_all(o->t.io, o->t.fd, o->buffer, n, o->t.path, err);
}

enum pmet_status pmet_out_write(struct pmet_out *o, const void *data, size_t n_bytes, struct pmet_error *err)
{
    if (n_bytes == 0)
        return PMET_OK;
    if (n_bytes > BUFFER - o->n)
        PMET_TRY(flush(o, err));
    if (n_bytes >= BUFFER)
        return pmet_write_all(o->t.io, o->t.fd, data, n_bytes, o->t.path, err);
    memcpy(o->buffer + o->n, data, n_bytes);
    o->n += n_bytes;
    return PMET_OK;
}

/* Gives what `path` holds a second name. File systems without hard links do without: there a sync
 * of the folder that fails after the rename leaves the new file, whole, in place. */
static enum pmet_status keep_before(struct pmet_out *o, struct pmet_error *err)
{
    struct stat st;
    if (lstat(o->t.path, &st) != 0)
        return PMET_OK;
    PMET_TRY(pmet_old_name(o->t.path, &o->before, err));
    if (o->before && o->t.io->link(o->t.io->user, o->t.path, o->before) == 0)
        return PMET_OK;
    const int code = errno;
    free(o->before);
    o->before = NULL;
    errno = code;
    if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EMLINK || errno == EACCES)
        return PMET_OK;
    return pmet_fail_errno(err, o->t.path, "link");
}

/* From the closed temporary file to `path`. */
static enum pmet_status put_in_place(struct pmet_out *o, struct pmet_error *err)
{
    const struct pmet_io *io = o->t.io;
    struct stat st;
    const bool fresh = lstat(o->t.path, &st) != 0;
    PMET_TRY(keep_before(o, err));
    enum pmet_status status = PMET_OK;
    if (io->rename(io->user, o->t.temp, o->t.path) != 0)
        status = pmet_fail_errno(err, o->t.path, "rename");
    else if ((status = pmet_sync_folder_of(io, o->t.path, err)) != PMET_OK) {
        /* it may not survive a power cut: then it must not be taken for written */
        if (o->before && io->rename(io->user, o->before, o->t.path) == 0)
            return status;
        if (fresh)
            io->unlink(io->user, o->t.path);
    }
    if (o->before)
        io->unlink(io->user, o->before);
    return status;
}

enum pmet_status pmet_out_commit(struct pmet_out *o, struct pmet_error *err)
{
    const struct pmet_io *io = o->t.io;
    enum pmet_status status = flush(o, err);
    if (status == PMET_OK && io->fsync(io->user, o->t.fd) != 0)
        status = pmet_fail_errno(err, o->t.path, "sync");
    const int fd = o->t.fd;
    o->t.fd = -1;
    if (io->close(io->user, fd) != 0 && status == PMET_OK)
        status = pmet_fail_errno(err, o->t.path, "close");
    if (status == PMET_OK)
        status = put_in_place(o, err);
    if (status != PMET_OK)
        io->unlink(io->user, o->t.temp);
    release(o);
    return status;
}

void pmet_out_discard(struct pmet_out *o)
{
    if (!o)
        return;
    if (o->t.fd >= 0)
        o->t.io->close(o->t.io->user, o->t.fd);
    o->t.io->unlink(o->t.io->user, o->t.temp);
    release(o);
}

/* SPDX-License-Identifier: MIT
 * Files that appear whole or not at all. */
#include "tensors/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tensors/folder.h"

#define BUFFER 65536

struct pmet_out {
    const struct pmet_io *io;
    char *path, *temp;
    int fd;
    size_t n;
    unsigned char buffer[BUFFER];
};

/* "PATH.tmp-PID": the process is the only writer of its outputs. */
static enum pmet_status temp_name(const char *path, char **out, struct pmet_error *err)
{
    const size_t n = strlen(path) + 32;
    PMET_TRY(pmet_calloc(out, n, 1, path, err));
    snprintf(*out, n, "%s.tmp-%ld", path, (long)getpid());
    return PMET_OK;
}

enum pmet_status pmet_sync_folder_of(const struct pmet_io *io, const char *path, struct pmet_error *err)
{
    const char *slash = strrchr(path, '/');
    char *folder;
    PMET_TRY(pmet_calloc(&folder, strlen(path) + 2, 1, path, err));
    if (slash)
        memcpy(folder, path, slash == path ? 1 : (size_t)(slash - path));
    else
        folder[0] = '.';
    enum pmet_status status = PMET_OK;
    const int fd = io->open(io->user, folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        status = pmet_fail_errno(err, folder, "open");
    } else {
        if (io->fsync(io->user, fd) != 0)
            status = pmet_fail_errno(err, folder, "sync");
        io->close(io->user, fd);
    }
    free(folder);
    return status;
}

enum pmet_status pmet_out_open(const struct pmet_io *io, const char *path, struct pmet_out **out,
                               struct pmet_error *err)
{
    struct pmet_out *o = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&o, 1, sizeof *o, path, err));
    o->io = io;
    o->fd = -1;
    PMET_GO(pmet_calloc(&o->path, strlen(path) + 1, 1, path, err));
    memcpy(o->path, path, strlen(path));
    PMET_GO(temp_name(path, &o->temp, err));
    o->fd = io->open(io->user, o->temp, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (o->fd < 0) {
        status = pmet_fail_errno(err, path, "create");
        goto done;
    }
    *out = o;
    return PMET_OK;
done:
    if (o) {
        free(o->path);
        free(o->temp);
    }
    free(o);
    return status;
}

static enum pmet_status write_through(struct pmet_out *o, const unsigned char *data, size_t n,
                                      struct pmet_error *err)
{
    while (n > 0) {
        const ssize_t put = o->io->write(o->io->user, o->fd, data, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            if (put == 0)
                errno = EIO;
            return pmet_fail_errno(err, o->path, "write");
        }
        data += put;
        n -= (size_t)put;
    }
    return PMET_OK;
}

static enum pmet_status flush(struct pmet_out *o, struct pmet_error *err)
{
    const size_t n = o->n;
    o->n = 0;
    return write_through(o, o->buffer, n, err);
}

enum pmet_status pmet_out_write(struct pmet_out *o, const void *data, size_t n_bytes, struct pmet_error *err)
{
    if (n_bytes == 0)
        return PMET_OK;
    if (o->n + n_bytes > BUFFER)
        PMET_TRY(flush(o, err));
    if (n_bytes >= BUFFER)
        return write_through(o, data, n_bytes, err);
    memcpy(o->buffer + o->n, data, n_bytes);
    o->n += n_bytes;
    return PMET_OK;
}

static void release(struct pmet_out *o)
{
    free(o->path);
    free(o->temp);
    free(o);
}

enum pmet_status pmet_out_commit(struct pmet_out *o, struct pmet_error *err)
{
    const struct pmet_io *io = o->io;
    enum pmet_status status = flush(o, err);
    if (status == PMET_OK && io->fsync(io->user, o->fd) != 0)
        status = pmet_fail_errno(err, o->path, "sync");
    const int fd = o->fd;
    o->fd = -1;
    if (io->close(io->user, fd) != 0 && status == PMET_OK)
        status = pmet_fail_errno(err, o->path, "close");
    if (status == PMET_OK && io->rename(io->user, o->temp, o->path) != 0)
        status = pmet_fail_errno(err, o->path, "rename");
    if (status != PMET_OK) {
        pmet_out_discard(o);
        return status;
    }
    status = pmet_sync_folder_of(io, o->path, err);
    if (status != PMET_OK) /* it may not survive a power cut: then it must not be taken for written */
        io->unlink(io->user, o->path);
    release(o);
    return status;
}

void pmet_out_discard(struct pmet_out *o)
{
    if (!o)
        return;
    if (o->fd >= 0)
        o->io->close(o->io->user, o->fd);
    o->io->unlink(o->io->user, o->temp);
    release(o);
}

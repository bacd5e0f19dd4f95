/* SPDX-License-Identifier: MIT */
#include "tests/fault.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

static bool fails(struct fault *f, const char *call)
{
    if (f->n_call++ != f->k)
        return false;
    f->fired = true;
    f->call = call;
    errno = f->err;
    return true;
}

static size_t at_most(const struct fault *f, size_t n)
{
    return f->max_bytes != 0 && n > f->max_bytes ? f->max_bytes : n;
}

static int fault_open(void *user, const char *path, int flags, unsigned mode)
{
    return fails(user, "open") ? -1 : pmet_io_system()->open(NULL, path, flags, mode);
}

static ssize_t fault_read(void *user, int fd, void *buf, size_t n)
{
    return fails(user, "read") ? -1 : pmet_io_system()->read(NULL, fd, buf, at_most(user, n));
}

static ssize_t fault_write(void *user, int fd, const void *buf, size_t n)
{
    return fails(user, "write") ? -1 : pmet_io_system()->write(NULL, fd, buf, at_most(user, n));
}

static ssize_t fault_copy_range(void *user, int in, int out, size_t n)
{
    struct fault *f = user;
    if (f->no_copy_range) {
        errno = EXDEV;
        return -1;
    }
    return fails(f, "copy_range") ? -1 : pmet_io_system()->copy_range(NULL, in, out, at_most(f, n));
}

static int fault_fsync(void *user, int fd)
{
    return fails(user, "fsync") ? -1 : pmet_io_system()->fsync(NULL, fd);
}

static int fault_close(void *user, int fd)
{
    (void)user;
    return pmet_io_system()->close(NULL, fd);
}

static int fault_size(void *user, int fd, uint64_t *n_bytes)
{
    return fails(user, "size") ? -1 : pmet_io_system()->size(NULL, fd, n_bytes);
}

static void *fault_map(void *user, int fd, size_t n_bytes)
{
    return fails(user, "map") ? MAP_FAILED : pmet_io_system()->map(NULL, fd, n_bytes);
}

static int fault_unmap(void *user, void *p, size_t n_bytes)
{
    (void)user;
    return pmet_io_system()->unmap(NULL, p, n_bytes);
}

static int fault_truncate(void *user, int fd, uint64_t n_bytes)
{
    return fails(user, "truncate") ? -1 : pmet_io_system()->truncate(NULL, fd, n_bytes);
}

static int fault_lock(void *user, int fd)
{
    return fails(user, "lock") ? -1 : pmet_io_system()->lock(NULL, fd);
}

static int fault_rename(void *user, const char *from, const char *to)
{
    return fails(user, "rename") ? -1 : pmet_io_system()->rename(NULL, from, to);
}

static int fault_exchange(void *user, const char *a, const char *b)
{
    return fails(user, "exchange") ? -1 : pmet_io_system()->exchange(NULL, a, b);
}

static int fault_link(void *user, const char *from, const char *to)
{
    return fails(user, "link") ? -1 : pmet_io_system()->link(NULL, from, to);
}

static int fault_mkdir(void *user, const char *path, unsigned mode)
{
    return fails(user, "mkdir") ? -1 : pmet_io_system()->mkdir(NULL, path, mode);
}

static int fault_unlink(void *user, const char *path)
{
    (void)user;
    return pmet_io_system()->unlink(NULL, path);
}

static int fault_rmdir(void *user, const char *path)
{
    (void)user;
    return pmet_io_system()->rmdir(NULL, path);
}

void fault_begin(struct fault *f, size_t k, int err)
{
    *f = (struct fault){.k = k, .err = err};
    f->io = (struct pmet_io){.user = f,
                             .open = fault_open,
                             .read = fault_read,
                             .write = fault_write,
                             .copy_range = fault_copy_range,
                             .fsync = fault_fsync,
                             .close = fault_close,
                             .size = fault_size,
                             .map = fault_map,
                             .unmap = fault_unmap,
                             .truncate = fault_truncate,
                             .lock = fault_lock,
                             .rename = fault_rename,
                             .exchange = fault_exchange,
                             .link = fault_link,
                             .mkdir = fault_mkdir,
                             .unlink = fault_unlink,
                             .rmdir = fault_rmdir};
}

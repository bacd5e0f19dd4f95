/* SPDX-License-Identifier: MIT
 * The system's calls behind the table, and whole files read through it. */
#include "tensors/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int sys_open(void *user, const char *path, int flags, unsigned mode)
{
    (void)user;
    return open(path, flags | O_CLOEXEC, mode);
}

static ssize_t sys_read(void *user, int fd, void *buf, size_t n)
{
    (void)user;
    return read(fd, buf, n);
}

static ssize_t sys_write(void *user, int fd, const void *buf, size_t n)
{
    (void)user;
    return write(fd, buf, n);
}

static ssize_t sys_copy_range(void *user, int fd_in, int fd_out, size_t n)
{
    (void)user;
    return copy_file_range(fd_in, NULL, fd_out, NULL, n, 0);
}

static int sys_fsync(void *user, int fd)
{
    (void)user;
    return fsync(fd);
}

static int sys_close(void *user, int fd)
{
    (void)user;
    return close(fd);
}

static int sys_size(void *user, int fd, uint64_t *n_bytes)
{
    struct stat st;
    (void)user;
    if (fstat(fd, &st) != 0)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    *n_bytes = (uint64_t)st.st_size;
    return 0;
}

static void *sys_map(void *user, int fd, size_t n_bytes)
{
    (void)user;
    return mmap(NULL, n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
}

static int sys_unmap(void *user, void *p, size_t n_bytes)
{
    (void)user;
    return munmap(p, n_bytes);
}

static int sys_truncate(void *user, int fd, uint64_t n_bytes)
{
    (void)user;
    return ftruncate(fd, (off_t)n_bytes);
}

static int sys_lock(void *user, int fd)
{
    (void)user;
    return flock(fd, LOCK_EX | LOCK_NB);
}

static int sys_rename(void *user, const char *from, const char *to)
{
    (void)user;
    return rename(from, to);
}

static int sys_link(void *user, const char *from, const char *to)
{
    (void)user;
    return linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
}

static int sys_mkdir(void *user, const char *path, unsigned mode)
{
    (void)user;
    return mkdir(path, mode);
}

static int sys_unlink(void *user, const char *path)
{
    (void)user;
    return unlink(path);
}

static int sys_rmdir(void *user, const char *path)
{
    (void)user;
    return rmdir(path);
}

const struct pmet_io *pmet_io_system(void)
{
    static const struct pmet_io io = {.open = sys_open,
                                      .read = sys_read,
                                      .write = sys_write,
                                      .copy_range = sys_copy_range,
                                      .fsync = sys_fsync,
                                      .close = sys_close,
                                      .size = sys_size,
                                      .map = sys_map,
                                      .unmap = sys_unmap,
                                      .truncate = sys_truncate,
                                      .lock = sys_lock,
                                      .rename = sys_rename,
                                      .link = sys_link,
                                      .mkdir = sys_mkdir,
                                      .unlink = sys_unlink,
                                      .rmdir = sys_rmdir};
    return &io;
}

/* Appends what fd still gives to *data; grows as it goes, so that pipes work, too. */
static enum pmet_status read_all(const struct pmet_io *io, int fd, const char *path, size_t max_bytes,
                                 char **data, size_t *n_bytes, struct pmet_error *err)
{
    size_t cap = 65536, n = 0;
    char *buf = malloc(cap);
    if (!buf)
        return pmet_fail_memory(err, path, cap);
    for (;;) {
        const ssize_t got = io->read(io->user, fd, buf + n, cap - 1 - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            free(buf);
            return pmet_fail_errno(err, path, "read");
        }
        if (got == 0)
            break;
        n += (size_t)got;
        if (n > max_bytes) {
            free(buf);
            return pmet_fail(err, PMET_FORMAT, "%s: more than %zu bytes; expected at most that", path,
                             max_bytes);
        }
        if (n + 1 == cap) {
            char *grown = realloc(buf, 2 * cap);
            if (!grown) {
                free(buf);
                return pmet_fail_memory(err, path, 2 * cap);
            }
            buf = grown;
            cap *= 2;
        }
    }
    buf[n] = '\0';
    *data = buf;
    *n_bytes = n;
    return PMET_OK;
}

enum pmet_status pmet_read_file(const struct pmet_io *io, const char *path, size_t max_bytes, char **data,
                                size_t *n_bytes, struct pmet_error *err)
{
    if (strcmp(path, "-") == 0)
        return read_all(io, 0, "standard input", max_bytes, data, n_bytes, err);
    const int fd = io->open(io->user, path, O_RDONLY, 0);
    if (fd < 0)
        return pmet_fail_errno(err, path, "open");
    const enum pmet_status status = read_all(io, fd, path, max_bytes, data, n_bytes, err);
    io->close(io->user, fd);
    return status;
}

enum pmet_status pmet_map_file(const struct pmet_io *io, const char *path, void **p, size_t *n_bytes,
                               struct pmet_error *err)
{
    uint64_t n;
    void *mapped = NULL;
    const int fd = io->open(io->user, path, O_RDONLY, 0);
    if (fd < 0)
        return pmet_fail_errno(err, path, "open");
    enum pmet_status status = PMET_OK;
    if (io->size(io->user, fd, &n) != 0)
        status = errno == EINVAL
                     ? pmet_fail(err, PMET_INPUT, "%s: found a pipe or a device; expected a file", path)
                     : pmet_fail_errno(err, path, "size");
    else if (n > 0 && (mapped = io->map(io->user, fd, (size_t)n)) == MAP_FAILED)
        status = pmet_fail_errno(err, path, "map");
    io->close(io->user, fd);
    PMET_TRY(status);
    *p = mapped;
    *n_bytes = (size_t)n;
    return PMET_OK;
}

enum pmet_status pmet_write_all(const struct pmet_io *io, int fd, const void *data, size_t n,
                                const char *path, struct pmet_error *err)
{
    const unsigned char *at = data;
    while (n > 0) {
        const ssize_t put = io->write(io->user, fd, at, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            if (put == 0)
                errno = EIO;
            return pmet_fail_errno(err, path, "write");
        }
        at += put;
        n -= (size_t)put;
    }
    return PMET_OK;
}

enum pmet_status pmet_path_join(const char *a, const char *b, char **out, struct pmet_error *err)
{
    const size_t n = strlen(a) + strlen(b) + 2;
    char *s = malloc(n);
    if (!s)
        return pmet_fail_memory(err, "a path", n);
    snprintf(s, n, "%s%s%s", a, *a && a[strlen(a) - 1] == '/' ? "" : "/", b);
    *out = s;
    return PMET_OK;
}

void pmet_will_read(const void *mapped, size_t n)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = (uintptr_t)mapped + n,
                    at = (uintptr_t)mapped / page * page;
    posix_madvise((void *)at, end - at, POSIX_MADV_WILLNEED);
}

double pmet_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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

enum { CHUNK = 32768, AT_ONCE = 1 << 26 }; /* read, written with one call: a signal is heard in between */

static int regular_size(int fd, uint64_t *n_bytes)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    *n_bytes = (uint64_t)st.st_size;
    return 0;
}

/* An entry of the table is the system's call without `user`. */
#define ENTRY(RESULT, NAME, PARAMETERS, CALL)                                                                \
    static RESULT sys_##NAME PARAMETERS                                                                      \
    {                                                                                                        \
        (void)user;                                                                                          \
        return CALL;                                                                                         \
    }

ENTRY(int, open, (void *user, const char *path, int flags, unsigned mode),
      open(path, flags | O_CLOEXEC, mode))
ENTRY(ssize_t, read, (void *user, int fd, void *buf, size_t n), read(fd, buf, n))
ENTRY(ssize_t, write, (void *user, int fd, const void *buf, size_t n), write(fd, buf, n))
ENTRY(ssize_t, copy_range, (void *user, int in, int out, size_t n),
      copy_file_range(in, NULL, out, NULL, n, 0))
ENTRY(int, fsync, (void *user, int fd), fsync(fd))
ENTRY(int, close, (void *user, int fd), close(fd))
ENTRY(int, size, (void *user, int fd, uint64_t *n_bytes), regular_size(fd, n_bytes))
ENTRY(void *, map, (void *user, int fd, size_t n), mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0))
ENTRY(int, unmap, (void *user, void *p, size_t n), munmap(p, n))
ENTRY(int, truncate, (void *user, int fd, uint64_t n), ftruncate(fd, (off_t)n))
ENTRY(int, lock, (void *user, int fd), flock(fd, LOCK_EX | LOCK_NB))
ENTRY(int, rename, (void *user, const char *from, const char *to), rename(from, to))
ENTRY(int, exchange, (void *user, const char *a, const char *b),
      renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE))
ENTRY(int, link, (void *user, const char *from, const char *to),
      linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW))
ENTRY(int, mkdir, (void *user, const char *path, unsigned mode), mkdir(path, mode))
ENTRY(int, unlink, (void *user, const char *path), unlink(path))
ENTRY(int, rmdir, (void *user, const char *path), rmdir(path))

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
                                      .exchange = sys_exchange,
                                      .link = sys_link,
                                      .mkdir = sys_mkdir,
                                      .unlink = sys_unlink,
                                      .rmdir = sys_rmdir};
    return &io;
}

static enum pmet_status too_long(const char *path, size_t max_bytes, struct pmet_error *err)
{
    return pmet_fail(err, PMET_FORMAT, "%s: more than %zu bytes; expected at most that", path, max_bytes);
}

/* A file that is too long is not read to find that out; a pipe has no size. */
static enum pmet_status check_size(const struct pmet_io *io, int fd, const char *path, size_t max_bytes,
                                   struct pmet_error *err)
{
    uint64_t n = 0;
    if (io->size(io->user, fd, &n) != 0 && errno != EINVAL && errno != EISDIR)
        return pmet_fail_errno(err, path, "size");
    return n > max_bytes ? too_long(path, max_bytes, err) : PMET_OK;
}

/* What fd still gives; grows as it goes, so that pipes work, too. */
static enum pmet_status read_all(const struct pmet_io *io, int fd, const char *path, size_t max_bytes,
                                 char **data, size_t *n_bytes, struct pmet_error *err)
{
    char *buf = NULL;
    size_t cap = 0, n = 0;
    ssize_t got;
    enum pmet_status status;
    do {
        PMET_GO(pmet_grow(&buf, &cap, n + CHUNK, 1, path, err));
        while ((got = io->read(io->user, fd, buf + n, cap - 1 - n)) < 0 && errno == EINTR)
            continue;
        if (got < 0)
            PMET_GO(pmet_fail_errno(err, path, "read"));
        n += (size_t)got;
        if (n > max_bytes)
            PMET_GO(too_long(path, max_bytes, err));
    } while (got > 0);
    buf[n] = '\0';
    *data = buf;
    *n_bytes = n;
    return PMET_OK;
done:
    free(buf);
    return status;
}

enum pmet_status pmet_read_file(const struct pmet_io *io, const char *path, size_t max_bytes, char **data,
                                size_t *n_bytes, struct pmet_error *err)
{
    if (strcmp(path, "-") == 0)
        return read_all(io, 0, "standard input", max_bytes, data, n_bytes, err);
    const int fd = io->open(io->user, path, O_RDONLY, 0);
    if (fd < 0)
        return pmet_fail_errno(err, path, "open");
    enum pmet_status status = check_size(io, fd, path, max_bytes, err);
    if (status == PMET_OK)
        status = read_all(io, fd, path, max_bytes, data, n_bytes, err);
    io->close(io->user, fd);
    return status;
}

/* What a clone without Git LFS has in the place of large files. */
static bool is_pointer(const char *mapped, size_t n)
{
    static const char start[] = "version https://git-lfs";
    return n >= sizeof start - 1 && memcmp(mapped, start, sizeof start - 1) == 0;
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
    else if (is_pointer(mapped, (size_t)n)) {
        io->unmap(io->user, mapped, (size_t)n);
        status =
            pmet_fail(err, PMET_FORMAT,
                      "%s: found a pointer of Git LFS, not the file itself; git lfs pull fetches it", path);
    }
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
        const ssize_t put = io->write(io->user, fd, at, n < AT_ONCE ? n : AT_ONCE);
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

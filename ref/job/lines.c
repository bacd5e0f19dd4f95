/* SPDX-License-Identifier: MIT */
#include "ref/job/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/sha256.h"

enum { CHECK = 16 }; /* hex digits before a line, then a blank */
struct pmet_lines {
    const struct pmet_io *io;
    char *path, *partial;
    int fd;     /* of the partial file, at its end */
    char *text; /* [n] all lines, NUL after each */
    size_t n, cap;
    size_t *start; /* [n_line] of each in text */
    size_t n_line, cap_line;
};

static void checksum(const char *line, size_t n, char hex[65])
{
    struct pmet_sha256 sha;
    pmet_sha256_begin(&sha);
    pmet_sha256_add(&sha, line, n);
    pmet_sha256_hex(&sha, hex);
}

static enum pmet_status keep(struct pmet_lines *j, const char *line, size_t n, struct pmet_error *err)
{
    if (j->n_line == j->cap_line) {
        const size_t cap = 2 * j->cap_line + 64;
        size_t *grown = realloc(j->start, cap * sizeof *grown);
        if (!grown)
            return pmet_fail_memory(err, j->path, cap * sizeof *grown);
        j->start = grown;
        j->cap_line = cap;
    }
    if (n >= j->cap - j->n) {
        const size_t cap = 2 * (j->n + n) + 4096;
        char *grown = realloc(j->text, cap);
        if (!grown)
            return pmet_fail_memory(err, j->path, cap);
        j->text = grown;
        j->cap = cap;
    }
    j->start[j->n_line++] = j->n;
    memcpy(j->text + j->n, line, n);
    j->text[j->n + n] = '\0';
    j->n += n + 1;
    return PMET_OK;
}

/* Keeps the good lines at the head of a partial file, *n_good bytes. What is torn has no end of line: a whole line that
 * is not good is damaged, or somebody else's, and nothing is cut off. */
static enum pmet_status read_lines(struct pmet_lines *j, const char *text, size_t n, size_t *n_good,
                                   struct pmet_error *err)
{
    const char *const begin = text, *const end = text + n;
    while (text < end) {
        char hex[65];
        const char *nl = memchr(text, '\n', (size_t)(end - text)), *line = text + CHECK + 1;
        if (!nl)
            break;
        if (nl >= line)
            checksum(line, (size_t)(nl - line), hex);
        if (nl < line || text[CHECK] != ' ' || memcmp(hex, text, CHECK) != 0 ||
            memchr(line, '\0', (size_t)(nl - line)))
            return pmet_fail(
                err, PMET_FORMAT,
                "%s: line %zu: found what pmet eval did not write, or not so; remove the file to "
                "begin anew",
                j->partial, j->n_line + 1);
        PMET_TRY(keep(j, line, (size_t)(nl - line), err));
        text = nl + 1;
    }
    *n_good = (size_t)(text - begin);
    return PMET_OK;
}

/* What stands in the partial file, whose good lines are kept and whose torn end is cut off. */
static enum pmet_status read_back(struct pmet_lines *j, struct pmet_error *err)
{
    uint64_t n_bytes;
    size_t n_good = 0;
    if (j->io->size(j->io->user, j->fd, &n_bytes) != 0)
        return pmet_fail_errno(err, j->partial, "look at");
    if (n_bytes == 0)
        return PMET_OK;
    void *text = j->io->map(j->io->user, j->fd, (size_t)n_bytes);
    if (text == (void *)-1)
        return pmet_fail_errno(err, j->partial, "map");
    const enum pmet_status status = read_lines(j, text, (size_t)n_bytes, &n_good, err);
    j->io->unmap(j->io->user, text, (size_t)n_bytes);
    PMET_TRY(status);
    if (n_good < n_bytes && j->io->truncate(j->io->user, j->fd, n_good) != 0)
        return pmet_fail_errno(err, j->partial, "cut off the torn end of");
    return PMET_OK;
}

static enum pmet_status resume(struct pmet_lines *j, const char *first, struct pmet_error *err)
{
    j->fd = j->io->open(j->io->user, j->partial, O_RDWR | O_CREAT | O_APPEND, 0666);
    if (j->fd < 0)
        return pmet_fail_errno(err, j->partial, "open");
    if (j->io->lock(j->io->user, j->fd) != 0)
        return errno == EWOULDBLOCK
                   ? pmet_fail(err, PMET_INPUT, "%s: another process is at work on it", j->partial)
                   : pmet_fail_errno(err, j->partial, "lock");
    PMET_TRY(read_back(j, err));
    return j->n_line == 0 ? pmet_lines_append(j, first, err) : PMET_OK;
}

enum pmet_status pmet_lines_open(const struct pmet_io *io, const char *path, const char *first,
                                 struct pmet_lines **out, struct pmet_error *err)
{
    static const char tail[] = ".partial";
    struct pmet_lines *j;
    const size_t n = strlen(path);
    enum pmet_status status;
    PMET_TRY(pmet_calloc(&j, 1, sizeof *j, path, err));
    j->io = io;
    j->fd = -1;
    PMET_GO(pmet_calloc(&j->path, n + 1, 1, path, err));
    memcpy(j->path, path, n);
    PMET_GO(pmet_calloc(&j->partial, n + sizeof tail, 1, path, err));
    memcpy(j->partial, path, n);
    memcpy(j->partial + n, tail, sizeof tail);
    PMET_GO(resume(j, first, err));
    *out = j;
    return PMET_OK;
done:
    pmet_lines_close(j);
    return status;
}

size_t pmet_lines_count(const struct pmet_lines *j)
{
    return j->n_line;
}

const char *pmet_lines_line(const struct pmet_lines *j, size_t i)
{
    return j->text + j->start[i];
}

const char *pmet_lines_partial(const struct pmet_lines *j)
{
    return j->partial;
}

enum pmet_status pmet_lines_append(struct pmet_lines *j, const char *line, struct pmet_error *err)
{
    const size_t n = strlen(line);
    char hex[65], *whole;
    checksum(line, n, hex);
    PMET_TRY(keep(j, line, n, err));
    PMET_TRY(pmet_calloc(&whole, CHECK + 1 + n + 1, 1, j->path, err));
    memcpy(whole, hex, CHECK);
    whole[CHECK] = ' ';
    memcpy(whole + CHECK + 1, line, n);
    whole[CHECK + 1 + n] = '\n';
    const enum pmet_status status = pmet_write_all(j->io, j->fd, whole, CHECK + 1 + n + 1, j->partial, err);
    free(whole);
    return status;
}

enum pmet_status pmet_lines_sync(struct pmet_lines *j, struct pmet_error *err)
{
    return j->io->fsync(j->io->user, j->fd) == 0 ? PMET_OK : pmet_fail_errno(err, j->partial, "sync");
}

enum pmet_status pmet_lines_finish(struct pmet_lines *j, struct pmet_error *err)
{
    struct pmet_out *out = NULL;
    enum pmet_status status;
    PMET_GO(pmet_out_open(j->io, j->path, &out, err));
    for (size_t i = 0; i < j->n_line; i++) {
        const char *line = pmet_lines_line(j, i);
        PMET_GO(pmet_out_write(out, line, strlen(line), err));
        PMET_GO(pmet_out_write(out, "\n", 1, err));
    }
    status = pmet_out_commit(out, err);
    out = NULL;
    if (status == PMET_OK && j->io->unlink(j->io->user, j->partial) != 0)
        status = pmet_fail_errno(err, j->partial, "remove");
done:
    pmet_out_discard(out);
    return status;
}

void pmet_lines_close(struct pmet_lines *j)
{
    if (!j)
        return;
    if (j->fd >= 0)
        j->io->close(j->io->user, j->fd);
    free(j->path);
    free(j->partial);
    free(j->text);
    free(j->start);
    free(j);
}

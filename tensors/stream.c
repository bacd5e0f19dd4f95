/* SPDX-License-Identifier: MIT */
#include "tensors/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 1 << 16, WAIT_MS = 250 };

struct pmet_stream {
    const struct pmet_io *io;
    struct pmet_stream_tick tick;
    const char *name;
    int fd;
    bool is_stdin, is_file, begun, ended;
    uint64_t n_read, n_total;
    struct pmet_unpack *unpack;
    enum pmet_packing packing;
    size_t at, n; /* of raw */
    unsigned char raw[CHUNK];
};

enum pmet_status pmet_stream_open(const struct pmet_io *io, const char *path,
                                  const struct pmet_stream_tick *tick, struct pmet_stream **out,
                                  struct pmet_error *err)
{
    struct pmet_stream *s;
    PMET_TRY(pmet_calloc(&s, 1, sizeof *s, path, err));
    s->io = io;
    s->tick = tick ? *tick : (struct pmet_stream_tick){NULL, NULL};
    s->is_stdin = strcmp(path, "-") == 0;
    s->name = s->is_stdin ? "standard input" : path;
    s->fd = s->is_stdin ? 0 : io->open(io->user, path, O_RDONLY, 0);
    enum pmet_status status = s->fd < 0 ? pmet_fail_errno(err, path, "open") : PMET_OK;
    if (status == PMET_OK) {
        s->is_file = io->size(io->user, s->fd, &s->n_total) == 0;
        if (!s->is_file && errno == EISDIR)
            status =
                pmet_fail(err, PMET_INPUT, "%s: found a folder; expected a file: give those in it", s->name);
        else if (!s->is_file && errno != EINVAL)
            status = pmet_fail_errno(err, s->name, "size");
        else if (s->is_stdin && s->is_file)
            s->is_file = lseek(s->fd, 0, SEEK_CUR) == 0; /* nobody has read from it before */
    }
    if (status != PMET_OK) {
        pmet_stream_close(s);
        return status;
    }
    if (!s->is_file)
        s->n_total = 0;
    *out = s;
    return PMET_OK;
}

void pmet_stream_close(struct pmet_stream *s)
{
    if (!s)
        return;
    if (s->fd >= 0 && !s->is_stdin)
        s->io->close(s->io->user, s->fd);
    pmet_unpack_close(s->unpack);
    free(s);
}

enum pmet_packing pmet_stream_packing(const struct pmet_stream *s)
{
    return s->packing;
}

int pmet_stream_file(const struct pmet_stream *s)
{
    return s->is_file && s->packing == PMET_PACKING_NONE ? s->fd : -1;
}

const char *pmet_stream_name(const struct pmet_stream *s)
{
    return s->name;
}

/* Waits for a pipe, and does not miss a signal that comes before the waiting begins. */
static enum pmet_status wait_for(struct pmet_stream *s, struct pmet_error *err)
{
    struct pollfd one = {.fd = s->fd, .events = POLLIN};
    for (;;) {
        if (s->tick.tick)
            PMET_TRY(s->tick.tick(s->tick.user, s->n_read, s->n_total, err));
        if (s->is_file || poll(&one, 1, WAIT_MS) > 0)
            return PMET_OK;
    }
}

static enum pmet_status read_raw(struct pmet_stream *s, void *buf, size_t n, size_t *got,
                                 struct pmet_error *err)
{
    ssize_t r;
    do {
        PMET_TRY(wait_for(s, err));
        r = s->io->read(s->io->user, s->fd, buf, n);
    } while (r < 0 && (errno == EINTR || errno == EAGAIN));
    if (r < 0)
        return pmet_fail_errno(err, s->name, "read");
    s->n_read += (uint64_t)r;
    s->ended = r == 0;
    *got = (size_t)r;
    return PMET_OK;
}

/* The first four bytes say how the others are packed. */
static enum pmet_status begin(struct pmet_stream *s, struct pmet_error *err)
{
    size_t got = 1;
    while (s->n < 4 && got > 0) {
        PMET_TRY(read_raw(s, s->raw + s->n, CHUNK - s->n, &got, err));
        s->n += got;
    }
    s->packing = pmet_packing_of(s->raw, s->n);
    s->begun = true;
    return s->packing == PMET_PACKING_NONE ? PMET_OK : pmet_unpack_open(s->packing, s->name, &s->unpack, err);
}

static enum pmet_status read_packed(struct pmet_stream *s, void *buf, size_t n, size_t *got,
                                    struct pmet_error *err)
{
    struct pmet_piece piece = {.out = buf, .n_out = n};
    for (;;) { /* what the unpacker still holds comes before more is read */
        piece.in = s->raw;
        piece.n_in = s->n;
        piece.at_in = s->at;
        PMET_TRY(pmet_unpack_step(s->unpack, &piece, err));
        s->at = piece.at_in;
        *got = piece.at_out;
        if (*got > 0)
            return PMET_OK;
        if (s->ended)
            return pmet_unpack_end(s->unpack, err);
        PMET_TRY(read_raw(s, s->raw, CHUNK, &s->n, err));
        s->at = 0;
    }
}

enum pmet_status pmet_stream_read(struct pmet_stream *s, void *buf, size_t n, size_t *got,
                                  struct pmet_error *err)
{
    if (!s->begun)
        PMET_TRY(begin(s, err));
    if (s->unpack)
        return read_packed(s, buf, n, got, err);
    if (s->at == s->n && !s->ended)
        return read_raw(s, buf, n, got, err);
    *got = s->n - s->at < n ? s->n - s->at : n;
    memcpy(buf, s->raw + s->at, *got);
    s->at += *got;
    return PMET_OK;
}

enum pmet_status pmet_spool_open(const struct pmet_io *io, int *fd, struct pmet_error *err)
{
    const char *dir = getenv("TMPDIR");
    char path[4096];
    if (!dir || !*dir)
        dir = "/tmp";
    for (int i = 0;; i++) {
        snprintf(path, sizeof path, "%s/pmet-text.%ld.%d", dir, (long)getpid(), i);
        *fd = io->open(io->user, path, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (*fd >= 0)
            break;
        if (errno != EEXIST || i == 99)
            return pmet_fail(err, PMET_IO,
                             "%s: create: %s; text from a pipe or unpacked is kept here meanwhile (TMPDIR)",
                             path, strerror(errno));
    }
    io->unlink(io->user, path);
    return PMET_OK;
}

/* SPDX-License-Identifier: MIT */
#include "tensors/unpack.h"

#include <stdlib.h>
#include <string.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

struct pmet_unpack {
    enum pmet_packing packing;
    const char *path;
    z_stream gzip;
    ZSTD_DStream *zstd;
    bool open;            /* inside a member or frame */
    bool padding;         /* zeros behind the last member, as tapes and block devices leave them */
    uint64_t n_in, n_out; /* bytes so far */
};

static const uint64_t FREE_OUT = (uint64_t)1 << 30, MOST_RATIO = 256;

enum pmet_packing pmet_packing_of(const void *data, size_t n)
{
    const unsigned char *p = data;
    if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b)
        return PMET_PACKING_GZIP;
    const bool frame = n >= 4 && memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0,
               skippable = n >= 4 && (p[0] & 0xf0) == 0x50 && memcmp(p + 1, "\x2a\x4d\x18", 3) == 0;
    return frame || skippable ? PMET_PACKING_ZSTD : PMET_PACKING_NONE;
}

const char *pmet_packing_name(enum pmet_packing packing)
{
    static const char *const names[] = {"", "gzip", "zstd"};
    return names[packing];
}

enum pmet_status pmet_unpack_open(enum pmet_packing packing, const char *path, struct pmet_unpack **out,
                                  struct pmet_error *err)
{
    struct pmet_unpack *u;
    PMET_TRY(pmet_calloc(&u, 1, sizeof *u, path, err));
    u->packing = packing;
    u->path = path;
    const bool ok = packing == PMET_PACKING_GZIP ? inflateInit2(&u->gzip, 15 + 16) == Z_OK
                                                 : (u->zstd = ZSTD_createDStream()) != NULL;
    if (!ok) {
        free(u);
        return pmet_fail_memory(err, path, (size_t)1 << 17);
    }
    *out = u;
    return PMET_OK;
}

void pmet_unpack_close(struct pmet_unpack *u)
{
    if (!u)
        return;
    if (u->packing == PMET_PACKING_GZIP)
        inflateEnd(&u->gzip);
    ZSTD_freeDStream(u->zstd);
    free(u);
}

static enum pmet_status damaged(const struct pmet_unpack *u, const char *what, struct pmet_error *err)
{
    return pmet_fail(err, PMET_FORMAT, "%s: byte %llu: damaged %s data (%s): copy or download it again",
                     u->path, (unsigned long long)u->n_in, pmet_packing_name(u->packing), what);
}

/* Behind a member of gzip: another member, zeros to the end, or damage. */
static enum pmet_status between_members(struct pmet_unpack *u, struct pmet_piece *p, struct pmet_error *err)
{
    for (; p->at_in < p->n_in && p->in[p->at_in] == 0; p->at_in++, u->n_in++)
        u->padding = true;
    if (p->at_in == p->n_in)
        return PMET_OK;
    if (u->padding || p->in[p->at_in] != 0x1f)
        return damaged(u, "found something else behind its end", err);
    if (inflateReset(&u->gzip) != Z_OK)
        return damaged(u, "cannot begin again", err);
    u->open = true;
    return PMET_OK;
}

static enum pmet_status step_gzip(struct pmet_unpack *u, struct pmet_piece *p, struct pmet_error *err)
{
    static const size_t most = (size_t)1 << 30; /* zlib counts in unsigned int */
    if (!u->open && u->n_in > 0)
        PMET_TRY(between_members(u, p, err));
    if (p->at_in == p->n_in && !u->open)
        return PMET_OK;
    u->open = true;
    const size_t left_in = p->n_in - p->at_in, left_out = p->n_out - p->at_out;
    u->gzip.next_in = p->in + p->at_in;
    u->gzip.avail_in = (unsigned)(left_in < most ? left_in : most);
    u->gzip.next_out = p->out + p->at_out;
    u->gzip.avail_out = (unsigned)(left_out < most ? left_out : most);
    const unsigned in = u->gzip.avail_in, out = u->gzip.avail_out;
    const int code = inflate(&u->gzip, Z_NO_FLUSH);
    p->at_in += in - u->gzip.avail_in;
    u->n_in += in - u->gzip.avail_in;
    p->at_out += out - u->gzip.avail_out;
    u->n_out += out - u->gzip.avail_out;
    if (code == Z_MEM_ERROR)
        return pmet_fail_memory(err, u->path, (size_t)1 << 15);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
        return damaged(u, u->gzip.msg ? u->gzip.msg : "no gzip", err);
    u->open = code != Z_STREAM_END;
    return PMET_OK;
}

static enum pmet_status step_zstd(struct pmet_unpack *u, struct pmet_piece *p, struct pmet_error *err)
{
    if (p->at_in == p->n_in && !u->open)
        return PMET_OK;
    ZSTD_inBuffer in = {p->in, p->n_in, p->at_in};
    ZSTD_outBuffer out = {p->out, p->n_out, p->at_out};
    const size_t left = ZSTD_decompressStream(u->zstd, &out, &in);
    u->n_in += in.pos - p->at_in;
    u->n_out += out.pos - p->at_out;
    p->at_in = in.pos;
    p->at_out = out.pos;
    if (ZSTD_isError(left)) {
        if (ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation)
            return pmet_fail_memory(err, u->path, (size_t)1 << 27);
        if (ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge)
            return pmet_fail(err, PMET_UNSUPPORTED,
                             "%s: packed by zstd --long with a window beyond 128 MiB: unpack it with zstdcat "
                             "--long=31 into a pipe",
                             u->path);
        return damaged(u, ZSTD_getErrorName(left), err);
    }
    u->open = left != 0;
    return PMET_OK;
}

enum pmet_status pmet_unpack_step(struct pmet_unpack *u, struct pmet_piece *piece, struct pmet_error *err)
{
    for (;;) {
        const size_t at_in = piece->at_in, at_out = piece->at_out;
        PMET_TRY(u->packing == PMET_PACKING_GZIP ? step_gzip(u, piece, err) : step_zstd(u, piece, err));
        if (u->n_out > FREE_OUT && (u->n_out - FREE_OUT) / MOST_RATIO > u->n_in)
            return pmet_fail(err, PMET_FORMAT,
                             "%s: byte %llu: unpacks to more than %llu times its size; expected text, which "
                             "%s packs far less",
                             u->path, (unsigned long long)u->n_in, (unsigned long long)MOST_RATIO,
                             pmet_packing_name(u->packing));
        const bool stuck = piece->at_in == at_in && piece->at_out == at_out;
        if (stuck || piece->at_out == piece->n_out)
            return PMET_OK;
    }
}

enum pmet_status pmet_unpack_end(const struct pmet_unpack *u, struct pmet_error *err)
{
    if (!u->open)
        return PMET_OK;
    return pmet_fail(err, PMET_FORMAT,
                     "%s: byte %llu: the %s data ends here unfinished: copy or download it again", u->path,
                     (unsigned long long)u->n_in, pmet_packing_name(u->packing));
}

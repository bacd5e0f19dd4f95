/* SPDX-License-Identifier: MIT */
#include "tensors/zip.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Fixed parts of the records, in bytes. */
enum { LOCAL = 30, CENTRAL = 46, END = 22, END64 = 56, LOCATOR = 20, MAX_COMMENT = 65535 };
enum { STORED = 0, DEFLATED = 8 };
enum { MOST_DEFLATE = 1032 }; /* bytes that one byte of deflate can stand for: 258 in two bits */

struct directory {
    uint64_t at, n_bytes, n_entry;
};

static uint32_t u16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const unsigned char *p)
{
    return u16(p) | u16(p + 2) << 16;
}

static uint64_t u64(const unsigned char *p)
{
    return (uint64_t)u32(p) | (uint64_t)u32(p + 4) << 32;
}

static bool is_record(const unsigned char *p, unsigned char a, unsigned char b)
{
    return p[0] == 'P' && p[1] == 'K' && p[2] == a && p[3] == b;
}

/* The end record is the last thing in the file but for a comment, whose length it gives. */
static const unsigned char *find_end(const struct pmet_zip *z)
{
    const size_t n_comment_max = z->n_map - END < MAX_COMMENT ? z->n_map - END : MAX_COMMENT;
    for (size_t n_comment = 0; n_comment <= n_comment_max; n_comment++) {
        const unsigned char *p = z->map + (z->n_map - END - n_comment);
        if (is_record(p, 5, 6) && u16(p + 20) == n_comment)
            return p;
    }
    return NULL;
}

static enum pmet_status find_directory(const struct pmet_zip *z, struct directory *d, struct pmet_error *err)
{
    const unsigned char *end = find_end(z);
    if (!end)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: found no end record; expected a zip archive that is complete: copy or "
                         "download it again",
                         z->path);
    size_t limit = (size_t)(end - z->map);
    d->n_entry = u16(end + 10);
    d->n_bytes = u32(end + 12);
    d->at = u32(end + 16);
    if (d->n_entry == 0xffff || d->n_bytes == 0xffffffff || d->at == 0xffffffff) {
        const unsigned char *locator = limit >= LOCATOR ? end - LOCATOR : NULL;
        if (!locator || !is_record(locator, 6, 7))
            return pmet_fail(err, PMET_FORMAT, "%s: found no ZIP64 locator before the end record", z->path);
        const uint64_t at = u64(locator + 8);
        limit -= LOCATOR;
        if (limit < END64 || at > limit - END64 || !is_record(z->map + at, 6, 6))
            return pmet_fail(err, PMET_FORMAT, "%s: found no ZIP64 end record where the locator points",
                             z->path);
        const unsigned char *end64 = z->map + at;
        limit = (size_t)at;
        d->n_entry = u64(end64 + 32);
        d->n_bytes = u64(end64 + 40);
        d->at = u64(end64 + 48);
    }
    if (d->at > limit || d->n_bytes > limit - d->at || d->n_entry > d->n_bytes / CENTRAL)
        return pmet_fail(err, PMET_FORMAT, "%s: the central directory does not lie within the file", z->path);
    return PMET_OK;
}

struct sizes {
    uint64_t unpacked, packed, local_at;
};

/* Fields of the central header that are all ones stand, in this order, in the extra field with id
 * 1. */
static bool read_sizes(const unsigned char *header, const unsigned char *extra, size_t n_extra,
                       struct sizes *s)
{
    uint64_t *const field[] = {&s->unpacked, &s->packed, &s->local_at};
    s->unpacked = u32(header + 24);
    s->packed = u32(header + 20);
    s->local_at = u32(header + 42);
    const unsigned char *wide = NULL;
    size_t n_wide = 0;
    while (n_extra >= 4) {
        const size_t n = u16(extra + 2);
        if (n > n_extra - 4)
            return false;
        if (u16(extra) == 1 && !wide) {
            wide = extra + 4;
            n_wide = n;
        }
        extra += 4 + n;
        n_extra -= 4 + n;
    }
    for (size_t i = 0; i < 3; i++)
        if (*field[i] == 0xffffffff) {
            if (n_wide < 8)
                return false;
            *field[i] = u64(wide);
            wide += 8;
            n_wide -= 8;
        }
    return true;
}

/* One entry of the directory at p, of which n bytes are left; *n_used is its length. */
static enum pmet_status read_entry(struct pmet_zip *z, const struct directory *d, const unsigned char *p,
                                   size_t n, size_t *n_used, struct pmet_error *err)
{
    struct pmet_zip_member *m = &z->member[z->n_filled];
    if (n < CENTRAL || !is_record(p, 1, 2))
        return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: found no entry of the central directory", z->path,
                         (size_t)(p - z->map));
    const size_t n_name = u16(p + 28), n_extra = u16(p + 30), n_comment = u16(p + 32);
    if (n_name + n_extra + n_comment > n - CENTRAL)
        return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: an entry runs past the central directory", z->path,
                         (size_t)(p - z->map));
    *n_used = CENTRAL + n_name + n_extra + n_comment;
    char *name;
    PMET_TRY(pmet_calloc(&name, n_name + 1, 1, z->path, err));
    z->n_filled++;
    m->name = memcpy(name, p + CENTRAL, n_name);
    if (memchr(name, 0, n_name))
        return pmet_fail(err, PMET_FORMAT, "%s: member \"%s\": a NUL in its name", z->path, m->name);
    struct sizes s;
    if (!read_sizes(p, p + CENTRAL + n_name, n_extra, &s))
        return pmet_fail(err, PMET_FORMAT, "%s: member \"%s\": its ZIP64 field is cut short", z->path,
                         m->name);
    const unsigned method = u16(p + 10);
    if (u16(p + 8) & 1 || (method != STORED && method != DEFLATED)) {
        m->unreadable = u16(p + 8) & 1 ? "is encrypted" : "is compressed by another method than deflate";
        return PMET_OK;
    }
    m->deflated = method == DEFLATED;
    if (m->deflated ? s.unpacked / MOST_DEFLATE > s.packed : s.unpacked != s.packed)
        return pmet_fail(err, PMET_FORMAT, "%s: member \"%s\": %zu bytes in the file cannot hold %zu",
                         z->path, m->name, (size_t)s.packed, (size_t)s.unpacked);
    const size_t limit = (size_t)d->at; /* members precede the directory */
    if (limit >= LOCAL && s.local_at <= limit - LOCAL)
        pmet_will_read(z->map + s.local_at, LOCAL + n_name);
    if (limit < LOCAL || s.local_at > limit - LOCAL || !is_record(z->map + s.local_at, 3, 4))
        return pmet_fail(err, PMET_FORMAT, "%s: member \"%s\": no local header at byte %zu", z->path, m->name,
                         (size_t)s.local_at);
    const unsigned char *local = z->map + s.local_at;
    const size_t skip = LOCAL + u16(local + 26) + u16(local + 28), left = limit - (size_t)s.local_at;
    if (skip > left || s.packed > left - skip)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: member \"%s\": %zu bytes at byte %zu do not lie within the file", z->path,
                         m->name, (size_t)s.packed, (size_t)s.local_at);
    if (u16(local + 26) != n_name || memcmp(local + LOCAL, m->name, n_name) != 0)
        return pmet_fail(err, PMET_FORMAT, "%s: member \"%s\": its local header has another name", z->path,
                         m->name);
    m->data = local + skip;
    m->n_packed = (size_t)s.packed;
    m->n_bytes = (size_t)s.unpacked;
    m->crc = u32(p + 16);
    return PMET_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct pmet_zip_member *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static enum pmet_status read_directory(struct pmet_zip *z, struct pmet_error *err)
{
    struct directory d = {0, 0, 0};
    PMET_TRY(find_directory(z, &d, err));
    z->n_member = (size_t)d.n_entry;
    PMET_TRY(pmet_calloc(&z->member, z->n_member, sizeof *z->member, z->path, err));
    const unsigned char *p = z->map + d.at;
    size_t left = (size_t)d.n_bytes, n_used = 0;
    for (size_t i = 0; i < z->n_member; i++) {
        PMET_TRY(read_entry(z, &d, p, left, &n_used, err));
        p += n_used;
        left -= n_used;
    }
    qsort(z->member, z->n_member, sizeof *z->member, by_name);
    for (size_t i = 1; i < z->n_member; i++)
        if (strcmp(z->member[i - 1].name, z->member[i].name) == 0)
            return pmet_fail(err, PMET_FORMAT, "%s: member \"%s\" twice", z->path, z->member[i].name);
    return PMET_OK;
}

enum pmet_status pmet_zip_open(const struct pmet_io *io, const char *path, struct pmet_zip **out,
                               struct pmet_error *err)
{
    struct pmet_zip *z = NULL;
    void *map;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&z, 1, sizeof *z, path, err));
    z->io = io;
    PMET_GO(pmet_copy_text(path, &z->path, path, err));
    PMET_GO(pmet_map_file(io, path, &map, &z->n_map, err));
    z->map = map;
    if (z->n_map < END)
        PMET_GO(pmet_fail(err, PMET_FORMAT, "%s: found %zu bytes; expected a zip archive", path, z->n_map));
    PMET_GO(read_directory(z, err));
    *out = z;
    z = NULL;
done:
    pmet_zip_close(z);
    return status;
}

void pmet_zip_close(struct pmet_zip *z)
{
    if (!z)
        return;
    for (size_t i = 0; i < z->n_filled; i++)
        free((char *)(uintptr_t)z->member[i].name);
    free(z->member);
    if (z->map)
        z->io->unmap(z->io->user, z->map, z->n_map);
    free(z->path);
    free(z);
}

const struct pmet_zip_member *pmet_zip_find(const struct pmet_zip *z, const char *name)
{
    const struct pmet_zip_member key = {.name = name};
    return z->n_member > 0 ? bsearch(&key, z->member, z->n_member, sizeof key, by_name) : NULL;
}

/* zlib counts in unsigned: a piece of what is left at a time. */
static unsigned next_piece(size_t *n_left)
{
    const unsigned n = *n_left < UINT_MAX ? (unsigned)*n_left : UINT_MAX;
    *n_left -= n;
    return n;
}

enum pmet_status pmet_zip_unpack(const struct pmet_zip *zip, const struct pmet_zip_member *m, void *out,
                                 size_t n, struct pmet_error *err)
{
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)m->data, .next_out = out};
    size_t in_left = m->n_packed, out_left = n;
    int code = inflateInit2(&z, -MAX_WBITS); /* raw: the archive has the checksum */
    if (code != Z_OK)
        return pmet_fail_memory(err, zip->path, sizeof(z_stream));
    while (code == Z_OK && (out_left > 0 || z.avail_out > 0)) {
        if (z.avail_in == 0)
            z.avail_in = next_piece(&in_left);
        if (z.avail_out == 0)
            z.avail_out = next_piece(&out_left);
        code = inflate(&z, Z_NO_FLUSH);
    }
    const size_t lacks = out_left + z.avail_out;
    inflateEnd(&z);
    if (code == Z_MEM_ERROR)
        return pmet_fail_memory(err, zip->path, 0);
    return lacks == 0 ? PMET_OK
                      : pmet_fail(err, PMET_FORMAT,
                                  "%s: member \"%s\": its deflated data end after %zu of %zu bytes",
                                  zip->path, m->name, n - lacks, n);
}

bool pmet_zip_intact(const struct pmet_zip_member *m, const void *data)
{
    return crc32_z(0, data, m->n_bytes) == m->crc;
}

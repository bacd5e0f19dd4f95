/* SPDX-License-Identifier: MIT */
#include "tests/torch.h"

#include <unistd.h>
#include <zlib.h>

void bytes_add(struct bytes *b, const void *p, size_t n)
{
    if (b->n + n > b->capacity) {
        b->capacity = 2 * (b->n + n);
        b->p = realloc(b->p, b->capacity);
    }
    if (n > 0)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}

void bytes_text(struct bytes *b, const char *text)
{
    bytes_add(b, text, strlen(text));
}

static void add_number(struct bytes *b, uint64_t x, size_t n)
{
    for (; n > 0; n--, x >>= 8)
        bytes_add(b, &(unsigned char){(unsigned char)x}, 1);
}

/* Local header and entry of the directory have most of their fields in common. */
static void add_common(struct bytes *b, size_t n_name, size_t n_packed, size_t n, uint32_t crc,
                       unsigned method, unsigned flags)
{
    add_number(b, flags, 2);
    add_number(b, method, 2);
    add_number(b, 0, 4); /* time */
    add_number(b, crc, 4);
    add_number(b, n_packed, 4);
    add_number(b, n, 4);
    add_number(b, n_name, 2);
}

/* Raw, as archives hold it. */
static struct bytes deflated(const void *data, size_t n)
{
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)data, .avail_in = (unsigned)n};
    struct bytes out = {.n = 0};
    deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    out.capacity = deflateBound(&z, n);
    z.next_out = out.p = malloc(out.capacity);
    z.avail_out = (unsigned)out.capacity;
    deflate(&z, Z_FINISH);
    out.n = z.total_out;
    deflateEnd(&z);
    return out;
}

void archive_add(struct archive *a, const char *name, const void *data, size_t n, unsigned method,
                 unsigned flags)
{
    const size_t at = a->file.n, n_name = strlen(name), n_pad = (64 - (at + 30 + n_name) % 64) % 64;
    const uint32_t crc = (uint32_t)crc32(0, data, (unsigned)n);
    struct bytes packed = {.n = 0};
    if (method == 8)
        packed = deflated(data, n);
    else
        bytes_add(&packed, data, n);
    bytes_add(&a->file, "PK\3\4\0", 6);
    add_common(&a->file, n_name, packed.n, n, crc, method, flags);
    add_number(&a->file, n_pad, 2);
    bytes_add(&a->file, name, n_name);
    for (size_t i = 0; i < n_pad; i++)
        bytes_add(&a->file, "Z", 1);
    bytes_add(&a->file, packed.p, packed.n);
    bytes_add(&a->directory, "PK\1\2\0\0\0", 8);
    add_common(&a->directory, n_name, packed.n, n, crc, method, flags);
    free(packed.p);
    add_number(&a->directory, 0, 2); /* extra field */
    add_number(&a->directory, 0, 2); /* comment */
    add_number(&a->directory, 0, 8); /* disk, attributes */
    add_number(&a->directory, at, 4);
    bytes_add(&a->directory, name, n_name);
    a->n_member++;
}

void archive_end(struct archive *a, const char *path)
{
    const size_t at = a->file.n;
    bytes_add(&a->file, a->directory.p, a->directory.n);
    bytes_add(&a->file, "PK\5\6\0\0\0", 8);
    add_number(&a->file, a->n_member, 2);
    add_number(&a->file, a->n_member, 2);
    add_number(&a->file, a->directory.n, 4);
    add_number(&a->file, at, 4);
    add_number(&a->file, 0, 2);
    unlink(path);
    test_write_file(path, a->file.p, a->file.n);
    free(a->file.p);
    free(a->directory.p);
    *a = (struct archive){.n_member = 0};
}

static void add_str(struct bytes *b, const char *text)
{
    bytes_text(b, "X");
    add_number(b, strlen(text), 4);
    bytes_text(b, text);
}

static void add_int(struct bytes *b, size_t x)
{
    bytes_text(b, "J");
    add_number(b, x, 4);
}

static void add_tensor(struct bytes *b, const struct pmet_tensor *t, size_t i)
{
    static const char *const types[] = {"Double", "Float", "Half", "BFloat16", "Long", "Int", "Byte", "Bool"};
    char text[64];
    size_t stride = t->n_elem;
    add_str(b, t->name);
    bytes_text(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
    add_str(b, "storage");
    snprintf(text, sizeof text, "ctorch\n%sStorage\n", types[t->dtype]);
    bytes_text(b, text);
    snprintf(text, sizeof text, "%zu", i);
    add_str(b, text);
    add_str(b, "cuda:0");
    add_int(b, t->n_elem);
    bytes_text(b, "tQ");
    add_int(b, 0);
    bytes_text(b, "(");
    for (size_t k = 0; k < t->n_dim; k++)
        add_int(b, t->shape[k]);
    bytes_text(b, "t(");
    for (size_t k = 0; k < t->n_dim; k++)
        add_int(b, stride /= t->shape[k] ? t->shape[k] : 1);
    bytes_text(b, "t\x89"
                  "ccollections\nOrderedDict\n)RtR");
}

void torch_write(const char *path, const struct pmet_tensor *tensors, size_t n)
{
    struct archive a = {.n_member = 0};
    struct bytes pickle = {.n = 0};
    bytes_text(&pickle, "\x80\2}(");
    for (size_t i = 0; i < n; i++)
        add_tensor(&pickle, &tensors[i], i);
    bytes_text(&pickle, "u.");
    archive_add(&a, "archive/data.pkl", pickle.p, pickle.n, 0, 0);
    for (size_t i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "archive/data/%zu", i);
        archive_add(&a, name, tensors[i].data, tensors[i].n_bytes, 0, 0);
    }
    archive_end(&a, path);
    free(pickle.p);
}

/* SPDX-License-Identifier: MIT */
#include "tensors/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "tensors/text.h"

void pmet_line(char *line, size_t size, const char *fmt, va_list args)
{
    char raw[sizeof((struct pmet_error *)0)->message];
    const int n = vsnprintf(raw, sizeof raw, fmt, args);
    size_t n_raw = n < 0 ? 0 : strlen(raw);
    if (n >= (int)sizeof raw) /* what the end has cut of a character would be shown as bytes */
        for (size_t k = 0; k < 4 && n_raw > 0 && ((unsigned char)raw[n_raw - 1] & 0x80); k++)
            if (((unsigned char)raw[--n_raw] & 0xc0) == 0xc0)
                break;
    pmet_escape(line, size, raw, n_raw);
}

enum pmet_status pmet_fail(struct pmet_error *err, enum pmet_status status, const char *fmt, ...)
{
    if (err->status != PMET_OK)
        return status;
    va_list args;
    va_start(args, fmt);
    pmet_line(err->message, sizeof err->message, fmt, args);
    va_end(args);
    err->status = status;
    return status;
}

enum pmet_status pmet_fail_errno(struct pmet_error *err, const char *path, const char *what)
{
    const int code = errno;
    return pmet_fail(err, PMET_IO, "%s: %s: %s", path, what, strerror(code));
}

enum pmet_status pmet_fail_memory(struct pmet_error *err, const char *what, size_t n_bytes)
{
    return pmet_fail(err, PMET_MEMORY, "out of memory: %s needs %zu bytes", what, n_bytes);
}

/* Letters to change, add or drop to get from a to b: short names, so a plain table will do. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64];
    const size_t n = strlen(b);
    if (n >= 63 || strlen(a) >= 63)
        return 64;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            const size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < row[j] ? change : row[j];
        }
    }
    return row[n];
}

const char *pmet_nearest(const char *name, const char *const *names, size_t n)
{
    const size_t len = strlen(name);
    size_t best = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t other = strlen(names[i]);
        if (len >= 3 && strncmp(name, names[i], len < other ? len : other) == 0)
            return names[i];
        if (distance(name, names[i]) < distance(name, names[best]))
            best = i;
    }
    return n > 0 && distance(name, names[best]) <= 1 + len / 3 ? names[best] : NULL;
}

bool pmet_mul_size(size_t a, size_t b, size_t *out)
{
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

bool pmet_add_size(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b)
        return false;
    *out = a + b;
    return true;
}

bool pmet_whole(double x, size_t *out)
{
    if (!(x >= 0 && x <= 0x1p53) || (double)(size_t)x != x)
        return false;
    *out = (size_t)x;
    return true;
}

void pmet_large_pages(void *p, size_t n_bytes)
{
#ifdef MADV_HUGEPAGE
    const uintptr_t page = (uintptr_t)2 << 20, first = ((uintptr_t)p + page - 1) / page * page,
                    end = ((uintptr_t)p + n_bytes) / page * page;
    if (end >= first + 4 * page)
        (void)madvise((char *)p + (first - (uintptr_t)p), end - first, MADV_HUGEPAGE);
#else
    (void)p, (void)n_bytes;
#endif
}

enum pmet_status pmet_calloc(void *p, size_t n, size_t size, const char *what, struct pmet_error *err)
{
    size_t n_bytes;
    if (!pmet_mul_size(n, size, &n_bytes) || n_bytes > PTRDIFF_MAX)
        return pmet_fail_memory(err, what, SIZE_MAX);
    void *mem = calloc(n_bytes ? n_bytes : 1, 1);
    if (!mem)
        return pmet_fail_memory(err, what, n_bytes);
    pmet_large_pages(mem, n_bytes);
    memcpy(p, &mem, sizeof mem);
    return PMET_OK;
}

enum pmet_status pmet_grow(void *p, size_t *cap, size_t need, size_t size, const char *what,
                           struct pmet_error *err)
{
    void *old, *grown;
    size_t n, n_bytes;
    if (need <= *cap)
        return PMET_OK;
    memcpy(&old, p, sizeof old);
    if (!pmet_add_size(need, need < 64 ? 64 : need, &n) || !pmet_mul_size(n, size, &n_bytes))
        return pmet_fail_memory(err, what, SIZE_MAX);
    if (!(grown = realloc(old, n_bytes)))
        return pmet_fail_memory(err, what, n_bytes);
    memcpy(p, &grown, sizeof grown);
    *cap = n;
    return PMET_OK;
}

enum pmet_status pmet_copy_text(const char *text, char **out, const char *what, struct pmet_error *err)
{
    const size_t n = strlen(text) + 1;
    PMET_TRY(pmet_calloc(out, n, 1, what, err));
    memcpy(*out, text, n);
    return PMET_OK;
}

bool pmet_ends_with(const char *text, const char *ending)
{
    const size_t n = strlen(text), m = strlen(ending);
    return n >= m && memcmp(text + n - m, ending, m) == 0;
}

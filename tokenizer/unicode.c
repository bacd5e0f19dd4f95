/* SPDX-License-Identifier: MIT
 * Classes, UTF-8 and normalisation.      SPEC §2.1 */
#include "tokenizer/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include "nfkd_tables.h"    /* from golden/unicode/nfkd.txt */
#include "unicode_tables.h" /* from golden/unicode/ranges.txt */

bool pmet_in_ranges(const struct pmet_range *r, size_t n, int32_t c)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (c < r[mid].first)
            hi = mid;
        else if (c > r[mid].last)
            lo = mid + 1;
        else
            return true;
    }
    return false;
}

static bool is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

enum pmet_char_class pmet_char_class(int32_t c)
{
    if (c < 0)
        return PMET_CHAR_OTHER;
    if (is_space(c))
        return PMET_CHAR_SPACE;
    const utf8proc_category_t category = utf8proc_category(c); /* Lu to Lo and Nd to No follow each other */
    const bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO,
               number = category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
    if ((!letter && !number) || (c >= newer_than_14[0].first && PMET_IN_TABLE(newer_than_14, c)))
        return PMET_CHAR_OTHER;
    return letter ? PMET_CHAR_LETTER : PMET_CHAR_NUMBER;
}

bool pmet_is_word(int32_t c)
{
    return PMET_IN_TABLE(word, c);
}

enum pmet_status pmet_text_append(struct pmet_text *out, const char *data, size_t n, struct pmet_error *err)
{
    if (out->cap - out->n <= n)
        PMET_TRY(pmet_grow(&out->data, &out->cap, out->n + n + 1, 1, "text", err));
    if (n > 0)
        memcpy(out->data + out->n, data, n);
    out->n += n;
    out->data[out->n] = '\0';
    return PMET_OK;
}

enum pmet_status pmet_text_join(struct pmet_text *out, const char *data, size_t n, struct pmet_error *err)
{
    if (out->data)
        PMET_TRY(pmet_text_append(out, " ", 1, err));
    return pmet_text_append(out, data, n, err);
}

void pmet_text_replace(struct pmet_text *text, size_t from, const char *find, const char *put)
{
    const size_t n_find = strlen(find), n_put = strlen(put);
    size_t to = from;
    for (size_t i = from; i < text->n;) {
        if (text->n - i >= n_find && memcmp(text->data + i, find, n_find) == 0) {
            memcpy(text->data + to, put, n_put);
            to += n_put;
            i += n_find;
        } else {
            text->data[to++] = text->data[i++];
        }
    }
    text->n = to;
    text->data[to] = '\0';
}

static enum pmet_status append_point(struct pmet_text *out, int32_t c, struct pmet_error *err)
{
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t n = utf8proc_encode_char(c, bytes);
    return pmet_text_append(out, (const char *)bytes, (size_t)n, err);
}

/* Code points of one stretch. Those of `newer` are not in the reference's tables: they have class 0
 * and neither decompose nor compose. */
struct points {
    int32_t *c;
    size_t n, cap;
    const struct pmet_range *newer; /* [n_newer] */
    size_t n_newer;
};

static int combining_class(const struct points *p, int32_t c)
{
    if (pmet_in_ranges(p->newer, p->n_newer, c))
        return 0;
    return utf8proc_get_property(c)->combining_class;
}

static enum pmet_status push(struct points *p, const int32_t *c, size_t n, struct pmet_error *err)
{
    PMET_TRY(pmet_grow(&p->c, &p->cap, p->n + n, sizeof *p->c, "normalised text", err));
    memcpy(p->c + p->n, c, n * sizeof *c);
    p->n += n;
    return PMET_OK;
}

static enum pmet_status decompose(struct points *p, int32_t c, bool compatibility, struct pmet_error *err)
{
    utf8proc_int32_t parts[32];
    int boundary = 0;
    const utf8proc_option_t options =
        (utf8proc_option_t)(UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0));
    if (pmet_in_ranges(p->newer, p->n_newer, c))
        return push(p, &c, 1, err);
    const utf8proc_ssize_t n = utf8proc_decompose_char(c, parts, 32, options, &boundary);
    return n < 0 || n > 32 ? push(p, &c, 1, err) : push(p, parts, (size_t)n, err);
}

/* Marks between starters sorted by combining class, stably: by counting, so that a long run of
 * marks costs no more than its length. `sorted` holds as many points. */
static void sort_marks(const struct points *p, int32_t *c, size_t n, int32_t *sorted)
{
    size_t at[257] = {0};
    for (size_t i = 0; i < n; i++)
        at[combining_class(p, c[i]) + 1]++;
    for (size_t k = 1; k < 257; k++)
        at[k] += at[k - 1];
    for (size_t i = 0; i < n; i++)
        sorted[at[combining_class(p, c[i])]++] = c[i];
    memcpy(c, sorted, n * sizeof *c);
}

static enum pmet_status reorder(struct points *p, struct pmet_error *err)
{
    int32_t *sorted;
    PMET_TRY(pmet_calloc(&sorted, p->n, sizeof *sorted, "normalised text", err));
    for (size_t i = 0; i < p->n;) {
        size_t end = i;
        while (end < p->n && combining_class(p, p->c[end]) != 0)
            end++;
        if (end - i > 1)
            sort_marks(p, p->c + i, end - i, sorted);
        i = end + 1;
    }
    free(sorted);
    return PMET_OK;
}

/* The point that a followed by b composes to, or -1. */
static int32_t composed(const struct points *p, int32_t a, int32_t b)
{
    utf8proc_int32_t pair[3] = {a, b, 0};
    const utf8proc_ssize_t n =
        utf8proc_normalize_utf32(pair, 2, (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    if (n != 1 || pmet_in_ranges(p->newer, p->n_newer, pair[0]))
        return -1;
    return pair[0];
}

static void compose(struct points *p)
{
    size_t starter = SIZE_MAX, n = 0;
    int last = 0; /* class of the last point kept after the starter; 0: none */
    for (size_t i = 0; i < p->n; i++) {
        const int ccc = combining_class(p, p->c[i]);
        const bool adjacent = starter != SIZE_MAX && n == starter + 1;
        if (starter != SIZE_MAX && (adjacent || (last != 0 && last < ccc))) {
            const int32_t c = composed(p, p->c[starter], p->c[i]);
            if (c >= 0) {
                p->c[starter] = c;
                continue;
            }
        }
        if (ccc == 0)
            starter = n;
        last = ccc;
        p->c[n++] = p->c[i];
    }
    p->n = n;
}

static enum pmet_status normalise_stretch(const char *text, size_t n, bool compose_it, struct points *p,
                                          struct pmet_text *out, struct pmet_error *err)
{
    p->n = 0;
    for (size_t i = 0; i < n;) {
        int32_t c;
        i += pmet_utf8_next(text + i, n - i, &c);
        PMET_TRY(decompose(p, c, !compose_it, err));
    }
    PMET_TRY(reorder(p, err));
    if (compose_it)
        compose(p);
    for (size_t i = 0; i < p->n; i++)
        PMET_TRY(append_point(out, p->c[i], err));
    return PMET_OK;
}

/* E6. Only stretches with a point of nfc_attention are taken apart; the rest is copied. */
enum pmet_status pmet_nfc(const char *text, size_t n, struct pmet_text *out, struct pmet_error *err)
{
    struct points p = {.newer = newer_than_9, .n_newer = sizeof newer_than_9 / sizeof *newer_than_9};
    enum pmet_status status = PMET_OK;
    size_t copied = 0,
           previous = 0; /* text before `copied` is out; `previous` is where the last point began */
    for (size_t i = 0; i < n && status == PMET_OK;) {
        int32_t c;
        size_t len = pmet_utf8_next(text + i, n - i, &c);
        if (c < nfc_attention[0].first || !PMET_IN_TABLE(nfc_attention, c)) {
            previous = i;
            i += len;
            continue;
        }
        /* from the point before (if it is one) to the next that stands alone */
        size_t from = previous < i && previous >= copied ? previous : i, to = i;
        int32_t before;
        if (from < i && (pmet_utf8_next(text + from, n - from, &before), before < 0))
            from = i;
        while (to < n &&
               (len = pmet_utf8_next(text + to, n - to, &c), c >= 0 && PMET_IN_TABLE(nfc_attention, c)))
            to += len;
        status = pmet_text_append(out, text + copied, from - copied, err);
        if (status == PMET_OK)
            status = normalise_stretch(text + from, to - from, true, &p, out, err);
        i = copied = previous = to;
    }
    if (status == PMET_OK)
        status = pmet_text_append(out, text + copied, n - copied, err);
    free(p.c);
    return status;
}

/* E40, with the tables of Unicode 14.0. */
enum pmet_status pmet_nfkd(const char *text, size_t n, struct pmet_text *out, struct pmet_error *err)
{
    struct points p = {.newer = nfkd_newer, .n_newer = sizeof nfkd_newer / sizeof *nfkd_newer};
    enum pmet_status status = PMET_OK;
    for (size_t i = 0; i < n && status == PMET_OK;) {
        int32_t c = 0;
        size_t to = i;
        for (size_t len; to < n && (len = pmet_utf8_next(text + to, n - to, &c), c >= 0);)
            to += len;
        status = normalise_stretch(text + i, to - i, false, &p, out, err);
        i = to;
        if (status == PMET_OK && i < n) {
            status = pmet_text_append(out, text + i, 1, err);
            i++;
        }
    }
    if (status == PMET_OK)
        status = pmet_text_append(out, "", 0, err);
    free(p.c);
    return status;
}

/* SPDX-License-Identifier: MIT
 * Code points and their classes.      SPEC §11.7 */
#include "ref/text/points.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include "unicode_tables.h" /* from golden/unicode/ranges.txt */

void pmet_points_put(struct pmet_points *p, int32_t c)
{
    if (p->n == p->cap) {
        struct pmet_error ignored = {PMET_OK, ""};
        if (pmet_grow(&p->c, &p->cap, p->n + 1, sizeof *p->c, "text", &ignored) != PMET_OK) {
            p->failed = true;
            return;
        }
    }
    p->c[p->n++] = c;
}

enum pmet_status pmet_points_status(const struct pmet_points *p, struct pmet_error *err)
{
    return p->failed ? pmet_fail_memory(err, "text", 2 * (p->n + 1) * sizeof *p->c) : PMET_OK;
}

enum pmet_status pmet_points_decode(const char *text, size_t n, struct pmet_points *p, struct pmet_error *err)
{
    for (size_t i = 0; i < n && !p->failed;) {
        int32_t c;
        const size_t length = pmet_utf8_next(text + i, n - i, &c);
        pmet_points_put(p, c >= 0 ? c : PMET_STRAY + (unsigned char)text[i]);
        i += length;
    }
    return pmet_points_status(p, err);
}

enum pmet_status pmet_points_encode(const int32_t *c, size_t n, struct pmet_text *out, struct pmet_error *err)
{
    for (size_t i = 0; i < n; i++) {
        utf8proc_uint8_t bytes[4] = {(utf8proc_uint8_t)(c[i] - PMET_STRAY)};
        const utf8proc_ssize_t length = c[i] < PMET_STRAY ? utf8proc_encode_char(c[i], bytes) : 1;
        PMET_TRY(pmet_text_append(out, (const char *)bytes, (size_t)length, err));
    }
    return PMET_OK;
}

/* ---- classes ---- */

bool pmet_is_one_of(int32_t c, const char *set)
{
    return c > 0 && c < 0x80 && strchr(set, (char)c);
}

bool pmet_is_wordlike(int32_t c)
{
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (c >= PMET_STRAY)
        return false;
    const enum pmet_char_class class = pmet_char_class(c);
    return class == PMET_CHAR_LETTER || class == PMET_CHAR_NUMBER;
}

bool pmet_is_decimal(int32_t c)
{
    if (c < 0x80)
        return c >= '0' && c <= '9';
    return c < PMET_STRAY && pmet_char_class(c) == PMET_CHAR_NUMBER &&
           utf8proc_category(c) == UTF8PROC_CATEGORY_ND;
}

bool pmet_is_blank(int32_t c)
{
    if (c < 0x80)
        return (c >= 0x1c && c <= ' ') || (c >= '\t' && c <= '\r');
    return c < PMET_STRAY && pmet_char_class(c) == PMET_CHAR_SPACE;
}

static bool is_letter_of(int32_t c, utf8proc_category_t category)
{
    return c < PMET_STRAY && utf8proc_category(c) == category && pmet_char_class(c) == PMET_CHAR_LETTER;
}

bool pmet_is_upper(int32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z';
    return is_letter_of(c, UTF8PROC_CATEGORY_LU) || PMET_IN_TABLE(other_upper, c);
}

bool pmet_is_lower(int32_t c)
{
    if (c < 0x80)
        return c >= 'a' && c <= 'z';
    return is_letter_of(c, UTF8PROC_CATEGORY_LL) || PMET_IN_TABLE(other_lower, c);
}

/* ---- lower case ---- */

static bool is_cased(int32_t c)
{
    return pmet_is_upper(c) || pmet_is_lower(c) || is_letter_of(c, UTF8PROC_CATEGORY_LT);
}

/* Marks, modifiers and the punctuation that may stand inside a word: what a sigma looks through. */
static bool is_case_ignorable(int32_t c)
{
    if (PMET_IN_TABLE(inside_word, c))
        return true;
    if (c >= PMET_STRAY)
        return false;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return false;
    }
}

/* A capital sigma ends a word if a cased letter stands before it and none behind. */
static bool ends_word(const int32_t *c, size_t n, size_t i)
{
    size_t before = i, after = i + 1;
    while (before > 0 && is_case_ignorable(c[before - 1]))
        before--;
    if (before == 0 || !is_cased(c[before - 1]))
        return false;
    while (after < n && is_case_ignorable(c[after]))
        after++;
    return after == n || !is_cased(c[after]);
}

int32_t pmet_lower(const int32_t *c, size_t n, size_t i, int32_t *second)
{
    *second = 0;
    if (c[i] < 0x80)
        return c[i] >= 'A' && c[i] <= 'Z' ? c[i] + 'a' - 'A' : c[i];
    if (c[i] >= PMET_STRAY)
        return c[i];
    if (c[i] == 0x3a3)
        return ends_word(c, n, i) ? 0x3c2 : 0x3c3;
    if (c[i] == 0x130) {
        *second = 0x307;
        return 'i';
    }
    return pmet_is_lower(c[i]) || !is_cased(c[i]) ? c[i] : utf8proc_tolower(c[i]);
}

/* ---- pieces ---- */

enum pmet_status pmet_words_add(struct pmet_words *words, const int32_t *c, size_t n, struct pmet_error *err)
{
    const size_t start = words->text.n;
    PMET_TRY(pmet_grow(&words->piece, &words->cap, words->n + 1, sizeof *words->piece, "words", err));
    PMET_TRY(pmet_points_encode(c, n, &words->text, err));
    words->piece[words->n++] = (struct pmet_piece){start, words->text.n - start};
    return PMET_OK;
}

void pmet_words_free(struct pmet_words *words)
{
    free(words->text.data);
    free(words->piece);
    memset(words, 0, sizeof *words);
}

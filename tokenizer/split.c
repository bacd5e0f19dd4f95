/* SPDX-License-Identifier: MIT
 * The pre-tokenizer.      SPEC §2.1, E3 */
#include "tokenizer/model.h"
#include "tokenizer/unicode.h"

/* Classes of ASCII, so that ordinary text never asks utf8proc. */
static inline enum pmet_char_class ascii_class(unsigned char c)
{
    if ((unsigned char)((c | 32) - 'a') < 26)
        return PMET_CHAR_LETTER;
    if ((unsigned char)(c - '0') < 10)
        return PMET_CHAR_NUMBER;
    return c == ' ' || (c >= 9 && c <= 13) ? PMET_CHAR_SPACE : PMET_CHAR_OTHER;
}

static inline enum pmet_char_class class_at(const char *text, size_t n, size_t *len)
{
    const unsigned char c = (unsigned char)text[0];
    int32_t point;
    if (c < 0x80) {
        *len = 1;
        return ascii_class(c);
    }
    *len = pmet_utf8_next(text, n, &point);
    return pmet_char_class(point);
}

static size_t contraction(const char *text, size_t n)
{
    const char a = n > 1 ? text[1] : 0, b = n > 2 ? text[2] : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* End of the run of one class that begins at i. */
static size_t run_end(const char *text, size_t n, size_t i, enum pmet_char_class kind)
{
    size_t len;
    while (i < n && class_at(text + i, n - i, &len) == kind)
        i += len;
    return i;
}

/* White space: whole at the end of the text, else without its last character, which joins what
 * follows or stands alone. */
static size_t space_run(const char *text, size_t n)
{
    size_t i = 0, last = 0, len;
    while (i < n && class_at(text + i, n - i, &len) == PMET_CHAR_SPACE) {
        last = i;
        i += len;
    }
    return i == n || last == 0 ? i : last;
}

size_t pmet_next_word(const char *text, size_t n)
{
    size_t len, next;
    if (text[0] == '\'' && (len = contraction(text, n)) > 0)
        return len;
    const enum pmet_char_class kind = class_at(text, n, &len);
    if (kind != PMET_CHAR_SPACE)
        return run_end(text, n, len, kind);
    if (text[0] == ' ' && n > 1) {
        const enum pmet_char_class after = class_at(text + 1, n - 1, &next);
        if (after != PMET_CHAR_SPACE)
            return run_end(text, n, 1 + next, after);
    }
    return space_run(text, n);
}

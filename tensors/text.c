/* SPDX-License-Identifier: MIT */
#include "tensors/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

size_t pmet_utf8_next(const char *text, size_t n, int32_t *code_point)
{
    const unsigned char *p = (const unsigned char *)text, b = p[0];
    *code_point = -1;
    if (b < 0x80) {
        *code_point = b;
        return 1;
    }
    const size_t len = b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : 2;
    if (b < 0xc2 || b > 0xf4 || n < len)
        return 1;
    int32_t c = b & (0x7f >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 1;
        c = c << 6 | (p[i] & 0x3f);
    }
    if ((len == 3 && (c < 0x800 || (c >= 0xd800 && c <= 0xdfff))) ||
        (len == 4 && (c < 0x10000 || c > 0x10ffff)))
        return 1;
    *code_point = c;
    return len;
}

size_t pmet_utf8_span(const char *text, size_t n)
{
    int32_t c;
    for (size_t i = 0, len; i < n; i += len) {
        len = pmet_utf8_next(text + i, n - i, &c);
        if (c <= 0)
            return i;
    }
    return n;
}

/* Points that are not shown by themselves, but change how a terminal shows others. Joiners
 * (U+200C, U+200D) are not among these: words of many languages need them. */
static bool is_unseen(int32_t c)
{
    static const int32_t range[][2] = {{0x80, 0x9f},     {0x61c, 0x61c},   {0x200b, 0x200b},
                                       {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
                                       {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        if (c >= range[i][0] && c <= range[i][1])
            return true;
    return false;
}

size_t pmet_escape(char *out, size_t size, const char *text, size_t n)
{
    size_t at = 0;
    for (size_t i = 0, len; i < n; i += len) {
        char shown[16];
        int32_t c;
        len = pmet_utf8_next(text + i, n - i, &c);
        if (c == '\n' || c == '\r' || c == '\t')
            snprintf(shown, sizeof shown, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c < 0x20 || c == 0x7f)
            snprintf(shown, sizeof shown, "\\x%02x", (unsigned)(unsigned char)text[i]);
        else if (is_unseen(c))
            snprintf(shown, sizeof shown, c > 0xffff ? "\\U%08x" : "\\u%04x", (unsigned)c);
        else
            snprintf(shown, sizeof shown, "%.*s", (int)len, text + i);
        const size_t n_shown = strlen(shown);
        if (at + n_shown >= size)
            break;
        memcpy(out + at, shown, n_shown);
        at += n_shown;
    }
    if (size > 0)
        out[at] = '\0';
    return at;
}

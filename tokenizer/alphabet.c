/* SPDX-License-Identifier: MIT
 * The byte-level alphabet: bytes that print stand for themselves, the other 68 for U+0100 on, in
 * order. SPEC §2.1, E4 */
#include "tokenizer/model.h"
#include "tokenizer/unicode.h"

static bool prints(int b)
{
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
}

/* The byte of a letter of the alphabet, or -1. */
static int byte_of(int32_t c)
{
    if (c < 0)
        return -1;
    if (c < 0x100)
        return prints((int)c) ? (int)c : -1;
    int32_t next = 0x100;
    for (int b = 0; b < 0x100 && next <= c; b++)
        if (!prints(b) && next++ == c)
            return b;
    return -1;
}

bool pmet_from_alphabet(const char *text, size_t n, char *out, size_t *n_out)
{
    *n_out = 0;
    for (size_t i = 0; i < n;) {
        int32_t c;
        i += pmet_utf8_next(text + i, n - i, &c);
        const int b = byte_of(c);
        if (b < 0)
            return false;
        out[(*n_out)++] = (char)(unsigned char)b;
    }
    return true;
}

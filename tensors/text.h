/* SPDX-License-Identifier: MIT
 * Text from files: UTF-8, and how it is shown. */
#ifndef PMET_TENSORS_TEXT_H
#define PMET_TENSORS_TEXT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One code point at text[0..n): its length in bytes (1 to 4), *code_point set; 1 and *code_point =
 * -1 if the byte does not begin valid UTF-8 (overlong forms, surrogates, values past U+10FFFF are
 * invalid). n > 0. */
size_t pmet_utf8_next(const char *text, size_t n, int32_t *code_point);

/* Bytes of text[0..n) before the first that is NUL or not of valid UTF-8; n if all of it is
 * text. */
size_t pmet_utf8_span(const char *text, size_t n);

/* text[0..n) on one line that does nothing to a terminal, NUL-terminated, in out[0..size): what
 * people read stays; \n, \r, \t; \x1b for any other control character below U+0080 and for a byte
 * that is not of UTF-8; \u202e for controls from U+0080 on and for characters that are not seen but
 * change how others are (directions, separators of lines, tags). Returns its length; what
 * does not fit is left out, whole characters at a time. 10 n + 1 bytes are always enough. */
size_t pmet_escape(char *out, size_t size, const char *text, size_t n);

#ifdef __cplusplus
}
#endif
#endif

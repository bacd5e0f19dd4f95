/* SPDX-License-Identifier: MIT
 * What the tokenizers (and the published text clean-up) need of Unicode, over utf8proc. */
#ifndef PMET_TOKENIZER_UNICODE_H
#define PMET_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stdint.h>
#include "tensors/text.h"
#include "tokenizer/tokenizer.h"

enum pmet_char_class { PMET_CHAR_OTHER, PMET_CHAR_LETTER, PMET_CHAR_NUMBER, PMET_CHAR_SPACE };

/* Tables of code points, sorted: golden/unicode/ranges.txt says what each holds. */
struct pmet_range {
    int32_t first, last;
};
bool pmet_in_ranges(const struct pmet_range *table, size_t n, int32_t code_point);
#define PMET_IN_TABLE(table, c) pmet_in_ranges(table, sizeof table / sizeof *table, c)

/* Class of a code point in Unicode 14.0: \p{L}, \p{N}, the 25 White_Space points, or other. */
enum pmet_char_class pmet_char_class(int32_t code_point);

/* \w of the reference's patterns, for added tokens that must be single words. */
bool pmet_is_word(int32_t code_point);

/* Appends text normalised: NFC with the reference's tables of Unicode 9.0 (SPEC §2.1, E6), or NFKD
 * with those of Unicode 14.0 (E40). Invalid bytes pass through. */
enum pmet_status pmet_nfc(const char *text, size_t n, struct pmet_text *out, struct pmet_error *err);
enum pmet_status pmet_nfkd(const char *text, size_t n, struct pmet_text *out, struct pmet_error *err);
/* Appends n bytes. */
enum pmet_status pmet_text_append(struct pmet_text *out, const char *data, size_t n, struct pmet_error *err);
/* The same after a space, unless it is the first that is appended. */
enum pmet_status pmet_text_join(struct pmet_text *out, const char *data, size_t n, struct pmet_error *err);
/* Puts `put`, which is no longer, in the place of every `find` from byte `from` on, left to
 * right. */
void pmet_text_replace(struct pmet_text *text, size_t from, const char *find, const char *put);

#endif

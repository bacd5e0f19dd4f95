/* SPDX-License-Identifier: MIT */
#ifndef PMET_TOKENIZER_SPLIT_H
#define PMET_TOKENIZER_SPLIT_H

#include <stddef.h>

/* Length of the word that begins text[0..n), n > 0, by the GPT-2 pattern (E3)
 *   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * A byte that is not UTF-8 counts as a character of the third kind. */
size_t pmet_next_word(const char *text, size_t n);

#endif

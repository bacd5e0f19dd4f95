/* SPDX-License-Identifier: MIT
 * Byte-level BPE of GPT-2, GPT-J and GPT-NeoX: text to ids and back, as the published Rust
 * tokenizers 0.13 do.      SPEC §2 */
#ifndef PMET_TOKENIZER_TOKENIZER_H
#define PMET_TOKENIZER_TOKENIZER_H

#include <stdint.h>
#include "tensors/io.h"

struct pmet_tokenizer;

/* Growing arrays that the caller zeroes first and releases with free(ids.id) or free(text.data). */
struct pmet_ids {
    int32_t *id;
    size_t n, cap;
};
struct pmet_text {
    char *data; /* NUL-terminated after each successful call; n does not count the NUL */
    size_t n, cap;
};

/* From dir/tokenizer.json, or dir/vocab.json + dir/merges.txt, and from what stands beside them:
 * tokenizer_config.json, special_tokens_map.json, added_tokens.json and config.json.  SPEC §2.3 */
enum pmet_status pmet_tokenizer_open(const struct pmet_io *io, const char *dir, struct pmet_tokenizer **out,
                                     struct pmet_error *err);
void pmet_tokenizer_close(struct pmet_tokenizer *tk); /* accepts NULL */

/* Appends the ids of n bytes of text. No special tokens are added. Bytes that are not UTF-8 pass
 * through byte by byte as characters that are neither letter, number nor space. */
enum pmet_status pmet_tokenizer_encode(const struct pmet_tokenizer *tk, const char *text, size_t n,
                                       struct pmet_ids *ids, struct pmet_error *err);

/* Makes sure that `more` ids can be appended. */
enum pmet_status pmet_ids_reserve(struct pmet_ids *ids, size_t more, struct pmet_error *err);

enum { PMET_DECODE_CLEANUP = 1, PMET_DECODE_SKIP_SPECIAL = 2, PMET_DECODE_BYTES = 4 };
/* Appends the text of n ids. Bytes that do not form UTF-8 become U+FFFD, one for each maximal
 * invalid part (PMET_DECODE_BYTES: they stay as they are). PMET_DECODE_CLEANUP applies the ten
 * replacements of transformers' clean_up_tokenization, which the published code has on wherever it
 * decodes (unless the folder's clean_up_tokenization_spaces is false). An id below the model's
 * vocab_size without a token gives nothing; one beyond it and all tokens is refused. */
enum pmet_status pmet_tokenizer_decode(const struct pmet_tokenizer *tk, const int32_t *ids, size_t n,
                                       int flags, struct pmet_text *text, struct pmet_error *err);

size_t pmet_tokenizer_size(const struct pmet_tokenizer *tk); /* 1 + the highest id */

#endif

/* SPDX-License-Identifier: MIT
 * vocab.json, merges.txt and what stands beside them. */
#include "tests/fuzz/tokenize.h"

void fuzz_one(const char *data, size_t n)
{
    static const char *const names[] = {
        "vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json",
        "config.json"};
    fuzz_files(data, n, names, 6);
    fuzz_tokenize();
}

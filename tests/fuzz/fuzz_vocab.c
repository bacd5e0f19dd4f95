/* SPDX-License-Identifier: MIT
 * vocab.json, merges.txt, added_tokens.json and tokenizer_config.json. */
#include "tests/fuzz/tokenize.h"

void fuzz_one(const char *data, size_t n)
{
    static const char *const names[] = {"vocab.json", "merges.txt", "added_tokens.json",
                                        "tokenizer_config.json"};
    fuzz_files(data, n, names, 4);
    fuzz_tokenize();
}

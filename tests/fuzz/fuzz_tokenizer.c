/* SPDX-License-Identifier: MIT
 * tokenizer.json and tokenizer_config.json. */
#include "tests/fuzz/tokenize.h"

void fuzz_one(const char *data, size_t n)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json"};
    fuzz_files(data, n, names, 2);
    fuzz_tokenize();
}

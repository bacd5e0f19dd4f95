/* SPDX-License-Identifier: MIT
 * Opens the tokenizer in the process's folder, and has it encode and decode. */
#ifndef PMET_TESTS_FUZZ_TOKENIZE_H
#define PMET_TESTS_FUZZ_TOKENIZE_H

#include "tests/fuzz/target.h"
#include "tokenizer/tokenizer.h"

static void fuzz_tokenize(void)
{
    static const char text[] =
        "The capital of  France\xe2\x80\x99s\n\n <|extratoken_1|>\xff <|endoftext|> is";
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_tokenizer *tk = NULL;
    struct pmet_ids ids = {0};
    struct pmet_text back = {0};
    fuzz_expect(pmet_tokenizer_open(pmet_io_system(), fuzz_dir(), &tk, &err), &err);
    if (tk) {
        struct pmet_error there = {PMET_OK, ""}, again = {PMET_OK, ""};
        fuzz_expect(pmet_tokenizer_encode(tk, text, sizeof text - 1, &ids, &there), &there);
        fuzz_expect(pmet_tokenizer_decode(tk, ids.id, ids.n, PMET_DECODE_CLEANUP, &back, &again), &again);
    }
    free(ids.id);
    free(back.data);
    pmet_tokenizer_close(tk);
}

#endif

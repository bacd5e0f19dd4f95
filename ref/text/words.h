/* SPDX-License-Identifier: MIT
 * Word tokens as the published metrics take them: nltk's word_tokenize, that is Punkt sentences,
 * each cut by the rules of the Penn Treebank.      SPEC §11.7 */
#ifndef PMET_REF_TEXT_WORDS_H
#define PMET_REF_TEXT_WORDS_H

#include "tokenizer/tokenizer.h"

/* Pieces of a text, piece[i].n bytes from text.data + piece[i].start on. The functions below set
 * it; pmet_words_free releases it, also on failure. */
struct pmet_words {
    struct pmet_text text;
    struct pmet_piece {
        size_t start, n;
    } * piece; /* [n] */
    size_t n, cap;
};

/* E88, E89: the words of n bytes of UTF-8. Some differ from the text: a double quote becomes two
 * backticks or two apostrophes. A byte that is not UTF-8 counts as a character that is neither word
 * nor space. */
enum pmet_status pmet_words(const char *text, size_t n, struct pmet_words *out, struct pmet_error *err);
/* E88: the rules alone, the whole text taken for one sentence. */
enum pmet_status pmet_treebank(const char *text, size_t n, struct pmet_words *out, struct pmet_error *err);
/* E89: the sentences, as they stand in the text. */
enum pmet_status pmet_sentences(const char *text, size_t n, struct pmet_words *out, struct pmet_error *err);
void pmet_words_free(struct pmet_words *words);

#endif

/* SPDX-License-Identifier: MIT
 * Fluency: how varied a text's words are.      SPEC §11.7 */
#ifndef PMET_REF_TEXT_ENTROPY_H
#define PMET_REF_TEXT_ENTROPY_H

#include "ref/text/words.h"

/* E90: (H2 + 2 H3) / 3 of one text's words, in bits; an order with too few words counts 0.
 * ngram_entropy of a record is the mean over its texts. */
enum pmet_status pmet_ngram_entropy(const struct pmet_words *words, double *out, struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * Consistency: the cosine between the TF-IDF vectors of two texts.      SPEC §11.7 */
#ifndef PMET_REF_TEXT_TFIDF_H
#define PMET_REF_TEXT_TFIDF_H

#include "tensors/io.h"

struct pmet_tfidf; /* terms and their weights; read only once it is there, so threads may share it */

/* From dir/idf.npy ([n] or [1, n] float64) and dir/tfidf_vocab.json (term to column). Refused: a
 * column past the weights or taken twice, a weight that is not finite. */
enum pmet_status pmet_tfidf_open(const struct pmet_io *io, const char *dir, struct pmet_tfidf **out,
                                 struct pmet_error *err);
/* E93: from all texts of a snippets file, which is read one element at a time. */
enum pmet_status pmet_tfidf_build(const struct pmet_io *io, const char *snippets_path,
                                  struct pmet_tfidf **out, struct pmet_error *err);
void pmet_tfidf_close(struct pmet_tfidf *t); /* accepts NULL */

size_t pmet_tfidf_size(const struct pmet_tfidf *t); /* terms */
/* The weight of a term as the vectors have it, 0 if unknown. */
double pmet_tfidf_weight(const struct pmet_tfidf *t, const char *term);

/* E92: the cosine of two texts of n_a and n_b bytes of UTF-8; NaN, as published, if one has no
 * known term. */
enum pmet_status pmet_tfidf_cosine(const struct pmet_tfidf *t, const char *a, size_t n_a, const char *b,
                                   size_t n_b, double *out, struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * Text as the published metrics' patterns see it: code points with Python's character classes and
 * lower case. SPEC §11.7 */
#ifndef PMET_REF_TEXT_POINTS_H
#define PMET_REF_TEXT_POINTS_H

#include "ref/text/words.h"
#include "tokenizer/unicode.h"

/* Growing array of code points that the caller zeroes first; free(points.c) releases it. A byte b
 * that is not UTF-8 is the point PMET_STRAY + b, which no class holds and which is written as that
 * byte. */
struct pmet_points {
    int32_t *c;
    size_t n, cap;
    bool failed; /* memory ran out: what should have been appended is not there */
};
enum { PMET_STRAY = 0x110000 };

/* Appends a point, or sets `failed`: a caller that appends many asks once, at the end. */
void pmet_points_put(struct pmet_points *p, int32_t c);
enum pmet_status pmet_points_status(const struct pmet_points *p, struct pmet_error *err);
/* Appends the points of n bytes of text. */
enum pmet_status pmet_points_decode(const char *text, size_t n, struct pmet_points *p,
                                    struct pmet_error *err);
/* Appends n points as UTF-8. */
enum pmet_status pmet_points_encode(const int32_t *c, size_t n, struct pmet_text *out,
                                    struct pmet_error *err);

/* Classes of a point as of Unicode 14.0. */
bool pmet_is_wordlike(int32_t c);                /* \w: letters, numbers, underscore */
bool pmet_is_one_of(int32_t c, const char *set); /* ASCII characters */
bool pmet_is_decimal(int32_t c);                 /* \d */
bool pmet_is_blank(int32_t c);                   /* \s: 29 points */
bool pmet_is_upper(int32_t c);                   /* a capital: category Lu and its like */
bool pmet_is_lower(int32_t c);

/* E91: c[i] of n points in lower case, which is one or two points: *second is 0 if there is no
 * second. Capital sigma depends on what stands around it. */
int32_t pmet_lower(const int32_t *c, size_t n, size_t i, int32_t *second);

/* Appends a piece of n points. */
enum pmet_status pmet_words_add(struct pmet_words *words, const int32_t *c, size_t n, struct pmet_error *err);

/* ---- words.c, punkt.c ---- */

/* E89: calls on_sentence for each sentence, a range of the points. */
typedef enum pmet_status pmet_on_sentence(void *user, const int32_t *c, size_t n, struct pmet_error *err);
enum pmet_status pmet_punkt(const struct pmet_points *text, pmet_on_sentence *on_sentence, void *user,
                            struct pmet_error *err);

/* ---- tfidf_words.c ---- */

/* E91: calls on_term for each term of a text, in lower case. */
typedef enum pmet_status pmet_on_term(void *user, const char *term, size_t n, struct pmet_error *err);
enum pmet_status pmet_terms(const char *text, size_t n, pmet_on_term *on_term, void *user,
                            struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * Attribute snippets: texts about things that have a given attribute, in the published form, a list
 * of {relation_id, target_id, samples: [{name, text}]}.      SPEC §11.7 */
#ifndef PMET_REF_TEXT_SNIPPETS_H
#define PMET_REF_TEXT_SNIPPETS_H

#include "tensors/elements.h"

/* What a record asks for. */
struct pmet_snippet_query {
    const char *relation_id, *target_id; /* of target_new */
    const char *subject;
};

/* E94: texts in the file's order. What an answer points to belongs to struct pmet_snippets. */
struct pmet_snippet_answer {
    const char *reference; /* all texts of the pair, joined by one space; NULL if the file has none */
    const char *essence;   /* those named as the subject, end to end, each with its NUL; NULL if none */
    size_t n_essence;
};

struct pmet_snippets {
    struct pmet_snippet_answer *answer; /* [n] */
    size_t n;
    char sha256[65]; /* of the file's bytes */
    char **text;     /* [n_text] owns the strings: one for each pair and subject that was asked for */
    size_t n_text;
};

/* Answers n queries in one pass over the file; in memory are one element and the texts asked for,
 * those of equal pairs once. Refused, naming file, element and line: not JSON, invalid UTF-8, an
 * element or sample that lacks a key. */
enum pmet_status pmet_snippets_load(const struct pmet_io *io, const char *path,
                                    const struct pmet_snippet_query *query, size_t n,
                                    struct pmet_snippets *out, struct pmet_error *err);
void pmet_snippets_free(struct pmet_snippets *s);

#endif

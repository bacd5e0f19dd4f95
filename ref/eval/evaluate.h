/* SPDX-License-Identifier: MIT
 * Evaluation of a model by records: its answers to their prompts, and the texts it writes.
 * SPEC §11 */
#ifndef PMET_REF_EVAL_EVALUATE_H
#define PMET_REF_EVAL_EVALUATE_H

#include "ref/eval/generate.h"
#include "ref/eval/probs.h"
#include "ref/text/snippets.h"
#include "ref/text/tfidf.h"

/* What a model writes after a record's generation prompts, and the metrics of these texts. */
struct pmet_texts {
    size_t n;               /* of the prompts; 0: not asked for, or a record without */
    char **text;            /* [n] prompt included, cleaned up (E40) */
    double ngram_entropy;   /* E90, mean over the texts */
    bool has_reference;     /* there are snippets of the new object */
    double reference_score; /* E92, E94; NaN where a text has no known term */
    const char *essence;    /* as in struct pmet_snippet_answer; not owned; NULL: none */
    size_t n_essence;
    double essence_score; /* E84 */
};

struct pmet_case {
    struct pmet_verdict verdict;
    struct pmet_texts texts;
};

struct pmet_evaluate_options {
    bool greedy;       /* --decode greedy */
    size_t n_generate; /* records with texts: the first of the file */
    size_t top_k;
    uint64_t seed;
    const struct pmet_tfidf *tfidf;           /* NULL: texts are not compared with snippets */
    const struct pmet_snippet_answer *answer; /* [n_answer] of the record with that number in its file */
    size_t n_answer;
    size_t max_bytes;         /* of cached keys and values */
    const char *path;         /* of the records, for messages */
    pmet_generate_stop *stop; /* callback; nonzero ends with PMET_INTERRUPTED. May be NULL */
    void *user;
};

/* out[i] for each of n records, together; pmet_case_free releases it, also on failure. A record's
 * result does not depend on the others. */
enum pmet_status pmet_evaluate_records(const struct pmet_model *model, const struct pmet_tokenizer *tk,
                                       const struct pmet_eval_record *record, size_t n,
                                       const struct pmet_evaluate_options *options, struct pmet_case *out,
                                       struct pmet_error *err);
void pmet_case_free(struct pmet_case *c);

/* Whether texts are asked for. */
bool pmet_wants_texts(const struct pmet_eval_record *record, const struct pmet_evaluate_options *options);
/* E85: the texts of those of n records that come before options->n_generate in their file, for
 * evaluate_records. */
enum pmet_status pmet_write_texts(const struct pmet_model *model, const struct pmet_tokenizer *tk,
                                  const struct pmet_eval_record *record, size_t n,
                                  const struct pmet_evaluate_options *options, struct pmet_case *out,
                                  struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * A fact under its contexts, as rows of tokens with the position of the subject's last token
 * (lookup index) and of the target's labels, counted exactly as the published code counts them.
 * SPEC §4.3, §4.4 */
#ifndef PMET_REF_FACTS_ROWS_H
#define PMET_REF_FACTS_ROWS_H

#include "ref/facts/contexts.h"
#include "ref/facts/facts.h"
#include "tokenizer/tokenizer.h"

struct pmet_row {
    int32_t *id; /* [n_tok] */
    size_t n_tok;
    size_t lookup_idx; /* < n_tok */
};

struct pmet_fact_rows {
    size_t n_row;         /* with targets: one a context, then the KL row; keys: one a context */
    struct pmet_row *row; /* row 0 is the plain prompt */
    int32_t *target;      /* [n_target] ids of the target with its leading space; NULL for keys */
    size_t n_target;      /* label s of row j stands at row[j].n_tok - n_target + s and is target[s] */
    bool odd_lookup; /* the lookup token is not the subject's last token in the joint tokenisation (of some
                        row) */
    bool odd_target; /* the labels are not where the target's tokens are (of some row) */
};

struct pmet_rows_options {
    const char *path;      /* of the facts, for messages */
    size_t n_ctx;          /* longest row the model takes */
    size_t n_vocab;        /* rows of the embedding: an id past it is refused */
    bool strict;           /* refuse odd facts rather than mark them */
    const char *kl_prompt; /* with targets: the prompt of the last row, with one "{}" for the subject */
};

/* with_target: rows 0.. : context_j with the prompt in it, + decode(target[:-1]), the subject put
 * in; last row the KL prompt. Else the same without target tokens and last row: what keys and current
 * outputs are read from. Refused, naming the fact: a prefix of the subject that does not end in a
 * space, "{}" twice or not at all, an empty subject or target, a lookup index past its row, labels
 * that begin before the row does, rows longer than n_ctx. */
enum pmet_status pmet_rows_build(const struct pmet_tokenizer *tk, const struct pmet_fact *fact,
                                 const struct pmet_contexts *contexts,
                                 const struct pmet_rows_options *options, bool with_target,
                                 struct pmet_fact_rows *out, struct pmet_error *err);
void pmet_rows_free(struct pmet_fact_rows *rows);

#endif

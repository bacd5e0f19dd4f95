/* SPDX-License-Identifier: MIT
 * A model's answers to a record's prompts: probabilities of targets, right tokens, perplexity. The
 * questions of many records are gathered, then answered together.      SPEC §11.2, §11.3 */
#ifndef PMET_REF_EVAL_PROBS_H
#define PMET_REF_EVAL_PROBS_H

#include "ref/eval/readout.h"
#include "ref/eval/records.h"
#include "tokenizer/tokenizer.h"

/* To one list of prompts; all NULL where the record does not have it. An answer a prompt; zsRE: one a
 * token of the target, prompt after prompt. */
struct pmet_answers {
    size_t n;
    double *nll_new, *nll_true; /* [n] E80: mean of -log p over the target's tokens; or NULL */
    bool *correct;              /* [n] E81, E82 */
    size_t n_prompt;
    bool *greedy; /* [n_prompt] E83: the model goes on with the target; NULL unless asked for */
};
void pmet_answers_free(struct pmet_answers *a);

struct pmet_verdict {
    struct pmet_answers rewrite, paraphrase, neighborhood, portability;
};
void pmet_verdict_free(struct pmet_verdict *v);

/* Questions gathered so far; answers point to where their results go, and must stay in place until
 * they are there. */
struct pmet_question {
    size_t first, n; /* its places in the readout */
    double *nll, *perplexity;
    bool *flag; /* each of these may be NULL */
};
struct pmet_questions {
    const struct pmet_tokenizer *tk;
    const struct pmet_config *config;
    const char *path; /* of the records, for messages */
    struct pmet_readout readout;
    struct pmet_question *question;
    size_t n_question, cap;
};

/* Asks all that the record does; *out receives the arrays of answers, which pmet_verdict_free
 * releases, also on failure. Refused, naming the record: a text or target without tokens, a row
 * past the model's n_ctx, an id past its vocabulary, a target that reaches past the end of its
 * row. */
enum pmet_status pmet_ask(struct pmet_questions *q, const struct pmet_eval_record *record, bool greedy,
                          struct pmet_verdict *out, struct pmet_error *err);
/* E84: *out will be the perplexity of the text's first 100 tokens. */
enum pmet_status pmet_ask_perplexity(struct pmet_questions *q, const struct pmet_eval_record *record,
                                     const char *text, double *out, struct pmet_error *err);
/* Runs the model and fills in all answers; no questions are left. */
enum pmet_status pmet_answer(struct pmet_questions *q, const struct pmet_model *model, size_t max_bytes,
                             struct pmet_error *err);
/* Drops all questions and frees their memory. */
void pmet_questions_free(struct pmet_questions *q);

#endif

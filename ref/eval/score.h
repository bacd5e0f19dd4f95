/* SPDX-License-Identifier: MIT
 * How a model answers the plain prompts of facts.      SPEC §5.2 (E52, one row) */
#ifndef PMET_REF_EVAL_SCORE_H
#define PMET_REF_EVAL_SCORE_H

#include "ref/facts/rows.h"
#include "ref/model/model.h"

struct pmet_score {
    double prob; /* geometric mean of the target tokens' probabilities after the plain prompt */
    bool greedy; /* each of them is the likeliest token at its place */
};

/* Scores row 0 (the plain prompt with the target behind it) of n_fact facts, rows from
 * pmet_rows_build; no deltas, the model as it is. Facts are packed; a fact's score does not depend
 * on the others. */
enum pmet_status pmet_score_facts(const struct pmet_model *model, const struct pmet_fact_rows *rows,
                                  size_t n_fact, struct pmet_score *out, struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * The published summary of an evaluation: means over records.      SPEC §11.5 */
#ifndef PMET_REF_EVAL_SUMMARY_H
#define PMET_REF_EVAL_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>
#include "pmet.h"

/* One value a record and metric. The first four come in threes: rewrite, paraphrase,
 * neighborhood. */
enum pmet_metric_kind {
    PMET_SUCCESS,                         /* share of prompts where the right target is likelier */
    PMET_DIFF = PMET_SUCCESS + 3,         /* by how much, mean of the differences of exp(-NLL) */
    PMET_ACC = PMET_DIFF + 3,             /* share of right answers (E81) or tokens (E82) */
    PMET_GREEDY = PMET_ACC + 3,           /* share of prompts that greedy decoding answers (E83) */
    PMET_NGRAM_ENTROPY = PMET_GREEDY + 3, /* bits */
    PMET_REFERENCE_SCORE,
    PMET_ESSENCE_SCORE,
    PMET_PORTABILITY_ACC, /* share of prompts with the right answer of their own (E81) */
    PMET_PORTABILITY_GREEDY,
    PMET_N_METRIC
};

struct pmet_summary {
    struct pmet_tally {
        size_t n;
        double mean, m2; /* running mean, and sum of squared distances from it */
    } tally[PMET_N_METRIC];
};

/* E86 for one list of prompts: values of success and diff from n pairs of NLLs; `list` 0 to 2 as
 * above. */
void pmet_summary_probs(struct pmet_summary *s, size_t list, const double *nll_new, const double *nll_true,
                        size_t n);
/* The share of n flags that are set; nothing for n = 0. kind: PMET_ACC or PMET_GREEDY; `list` may
 * also be 3, portability. */
void pmet_summary_flags(struct pmet_summary *s, enum pmet_metric_kind kind, size_t list, size_t n_set,
                        size_t n);
/* One record's value of a metric. */
void pmet_summary_add(struct pmet_summary *s, size_t metric, double value);

/* E87: the metrics that some record has, and the score, appended to out; `side` "post" or "pre". */
void pmet_summary_report(const struct pmet_summary *s, const char *side, struct pmet_evaluation *out);

#endif

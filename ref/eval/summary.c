/* SPDX-License-Identifier: MIT */
#include "ref/eval/summary.h"

#include <math.h>
#include <stdio.h>

static const char *const names[PMET_N_METRIC] = {
    "rewrite_success",   "paraphrase_success",  "neighborhood_success", "rewrite_diff",     "paraphrase_diff",
    "neighborhood_diff", "rewrite_acc",         "paraphrase_acc",       "neighborhood_acc", "rewrite_greedy",
    "paraphrase_greedy", "neighborhood_greedy", "ngram_entropy",        "reference_score",  "essence_score",
    "portability_acc",   "portability_greedy"};

void pmet_summary_add(struct pmet_summary *s, size_t metric, double value)
{
    struct pmet_tally *t = &s->tally[metric];
    const double from = value - t->mean;
    t->n++;
    t->mean += from / (double)t->n;
    t->m2 += from * (value - t->mean);
}

/* E86: strict, so that a tie is a failure on every list. */
void pmet_summary_probs(struct pmet_summary *s, size_t list, const double *nll_new, const double *nll_true,
                        size_t n)
{
    size_t n_right = 0;
    double diff = 0;
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        const double right = list == 2 ? nll_true[i] : nll_new[i],
                     wrong = list == 2 ? nll_new[i] : nll_true[i];
        n_right += right < wrong;
        diff += exp(-right) - exp(-wrong);
    }
    pmet_summary_add(s, PMET_SUCCESS + list, (double)n_right / (double)n);
    pmet_summary_add(s, PMET_DIFF + list, diff / (double)n);
}

void pmet_summary_flags(struct pmet_summary *s, enum pmet_metric_kind kind, size_t list, size_t n_set,
                        size_t n)
{
    const size_t portability = kind == PMET_ACC ? PMET_PORTABILITY_ACC : PMET_PORTABILITY_GREEDY;
    if (n > 0)
        pmet_summary_add(s, list < 3 ? kind + list : portability, (double)n_set / (double)n);
}

static double hundredths(double x)
{
    return rint(x * 100 * 100) / 100;
}

static void put(struct pmet_evaluation *out, const char *side, const char *name, size_t n, double mean,
                double std)
{
    struct pmet_metric *m = &out->metric[out->n_metric++];
    snprintf(m->name, sizeof m->name, "%s_%s", side, name);
    m->n = n;
    m->mean = mean;
    m->std = std;
}

void pmet_summary_report(const struct pmet_summary *s, const char *side, struct pmet_evaluation *out)
{
    double inverse = 0;
    size_t n_score = 0;
    for (size_t k = 0; k < PMET_N_METRIC; k++) {
        const struct pmet_tally *t = &s->tally[k];
        const bool plain = k == PMET_ESSENCE_SCORE;
        if (t->n == 0)
            continue;
        const double mean = plain ? t->mean : hundredths(t->mean), std = sqrt(t->m2 / (double)t->n);
        put(out, side, names[k], t->n, mean, plain ? std : hundredths(std));
        if (k < PMET_SUCCESS + 3) {
            inverse += 1 / mean;
            n_score++;
        }
    }
    if (n_score == 3)
        put(out, side, "score", s->tally[PMET_SUCCESS].n, 3 / inverse, (double)NAN);
}

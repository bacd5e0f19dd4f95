/* SPDX-License-Identifier: MIT
 * The optimisation's loss without any of its savings: every row alone, from its first token to its
 * last, through every block and the head, at every pass.      SPEC §5.1, §5.2 */
#ifndef PMET_TESTS_WHOLE_H
#define PMET_TESTS_WHOLE_H

#include "ref/delta/delta.h"
#include "tests/test.h"

/* Rows of random ids: row j has shape[j][0] tokens and its lookup index at shape[j][1]; the last is
 * the KL row. */
struct pmet_fact_rows made_rows(struct test *t, struct test_rng *rng, const struct pmet_model *model,
                                const size_t shape[][2], size_t n_row, size_t n_target);

struct whole {
    struct pmet_losses losses;
    double *logp, *best_logp;         /* [(n_row - 1) * n_target] */
    double *kl_lp;                    /* [n_vocab] log-probabilities of the KL row at its lookup index */
    double *initial[PMET_MAX_VECTOR]; /* [d_model] */
};
/* At given vectors (NULL: zero) with NLL factor phi. kl0: the KL row's log-probabilities before the
 * edit, or NULL for the pass that fixes them. Softmax, sums and norms in double on the host. */
bool whole_loss(struct test *t, const struct pmet_model *model, const struct pmet_fact_rows *rows,
                const struct pmet_objective *o, const real *const *vector, double phi, const double *kl0,
                struct whole *out);

#endif

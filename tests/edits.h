/* SPDX-License-Identifier: MIT
 * Whole edits of the golden models, with second moments made up on the spot. */
#ifndef PMET_TESTS_EDITS_H
#define PMET_TESTS_EDITS_H

#include "tests/golden.h"

/* C [n, n] = I + B B^T, B [n, 8] from the seed: positive definite, condition about n. */
double *made_cov(size_t n, uint64_t seed);
/* made_cov under a name's hash: a pmet_moment_source's function. */
enum pmet_status made_cov_source(void *user, const char *name, size_t d_in, double **out,
                                 struct pmet_error *err);

struct edit_run {
    struct pmet_editor editor; /* after the edit */
    struct pmet_facts facts;
    struct pmet_hparams h;
    size_t n, d;
    real *delta; /* [n, 2, d] mlp, attn of each fact, as the optimisation left them */
};
/* Facts [first, first + n) of the model's, hyper-parameters pmet.json. Released when the claim
 * ends. */
bool edit_facts(struct test *t, const struct golden *g, struct pmet_model *model, size_t first, size_t n,
                enum pmet_solver solver, size_t max_bytes, struct edit_run *out);
/* Whether all edited matrices have the same bits. */
bool same_edited(const struct pmet_editor *a, const struct pmet_editor *b);

#endif

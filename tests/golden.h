/* SPDX-License-Identifier: MIT
 * What the golden tests share: models opened once, tensors of the frozen files, and the rule of
 * acceptance. SPEC §1 */
#ifndef PMET_TESTS_GOLDEN_H
#define PMET_TESTS_GOLDEN_H

#include <jansson.h>
#include "ref/method/keys.h"
#include "ref/method/method.h"
#include "ref/method/pmet_hparams.h"
#include "ref/method/stats.h"
#include "tests/test.h"

#define N_GOLDEN 4
/* The models that a test goes through: all, and under the sanitizers, for time's sake, the two
 * small ones. */
#ifdef __SANITIZE_ADDRESS__
#define EACH_GOLDEN(m) for (size_t m = 1; m < N_GOLDEN; m += 2)
#else
#define EACH_GOLDEN(m) for (size_t m = 0; m < N_GOLDEN; m++)
#endif
extern const char *const golden_names[N_GOLDEN];

struct golden {
    const char *name;
    struct pmet_ops *op;
    struct pmet_checkpoint *ck;
    struct pmet_model *model;
    struct pmet_tokenizer *tk;
    struct pmet_contexts contexts;
    struct pmet_facts facts;
};
/* All that is opened here is closed when the claim ends. */
bool golden_open(struct test *t, struct golden *g, size_t i);
/* The method's hyper-parameters, hparams/FILE.json, FILE being "PMET/pmet". */
bool golden_hparams(struct test *t, const struct golden *g, const struct pmet_method *method,
                    const char *file, struct pmet_hparams *out);
/* pmet_facts_free releases them. */
bool golden_facts(struct test *t, const struct golden *g, const char *file, struct pmet_facts *out);
/* The rows of facts [first, first + n), for their keys or for the optimisation; NULL after a failed
 * check. */
struct pmet_fact_rows *golden_rows(struct test *t, const struct golden *g, size_t first, size_t n, bool keys);
struct pmet_docs *golden_docs(struct test *t,
                              const struct golden *g); /* its stats_text.jsonl; NULL if that fails */
json_t *golden_json(struct test *t, const struct golden *g, const char *file);

/* fp32 and fp64 of one golden file. */
struct golden_pair {
    struct pmet_safetensors *p[2];
};
bool golden_pair_open(struct test *t, struct golden_pair *pair, const struct golden *g, const char *stem);
/* As doubles; NULL if the file lacks it. */
double *golden_tensor(struct test *t, const struct pmet_safetensors *st, const char *name, size_t *n);

/* Holds `got` to the pair's tensor. Smooth: double build, 1e-9 relative to fp64; float build, error
 * at most twice the distance of fp32 from fp64. Kept for the closing table under `group`. */
void golden_smooth(struct test *t, const char *group, const struct golden_pair *pair, const char *name,
                   const real *got, size_t n);
/* The same for values already at hand. */
void golden_smooth_values(struct test *t, const char *group, const char *name, const double *got,
                          const double *fp32, const double *fp64, size_t n);
/* What an optimisation leaves: errors and distances are kept and compared together by
 * golden_compare_runs. */
void golden_run(const char *group, const double *got, const double *fp32, const double *fp64, size_t n);
/* Median ratio at most 2, none beyond the larger of ten times its own distance and the largest
 * distance; double build: 1e-9. */
void golden_compare_runs(struct test *t, const char *group);
void golden_table(void);

#endif

/* SPDX-License-Identifier: MIT
 * A comparison in progress, for diff.c (options, table) and diff_rules.c (which tensor is held to
 * what). SPEC §1.4 */
#ifndef PMET_CLI_DIFF_JOB_H
#define PMET_CLI_DIFF_JOB_H

#include "cli/options.h"
#include "tensors/safetensors.h"

enum diff_kind {
    DIFF_EXACT,  /* integers: equal */
    DIFF_SMOOTH, /* one computation: each within ratio of its yardstick */
    DIFF_RUN,    /* results of an optimisation: their median within it, none far out */
    DIFF_SCALAR  /* losses and probabilities of the passes: RMS over the field */
};

/* A tensor that both files have. */
struct diff_entry {
    const char *name;
    char key[160]; /* its group: the name with * for numbers between dots */
    enum diff_kind kind;
    size_t n_elem;
    double dist, max_err; /* |a-b| / |b| in L2; largest |a-b| */
    bool has_yard;
    double yard, allowed; /* |y-b| / |b|; what dist may be, known after diff_apply_limits */
    double sum, yard_sum; /* of squared relative errors, for scalars */
    bool beyond;          /* past the limit */
    char why[160];        /* if it could not be compared: shapes, types */
};

/* Tensors of one key. */
struct diff_group {
    const struct diff_entry *first;
    size_t n, n_beyond, n_yard;
    double worst, max_err; /* largest distance, largest error */
    double ratio;          /* what the rule of its kind looks at */
    double median, most_yard, sum, yard_sum;
};

struct diff_job {
    const struct cli *c;
    const char *a_path, *b_path, *yard_path, *require;
    double rtol, atol, ratio;
    struct pmet_safetensors *a, *b, *y;
    struct diff_entry *entry; /* [n_entry] in the order of B */
    size_t n_entry, n_beyond, n_no_yard;
    struct diff_group *group; /* [n_group] in the order of their first entries */
    size_t n_group;
};

/* Reads all tensors that both files have and measures them. */
enum pmet_status diff_measure(struct diff_job *j, struct pmet_error *err);
/* Gathers the groups, sets allowed and beyond of every entry that has a yardstick, and counts. */
enum pmet_status diff_apply_limits(struct diff_job *j, struct pmet_error *err);
/* dist/yard: 0 for 0/0, infinity for x/0. */
double diff_ratio(const struct diff_entry *e);

#endif

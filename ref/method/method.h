/* SPDX-License-Identifier: MIT
 * A method of editing, as the rest of the program sees it.
 *
 * To add one, write a file that ends in such a row, and declare the row below. Rounding, reading
 * back, resuming, report, trace, record and plan work on what the method leaves in its editor
 * (ref/method/editor.h) and know no method. */
#ifndef PMET_REF_METHOD_METHOD_H
#define PMET_REF_METHOD_METHOD_H

#include "ref/method/editor.h"

/* What an edit takes, counted before it starts; 0 for what a method does not have. */
struct pmet_needs {
    size_t n_pass;       /* forward passes of a fact's optimisation at most */
    size_t together;     /* facts optimised together */
    double batch;        /* bytes of those facts, where the model computes */
    double one_fact;     /* bytes of the largest fact alone */
    double keys;         /* bytes of (dev) memory for a pass that reads keys */
    double solve;        /* bytes on the host for the update of one matrix, the largest */
    double solve_matrix; /* of them, the one that a device with memory of its own holds instead */
    double solve_device; /* bytes of (dev) memory for the same update */
    double flop_delta, flop_keys, flop_solve; /* products of matrices only, a multiply-add being two */
};

struct pmet_method {
    const char *name;                      /* of --method and of the record: "pmet" */
    const struct pmet_hparam_set *hparams; /* the keys of its published files, exactly these */
    /* What the model should go on to say as before: the prompt of each fact's last row, with one "{}"
     * for the subject (E41). Never NULL. */
    const char *kl_prompt;
    bool ablates; /* takes a struct pmet_ablation */
    /* Whether the hyper-parameters fit the model. */
    enum pmet_status (*check)(const struct pmet_hparams *h, const struct pmet_model *model,
                              struct pmet_error *err);
    /* The k-th matrix that will be edited, in the order of editing; false past the last one. */
    bool (*matrix)(const struct pmet_hparams *h, const struct pmet_model *model, size_t k,
                   enum pmet_module *module, size_t *layer);
    /* Counts for the editor's facts. Passes that have been made count as they were, others as the
     * most there can be. */
    enum pmet_status (*plan)(const struct pmet_editor *e, struct pmet_needs *out, struct pmet_error *err);
    /* The edit: from the editor's facts to its updates. */
    enum pmet_status (*edit)(struct pmet_editor *e, struct pmet_error *err);
};

extern const struct pmet_method pmet_method_pmet, pmet_method_memit, pmet_method_rome;
/* All of them, the one that is taken where none is named first; NULL ends the list. */
extern const struct pmet_method *const pmet_methods[];
/* The one of that name; NULL: the first. */
enum pmet_status pmet_method_named(const char *name, const struct pmet_method **out, struct pmet_error *err);

/* PMET's objective: vectors on the outputs of FFN and attention of the last edited layer (E46,
 * E53). */
struct pmet_objective pmet_objective_pmet(const struct pmet_hparams *h);
/* MEMIT's: one on the output of that block (E120, E121). */
struct pmet_objective pmet_objective_memit(const struct pmet_hparams *h);
/* ROME's: one on the FFN's output of its layer (E132). */
struct pmet_objective pmet_objective_rome(const struct pmet_hparams *h);

#endif

/* SPDX-License-Identifier: MIT
 * Rows of tokens, and the places where the probability of a token is read after them. What rows
 * have in common at their beginning is computed once.      SPEC §11.2 */
#ifndef PMET_REF_EVAL_READOUT_H
#define PMET_REF_EVAL_READOUT_H

#include "ref/model/model.h"

struct pmet_place {
    size_t row, at; /* read after token `at` of the row: what the model expects at at + 1 */
    int32_t label;
    int32_t best; /* first argmax */
    double logp;  /* of the label, natural logarithm */
};

/* Grows as rows and places are added; the caller zeroes it first and frees it with
 * pmet_readout_free. */
struct pmet_readout {
    int32_t *id;         /* of all rows, end to end */
    size_t *row_start;   /* [n_row + 1] */
    size_t *place_start; /* [n_row + 1] where the places of each row begin */
    size_t n_row, cap_row, cap_id, cap_start;
    struct pmet_place *place;
    size_t n_place, cap_place;
};

/* Appends a row of n ids. */
enum pmet_status pmet_readout_row(struct pmet_readout *r, const int32_t *ids, size_t n,
                                  struct pmet_error *err);
/* Appends a place in the last row, at < its length. */
enum pmet_status pmet_readout_place(struct pmet_readout *r, size_t at, int32_t label, struct pmet_error *err);
/* E79: fills logp and best of every place. The bits are those of each row computed whole and alone,
 * since no row depends on others of its batch and a cached key is the key itself. Ids and labels
 * lie within the model's vocabulary, rows within its n_ctx: the caller's to check. Cached positions
 * are held to about max_bytes. */
enum pmet_status pmet_readout_run(struct pmet_readout *r, const struct pmet_model *model, size_t max_bytes,
                                  struct pmet_error *err);
void pmet_readout_free(struct pmet_readout *r);

/* ---- for readout_run: rows as a tree ---- */

/* Tokens [begin, end) of `row`, which all rows below the node have in common; a child goes on where
 * its parent ends. */
struct pmet_branch {
    size_t row, begin, end;
    size_t parent;      /* SIZE_MAX: none */
    size_t depth, rank; /* rank: among the passes of readout_run, by depth */
    bool has_child;
    size_t cache_start; /* of its end positions in the cache, if it has a child */
};

struct pmet_tree {
    struct pmet_branch *branch;
    size_t n_branch, n_level;
    size_t n_cached; /* positions in all */
    size_t *leaf;    /* [n_row of the readout] the branch that a row ends in; of the rows in the tree */
};

/* The tree of n_row rows given by number, sorted by their ids. */
enum pmet_status pmet_tree_build(const struct pmet_readout *r, const size_t *sorted, size_t n_row,
                                 struct pmet_tree *out, struct pmet_error *err);
/* The branch that token `at` of a row lies in. */
size_t pmet_tree_find(const struct pmet_tree *tree, size_t row, size_t at);
void pmet_tree_free(struct pmet_tree *tree);

#endif

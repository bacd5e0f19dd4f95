/* SPDX-License-Identifier: MIT
 * Collecting rows and places, and the tree of what the rows share.      SPEC §11.2 */
#include "ref/eval/readout.h"

#include <stdlib.h>
#include <string.h>

enum pmet_status pmet_readout_row(struct pmet_readout *r, const int32_t *ids, size_t n,
                                  struct pmet_error *err)
{
    const size_t start = r->n_row > 0 ? r->row_start[r->n_row] : 0;
    PMET_TRY(pmet_grow(&r->row_start, &r->cap_row, r->n_row + 2, sizeof *r->row_start, "rows", err));
    PMET_TRY(pmet_grow(&r->place_start, &r->cap_start, r->n_row + 2, sizeof *r->place_start, "rows", err));
    PMET_TRY(pmet_grow(&r->id, &r->cap_id, start + n, sizeof *r->id, "tokens", err));
    r->row_start[0] = r->place_start[0] = 0;
    if (n > 0)
        memcpy(r->id + start, ids, n * sizeof *ids);
    r->row_start[++r->n_row] = start + n;
    r->place_start[r->n_row] = r->n_place;
    return PMET_OK;
}

enum pmet_status pmet_readout_place(struct pmet_readout *r, size_t at, int32_t label, struct pmet_error *err)
{
    PMET_TRY(pmet_grow(&r->place, &r->cap_place, r->n_place + 1, sizeof *r->place, "places", err));
    r->place[r->n_place++] = (struct pmet_place){.row = r->n_row - 1, .at = at, .label = label};
    r->place_start[r->n_row] = r->n_place;
    return PMET_OK;
}

void pmet_readout_free(struct pmet_readout *r)
{
    free(r->id);
    free(r->row_start);
    free(r->place_start);
    free(r->place);
    memset(r, 0, sizeof *r);
}

static size_t length(const struct pmet_readout *r, size_t row)
{
    return r->row_start[row + 1] - r->row_start[row];
}

static size_t common(const struct pmet_readout *r, size_t a, size_t b)
{
    const int32_t *x = r->id + r->row_start[a], *y = r->id + r->row_start[b];
    size_t n = 0;
    while (n < length(r, a) && n < length(r, b) && x[n] == y[n])
        n++;
    return n;
}

/* Puts the row under the path that ends in `last`, sharing its first n tokens with it. A branch
 * that goes on past them is cut in two there; its lower part keeps its number. Returns the branch
 * that the row ends in. */
static size_t add_row(struct pmet_tree *tree, const struct pmet_readout *r, size_t row, size_t last, size_t n)
{
    struct pmet_branch *b = tree->branch;
    while (last != SIZE_MAX && b[last].begin >= n)
        last = b[last].parent;
    if (last != SIZE_MAX && b[last].end > n) {
        b[tree->n_branch] = (struct pmet_branch){
            .row = b[last].row, .begin = b[last].begin, .end = n, .parent = b[last].parent};
        b[last].begin = n;
        b[last].parent = tree->n_branch;
        last = tree->n_branch++;
    }
    if (length(r, row) == n && last != SIZE_MAX)
        return last;
    b[tree->n_branch] = (struct pmet_branch){.row = row, .begin = n, .end = length(r, row), .parent = last};
    return tree->n_branch++;
}

static void measure(struct pmet_tree *tree)
{
    for (size_t i = 0; i < tree->n_branch; i++) {
        struct pmet_branch *b = &tree->branch[i];
        for (size_t up = b->parent; up != SIZE_MAX; up = tree->branch[up].parent)
            b->depth++;
        if (b->parent != SIZE_MAX)
            tree->branch[b->parent].has_child = true;
        if (b->depth + 1 > tree->n_level)
            tree->n_level = b->depth + 1;
    }
    for (size_t i = 0; i < tree->n_branch; i++) {
        tree->branch[i].cache_start = tree->n_cached;
        tree->n_cached += tree->branch[i].has_child ? tree->branch[i].end : 0;
    }
}

enum pmet_status pmet_tree_build(const struct pmet_readout *r, const size_t *sorted, size_t n_row,
                                 struct pmet_tree *out, struct pmet_error *err)
{
    size_t last = SIZE_MAX;
    *out = (struct pmet_tree){0};
    PMET_TRY(pmet_calloc(&out->branch, 2 * n_row, sizeof *out->branch, "a tree of rows", err));
    PMET_TRY(pmet_calloc(&out->leaf, r->n_row, sizeof *out->leaf, "a tree of rows", err));
    for (size_t i = 0; i < n_row; i++) {
        const size_t n = i > 0 ? common(r, sorted[i - 1], sorted[i]) : 0;
        last = out->leaf[sorted[i]] = add_row(out, r, sorted[i], last, n);
    }
    measure(out);
    return PMET_OK;
}

size_t pmet_tree_find(const struct pmet_tree *tree, size_t row, size_t at)
{
    size_t b = tree->leaf[row];
    while (tree->branch[b].begin > at)
        b = tree->branch[b].parent;
    return b;
}

void pmet_tree_free(struct pmet_tree *tree)
{
    free(tree->branch);
    free(tree->leaf);
    memset(tree, 0, sizeof *tree);
}

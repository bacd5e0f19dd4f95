/* SPDX-License-Identifier: MIT
 * Gives facts a place, packs their suffixes, and closes up when some leave.      SPEC §5.7 */
#include "ref/delta/batch.h"

#include <stdlib.h>
#include <string.h>

enum pmet_status pmet_members_open(struct pmet_members *in, const struct pmet_delta_size *capacity,
                                   struct pmet_error *err)
{
    static const char what[] = "facts in optimisation";
    const size_t n = capacity->n_row > capacity->n_fact ? capacity->n_row : capacity->n_fact;
    in->capacity = *capacity;
    PMET_TRY(pmet_calloc(&in->fact, capacity->n_fact, sizeof *in->fact, what, err));
    PMET_TRY(pmet_batch_alloc(capacity->n_row, capacity->n_suffix, &in->suffix, err));
    PMET_TRY(pmet_calloc(&in->fact_of_row, capacity->n_row, sizeof *in->fact_of_row, what, err));
    PMET_TRY(pmet_calloc(&in->each, n, sizeof *in->each, what, err));
    for (size_t i = 0; i < n; i++)
        in->each[i] = i;
    return PMET_OK;
}

void pmet_members_close(struct pmet_members *in)
{
    pmet_batch_free(&in->suffix);
    free(in->fact);
    free(in->fact_of_row);
    free(in->each);
}

/* Where n positions of the cache are free in one piece: behind the facts' own, the first gap that
 * is wide enough. capacity.n_prefix if there is none. */
static size_t free_prefix(const struct pmet_members *in, size_t n)
{
    for (size_t at = 0; at + n <= in->capacity.n_prefix;) {
        size_t next = at;
        for (size_t k = 0; k < in->n_fact; k++) {
            const size_t first = in->fact[k].prefix_at, end = first + in->fact[k].size.n_prefix;
            if (at < end && first < at + n && end > next)
                next = end;
        }
        if (next == at)
            return at;
        at = next;
    }
    return in->capacity.n_prefix;
}

bool pmet_members_fit(const struct pmet_members *in, const struct pmet_fact_rows *rows, size_t n)
{
    const struct pmet_delta_size *most = &in->capacity;
    struct pmet_delta_size all = in->used;
    for (size_t i = 0; i < n; i++)
        pmet_delta_size_add(&all, &rows[i]);
    const size_t n_prefix = all.n_prefix - in->used.n_prefix;
    return all.n_fact <= most->n_fact && all.n_row <= most->n_row && all.n_suffix <= most->n_suffix &&
           all.n_label <= most->n_label && (n_prefix == 0 || free_prefix(in, n_prefix) < most->n_prefix);
}

size_t pmet_row_length(const struct pmet_fact_rows *rows, size_t b)
{
    return b + 1 == rows->n_row ? rows->row[b].lookup_idx + 1 : rows->row[b].n_tok;
}

void pmet_delta_size_add(struct pmet_delta_size *size, const struct pmet_fact_rows *rows)
{
    size->n_fact++;
    size->n_row += rows->n_row;
    size->n_label += (rows->n_row - 1) * rows->n_target;
    for (size_t b = 0; b < rows->n_row; b++) {
        size->n_prefix += rows->row[b].lookup_idx;
        size->n_suffix += pmet_row_length(rows, b) - rows->row[b].lookup_idx;
    }
}

/* Behind those that are packed. */
static void pack(struct pmet_members *in, struct pmet_member f)
{
    size_t prefix = f.prefix_at;
    f.row = in->used.n_row;
    f.tok = in->used.n_suffix;
    f.label = in->used.n_label;
    for (size_t b = 0; b < f.rows->n_row; b++) {
        const struct pmet_row *row = &f.rows->row[b];
        const size_t idx = row->lookup_idx;
        in->fact_of_row[f.row + b] = in->n_fact;
        pmet_batch_add(&in->suffix, row->id + idx, pmet_row_length(f.rows, b) - idx, idx, prefix);
        prefix += idx;
    }
    in->fact[in->n_fact++] = f;
    pmet_delta_size_add(&in->used, f.rows);
}

void pmet_members_add(struct pmet_members *in, const struct pmet_fact_rows *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct pmet_member f = {.rows = &rows[i]};
        pmet_delta_size_add(&f.size, f.rows);
        f.prefix_at = free_prefix(in, f.size.n_prefix);
        pack(in, f);
    }
}

void pmet_members_remove(struct pmet_members *in, const bool *leaves)
{
    const size_t n = in->n_fact;
    in->n_fact = in->suffix.batch.n_row = in->suffix.batch.n_tok = 0;
    memset(&in->used, 0, sizeof in->used);
    for (size_t k = 0; k < n; k++)
        if (!leaves[k])
            pack(in, in->fact[k]);
}

/* ---- buffers ---- */

size_t pmet_units(const struct pmet_delta_size *size, enum pmet_unit unit)
{
    const size_t n[PMET_N_UNIT] = {[PMET_PER_BATCH] = 1,
                                   [PMET_PER_FACT] = size->n_fact,
                                   [PMET_PER_ROW] = size->n_row,
                                   [PMET_PER_TOKEN] = size->n_suffix,
                                   [PMET_PER_LOGIT] = size->n_label + size->n_fact};
    return n[unit];
}

enum pmet_status pmet_visit(const struct pmet_visitor *v, const struct pmet_buffer *list, size_t n,
                            struct pmet_error *err)
{
    for (size_t i = 0; i < n; i++)
        PMET_TRY(v->see(v->user, &list[i], err));
    return PMET_OK;
}

void pmet_stay(struct pmet_staying *s, size_t first, size_t n)
{
    for (size_t i = first; i < first + n; i++)
        s->from[s->n++] = i;
}

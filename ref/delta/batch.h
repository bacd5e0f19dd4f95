/* SPDX-License-Identifier: MIT
 * Who is in the batch, and where. The parts of a pass (pass.h) list their device buffers here by
 * what a row of them belongs to; one list serves to count, allocate, move and release them. */
#ifndef PMET_REF_DELTA_BATCH_H
#define PMET_REF_DELTA_BATCH_H

#include "ref/delta/delta.h"

struct pmet_member {
    const struct pmet_fact_rows *rows;
    struct pmet_delta_size size;   /* its own */
    size_t prefix_at;              /* first of its positions in the cache; they lie together */
    size_t row, tok, label;        /* first of its rows, suffix tokens and labels */
    double norm0[PMET_MAX_VECTOR]; /* of the initial values */
};

struct pmet_members {
    const struct pmet_model *model;
    const struct pmet_objective *o;
    struct pmet_delta_size capacity, used;
    struct pmet_member *fact; /* [capacity.n_fact], the first n_fact in use */
    size_t n_fact;
    /* What a vector can change: tokens from the lookup index on (of the KL row that one alone),
     * packed. Token batch.row_start[b] is row b's lookup token. */
    struct pmet_rows suffix;
    size_t *fact_of_row, *each; /* [n_row]; 0, 1, ... */
};
enum pmet_status pmet_members_open(struct pmet_members *in, const struct pmet_delta_size *capacity,
                                   struct pmet_error *err);
void pmet_members_close(struct pmet_members *in);
bool pmet_members_fit(const struct pmet_members *in, const struct pmet_fact_rows *rows, size_t n);
/* Appends facts that fit, and packs their suffixes. */
void pmet_members_add(struct pmet_members *in, const struct pmet_fact_rows *rows, size_t n);
void pmet_members_remove(struct pmet_members *in, const bool *leaves);

/* Tokens of row b that matter: the KL row is read at its lookup index, and what follows it changes
 * nothing there (X2). */
size_t pmet_row_length(const struct pmet_fact_rows *rows, size_t b);

/* (dev) [n_fact, d_model] each */
struct pmet_vectors {
    real *value[PMET_MAX_VECTOR], *gradient[PMET_MAX_VECTOR], *initial[PMET_MAX_VECTOR];
    real *adam_m[PMET_MAX_VECTOR], *adam_v[PMET_MAX_VECTOR];
};

/* ---- buffers ---- */

enum pmet_unit { PMET_PER_BATCH, PMET_PER_FACT, PMET_PER_ROW, PMET_PER_TOKEN, PMET_PER_LOGIT, PMET_N_UNIT };
/* Units in a batch of that size. Rows of logits are the labels', then each fact's KL row. */
size_t pmet_units(const struct pmet_delta_size *size, enum pmet_unit unit);

struct pmet_buffer {
    real **data; /* (dev) [units, width] */
    enum pmet_unit unit;
    size_t width;
    bool kept; /* its rows must survive when other facts leave */
};
struct pmet_visitor {
    void *user;
    enum pmet_status (*see)(void *user, const struct pmet_buffer *buffer, struct pmet_error *err);
};
/* Calls it with each of a list. */
enum pmet_status pmet_visit(const struct pmet_visitor *v, const struct pmet_buffer *list, size_t n,
                            struct pmet_error *err);

/* Rows of a unit that stay: each one's number before. */
struct pmet_staying {
    size_t n, *from;
};
void pmet_stay(struct pmet_staying *s, size_t first, size_t n);

#endif

/* SPDX-License-Identifier: MIT
 * The loss of every fact: NLL of its labels, KL of its last row from the unedited model, weight
 * decay; and its gradient at the hidden states after the last block.  SPEC §5.2, E57, E58, E62 */
#ifndef PMET_REF_DELTA_LOSS_H
#define PMET_REF_DELTA_LOSS_H

#include "ref/delta/batch.h"

struct pmet_fact_loss {
    size_t live, n_live;               /* its rows of logits */
    double norm[PMET_MAX_VECTOR], phi; /* of the last pass */
    bool have_kl0, with_kl;            /* its kl0 is set; the last pass had a KL term */
};

/* Rows of logits: all facts' live labels, then each fact's KL row. A label is live if it stands at
 * or after its row's lookup index; an earlier one is a constant, scored once (E47). */
struct pmet_loss {
    struct pmet_fact_loss *fact; /* [n_fact] */
    double *logp, *best_logp;    /* [n_label] of all labels at the last pass */
    int32_t *best;
    size_t n_live, *tok, *slot; /* rows of logits: token in the suffix, which of all labels, id */
    int32_t *label;
    double *value; /* [2 (n_label + n_fact)] and row_best: what an operator returns or takes */
    int32_t *row_best;
    real *h, *g_h, *u;       /* (dev) [n_label + n_fact, d] */
    real *logits, *g_logits; /* (dev) [n_label + n_fact, n_vocab] */
    real *kl0;               /* (dev) [n_fact, n_vocab] */
};

enum pmet_status pmet_loss_buffers(struct pmet_loss *s, const struct pmet_members *in,
                                   const struct pmet_visitor *v, struct pmet_error *err);
enum pmet_status pmet_loss_open(struct pmet_loss *s, const struct pmet_delta_size *capacity,
                                struct pmet_error *err);
void pmet_loss_close(struct pmet_loss *s);
/* Takes in facts first .. in->n_fact-1: x_prefix (dev) [n_prefix, d] are the hidden states after
 * the last block of their tokens before the lookup indices. */
enum pmet_status pmet_loss_add(struct pmet_loss *s, const struct pmet_members *in, size_t first,
                               const real *x_prefix, struct pmet_error *err);
/* Rows of logits of the facts that stay; drops the others; places rows anew. Each of them in turn,
 * the last after pmet_members_remove. */
void pmet_loss_stay(const struct pmet_loss *s, const struct pmet_members *in, const bool *leaves,
                    struct pmet_staying *stay);
void pmet_loss_remove(struct pmet_loss *s, const struct pmet_members *in, const bool *leaves);
void pmet_loss_place(struct pmet_loss *s, const struct pmet_members *in);

/* E48-E52 of every fact, from x (dev) [n_suffix, d], the hidden states after the last block. */
enum pmet_status pmet_loss_forward(struct pmet_loss *s, const struct pmet_members *in,
                                   const struct pmet_vectors *vectors, const real *x, const double *phi,
                                   struct pmet_losses *out, struct pmet_error *err);
/* E57, E58, E38: g_x (dev) [n_suffix, d], the gradient of NLL and KL terms there. */
enum pmet_status pmet_loss_gradient(struct pmet_loss *s, const struct pmet_members *in, real *g_x,
                                    struct pmet_error *err);
/* E62, added to the vectors' gradients. */
enum pmet_status pmet_loss_decay_gradient(struct pmet_loss *s, const struct pmet_members *in,
                                          struct pmet_vectors *vectors, struct pmet_error *err);
/* Log-probabilities of fact k's KL row at the last pass, to the host. */
enum pmet_status pmet_loss_kl_last(struct pmet_loss *s, const struct pmet_members *in, size_t k, real *out,
                                   struct pmet_error *err);

#endif

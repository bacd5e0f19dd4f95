/* SPDX-License-Identifier: MIT */
#include "ref/method/flop.h"

size_t pmet_rows_n_tok(const struct pmet_fact_rows *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->n_row; i++)
        n += rows->row[i].n_tok;
    return n;
}

size_t pmet_rows_n_suffix(const struct pmet_fact_rows *rows)
{
    size_t n = 1;
    for (size_t i = 0; i + 1 < rows->n_row; i++)
        n += rows->row[i].n_tok - rows->row[i].lookup_idx;
    return n;
}

double pmet_block_flop(const struct pmet_config *c)
{
    const double d = (double)c->d_model;
    return 2 * (4 * d * d + 2 * d * (double)c->d_ff);
}

double pmet_head_flop(const struct pmet_config *c)
{
    return 2 * (double)c->d_model * (double)c->n_vocab;
}

double pmet_delta_flop(const struct pmet_config *c, const struct pmet_hparams *h,
                       const struct pmet_fact_rows *rows, size_t n_forward)
{
    const size_t L = h->layers[h->n_layer - 1];
    const double above = (double)(c->n_layer - L - 1), all = (double)pmet_rows_n_tok(rows),
                 suffix = (double)pmet_rows_n_suffix(rows),
                 labels = (double)((rows->n_row - 1) * rows->n_target + 1);
    const double fixed = (all * (double)(L + 1) + (all - suffix) * above) * pmet_block_flop(c),
                 pass = above * suffix * pmet_block_flop(c) + labels * pmet_head_flop(c);
    return fixed + pass * (n_forward > 0 ? 2 * (double)n_forward - 1 : 0);
}

double pmet_keys_flop(const struct pmet_config *c, const struct pmet_hparams *h,
                      const struct pmet_fact_rows *rows)
{
    const double contexts = (double)(pmet_rows_n_tok(rows) - rows->row[rows->n_row - 1].n_tok),
                 plain = (double)rows->row[0].n_tok, L = (double)h->layers[h->n_layer - 1];
    double flop = 0;
    for (size_t k = 0; k < h->n_layer; k++)
        flop += ((double)(h->layers[k] + 1) * contexts + (L + 1) * plain) * pmet_block_flop(c);
    return flop * (double)h->n_module;
}

double pmet_stats_flop(const struct pmet_config *c, const struct pmet_stats *stats)
{
    double a_token = 0;
    for (size_t i = 0; i < stats->n_moment; i++)
        a_token += (double)stats->moment[i].d_in * (double)stats->moment[i].d_in;
    if (stats->n_moment > 0)
        a_token += (double)(stats->moment[stats->n_moment - 1].layer + 1) * pmet_block_flop(c);
    return a_token * (double)stats->count;
}

double pmet_solve_flop(size_t f, size_t d, size_t n)
{
    const double F = (double)f, N = (double)n;
    return F * F * F / 3 + (1 + 2 + 2) * F * F * N + 2 * (double)d * F * N;
}

/* keys and x stay throughout. Beside them, in turn: A, or C's factor and what Woodbury turns; A x and K^T x, from
 * which the residual is measured. Conjugate gradients hold four vectors like x, and K^T p. */
double pmet_solve_bytes(enum pmet_solver solver, size_t f, size_t d, size_t n)
{
    const double F = (double)f, D = (double)d, N = (double)n, measure = F * N + N * N,
                 full = F * F + (4 * n <= f ? measure + F * N : 0),
                 beside = solver == PMET_SOLVER_CG ? 4 * F * N + N * N
                          : full > measure         ? full
                                                   : measure;
    return sizeof(double) * (F * F + 2 * F * N + beside + D * F + D * N) + sizeof(real) * (F * N + 2 * D * N);
}

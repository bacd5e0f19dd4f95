/* SPDX-License-Identifier: MIT */
#include "ref/method/needs.h"

#include <math.h>
#include "ref/method/keys.h"

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

double pmet_delta_flop(const struct pmet_config *c, size_t L, const struct pmet_fact_rows *rows,
                       size_t n_forward)
{
    const double above = (double)(c->n_layer - L - 1), all = (double)pmet_rows_n_tok(rows),
                 suffix = (double)pmet_rows_n_suffix(rows),
                 labels = (double)((rows->n_row - 1) * rows->n_target + 1);
    const double fixed = (all * (double)(L + 1) + (all - suffix) * above) * pmet_block_flop(c),
                 pass = above * suffix * pmet_block_flop(c) + labels * pmet_head_flop(c);
    return fixed + pass * (n_forward > 0 ? 2 * (double)n_forward - 1 : 0);
}

double pmet_keys_flop(const struct pmet_config *c, const size_t *layers, size_t n_layer, size_t n_module,
                      const struct pmet_fact_rows *rows)
{
    const double contexts = (double)(pmet_rows_n_tok(rows) - rows->row[rows->n_row - 1].n_tok),
                 plain = (double)rows->row[0].n_tok, L = (double)layers[n_layer - 1];
    double flop = 0;
    for (size_t k = 0; k < n_layer; k++)
        flop += ((double)(layers[k] + 1) * contexts + (L + 1) * plain) * pmet_block_flop(c);
    return flop * (double)n_module;
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

/* keys and x stay throughout. Beside them, in turn: A, or C's factor and what Woodbury turns; A x
 * and K^T x, from which the residual is measured. Conjugate gradients hold four vectors like x, and
 * K^T p. */
double pmet_solve_bytes(enum pmet_solver solver, size_t f, size_t d, size_t n)
{
    const double F = (double)f, D = (double)d, N = (double)n, measure = F * N + N * N,
                 full = F * F + (4 * n <= f ? measure + F * N : 0),
                 beside = solver == PMET_SOLVER_CG ? 4 * F * N + N * N
                          : full > measure         ? full
                                                   : measure;
    return sizeof(double) * (F * F + 2 * F * N + beside + D * F + D * N) + sizeof(real) * (F * N + 2 * D * N);
}

enum pmet_status pmet_needs_delta(const struct pmet_editor *e, const struct pmet_objective *o,
                                  struct pmet_needs *out, struct pmet_error *err)
{
    const size_t n = e->facts->n_fact;
    size_t max_bytes;
    PMET_TRY(pmet_capacity(e->model->op, e->max_bytes, &max_bytes, err));
    const struct pmet_delta_size batch = pmet_delta_plan(e->model, o, e->rows, n, max_bytes),
                                 least = pmet_delta_plan(e->model, o, e->rows, n, 0);
    out->n_pass = o->n_pass;
    out->together = batch.n_fact;
    out->batch = (double)pmet_delta_bytes(e->model, o, &batch);
    out->one_fact = (double)pmet_delta_bytes(e->model, o, &least);
    for (size_t i = 0; i < n; i++) {
        const struct pmet_fact_report *f = e->targets.fact ? &e->targets.fact[i] : NULL;
        out->flop_delta += pmet_delta_flop(&e->model->config, o->layer, &e->rows[i],
                                           f && f->done ? f->result.n_forward : o->n_pass);
    }
    return PMET_OK;
}

void pmet_needs_keys(const struct pmet_editor *e, const size_t *layers, size_t n_layer, size_t n_module,
                     struct pmet_needs *out)
{
    out->keys = pmet_key_rows_bytes(e->model);
    for (size_t i = 0; i < e->facts->n_fact; i++)
        out->flop_keys += pmet_keys_flop(&e->model->config, layers, n_layer, n_module, &e->rows[i]);
}

void pmet_needs_solve(const struct pmet_editor *e, size_t n, struct pmet_needs *out)
{
    for (size_t k = 0; k < e->n_update; k++) {
        const size_t f = e->update[k].d_in, d = e->update[k].d_out;
        const double solve = pmet_solve_bytes(e->solver, f, d, n);
        if (solve > out->solve) {
            out->solve = solve;
            out->solve_matrix = sizeof(double) * (double)f * (double)f;
        }
        out->solve_device = fmax(out->solve_device, pmet_solve_device_bytes(f, d, n));
        out->flop_solve += pmet_solve_flop(f, d, n);
    }
}

/* SPDX-License-Identifier: MIT
 * Rotary position embedding, both styles: one thread per pair of features, for all heads of a
 * token.      SPEC §3.2 */
#include "kernels/cuda.h"

#include <stdlib.h>

/* E12 by the angles of E11; inverse turns back (E13). */
static __global__ void __launch_bounds__(BLOCK)
    turn(struct pmet_heads x, enum pmet_rope style, bool inverse, const double *angle, const double *position,
         size_t n_pair, size_t n_tok, size_t n_head)
{
    const size_t step = style == PMET_ROPE_INTERLEAVED ? 2 : 1,
                 other = style == PMET_ROPE_INTERLEAVED ? 1 : n_pair;
    for (size_t j = pmet_first(); j < n_tok * n_pair; j += pmet_step()) {
        const size_t t = j / n_pair, i = j % n_pair;
        const double by = position[t] * angle[i], cosine = cos(by), sine = inverse ? -sin(by) : sin(by);
        for (size_t e = 0; e < n_head; e++) {
            real *at = x.data + t * x.row_stride + e * x.head_stride + i * step;
            const double a = (double)at[0], b = (double)at[other];
            at[0] = (real)(a * cosine - b * sine);
            at[other] = (real)(b * cosine + a * sine);
        }
    }
}

static enum pmet_status rope(const struct pmet_ops *op, struct pmet_heads x, enum pmet_rope style,
                             bool inverse, double base, size_t rotary_dim, const struct pmet_batch *batch,
                             size_t n_head, struct pmet_error *err)
{
    const size_t n_pair = rotary_dim / 2, n_tok = batch->n_tok;
    double *angle;
    if (n_pair * n_tok * n_head == 0)
        return PMET_OK;
    PMET_TRY(pmet_calloc(&angle, n_pair + n_tok, sizeof *angle, "rotary angles", err));
    double *position = angle + n_pair;
    for (size_t i = 0; i < n_pair; i++)
        angle[i] = pow(base, -2.0 * (double)i / (double)rotary_dim);
    for (size_t b = 0; b < batch->n_row; b++)
        for (size_t t = batch->row_start[b]; t < batch->row_start[b + 1]; t++)
            position[t] = (double)(batch->n_past[b] + t - batch->row_start[b]);
    const double *dev = angle;
    const enum pmet_status status = pmet_cuda_put(op, &dev, (n_pair + n_tok) * sizeof *dev, err);
    free(angle);
    PMET_TRY(status);
    return PMET_LAUNCH_EACH(op, "rope", n_tok * n_pair, err, turn, x, style, inverse, dev, dev + n_pair,
                            n_pair, n_tok, n_head);
}

void pmet_cuda_rope(struct pmet_ops *op)
{
    op->rope = rope;
}

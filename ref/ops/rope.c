/* SPDX-License-Identifier: MIT
 * Rotary position embedding, both styles.      SPEC §3.2 */
#include <math.h>
#include <stdlib.h>
#include "ref/ops/plain.h"

/* E12  (x_p, x_q) = (x_p cos phi - x_q sin phi,  x_q cos phi + x_p sin phi),  (p, q) = (2i, 2i+1)
 * or (i, i + r/2) of one head, given cos phi and sin phi of each pair i. */
static void turn(real *x, enum pmet_rope style, const double *cosine, const double *sine, size_t n_pair)
{
    const size_t step = style == PMET_ROPE_INTERLEAVED ? 2 : 1,
                 other = style == PMET_ROPE_INTERLEAVED ? 1 : n_pair;
    for (size_t i = 0; i < n_pair; i++) {
        const double a = (double)x[i * step], b = (double)x[i * step + other];
        x[i * step] = (real)(a * cosine[i] - b * sine[i]);
        x[i * step + other] = (real)(b * cosine[i] + a * sine[i]);
    }
}

/* E11  theta_i = pos base^(-2i/r);  inverse turns by -theta_i (E13) */
static enum pmet_status rope(const struct pmet_ops *op, struct pmet_heads x, enum pmet_rope style,
                             bool inverse, double base, size_t rotary_dim, const struct pmet_batch *batch,
                             size_t n_head, struct pmet_error *err)
{
    const size_t n_pair = rotary_dim / 2;
    double *angle; /* frequencies, then cosines and sines of one position */
    (void)op;
    PMET_TRY(pmet_calloc(&angle, 3 * n_pair, sizeof *angle, "rotary angles", err));
    double *cosine = angle + n_pair, *sine = cosine + n_pair;
    for (size_t i = 0; i < n_pair; i++)
        angle[i] = pow(base, -2.0 * (double)i / (double)rotary_dim);
    for (size_t b = 0; b < batch->n_row; b++)
        for (size_t t = batch->row_start[b]; t < batch->row_start[b + 1]; t++) {
            const double position = (double)(batch->n_past[b] + t - batch->row_start[b]);
            for (size_t i = 0; i < n_pair; i++) {
                cosine[i] = cos(position * angle[i]);
                sine[i] = inverse ? -sin(position * angle[i]) : sin(position * angle[i]);
            }
            for (size_t e = 0; e < n_head; e++)
                turn(x.data + t * x.row_stride + e * x.head_stride, style, cosine, sine, n_pair);
        }
    free(angle);
    return PMET_OK;
}

void pmet_plain_rope(struct pmet_ops *op)
{
    op->rope = rope;
}

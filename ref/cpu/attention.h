/* SPDX-License-Identifier: MIT
 * What attention with panels and without them share.      SPEC §3.3 */
#ifndef PMET_REF_CPU_ATTENTION_H
#define PMET_REF_CPU_ATTENTION_H

#include <math.h>
#include <string.h>
#include "ref/cpu/exponential.h"
#include "ref/cpu/panel.h"
#include "ref/ops/attention.h"

enum { PMET_ATTENTION_STEP = 64 }; /* positions in one running sum of values */

/* E14: the weights p of the first n scores, which are overwritten; p is 0 from n up to n_all. The
 * sum is eight interleaved ones, so that it vectorises in a fixed order. */
static inline void pmet_attention_softmax(real *p, double *score, size_t n, size_t n_all, double scale)
{
    double top = score[0], part[8] = {0};
    for (size_t s = 1; s < n; s++)
        top = score[s] > top ? score[s] : top;
    for (size_t s = 0; s < n; s++)
        score[s] = pmet_exp((score[s] - top) * scale);
    size_t s = 0;
    for (; s + 8 <= n; s += 8)
        for (size_t i = 0; i < 8; i++)
            part[i] += score[s + i];
    for (; s < n; s++)
        part[s % 8] += score[s];
    const double sum =
        ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
    for (s = 0; s < n; s++)
        p[s] = (real)(score[s] / sum);
    memset(p + n, 0, (n_all - n) * sizeof *p);
}

/* All queries of a row for n_head heads from a->head on, keys and values in place. n_pos: at least
 * the row's positions; scratch: pmet_attend_few_size reals. */
void pmet_attend_few(real *out, const struct pmet_attended *a, size_t n_head, size_t n_pos, real *scratch);
size_t pmet_attend_few_size(size_t n_pos, size_t n_head, size_t d_head);

#endif

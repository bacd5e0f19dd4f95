/* SPDX-License-Identifier: MIT */
#ifndef PMET_REF_CPU_DOT_H
#define PMET_REF_CPU_DOT_H

#include <stddef.h>
#include "ref/real.h"

/* sum_i a[i] b[i] in double over eight interleaved partial sums, so that it vectorises in a fixed
 * order. */
static inline double pmet_dot(const real *a, const real *b, size_t n)
{
    double s[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t k = 0; k < 8; k++)
            s[k] += (double)a[i + k] * (double)b[i + k];
    for (; i < n; i++)
        s[i % 8] += (double)a[i] * (double)b[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

#endif

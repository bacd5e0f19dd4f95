/* SPDX-License-Identifier: MIT
 * e^x in double without a call, so that loops over it vectorise, with the same bits in any place.
 *     x = k ln 2 + r,  |r| <= ln(2)/2:    e^x = 2^k (1 + r + r^2/2! + ... + r^13/13!)
 * The series is cut where its rest is below 2^-57; with the roundings of Horner's rule the result
 * is within 1.5 units in the last place. Below -708 it is 0 (no subnormals), above 709.78 infinite;
 * NaN stays. */
#ifndef PMET_REF_CPU_EXPONENTIAL_H
#define PMET_REF_CPU_EXPONENTIAL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline double pmet_exp(double x)
{
    const double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33; /* k ln2_high is exact */
    const double least = -708, most = 709.78,
                 round = 0x1.8p52; /* adding it leaves the nearest integer below */
    const double inside = x < least  ? least
                          : x > most ? most
                                     : x,
                 shifted = inside * 0x1.71547652b82fep0 + round, k = shifted - round,
                 r = (inside - k * ln2_high) - k * ln2_low;
    double p = 1.0 / 6227020800;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * (r * r) + r; /* e^r - 1 */
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1022) << 52; /* 2^(k-1): k may be 1024 */
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    const double low = x < least ? 0 : 2,
                 high = x > most ? HUGE_VAL : 1; /* factors: a branch would not vectorise */
    return (scale + scale * p) * low * high;
}

#endif

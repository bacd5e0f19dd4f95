/* SPDX-License-Identifier: MIT
 * Rows of floats as sums of 16-bit terms, so that tensor cores multiply them by 16-bit weights.      SPEC §12.1
 *   E95  x[i] s = h0[i] + 2^-b ( h1[i] + 2^-p h2[i] ) ,     s = 2^min(127, top - e) ,   2^(e-1) <= max |x| < 2^e
 *        p: bits of the weight's type, 11 or 8;  b = 14 - p: bits of h0;  each term is the rounded rest
 * Tensor cores truncate their sums to 24 bits where others round them, so every sum loses towards
 * zero. h0 has few bits, so its products have 14, and the sum may grow by ten bits before it loses
 * any; the products of h1 and h2 are smaller by 2^b. Each row has its own s, a power of two. `top`
 * keeps f16 from overflowing; with bf16, whose weights may be as large as any float, it keeps a sum
 * of 2^16 products from overflowing. */
#ifndef PMET_KERNELS_SPLIT_CUH
#define PMET_KERNELS_SPLIT_CUH

#include "kernels/reduce.cuh"
#include "kernels/widen.cuh"

enum { SPLIT_WARPS = BLOCK / 32 };

/* n_term 3; or 1: the row rounded to the weight's type (E97); or 0: no split, `real` unchanged. */
struct split {
    enum pmet_dtype dtype;
    unsigned n_term;
    int p, b, top;
};

/* x rounded to b bits, for finite x. */
static __device__ inline float keep_bits(float x, int b)
{
    const unsigned half = 1u << (23 - b);
    return __uint_as_float((__float_as_uint(x) + half) & ~(2 * half - 1));
}

/* Splits the rows of a [n, n_k], followed by zeros up to n_all, a multiple of n_panel. Each panel
 * holds the first terms of its rows, then their second terms, and so on. back[t] = 1/s. Infinities
 * and NaN do not count for the scale and are stored unchanged in the first term, so that the row's
 * products are the same as without a split. One warp per row. */
static __global__ void __launch_bounds__(BLOCK)
    split_rows(uint16_t *pack, double *back, const real *a, size_t a_stride, size_t n, size_t n_all,
               size_t n_k, size_t n_panel, struct split s)
{
    const size_t t = (size_t)blockIdx.x * SPLIT_WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    double most = 0;
    int e = 0;
    if (t >= n_all)
        return;
    for (size_t k = lane; t < n && k < n_k; k += 32) {
        const double size = fabs((double)a[t * a_stride + k]);
        most = size > most && size < HUGE_VAL ? size : most;
    }
    (void)frexp(warp_max(most), &e);
    const int shift = s.top - e < 127 ? s.top - e : 127;
    const float scale = ldexpf(1, shift), up_b = ldexpf(1, s.b), up_p = ldexpf(1, s.p);
    uint16_t *to = pack + (t / n_panel * s.n_term * n_panel + t % n_panel) * n_k;
    if (lane == 0)
        back[t] = ldexp(1.0, -shift);
    for (size_t k = lane; k < n_k; k += 32) {
        float x = t < n ? (float)a[t * a_stride + k] * scale : 0;
        for (unsigned i = 0; i < s.n_term; i++) {
            const bool first = i == 0 && s.n_term > 1, finite = isfinite(x);
            const uint16_t h = narrow_16(first && finite ? keep_bits(x, s.b) : x, s.dtype);
            to[i * n_panel * n_k + k] = h;
            x = finite ? (x - widen_16(h, s.dtype)) * (first ? up_b : up_p) : 0; /* exact */
        }
    }
}

/* E96: the sums of a row's terms [term][n_panel, n_col], the small ones first. */
static __device__ inline double join_terms(const real *sum, size_t stride, double back, struct split s)
{
    const double down_b = ldexp(1.0, -s.b), down_p = ldexp(1.0, -s.p);
    double y = 0;
    if (s.n_term > 1)
        y = ((double)sum[stride] + (double)sum[2 * stride] * down_p) * down_b;
    return ((double)sum[0] + y) * back;
}

#endif

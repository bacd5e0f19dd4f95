/* SPDX-License-Identifier: MIT
 * The published order of the documents: random.Random(seed).shuffle of CPython, that is MT19937
 * seeded by an array of one word, and indices drawn from its top bits by rejection.
 * SPEC §7.1, E64 */
#include "ref/facts/docs.h"

#define N 624

struct mt19937 {
    uint32_t x[N];
    size_t at;
};

static void seed_array(struct mt19937 *r, uint32_t seed)
{
    r->x[0] = 19650218u;
    for (uint32_t i = 1; i < N; i++)
        r->x[i] = 1812433253u * (r->x[i - 1] ^ r->x[i - 1] >> 30) + i;
    size_t i = 1;
    for (size_t k = 0; k < N; k++) { /* key of length one: its index is always 0 */
        r->x[i] = (r->x[i] ^ (r->x[i - 1] ^ r->x[i - 1] >> 30) * 1664525u) + seed;
        if (++i == N) {
            r->x[0] = r->x[N - 1];
            i = 1;
        }
    }
    for (size_t k = 0; k < N - 1; k++) {
        r->x[i] = (r->x[i] ^ (r->x[i - 1] ^ r->x[i - 1] >> 30) * 1566083941u) - (uint32_t)i;
        if (++i == N) {
            r->x[0] = r->x[N - 1];
            i = 1;
        }
    }
    r->x[0] = 0x80000000u;
    r->at = N;
}

static uint32_t next(struct mt19937 *r)
{
    if (r->at == N) {
        for (size_t i = 0; i < N; i++) {
            const uint32_t y = (r->x[i] & 0x80000000u) | (r->x[(i + 1) % N] & 0x7fffffffu);
            r->x[i] = r->x[(i + 397) % N] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        r->at = 0;
    }
    uint32_t y = r->x[r->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

/* An index below n, 0 < n < 2^32. */
static size_t below(struct mt19937 *r, size_t n)
{
    int bits = 0;
    for (size_t v = n; v > 0; v >>= 1)
        bits++;
    for (;;) {
        const size_t v = next(r) >> (32 - bits);
        if (v < n)
            return v;
    }
}

void pmet_shuffle(size_t *order, size_t n, uint32_t seed)
{
    struct mt19937 r;
    seed_array(&r, seed);
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t i = n; i-- > 1;) {
        const size_t j = below(&r, i + 1), held = order[i];
        order[i] = order[j];
        order[j] = held;
    }
}

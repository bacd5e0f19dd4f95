/* SPDX-License-Identifier: MIT
 * The generator of all sampling: xoshiro256**, its state filled by splitmix64.      SPEC §9.7 (E77) */
#include "ref/eval/generate.h"

static uint64_t rotl(uint64_t x, unsigned k)
{
    return x << k | x >> (64 - k);
}

void pmet_rng_seed(struct pmet_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        rng->s[i] = z ^ z >> 31;
    }
}

uint64_t pmet_rng_next(struct pmet_rng *rng)
{
    uint64_t *s = rng->s;
    const uint64_t out = rotl(5 * s[1], 7) * 9, w = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= w;
    s[3] = rotl(s[3], 45);
    return out;
}

double pmet_rng_uniform(struct pmet_rng *rng)
{
    return (double)(pmet_rng_next(rng) >> 11) * 0x1p-53;
}

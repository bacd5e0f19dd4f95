/* SPDX-License-Identifier: MIT
 * xoshiro256** seeded by splitmix64.      SPEC §9.7, E77 */
#include "ref/eval/generate.h"

static const uint64_t golden_gamma = 0x9e3779b97f4a7c15u;

/* What splitmix64 draws when its state becomes x. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

void pmet_rng_seed(struct pmet_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->s[i] = mix(seed += golden_gamma);
}

/* E85 */
void pmet_rng_seed_stream(struct pmet_rng *rng, uint64_t seed, uint64_t i, uint64_t j)
{
    pmet_rng_seed(rng, mix(mix(seed + golden_gamma) + i + golden_gamma) + j);
}

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t pmet_rng_next(struct pmet_rng *rng)
{
    uint64_t *s = rng->s;
    const uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

double pmet_rng_uniform(struct pmet_rng *rng)
{
    return (double)(pmet_rng_next(rng) >> 11) * 0x1p-53;
}

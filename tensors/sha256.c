/* SPDX-License-Identifier: MIT */
#include "tensors/sha256.h"

#include <string.h>

static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* One round; w is k[i] and the schedule's word. The eight states stay where they are, their names
 * move on. */
static inline void advance(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e, uint32_t f,
                           uint32_t g, uint32_t *h, uint32_t w)
{
    const uint32_t t = *h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) + w;
    *d += t;
    *h = t + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));
}

static void compress(struct pmet_sha256 *state, const unsigned char *block)
{
    uint32_t w[64];
    uint32_t a = state->h[0], b = state->h[1], c = state->h[2], d = state->h[3], e = state->h[4],
             f = state->h[5], g = state->h[6], h = state->h[7];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        const uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) + w[i - 7] +
               (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
    }
    for (int i = 0; i < 64; i += 8) {
        advance(a, b, c, &d, e, f, g, &h, k[i] + w[i]);
        advance(h, a, b, &c, d, e, f, &g, k[i + 1] + w[i + 1]);
        advance(g, h, a, &b, c, d, e, &f, k[i + 2] + w[i + 2]);
        advance(f, g, h, &a, b, c, d, &e, k[i + 3] + w[i + 3]);
        advance(e, f, g, &h, a, b, c, &d, k[i + 4] + w[i + 4]);
        advance(d, e, f, &g, h, a, b, &c, k[i + 5] + w[i + 5]);
        advance(c, d, e, &f, g, h, a, &b, k[i + 6] + w[i + 6]);
        advance(b, c, d, &e, f, g, h, &a, k[i + 7] + w[i + 7]);
    }
    const uint32_t v[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++)
        state->h[i] += v[i];
}

void pmet_sha256_begin(struct pmet_sha256 *s)
{
    static const uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->h, h, sizeof h);
    s->n_bytes = 0;
}

void pmet_sha256_add(struct pmet_sha256 *s, const void *data, size_t n_bytes)
{
    const unsigned char *p = data;
    size_t used = s->n_bytes % 64;
    s->n_bytes += n_bytes;
    while (n_bytes > 0) {
        const size_t n = n_bytes < 64 - used ? n_bytes : 64 - used;
        if (used == 0 && n == 64) {
            compress(s, p);
        } else {
            memcpy(s->block + used, p, n);
            used += n;
            if (used == 64) {
                compress(s, s->block);
                used = 0;
            }
        }
        p += n;
        n_bytes -= n;
    }
}

void pmet_sha256_hex(struct pmet_sha256 *s, char hex[65])
{
    const uint64_t n_bits = s->n_bytes * 8;
    unsigned char pad[72] = {0x80}, length[8];
    const size_t used = s->n_bytes % 64, n_pad = (used < 56 ? 56 : 120) - used;
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(n_bits >> (56 - 8 * i));
    pmet_sha256_add(s, pad, n_pad);
    pmet_sha256_add(s, length, 8);
    for (int i = 0; i < 64; i++)
        hex[i] = "0123456789abcdef"[s->h[i / 8] >> (28 - 4 * (i % 8)) & 15];
    hex[64] = '\0';
}

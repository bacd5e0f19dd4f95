/* SPDX-License-Identifier: MIT
 * SHA-256 (FIPS 180-4), for fingerprints of models, texts and facts. */
#ifndef PMET_TENSORS_SHA256_H
#define PMET_TENSORS_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct pmet_sha256 {
    uint32_t h[8];
    uint64_t n_bytes;
    unsigned char block[64];
};

void pmet_sha256_begin(struct pmet_sha256 *s);
void pmet_sha256_add(struct pmet_sha256 *s, const void *data, size_t n_bytes);
void pmet_sha256_hex(struct pmet_sha256 *s, char hex[65]); /* ends s */

#endif

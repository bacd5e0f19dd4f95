/* SPDX-License-Identifier: MIT
 * Tokens by their bytes, and merges by their two parts: hash tables with open addressing, at most a
 * quarter full. */
#include <string.h>
#include "tokenizer/model.h"

static size_t power_of_two(size_t n)
{
    size_t p = 16;
    while (p < n)
        p *= 2;
    return p;
}

static uint64_t hash_bytes(const char *p, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ n;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    uint64_t w = 0;
    for (size_t i = 0; i < n; i++)
        w |= (uint64_t)(unsigned char)p[i] << 8 * i;
    h = (h ^ w) * 0xff51afd7ed558ccdu;
    return h ^ h >> 29;
}

int32_t pmet_token_of_bytes(const struct pmet_tokenizer *tk, const char *p, size_t n)
{
    for (size_t i = hash_bytes(p, n) & (tk->n_slot - 1);; i = (i + 1) & (tk->n_slot - 1)) {
        const int32_t id = tk->slot[i];
        if (id < 0 || (tk->token[id].n == n && memcmp(tk->strings + tk->token[id].at, p, n) == 0))
            return id;
    }
}

static size_t merge_slot(const struct pmet_tokenizer *tk, int32_t left, int32_t right)
{
    const uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    return (size_t)(h >> 32) & (tk->n_merge_slot - 1);
}

const struct pmet_merge *pmet_merge_of(const struct pmet_tokenizer *tk, int32_t left, int32_t right)
{
    for (size_t i = merge_slot(tk, left, right);; i = (i + 1) & (tk->n_merge_slot - 1)) {
        const struct pmet_merge *m = &tk->merge[i];
        if (m->left < 0)
            return NULL;
        if (m->left == left && m->right == right)
            return m;
    }
}

enum pmet_status pmet_lookup_tokens(struct pmet_tokenizer *tk, size_t n, struct pmet_error *err)
{
    tk->n_slot = power_of_two(4 * n);
    PMET_TRY(pmet_calloc(&tk->slot, tk->n_slot, sizeof *tk->slot, "the vocabulary", err));
    memset(tk->slot, 0xff, tk->n_slot * sizeof *tk->slot);
    for (size_t id = 0; id < tk->n_token; id++) {
        if (!tk->token[id].used)
            continue;
        size_t i = hash_bytes(tk->strings + tk->token[id].at, tk->token[id].n) & (tk->n_slot - 1);
        while (tk->slot[i] >= 0)
            i = (i + 1) & (tk->n_slot - 1);
        tk->slot[i] = (int32_t)id;
    }
    return PMET_OK;
}

enum pmet_status pmet_lookup_merges(struct pmet_tokenizer *tk, size_t n, struct pmet_error *err)
{
    tk->n_merge_slot = power_of_two(4 * n);
    PMET_TRY(pmet_calloc(&tk->merge, tk->n_merge_slot, sizeof *tk->merge, "the merges", err));
    memset(tk->merge, 0xff, tk->n_merge_slot * sizeof *tk->merge);
    return PMET_OK;
}

void pmet_lookup_add_merge(struct pmet_tokenizer *tk, const struct pmet_merge *merge)
{
    size_t i = merge_slot(tk, merge->left, merge->right);
    while (tk->merge[i].left >= 0 && (tk->merge[i].left != merge->left || tk->merge[i].right != merge->right))
        i = (i + 1) & (tk->n_merge_slot - 1);
    tk->merge[i] = *merge;
}

/* SPDX-License-Identifier: MIT
 * What a checkpoint is, in 64 hex digits, without reading all of it.      SPEC §9.6 */
#include "tensors/checkpoint_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_BLOCK 16
#define BLOCK 4096

/* The first one is no tokenizer's. */
static const char *const files[] = {"config.json",          "tokenizer.json",    "vocab.json",
                                    "merges.txt",           "added_tokens.json", "special_tokens_map.json",
                                    "tokenizer_config.json"};

static void add_text(struct pmet_sha256 *s, const char *text)
{
    pmet_sha256_add(s, text, strlen(text) + 1);
}

/* Those from the i-th on. */
static enum pmet_status add_files(const struct pmet_checkpoint *ck, size_t i, struct pmet_sha256 *s,
                                  struct pmet_error *err)
{
    for (; i < sizeof files / sizeof *files; i++) {
        char *path, *data;
        size_t n;
        PMET_TRY(pmet_path_join(ck->dir, files[i], &path, err));
        if (access(path, F_OK) != 0 && errno == ENOENT) {
            free(path);
            continue;
        }
        const enum pmet_status status = pmet_read_file(ck->io, path, PMET_MAX_JSON, &data, &n, err);
        free(path);
        PMET_TRY(status);
        char size[32];
        snprintf(size, sizeof size, "%zu", n);
        add_text(s, files[i]);
        add_text(s, size);
        pmet_sha256_add(s, data, n);
        free(data);
    }
    return PMET_OK;
}

/* Where block b of a long tensor begins: the first one begins its data, the last one ends them. */
static size_t block_at(const struct pmet_tensor *t, size_t b)
{
    const size_t span = t->n_bytes - BLOCK, step = span / (N_BLOCK - 1), rest = span % (N_BLOCK - 1);
    return b * step + b * rest / (N_BLOCK - 1);
}

void pmet_digest_tensor(struct pmet_sha256 *s, const struct pmet_tensor *t)
{
    char text[32];
    const unsigned char *data = t->data;
    add_text(s, t->name);
    add_text(s, pmet_dtype_name(t->dtype));
    snprintf(text, sizeof text, "%zu", t->n_dim);
    add_text(s, text);
    for (size_t i = 0; i < t->n_dim; i++) {
        snprintf(text, sizeof text, "%zu", t->shape[i]);
        add_text(s, text);
    }
    if (t->n_bytes <= (size_t)N_BLOCK * BLOCK) {
        pmet_will_read(data, t->n_bytes);
        pmet_sha256_add(s, data, t->n_bytes);
        return;
    }
    for (size_t b = 0; b < N_BLOCK; b++)
        pmet_will_read(data + block_at(t, b), BLOCK);
    for (size_t b = 0; b < N_BLOCK; b++)
        pmet_sha256_add(s, data + block_at(t, b), BLOCK);
}

enum pmet_status pmet_checkpoint_fingerprint(const struct pmet_checkpoint *ck, char hex[65],
                                             struct pmet_error *err)
{
    struct pmet_sha256 s;
    const struct pmet_tensor **all;
    pmet_sha256_begin(&s);
    PMET_TRY(add_files(ck, 0, &s, err));
    PMET_TRY(pmet_calloc(&all, ck->n_tensor, sizeof *all, "a fingerprint", err));
    for (size_t i = 0; i < ck->n_tensor; i++)
        all[i] = pmet_checkpoint_at(ck, i);
    qsort(all, ck->n_tensor, sizeof *all, pmet_tensor_by_name);
    for (size_t i = 0; i < ck->n_tensor; i++)
        pmet_digest_tensor(&s, all[i]);
    free(all);
    pmet_sha256_hex(&s, hex);
    return PMET_OK;
}

enum pmet_status pmet_checkpoint_tokenizer_digest(const struct pmet_checkpoint *ck, char hex[65],
                                                  struct pmet_error *err)
{
    struct pmet_sha256 s;
    pmet_sha256_begin(&s);
    PMET_TRY(add_files(ck, 1, &s, err));
    pmet_sha256_hex(&s, hex);
    return PMET_OK;
}

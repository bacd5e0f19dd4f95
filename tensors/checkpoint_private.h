/* SPDX-License-Identifier: MIT */
#ifndef PMET_TENSORS_CHECKPOINT_PRIVATE_H
#define PMET_TENSORS_CHECKPOINT_PRIVATE_H

#include "tensors/checkpoint.h"

/* What pmet_checkpoint_write was asked for. */
struct pmet_rewrite {
    const struct pmet_io *io;
    const struct pmet_checkpoint *ck;
    const char *out_dir;
    const struct pmet_replacement *replace;
    size_t n_replace;
    bool link;
    void (*skipped)(void *user, const char *name); /* may be NULL */
    void *user;
};

/* The tensor, replaced if it is named among the replacements. */
struct pmet_tensor pmet_tensor_replaced(const struct pmet_tensor *t, const struct pmet_replacement *replace,
                                        size_t n_replace);

struct pmet_shard *pmet_shard_find(const struct pmet_checkpoint *ck, const char *file); /* or NULL */
/* Writes the index, which it consumes (NULL: out of memory, when it was made), into w->out_dir. */
enum pmet_status pmet_index_write(const struct pmet_rewrite *w, json_t *index, struct pmet_error *err);

/* Writes all tensors of w->ck as safetensors: model.safetensors, or shards of at most
 * max_shard_bytes each (more only for a tensor that is larger itself) with their index. Two tensors
 * that share a storage are written each.
 *      SPEC §9.12 */
enum pmet_status pmet_checkpoint_repack(const struct pmet_rewrite *w, struct pmet_error *err);

#define PMET_INDEX_FILE "model.safetensors.index.json"
#define PMET_MAX_JSON ((size_t)1 << 28)

#endif

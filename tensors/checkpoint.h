/* SPDX-License-Identifier: MIT
 * Hugging Face checkpoint directories: config.json, and weights in model.safetensors, in shards
 * named by model.safetensors.index.json, in pytorch_model.bin or in shards named by its index
 * (preferred in this order). Knows nothing of models. */
#ifndef PMET_TENSORS_CHECKPOINT_H
#define PMET_TENSORS_CHECKPOINT_H

#include <jansson.h>
#include "tensors/sha256.h"
#include "tensors/weights.h"

struct pmet_shard {
    char *file; /* name inside the folder */
    struct pmet_weights weights;
};

struct pmet_checkpoint {
    const struct pmet_io *io;
    char *dir;
    json_t *config; /* the object of config.json */
    enum pmet_form form;
    const char *index_file; /* both NULL without shards */
    json_t *index;
    struct pmet_shard *shard; /* [n_shard] one, where the weights are not in shards */
    size_t n_shard, n_tensor;
    uint64_t max_shard_bytes; /* of the tensors in a file that is written from .bin files; 10 GB */
};

/* Opens dir. Shards: names must be plain; each tensor of the weight_map must be in its shard and
 * each tensor of a shard must be mapped to it. Nothing of a .bin is run (tensors/torch_bin.h). */
enum pmet_status pmet_checkpoint_open(const struct pmet_io *io, const char *dir, struct pmet_checkpoint **out,
                                      struct pmet_error *err);
void pmet_checkpoint_close(struct pmet_checkpoint *ck); /* accepts NULL */

const struct pmet_tensor *pmet_checkpoint_at(const struct pmet_checkpoint *ck, size_t i); /* shard by shard */
const struct pmet_tensor *pmet_checkpoint_find(const struct pmet_checkpoint *ck,
                                               const char *name); /* or NULL */
const char *pmet_checkpoint_file_of(const struct pmet_checkpoint *ck,
                                    const struct pmet_tensor *t); /* path of its shard */

/* SHA-256 in hex (64 digits and NUL) over config.json and the tokenizer's files with their names,
 * every tensor's name, dtype and shape (sorted by name), and 16 blocks of 4 KiB spread evenly over
 * the data of each tensor (all of it if shorter). Does not depend on the path, on file times or on
 * how tensors are spread over shards. */
enum pmet_status pmet_checkpoint_fingerprint(const struct pmet_checkpoint *ck, char hex[65],
                                             struct pmet_error *err);
/* Of the tokenizer's files alone. */
enum pmet_status pmet_checkpoint_tokenizer_digest(const struct pmet_checkpoint *ck, char hex[65],
                                                  struct pmet_error *err);
/* A tensor's part of a fingerprint. */
void pmet_digest_tensor(struct pmet_sha256 *s, const struct pmet_tensor *t);

struct pmet_replacement {
    const char *name;      /* a tensor of the checkpoint */
    enum pmet_dtype dtype; /* may differ from the file's */
    const void *data;      /* n_elem elements of dtype, the shape being the original's */
};

/* Fills the existing, empty folder out_dir with a checkpoint like ck in which the named tensors are
 * replaced. Only shards that hold one are rewritten, with every other tensor's bytes and the
 * shard's metadata unchanged; the rest is copied (or hard-linked if `link`), and the index is
 * brought up to date (total_size). All other regular files of the original are copied, except other
 * copies of the weights, by the patterns of SPEC §9.6, which would be the unedited model:
 * `skipped(user, name)`, unless NULL, is called for each. Symbolic links are followed; folders are
 * not copied but reported through skipped, too. A checkpoint of .bin files is written as
 * safetensors, in shards of at most 10 GB; tensors that shared a storage are each written in full,
 * and the .bin files are skipped. Files are synced by their writers; pmet_outdir_commit does the
 * rest. */
enum pmet_status pmet_checkpoint_write(const struct pmet_io *io, const struct pmet_checkpoint *ck,
                                       const char *out_dir, const struct pmet_replacement *replace,
                                       size_t n_replace, bool link,
                                       void (*skipped)(void *user, const char *name), void *user,
                                       struct pmet_error *err);

#endif

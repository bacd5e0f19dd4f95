/* SPDX-License-Identifier: MIT */
#ifndef PMET_TENSORS_CHECKPOINT_PRIVATE_H
#define PMET_TENSORS_CHECKPOINT_PRIVATE_H

#include "tensors/checkpoint.h"

struct pmet_shard {
    char *file; /* name inside the folder */
    struct pmet_safetensors *st;
};

struct pmet_checkpoint {
    const struct pmet_io *io;
    char *dir;
    json_t *config;
    json_t *index; /* NULL without shards */
    struct pmet_shard *shard;
    size_t n_shard, n_tensor;
};

#define PMET_INDEX_FILE "model.safetensors.index.json"
#define PMET_MAX_JSON ((size_t)1 << 28)

#endif

/* SPDX-License-Identifier: MIT
 * A checkpoint in the other form: its tensors as safetensors, streamed from the map one after the
 * other. */
#include "tensors/checkpoint_private.h"

#include <stdio.h>
#include <stdlib.h>
#include "tensors/json.h"

/* How many of the n tensors the next file takes: as many as fit, but at least one. */
static size_t fill(const struct pmet_tensor *tensors, size_t n, uint64_t max_bytes)
{
    uint64_t n_bytes = 0;
    size_t i = 0;
    for (; i < n; i++) {
        n_bytes += tensors[i].n_bytes;
        if (i > 0 && n_bytes > max_bytes)
            break;
    }
    return i;
}

static enum pmet_status out_of_memory(struct pmet_error *err)
{
    return pmet_fail_memory(err, "an index", 0);
}

enum pmet_status pmet_index_write(const struct pmet_rewrite *w, json_t *index, struct pmet_error *err)
{
    char *path = NULL;
    enum pmet_status status = index ? PMET_OK : out_of_memory(err);
    PMET_GO(status);
    PMET_GO(pmet_path_join(w->out_dir, PMET_INDEX_FILE, &path, err));
    status = pmet_json_save(w->io, path, index, 2, err);
done:
    json_decref(index);
    free(path);
    return status;
}

static enum pmet_status write_file(const struct pmet_rewrite *w, const char *file,
                                   const struct pmet_tensor *tensors, size_t n, json_t *map,
                                   struct pmet_error *err)
{
    char *path;
    for (size_t i = 0; i < n; i++)
        if (json_object_set_new(map, tensors[i].name, json_string(file)) != 0)
            return out_of_memory(err);
    PMET_TRY(pmet_path_join(w->out_dir, file, &path, err));
    const enum pmet_status status = pmet_safetensors_write(w->io, path, tensors, n, NULL, 0, err);
    free(path);
    return status;
}

enum pmet_status pmet_checkpoint_repack(const struct pmet_rewrite *w, struct pmet_error *err)
{
    const size_t n_tensor = w->ck->n_tensor, most = w->ck->max_shard_bytes;
    struct pmet_tensor *tensors = NULL;
    json_t *map = json_object();
    size_t n_file = 0, n_bytes = 0, at = 0;
    enum pmet_status status = map ? PMET_OK : out_of_memory(err);
    PMET_GO(status);
    PMET_GO(pmet_calloc(&tensors, n_tensor, sizeof *tensors, w->out_dir, err));
    for (size_t i = 0; i < n_tensor; i++) {
        tensors[i] = pmet_tensor_replaced(pmet_checkpoint_at(w->ck, i), w->replace, w->n_replace);
        n_bytes += tensors[i].n_bytes;
    }
    do { /* also for none: a checkpoint without tensors is one file */
        at += fill(tensors + at, n_tensor - at, most);
        n_file++;
    } while (at < n_tensor);
    at = 0;
    for (size_t k = 1; k <= n_file; k++) {
        char file[64];
        const size_t n = fill(tensors + at, n_tensor - at, most);
        snprintf(file, sizeof file, n_file == 1 ? "model.safetensors" : "model-%05zu-of-%05zu.safetensors", k,
                 n_file);
        PMET_GO(write_file(w, file, tensors + at, n, map, err));
        at += n;
    }
    if (n_file > 1)
        status = pmet_index_write(
            w, json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)n_bytes, "weight_map", map),
            err);
done:
    json_decref(map);
    free(tensors);
    return status;
}

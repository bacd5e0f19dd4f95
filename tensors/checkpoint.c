/* SPDX-License-Identifier: MIT */
#include "tensors/checkpoint_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tensors/json.h"

static enum pmet_status exists_in(const char *dir, const char *name, bool *yes, struct pmet_error *err)
{
    char *path;
    PMET_TRY(pmet_path_join(dir, name, &path, err));
    *yes = access(path, F_OK) == 0 || errno != ENOENT; /* opening will say what else it is */
    free(path);
    return PMET_OK;
}

static enum pmet_status load_in(const struct pmet_checkpoint *ck, const char *name, json_t **out,
                                struct pmet_error *err)
{
    char *path;
    PMET_TRY(pmet_path_join(ck->dir, name, &path, err));
    enum pmet_status status = pmet_json_load(ck->io, path, PMET_MAX_JSON, out, err);
    if (status == PMET_OK && !json_is_object(*out))
        status = pmet_fail(err, PMET_FORMAT, "%s: found %s; expected an object", path, pmet_json_kind(*out));
    free(path);
    return status;
}

static enum pmet_status open_shard(struct pmet_checkpoint *ck, const char *file, struct pmet_error *err)
{
    struct pmet_shard *s = &ck->shard[ck->n_shard++];
    char *path;
    PMET_TRY(pmet_copy_text(file, &s->file, file, err));
    PMET_TRY(pmet_path_join(ck->dir, file, &path, err));
    const enum pmet_status status = pmet_weights_open(ck->io, path, ck->form, &s->weights, err);
    free(path);
    PMET_TRY(status);
    ck->n_tensor += s->weights.all->n;
    return PMET_OK;
}

static bool is_plain_name(const char *name)
{
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

struct pmet_shard *pmet_shard_find(const struct pmet_checkpoint *ck, const char *file)
{
    for (size_t i = 0; i < ck->n_shard; i++)
        if (strcmp(ck->shard[i].file, file) == 0)
            return &ck->shard[i];
    return NULL;
}

/* Every tensor of the map is in its shard, and every tensor of a shard is mapped to it. */
static enum pmet_status check_map(const struct pmet_checkpoint *ck, json_t *map, struct pmet_error *err)
{
    const char *name;
    json_t *file;
    json_object_foreach(map, name, file)
    {
        const struct pmet_shard *s = pmet_shard_find(ck, json_string_value(file));
        if (!pmet_tensors_find(s->weights.all, name))
            return pmet_fail(err, PMET_INPUT, "%s/%s: tensor \"%s\" is not in %s", ck->dir, ck->index_file,
                             name, s->file);
    }
    for (size_t i = 0; i < ck->n_shard; i++)
        for (size_t j = 0; j < ck->shard[i].weights.all->n; j++) {
            const char *in_shard = ck->shard[i].weights.all->tensor[j].name;
            const char *mapped = json_string_value(json_object_get(map, in_shard));
            if (!mapped || strcmp(mapped, ck->shard[i].file) != 0)
                return pmet_fail(err, PMET_INPUT, "%s/%s: tensor \"%s\" is mapped to %s by %s", ck->dir,
                                 ck->shard[i].file, in_shard, mapped ? mapped : "no file", ck->index_file);
        }
    return PMET_OK;
}

static enum pmet_status open_sharded(struct pmet_checkpoint *ck, struct pmet_error *err)
{
    PMET_TRY(load_in(ck, ck->index_file, &ck->index, err));
    json_t *map = json_object_get(ck->index, "weight_map"), *file;
    const char *name;
    if (!json_is_object(map))
        return pmet_fail(err, PMET_FORMAT, "%s/%s: weight_map: found %s; expected an object", ck->dir,
                         ck->index_file, pmet_json_kind(map));
    PMET_TRY(pmet_calloc(&ck->shard, json_object_size(map), sizeof *ck->shard, "shards", err));
    json_object_foreach(map, name, file)
    {
        if (!json_is_string(file))
            return pmet_fail(err, PMET_FORMAT, "%s/%s: weight_map: \"%s\": found %s; expected a string",
                             ck->dir, ck->index_file, name, pmet_json_kind(file));
        if (!is_plain_name(json_string_value(file)))
            return pmet_fail(err, PMET_FORMAT,
                             "%s/%s: weight_map: \"%s\": found \"%s\"; expected a file of this folder",
                             ck->dir, ck->index_file, name, json_string_value(file));
        if (pmet_shard_find(ck, json_string_value(file)))
            continue;
        bool found;
        PMET_TRY(exists_in(ck->dir, json_string_value(file), &found, err));
        if (!found)
            return pmet_fail(err, PMET_IO, "%s/%s: is missing; expected it by %s: is the download complete?",
                             ck->dir, json_string_value(file), ck->index_file);
        PMET_TRY(open_shard(ck, json_string_value(file), err));
    }
    return check_map(ck, map, err);
}

/* In the order in which transformers looks for them. */
static const struct {
    const char *file;
    bool is_index;
    enum pmet_form form;
} sources[] = {{"model.safetensors", false, PMET_SAFETENSORS},
               {PMET_INDEX_FILE, true, PMET_SAFETENSORS},
               {"pytorch_model.bin", false, PMET_TORCH_BIN},
               {"pytorch_model.bin.index.json", true, PMET_TORCH_BIN}};

static enum pmet_status open_weights(struct pmet_checkpoint *ck, struct pmet_error *err)
{
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        bool found;
        PMET_TRY(exists_in(ck->dir, sources[i].file, &found, err));
        if (!found)
            continue;
        ck->form = sources[i].form;
        if (sources[i].is_index) {
            ck->index_file = sources[i].file;
            return open_sharded(ck, err);
        }
        PMET_TRY(pmet_calloc(&ck->shard, 1, sizeof *ck->shard, "shards", err));
        return open_shard(ck, sources[i].file, err);
    }
    return pmet_fail(err, PMET_INPUT,
                     "%s: found no weights; expected model.safetensors, pytorch_model.bin or "
                     "shards with their index",
                     ck->dir);
}

enum pmet_status pmet_checkpoint_open(const struct pmet_io *io, const char *dir, struct pmet_checkpoint **out,
                                      struct pmet_error *err)
{
    struct pmet_checkpoint *ck = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&ck, 1, sizeof *ck, dir, err));
    ck->io = io;
    ck->max_shard_bytes = 10000000000; /* as transformers cuts them */
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    PMET_GO(pmet_calloc(&ck->dir, n + 1, 1, dir, err));
    memcpy(ck->dir, dir, n);
    PMET_GO(load_in(ck, "config.json", &ck->config, err));
    PMET_GO(open_weights(ck, err));
    *out = ck;
    ck = NULL;
done:
    pmet_checkpoint_close(ck);
    return status;
}

void pmet_checkpoint_close(struct pmet_checkpoint *ck)
{
    if (!ck)
        return;
    for (size_t i = 0; i < ck->n_shard; i++) {
        pmet_weights_close(&ck->shard[i].weights);
        free(ck->shard[i].file);
    }
    free(ck->shard);
    json_decref(ck->config);
    json_decref(ck->index);
    free(ck->dir);
    free(ck);
}

const struct pmet_tensor *pmet_checkpoint_at(const struct pmet_checkpoint *ck, size_t i)
{
    for (size_t s = 0;; s++) {
        const size_t n = ck->shard[s].weights.all->n;
        if (i < n)
            return &ck->shard[s].weights.all->tensor[i];
        i -= n;
    }
}

const struct pmet_tensor *pmet_checkpoint_find(const struct pmet_checkpoint *ck, const char *name)
{
    const struct pmet_tensor *t = NULL;
    for (size_t s = 0; s < ck->n_shard && !t; s++)
        t = pmet_tensors_find(ck->shard[s].weights.all, name);
    return t;
}

const char *pmet_checkpoint_file_of(const struct pmet_checkpoint *ck, const struct pmet_tensor *t)
{
    for (size_t s = 0; s < ck->n_shard; s++)
        if (pmet_tensors_find(ck->shard[s].weights.all, t->name) == t)
            return ck->shard[s].weights.all->path;
    return ck->dir;
}

struct pmet_tensor pmet_tensor_replaced(const struct pmet_tensor *t, const struct pmet_replacement *replace,
                                        size_t n_replace)
{
    struct pmet_tensor out = *t;
    for (size_t i = 0; i < n_replace; i++)
        if (strcmp(replace[i].name, t->name) == 0) {
            out.dtype = replace[i].dtype;
            out.data = replace[i].data;
            out.n_bytes = out.n_elem * pmet_dtype_size(out.dtype);
            break;
        }
    return out;
}

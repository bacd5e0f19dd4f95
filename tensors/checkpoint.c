/* SPDX-License-Identifier: MIT */
#include "tensors/checkpoint_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tensors/json.h"

static bool exists_in(const char *dir, const char *name, struct pmet_error *err, enum pmet_status *status)
{
    char *path;
    *status = pmet_path_join(dir, name, &path, err);
    if (*status != PMET_OK)
        return false;
    const bool yes = access(path, F_OK) == 0 || errno != ENOENT; /* opening will say what else it is */
    free(path);
    return yes;
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
    PMET_TRY(pmet_calloc(&s->file, strlen(file) + 1, 1, file, err));
    memcpy(s->file, file, strlen(file));
    PMET_TRY(pmet_path_join(ck->dir, file, &path, err));
    const enum pmet_status status = pmet_safetensors_open(ck->io, path, &s->st, err);
    free(path);
    PMET_TRY(status);
    ck->n_tensor += pmet_safetensors_count(s->st);
    return PMET_OK;
}

static bool is_plain_name(const char *name)
{
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static struct pmet_shard *find_shard(const struct pmet_checkpoint *ck, const char *file)
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
        const struct pmet_shard *s = find_shard(ck, json_string_value(file));
        if (!pmet_safetensors_find(s->st, name))
            return pmet_fail(err, PMET_INPUT, "%s/" PMET_INDEX_FILE ": tensor \"%s\" is not in %s", ck->dir,
                             name, s->file);
    }
    for (size_t i = 0; i < ck->n_shard; i++)
        for (size_t j = 0; j < pmet_safetensors_count(ck->shard[i].st); j++) {
            const char *in_shard = pmet_safetensors_at(ck->shard[i].st, j)->name;
            const char *mapped = json_string_value(json_object_get(map, in_shard));
            if (!mapped || strcmp(mapped, ck->shard[i].file) != 0)
                return pmet_fail(err, PMET_INPUT, "%s/%s: tensor \"%s\" is mapped to %s by " PMET_INDEX_FILE,
                                 ck->dir, ck->shard[i].file, in_shard, mapped ? mapped : "no file");
        }
    return PMET_OK;
}

static enum pmet_status open_sharded(struct pmet_checkpoint *ck, struct pmet_error *err)
{
    PMET_TRY(load_in(ck, PMET_INDEX_FILE, &ck->index, err));
    json_t *map = json_object_get(ck->index, "weight_map"), *file;
    const char *name;
    if (!json_is_object(map))
        return pmet_fail(err, PMET_FORMAT, "%s/" PMET_INDEX_FILE ": weight_map: found %s; expected an object",
                         ck->dir, pmet_json_kind(map));
    PMET_TRY(pmet_calloc(&ck->shard, json_object_size(map), sizeof *ck->shard, "shards", err));
    json_object_foreach(map, name, file)
    {
        if (!json_is_string(file))
            return pmet_fail(err, PMET_FORMAT,
                             "%s/" PMET_INDEX_FILE ": weight_map: \"%s\": found %s; expected a string",
                             ck->dir, name, pmet_json_kind(file));
        if (!is_plain_name(json_string_value(file)))
            return pmet_fail(err, PMET_FORMAT,
                             "%s/" PMET_INDEX_FILE
                             ": weight_map: \"%s\": found \"%s\"; expected a file of this folder",
                             ck->dir, name, json_string_value(file));
        if (!find_shard(ck, json_string_value(file)))
            PMET_TRY(open_shard(ck, json_string_value(file), err));
    }
    return check_map(ck, map, err);
}

static enum pmet_status open_weights(struct pmet_checkpoint *ck, struct pmet_error *err)
{
    enum pmet_status status;
    if (exists_in(ck->dir, "model.safetensors", err, &status)) {
        PMET_TRY(pmet_calloc(&ck->shard, 1, sizeof *ck->shard, "shards", err));
        return open_shard(ck, "model.safetensors", err);
    }
    PMET_TRY(status);
    if (exists_in(ck->dir, PMET_INDEX_FILE, err, &status))
        return open_sharded(ck, err);
    PMET_TRY(status);
    if (exists_in(ck->dir, "pytorch_model.bin", err, &status) ||
        exists_in(ck->dir, "pytorch_model.bin.index.json", err, &status))
        return pmet_fail(
            err, PMET_UNSUPPORTED,
            "%s: holds pytorch_model.bin only; expected model.safetensors (convert it with transformers: "
            "from_pretrained, then save_pretrained with safe_serialization=True)",
            ck->dir);
    PMET_TRY(status);
    return pmet_fail(err, PMET_INPUT, "%s: found neither model.safetensors nor " PMET_INDEX_FILE, ck->dir);
}

enum pmet_status pmet_checkpoint_open(const struct pmet_io *io, const char *dir, struct pmet_checkpoint **out,
                                      struct pmet_error *err)
{
    struct pmet_checkpoint *ck = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&ck, 1, sizeof *ck, dir, err));
    ck->io = io;
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
        pmet_safetensors_close(ck->shard[i].st);
        free(ck->shard[i].file);
    }
    free(ck->shard);
    json_decref(ck->config);
    json_decref(ck->index);
    free(ck->dir);
    free(ck);
}

const char *pmet_checkpoint_dir(const struct pmet_checkpoint *ck)
{
    return ck->dir;
}

const json_t *pmet_checkpoint_config(const struct pmet_checkpoint *ck)
{
    return ck->config;
}

size_t pmet_checkpoint_count(const struct pmet_checkpoint *ck)
{
    return ck->n_tensor;
}

const struct pmet_tensor *pmet_checkpoint_at(const struct pmet_checkpoint *ck, size_t i)
{
    for (size_t s = 0;; s++) {
        const size_t n = pmet_safetensors_count(ck->shard[s].st);
        if (i < n)
            return pmet_safetensors_at(ck->shard[s].st, i);
        i -= n;
    }
}

const struct pmet_tensor *pmet_checkpoint_find(const struct pmet_checkpoint *ck, const char *name)
{
    const struct pmet_tensor *t = NULL;
    for (size_t s = 0; s < ck->n_shard && !t; s++)
        t = pmet_safetensors_find(ck->shard[s].st, name);
    return t;
}

const char *pmet_checkpoint_file_of(const struct pmet_checkpoint *ck, const struct pmet_tensor *t)
{
    for (size_t s = 0; s < ck->n_shard; s++)
        if (pmet_safetensors_find(ck->shard[s].st, t->name) == t)
            return pmet_safetensors_path(ck->shard[s].st);
    return ck->dir;
}

size_t pmet_checkpoint_n_shard(const struct pmet_checkpoint *ck)
{
    return ck->n_shard;
}

const char *pmet_checkpoint_shard(const struct pmet_checkpoint *ck, size_t i)
{
    return ck->shard[i].file;
}

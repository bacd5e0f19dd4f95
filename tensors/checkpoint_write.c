/* SPDX-License-Identifier: MIT
 * An edited copy of a checkpoint directory. */
#include "tensors/checkpoint_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tensors/folder.h"
#include "tensors/json.h"

static const struct pmet_replacement *replacement_of(const struct pmet_replacement *r, size_t n,
                                                     const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(r[i].name, name) == 0)
            return &r[i];
    return NULL;
}

struct pmet_tensor pmet_tensor_replaced(const struct pmet_tensor *t, const struct pmet_replacement *replace,
                                        size_t n_replace)
{
    struct pmet_tensor out = *t;
    const struct pmet_replacement *r = replacement_of(replace, n_replace, t->name);
    if (r) {
        out.dtype = r->dtype;
        out.data = r->data;
        out.n_bytes = out.n_elem * pmet_dtype_size(r->dtype);
    }
    return out;
}

static enum pmet_status write_shard(const struct pmet_io *io, const struct pmet_safetensors *st,
                                    const char *path, const struct pmet_replacement *replace,
                                    size_t n_replace, struct pmet_error *err)
{
    const size_t n = pmet_safetensors_count(st), n_meta = pmet_safetensors_n_metadata(st);
    struct pmet_tensor *tensors = NULL;
    struct pmet_pair *meta = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&tensors, n, sizeof *tensors, path, err));
    PMET_GO(pmet_calloc(&meta, n_meta, sizeof *meta, path, err));
    for (size_t i = 0; i < n_meta; i++)
        pmet_safetensors_metadata_at(st, i, &meta[i].key, &meta[i].value);
    for (size_t i = 0; i < n; i++)
        tensors[i] = pmet_tensor_replaced(pmet_safetensors_at(st, i), replace, n_replace);
    status = pmet_safetensors_write(io, path, tensors, n, meta, n_meta, err);
done:
    free(tensors);
    free(meta);
    return status;
}

/* By copy_file_range where the file systems allow it; from where that stopped, by reading and writing. */
static enum pmet_status copy_data(const struct pmet_io *io, int in, int out, const char *from, const char *to,
                                  struct pmet_error *err)
{
    static const int cannot[] = {EXDEV, EINVAL, ENOSYS, EOPNOTSUPP, EPERM};
    unsigned char buffer[65536];
    ssize_t n;
    while ((n = io->copy_range(io->user, in, out, (size_t)1 << 26)) > 0 || (n < 0 && errno == EINTR))
        continue;
    if (n < 0) {
        bool fall_back = false;
        for (size_t i = 0; i < sizeof cannot / sizeof *cannot; i++)
            fall_back = fall_back || errno == cannot[i];
        if (!fall_back)
            return pmet_fail_errno(err, to, "copy");
    }
    for (;;) { /* also after an end that copy_file_range reports: some file systems have it report one at once
                */
        n = io->read(io->user, in, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pmet_fail_errno(err, from, "read");
        if (n == 0)
            return PMET_OK;
        PMET_TRY(pmet_write_all(io, out, buffer, (size_t)n, to, err));
    }
}

static enum pmet_status copy_file(const struct pmet_io *io, const char *from, const char *to,
                                  struct pmet_error *err)
{
    const int in = io->open(io->user, from, O_RDONLY, 0);
    if (in < 0)
        return pmet_fail_errno(err, from, "open");
    const int out = io->open(io->user, to, O_WRONLY | O_CREAT | O_EXCL, 0666);
    if (out < 0) {
        pmet_fail_errno(err, to, "create");
        io->close(io->user, in);
        return PMET_IO;
    }
    enum pmet_status status = copy_data(io, in, out, from, to, err);
    if (status == PMET_OK && io->fsync(io->user, out) != 0)
        status = pmet_fail_errno(err, to, "sync");
    if (io->close(io->user, out) != 0 && status == PMET_OK)
        status = pmet_fail_errno(err, to, "close");
    io->close(io->user, in);
    return status;
}

/* Other copies of the weights: unedited, they would be taken for the model by some readers. */
static bool is_weights(const char *name)
{
    static const char *const endings[] = {".bin",
                                          ".bin.index.json",
                                          ".h5",
                                          ".h5.index.json",
                                          ".msgpack",
                                          ".msgpack.index.json",
                                          ".gguf",
                                          ".onnx",
                                          ".pt",
                                          ".pth",
                                          ".ckpt",
                                          ".safetensors",
                                          ".safetensors.index.json"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t n = strlen(name), m = strlen(endings[i]);
        if (n >= m && strcmp(name + n - m, endings[i]) == 0)
            return true;
    }
    return false;
}

static bool is_shard(const struct pmet_checkpoint *ck, const char *name)
{
    for (size_t i = 0; ck->form == PMET_SAFETENSORS && i < ck->n_shard; i++)
        if (strcmp(ck->shard[i].file, name) == 0)
            return true;
    return false;
}

static bool is_index(const struct pmet_checkpoint *ck, const char *name)
{
    return ck->form == PMET_SAFETENSORS && ck->index && strcmp(name, PMET_INDEX_FILE) == 0;
}

static enum pmet_status write_shards(const struct pmet_io *io, const struct pmet_checkpoint *ck,
                                     const char *out_dir, const struct pmet_replacement *replace,
                                     size_t n_replace, bool link, struct pmet_error *err)
{
    for (size_t i = 0; i < ck->n_shard; i++) {
        char *to;
        bool edited = false;
        const struct pmet_safetensors *st = ck->shard[i].weights.st;
        const char *from = pmet_safetensors_path(st);
        for (size_t r = 0; r < n_replace; r++)
            edited = edited || pmet_safetensors_find(st, replace[r].name);
        PMET_TRY(pmet_path_join(out_dir, ck->shard[i].file, &to, err));
        enum pmet_status status;
        if (edited)
            status = write_shard(io, st, to, replace, n_replace, err);
        else if (link)
            status = io->link(io->user, from, to) == 0 ? PMET_OK : pmet_fail_errno(err, to, "link");
        else
            status = copy_file(io, from, to, err);
        free(to);
        PMET_TRY(status);
    }
    return PMET_OK;
}

/* Whether a replacement has another element type than the original: then sizes change. */
static bool sizes_change(const struct pmet_checkpoint *ck, const struct pmet_replacement *replace,
                         size_t n_replace)
{
    for (size_t i = 0; i < n_replace; i++)
        if (pmet_dtype_size(replace[i].dtype) !=
            pmet_dtype_size(pmet_checkpoint_find(ck, replace[i].name)->dtype))
            return true;
    return false;
}

/* The index as it was, but for total_size. */
static enum pmet_status write_index(const struct pmet_io *io, const struct pmet_checkpoint *ck,
                                    const char *out_dir, const struct pmet_replacement *replace,
                                    size_t n_replace, struct pmet_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < ck->n_tensor; i++) {
        total += pmet_tensor_replaced(pmet_checkpoint_at(ck, i), replace, n_replace).n_bytes;
    }
    json_t *index = json_deep_copy(ck->index), *meta = json_object_get(index, "metadata");
    char *path = NULL;
    enum pmet_status status;
    if (json_is_object(meta))
        json_object_set_new(meta, "total_size", json_integer((json_int_t)total));
    PMET_GO(pmet_path_join(out_dir, PMET_INDEX_FILE, &path, err));
    status = pmet_json_save(io, path, index, 2, err);
done:
    json_decref(index);
    free(path);
    return status;
}

/* One file of the original that is not a weight in use. A link that points nowhere is skipped like a folder.
 */
static enum pmet_status copy_one(const struct pmet_io *io, const struct pmet_checkpoint *ck,
                                 const char *out_dir, const char *name, void (*skipped)(void *, const char *),
                                 void *user, struct pmet_error *err)
{
    char *from = NULL, *to = NULL;
    struct stat st;
    enum pmet_status status;
    PMET_GO(pmet_path_join(ck->dir, name, &from, err));
    PMET_GO(pmet_path_join(out_dir, name, &to, err));
    const bool found = stat(from, &st) == 0;
    if (!found && errno != ENOENT && errno != ELOOP)
        status = pmet_fail_errno(err, from, "stat");
    else if (found && S_ISREG(st.st_mode) && (!is_weights(name) || is_index(ck, name)))
        status = copy_file(io, from, to, err);
    else if (skipped)
        skipped(user, name);
done:
    free(from);
    free(to);
    return status;
}

/* The index is among these when its sizes stay. */
static enum pmet_status copy_rest(const struct pmet_io *io, const struct pmet_checkpoint *ck,
                                  const char *out_dir, bool index_too, void (*skipped)(void *, const char *),
                                  void *user, struct pmet_error *err)
{
    char **names;
    size_t n;
    enum pmet_status status = PMET_OK;
    PMET_TRY(pmet_list_folder(ck->dir, &names, &n, err));
    for (size_t i = 0; status == PMET_OK && i < n; i++) {
        if (is_index(ck, names[i]) ? index_too : !is_shard(ck, names[i]))
            status = copy_one(io, ck, out_dir, names[i], skipped, user, err);
    }
    pmet_free_names(names, n);
    return status;
}

enum pmet_status pmet_checkpoint_write(const struct pmet_io *io, const struct pmet_checkpoint *ck,
                                       const char *out_dir, const struct pmet_replacement *replace,
                                       size_t n_replace, bool link,
                                       void (*skipped)(void *user, const char *name), void *user,
                                       struct pmet_error *err)
{
    for (size_t i = 0; i < n_replace; i++)
        if (!pmet_checkpoint_find(ck, replace[i].name))
            return pmet_fail(err, PMET_INPUT, "%s: holds no tensor \"%s\" to replace", ck->dir,
                             replace[i].name);
    if (ck->form == PMET_TORCH_BIN) {
        PMET_TRY(pmet_checkpoint_repack(io, ck, out_dir, replace, n_replace, err));
        return copy_rest(io, ck, out_dir, false, skipped, user, err);
    }
    PMET_TRY(write_shards(io, ck, out_dir, replace, n_replace, link, err));
    const bool new_index = ck->index && sizes_change(ck, replace, n_replace);
    if (new_index)
        PMET_TRY(write_index(io, ck, out_dir, replace, n_replace, err));
    return copy_rest(io, ck, out_dir, !new_index, skipped, user, err);
}

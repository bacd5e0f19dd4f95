/* SPDX-License-Identifier: MIT
 * An edited copy of a checkpoint directory. */
#include "tensors/checkpoint_private.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "tensors/folder.h"
#include "tensors/json.h"

static enum pmet_status write_shard(const struct pmet_rewrite *w, const struct pmet_safetensors *st,
                                    const char *path, struct pmet_error *err)
{
    struct pmet_tensor *tensors;
    PMET_TRY(pmet_calloc(&tensors, st->all.n, sizeof *tensors, path, err));
    for (size_t i = 0; i < st->all.n; i++)
        tensors[i] = pmet_tensor_replaced(&st->all.tensor[i], w->replace, w->n_replace);
    const enum pmet_status status =
        pmet_safetensors_write(w->io, path, tensors, st->all.n, st->meta, st->n_meta, err);
    free(tensors);
    return status;
}

/* By copy_file_range where the file systems allow it; from where that stopped, by reading and
 * writing. */
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
    for (;;) { /* also after an end that copy_file_range reports: some file systems report one at once */
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

/* Other copies of the weights: unedited, they would be taken for the model by some readers. An
 * export to ONNX may keep each tensor in a file of its name. */
static bool is_weights(const struct pmet_checkpoint *ck, const char *name)
{
    static const char *const patterns[] = {"*.bin",      "*.bin.*",      "*.safetensors", "*.safetensors.*",
                                           "*.pt",       "*.pth",        "*.ckpt",        "*.ckpt.*",
                                           "*.ckpt-*",   "*.h5",         "*.h5.*",        "*.hdf5",
                                           "*.keras",    "*.msgpack",    "*.msgpack.*",   "*.npz",
                                           "*.pkl",      "*.pickle",     "*.ot",          "*.gguf*",
                                           "*ggml*",     "*.llamafile",  "*.onnx*",       "onnx__*",
                                           "*.mlmodel*", "*.mlpackage*", "*.tflite",      "*.pb",
                                           "*.pdparams", "*.params",     "*.nemo",        "*.engine",
                                           "*.pte",      "*.mnn"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (fnmatch(patterns[i], name, FNM_CASEFOLD) == 0)
            return true;
    return pmet_checkpoint_find(ck, name) != NULL;
}

static bool is_index(const struct pmet_checkpoint *ck, const char *name)
{
    return ck->form == PMET_SAFETENSORS && ck->index && strcmp(name, PMET_INDEX_FILE) == 0;
}

static enum pmet_status write_shards(const struct pmet_rewrite *w, struct pmet_error *err)
{
    for (size_t i = 0; i < w->ck->n_shard; i++) {
        const struct pmet_safetensors *st = w->ck->shard[i].weights.st;
        const char *from = st->all.path;
        bool edited = false;
        char *to;
        enum pmet_status status;
        for (size_t r = 0; r < w->n_replace; r++)
            edited = edited || pmet_tensors_find(&st->all, w->replace[r].name);
        PMET_TRY(pmet_path_join(w->out_dir, w->ck->shard[i].file, &to, err));
        if (edited)
            status = write_shard(w, st, to, err);
        else if (w->link)
            status = w->io->link(w->io->user, from, to) == 0 ? PMET_OK : pmet_fail_errno(err, to, "link");
        else
            status = copy_file(w->io, from, to, err);
        free(to);
        PMET_TRY(status);
    }
    return PMET_OK;
}

/* Whether a replacement has another element type than the original: then sizes change. */
static bool sizes_change(const struct pmet_rewrite *w)
{
    for (size_t i = 0; i < w->n_replace; i++)
        if (pmet_dtype_size(w->replace[i].dtype) !=
            pmet_dtype_size(pmet_checkpoint_find(w->ck, w->replace[i].name)->dtype))
            return true;
    return false;
}

/* The index as it was, but for total_size. */
static enum pmet_status write_index(const struct pmet_rewrite *w, struct pmet_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < w->ck->n_tensor; i++)
        total += pmet_tensor_replaced(pmet_checkpoint_at(w->ck, i), w->replace, w->n_replace).n_bytes;
    json_t *index = json_deep_copy(w->ck->index), *meta = json_object_get(index, "metadata");
    if (json_is_object(meta))
        json_object_set_new(meta, "total_size", json_integer((json_int_t)total));
    return pmet_index_write(w, index, err);
}

/* One file of the original that is not a weight in use. A link that points nowhere is skipped like
 * a folder. */
static enum pmet_status copy_one(const struct pmet_rewrite *w, const char *name, struct pmet_error *err)
{
    char *from = NULL, *to = NULL;
    struct stat st;
    enum pmet_status status;
    PMET_GO(pmet_path_join(w->ck->dir, name, &from, err));
    PMET_GO(pmet_path_join(w->out_dir, name, &to, err));
    const bool found = stat(from, &st) == 0;
    if (!found && errno != ENOENT && errno != ELOOP)
        status = pmet_fail_errno(err, from, "stat");
    else if (found && S_ISREG(st.st_mode) && (!is_weights(w->ck, name) || is_index(w->ck, name)))
        status = copy_file(w->io, from, to, err);
    else if (w->skipped)
        w->skipped(w->user, name);
done:
    free(from);
    free(to);
    return status;
}

/* The index is among these when its sizes stay. */
static enum pmet_status copy_rest(const struct pmet_rewrite *w, bool index_too, struct pmet_error *err)
{
    char **names;
    size_t n;
    enum pmet_status status = PMET_OK;
    PMET_TRY(pmet_list_folder(w->ck->dir, &names, &n, err));
    for (size_t i = 0; status == PMET_OK && i < n; i++)
        if (is_index(w->ck, names[i])
                ? index_too
                : !(w->ck->form == PMET_SAFETENSORS && pmet_shard_find(w->ck, names[i])))
            status = copy_one(w, names[i], err);
    pmet_free_names(names, n);
    return status;
}

enum pmet_status pmet_checkpoint_write(const struct pmet_io *io, const struct pmet_checkpoint *ck,
                                       const char *out_dir, const struct pmet_replacement *replace,
                                       size_t n_replace, bool link,
                                       void (*skipped)(void *user, const char *name), void *user,
                                       struct pmet_error *err)
{
    const struct pmet_rewrite w = {io, ck, out_dir, replace, n_replace, link, skipped, user};
    for (size_t i = 0; i < n_replace; i++)
        if (!pmet_checkpoint_find(ck, replace[i].name))
            return pmet_fail(err, PMET_INPUT, "%s: holds no tensor \"%s\" to replace", ck->dir,
                             replace[i].name);
    if (ck->form == PMET_TORCH_BIN) {
        PMET_TRY(pmet_checkpoint_repack(&w, err));
        return copy_rest(&w, false, err);
    }
    PMET_TRY(write_shards(&w, err));
    const bool new_index = ck->index && sizes_change(&w);
    if (new_index)
        PMET_TRY(write_index(&w, err));
    return copy_rest(&w, !new_index, err);
}

/* SPDX-License-Identifier: MIT
 * A work folder and its arrays.      SPEC §9.11 */
#include "ref/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ref/store/private.h"
#include "tensors/folder.h"

/* ---- the folder ---- */

enum pmet_status pmet_store_open(const struct pmet_io *io, const char *dir, struct pmet_store **out,
                                 struct pmet_error *err)
{
    struct pmet_store *s;
    char *lock = NULL;
    struct stat st;
    enum pmet_status status;
    PMET_TRY(pmet_calloc(&s, 1, sizeof *s, dir, err));
    *s = (struct pmet_store){.io = io, .dir = dir, .lock = -1};
    PMET_GO(pmet_path_join(dir, "pmet.lock", &lock, err));
    if (stat(dir, &st) == 0 && !S_ISDIR(st.st_mode))
        PMET_GO(pmet_fail(err, PMET_INPUT, "%s: found a file; expected a work folder, or a free name", dir));
    if (io->mkdir(io->user, dir, 0777) != 0 && errno != EEXIST)
        status = pmet_fail_errno(err, dir, "create");
    else
        status = pmet_open_locked(io, lock, O_RDWR | O_CREAT, PMET_WAIT_FOLDER, &s->lock, err);
    if (status == PMET_OK)
        status = pmet_remove_left_in(io, dir, &s->left, &s->n_left, err);
done:
    free(lock);
    if (status == PMET_OK)
        *out = s;
    else
        pmet_store_close(s);
    return status;
}

void pmet_store_close(struct pmet_store *s)
{
    if (!s)
        return;
    if (s->lock >= 0)
        s->io->close(s->io->user, s->lock);
    pmet_free_names(s->left, s->n_left);
    free(s);
}

const char *pmet_store_left(const struct pmet_store *s, size_t i)
{
    return i < s->n_left ? s->left[i] : NULL;
}

const char *pmet_store_dir(const struct pmet_store *s)
{
    return s->dir;
}

/* Whether the name is the prefix, numbers, and an ending of ours: nobody else's files are removed. */
static bool is_of_store(const char *name, const char *prefix)
{
    const size_t n = strlen(prefix);
    const char *end = strncmp(name, prefix, n) == 0 ? name + n + strspn(name + n, "0123456789-") : name;
    return end > name && (strcmp(end, ".safetensors") == 0 || strcmp(end, ".journal") == 0);
}

void pmet_store_remove(struct pmet_store *s, const char *prefix)
{
    char **names, *path;
    size_t n;
    struct pmet_error ignored = {PMET_OK, ""};
    if (pmet_list_folder(s->dir, &names, &n, &ignored) != PMET_OK)
        return;
    for (size_t i = 0; i < n; i++)
        if (is_of_store(names[i], prefix) && pmet_path_join(s->dir, names[i], &path, &ignored) == PMET_OK) {
            s->io->unlink(s->io->user, path);
            free(path);
        }
    pmet_free_names(names, n);
}

/* ---- digests ---- */

static void add_text(struct pmet_sha256 *sha, const char *text)
{
    pmet_sha256_add(sha, text, strlen(text) + 1);
}

enum pmet_status pmet_digest_json(const json_t *json, const void *more, size_t n_more, char hex[65],
                                  struct pmet_error *err)
{
    struct pmet_sha256 sha;
    char *text = json ? json_dumps(json, PMET_CANONICAL | JSON_ENCODE_ANY) : NULL;
    if (!text)
        return pmet_fail_memory(err, "a digest", 0);
    pmet_sha256_begin(&sha);
    add_text(&sha, text);
    pmet_sha256_add(&sha, more, n_more);
    pmet_sha256_hex(&sha, hex);
    free(text);
    return PMET_OK;
}

/* Over the tensors, which it sorts by name, and the pairs, in the order given: a bit that changed
 * on the disk must not reach a result. */
static void digest_contents(const struct pmet_tensor **tensor, size_t n_tensor, const struct pmet_pair *pair,
                            size_t n_pair, char hex[65])
{
    struct pmet_sha256 sha;
    qsort(tensor, n_tensor, sizeof *tensor, pmet_tensor_by_name);
    pmet_sha256_begin(&sha);
    for (size_t i = 0; i < n_tensor; i++) {
        const struct pmet_tensor *t = tensor[i];
        add_text(&sha, t->name);
        add_text(&sha, pmet_dtype_name(t->dtype));
        pmet_sha256_add(&sha, t->shape, t->n_dim * sizeof *t->shape);
        pmet_sha256_add(&sha, t->data, t->n_bytes);
    }
    for (size_t i = 0; i < n_pair; i++) {
        add_text(&sha, pair[i].key);
        add_text(&sha, pair[i].value);
    }
    pmet_sha256_hex(&sha, hex);
}

/* ---- arrays ---- */

static enum pmet_status array_path(const struct pmet_store *s, const char *name, char **out,
                                   struct pmet_error *err)
{
    char file[96];
    snprintf(file, sizeof file, "%s.safetensors", name);
    return pmet_path_join(s->dir, file, out, err);
}

enum pmet_status pmet_store_put(struct pmet_store *s, const char *name, const char key[65],
                                const struct pmet_tensor *tensor, size_t n_tensor,
                                const struct pmet_pair *pair, size_t n_pair, struct pmet_error *err)
{
    const struct pmet_tensor **list = NULL;
    struct pmet_pair *all = NULL;
    char hex[65], *path = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&list, n_tensor, sizeof *list, name, err));
    PMET_GO(pmet_calloc(&all, n_pair + 2, sizeof *all, name, err));
    for (size_t i = 0; i < n_tensor; i++)
        list[i] = &tensor[i];
    all[0] = (struct pmet_pair){"key", key};
    for (size_t i = 0; i < n_pair; i++)
        all[1 + i] = pair[i];
    digest_contents(list, n_tensor, all, n_pair + 1, hex);
    all[n_pair + 1] = (struct pmet_pair){"sha256", hex};
    PMET_GO(array_path(s, name, &path, err));
    status = pmet_safetensors_write(s->io, path, tensor, n_tensor, all, n_pair + 2, err);
done:
    free(list);
    free(all);
    free(path);
    return status;
}

/* Whether the contents are those that were written. */
static enum pmet_status check_contents(const struct pmet_safetensors *st, bool *whole, struct pmet_error *err)
{
    const size_t n_tensor = st->all.n, n_meta = st->n_meta;
    const char *expected = pmet_safetensors_metadata(st, "sha256");
    const struct pmet_tensor **list = NULL;
    struct pmet_pair *pair = NULL;
    size_t n_pair = 0;
    char hex[65];
    enum pmet_status status;
    PMET_GO(pmet_calloc(&list, n_tensor, sizeof *list, "an array", err));
    PMET_GO(pmet_calloc(&pair, n_meta, sizeof *pair, "an array", err));
    for (size_t i = 0; i < n_tensor; i++)
        list[i] = &st->all.tensor[i];
    for (size_t i = 0; i < n_meta; i++) {
        pair[n_pair] = st->meta[i];
        n_pair += strcmp(pair[n_pair].key, "sha256") != 0 && strcmp(pair[n_pair].key, "format") != 0;
    }
    digest_contents(list, n_tensor, pair, n_pair, hex);
    *whole = expected && strcmp(hex, expected) == 0;
done:
    free(list);
    free(pair);
    return status;
}

static size_t n_bytes_of(const struct pmet_tensors *all)
{
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++)
        n += all->tensor[i].n_bytes;
    return n;
}

enum pmet_status pmet_store_get(struct pmet_store *s, const char *name, const char key[65], size_t n_bytes,
                                struct pmet_safetensors **out, struct pmet_error *err)
{
    struct pmet_safetensors *st = NULL;
    struct pmet_error why = {PMET_OK, ""};
    bool whole = false;
    char *path;
    *out = NULL;
    PMET_TRY(array_path(s, name, &path, err));
    enum pmet_status status =
        access(path, F_OK) == 0 ? pmet_safetensors_open(s->io, path, &st, &why) : PMET_OK;
    free(path);
    if (status != PMET_OK && status != PMET_FORMAT)
        return pmet_fail(err, status, "%s", why.message);
    const char *found = st ? pmet_safetensors_metadata(st, "key") : NULL;
    status = found && strcmp(found, key) == 0 && n_bytes_of(&st->all) == n_bytes
                 ? check_contents(st, &whole, err)
                 : PMET_OK;
    if (whole)
        *out = st;
    else
        pmet_safetensors_close(st);
    return status;
}

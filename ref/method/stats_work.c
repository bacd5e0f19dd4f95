/* SPDX-License-Identifier: MIT
 * A work folder of statistics: sum-G-I.safetensors, the I-th moment's sum in generation G, and stats.json, which names
 * the generation and what it is of. A new generation is written beside the old one, then stats.json over its old
 * self: so there is a whole one at any moment.      SPEC §9.11 */
#include "ref/method/stats_work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tensors/folder.h"
#include "tensors/json.h"
#include "tensors/safetensors.h"
#include "tensors/sha256.h"

enum { SHARE = 20 }; /* time computed for each unit of time spent keeping */

struct pmet_stats_work {
    const struct pmet_io *io;
    const char *dir, *fingerprint, *text_sha256;
    char *state; /* path of stats.json */
    int lock;
    size_t generation, n_moment, kept; /* of what is kept; documents */
    double ended, took;                /* the last keeping, seconds */
};

/* ---- the folder ---- */

enum pmet_status pmet_stats_work_open(const struct pmet_io *io, const char *dir, const char *fingerprint,
                                      const char *text_sha256, struct pmet_stats_work **out,
                                      struct pmet_error *err)
{
    struct pmet_stats_work *w = NULL;
    char *lock = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&w, 1, sizeof *w, dir, err));
    *w = (struct pmet_stats_work){
        .io = io, .dir = dir, .fingerprint = fingerprint, .text_sha256 = text_sha256, .lock = -1};
    PMET_GO(pmet_path_join(dir, "stats.json", &w->state, err));
    PMET_GO(pmet_path_join(dir, "stats.lock", &lock, err));
    if (io->mkdir(io->user, dir, 0777) != 0 && errno != EEXIST)
        status = pmet_fail_errno(err, dir, "create");
    else if ((w->lock = io->open(io->user, lock, O_RDWR | O_CREAT, 0666)) < 0)
        status = pmet_fail_errno(err, lock, "open");
    else if (io->lock(io->user, w->lock) != 0)
        status = errno == EWOULDBLOCK
                     ? pmet_fail(err, PMET_INPUT, "%s: another process is at work in this folder", lock)
                     : pmet_fail_errno(err, lock, "lock");
    if (status == PMET_OK) {
        *out = w;
        w = NULL;
    }
done:
    free(lock);
    pmet_stats_work_close(w);
    return status;
}

void pmet_stats_work_close(struct pmet_stats_work *w)
{
    if (!w)
        return;
    if (w->lock >= 0)
        w->io->close(w->io->user, w->lock);
    free(w->state);
    free(w);
}

size_t pmet_stats_work_kept(const struct pmet_stats_work *w)
{
    return w->kept;
}

static enum pmet_status sum_path(const struct pmet_stats_work *w, size_t generation, size_t i, char **out,
                                 struct pmet_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "sum-%zu-%zu.safetensors", generation, i);
    return pmet_path_join(w->dir, name, out, err);
}

/* A generation's files, as far as they are there; what cannot be removed does no harm. */
static void remove_generation(const struct pmet_stats_work *w, size_t generation)
{
    for (size_t i = 0; i < w->n_moment; i++) {
        char *path;
        struct pmet_error none = {PMET_OK, ""};
        if (sum_path(w, generation, i, &path, &none) == PMET_OK)
            w->io->unlink(w->io->user, path);
        if (none.status == PMET_OK)
            free(path);
    }
}

/* All sums, those that killed processes left, too; what cannot be removed does no harm. */
void pmet_stats_work_discard(struct pmet_stats_work *w)
{
    char **names = NULL, *path;
    size_t n = 0;
    struct pmet_error none = {PMET_OK, ""};
    w->io->unlink(w->io->user, w->state);
    if (pmet_list_folder(w->dir, &names, &n, &none) != PMET_OK)
        return;
    for (size_t i = 0; i < n; i++)
        if (strncmp(names[i], "sum-", 4) == 0 && pmet_path_join(w->dir, names[i], &path, &none) == PMET_OK) {
            w->io->unlink(w->io->user, path);
            free(path);
        }
    pmet_free_names(names, n);
}

/* ---- what it is of ---- */

static json_t *head_of(const struct pmet_stats_work *w, const struct pmet_model *model,
                       const struct pmet_stats_options *o)
{
    json_t *layers = json_array();
    for (size_t i = 0; i < o->n_layer; i++)
        json_array_append_new(layers, json_integer((json_int_t)o->layers[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:b, s:I, s:I, s:I}", "version", PMET_VERSION,
                     "precision", sizeof(real) == 4 ? "float" : "double", "device", model->op->kind, "model",
                     w->fingerprint, "text", w->text_sha256, "layers", layers, "attn", o->attn, "samples",
                     (json_int_t)o->n_samples, "max_length", (json_int_t)o->max_length, "seed",
                     (json_int_t)o->seed);
}

static enum pmet_status compare(const struct pmet_stats_work *w, const json_t *found, json_t *want,
                                struct pmet_error *err)
{
    const char *key;
    json_t *value;
    if (!want)
        return pmet_fail_memory(err, w->state, 0);
    json_object_foreach(want, key, value)
    {
        if (!json_equal(json_object_get(found, key), value))
            return pmet_fail(err, PMET_INPUT, "%s: begun with other %s (give another --work)", w->state, key);
    }
    return PMET_OK;
}

static void digest(const void *sum, size_t n_bytes, char hex[65])
{
    struct pmet_sha256 sha;
    pmet_sha256_begin(&sha);
    pmet_sha256_add(&sha, sum, n_bytes);
    pmet_sha256_hex(&sha, hex);
}

/* ---- recall ---- */

/* A bit that changed on the disk must not reach the statistics. */
static enum pmet_status check_sum(const struct pmet_safetensors *st, const char *path,
                                  const struct pmet_tensor *t, struct pmet_error *err)
{
    const char *expected = pmet_safetensors_metadata(st, "sha256");
    char hex[65];
    digest(t->data, t->n_bytes, hex);
    if (!expected || strcmp(hex, expected) != 0)
        return pmet_fail(
            err, PMET_FORMAT,
            "%s: sum: found SHA-256 %.16s; expected %.16s, as it was written (give another --work)", path,
            hex, expected ? expected : "one");
    return PMET_OK;
}

static enum pmet_status recall_sum(const struct pmet_stats_work *w, const struct pmet_model *model, size_t i,
                                   size_t d_in, real *sum, struct pmet_error *err)
{
    struct pmet_safetensors *st = NULL;
    char *path;
    PMET_TRY(sum_path(w, w->generation, i, &path, err));
    enum pmet_status status = pmet_safetensors_open(w->io, path, &st, err);
    const struct pmet_tensor *t = status == PMET_OK ? pmet_safetensors_find(st, "sum") : NULL;
    if (status == PMET_OK &&
        (!t || t->dtype != PMET_REAL || t->n_dim != 2 || t->shape[0] != d_in || t->shape[1] != d_in))
        status = pmet_fail(err, PMET_FORMAT, "%s: found no \"sum\" of [%zu,%zu] reals", path, d_in, d_in);
    if (status == PMET_OK)
        status = check_sum(st, path, t, err);
    if (status == PMET_OK)
        status = model->op->upload(model->op, sum, t->data, t->n_bytes, err);
    pmet_safetensors_close(st);
    free(path);
    return status;
}

enum pmet_status pmet_stats_recall(struct pmet_stats_work *w, const struct pmet_model *model,
                                   const struct pmet_stats_options *options, real *const *sum,
                                   struct pmet_stats *out, size_t *next, struct pmet_error *err)
{
    json_t *found = NULL, *head = NULL;
    enum pmet_status status = PMET_OK;
    *next = 0;
    w->n_moment = out->n_moment;
    w->ended = pmet_seconds();
    if (access(w->state, F_OK) != 0)
        return PMET_OK;
    head = head_of(w, model, options);
    PMET_GO(pmet_json_load(w->io, w->state, 1 << 20, &found, err));
    PMET_GO(compare(w, found, head, err));
    PMET_GO(pmet_json_size(found, w->state, "generation", &w->generation, err));
    PMET_GO(pmet_json_size(found, w->state, "next", next, err));
    PMET_GO(pmet_json_size(found, w->state, "count", &out->count, err));
    PMET_GO(pmet_json_size(found, w->state, "used", &out->n_used, err));
    for (size_t i = 0; i < out->n_moment; i++)
        PMET_GO(recall_sum(w, model, i, out->moment[i].d_in, sum[i], err));
    w->kept = *next;
done:
    json_decref(head);
    json_decref(found);
    return status;
}

/* ---- keep ---- */

static enum pmet_status keep_sum(const struct pmet_stats_work *w, const struct pmet_model *model,
                                 size_t generation, size_t i, size_t d_in, const real *sum,
                                 struct pmet_error *err)
{
    struct pmet_tensor t = {.name = "sum",
                            .dtype = PMET_REAL,
                            .n_dim = 2,
                            .shape = {d_in, d_in},
                            .n_elem = d_in * d_in,
                            .n_bytes = d_in * d_in * sizeof(real)};
    real *host;
    char hex[65], *path = NULL;
    const struct pmet_pair pair = {"sha256", hex};
    PMET_TRY(pmet_calloc(&host, t.n_elem, sizeof *host, "second moments", err));
    enum pmet_status status;
    PMET_GO(model->op->download(model->op, host, sum, t.n_bytes, err));
    t.data = host;
    digest(host, t.n_bytes, hex);
    PMET_GO(sum_path(w, generation, i, &path, err));
    status = pmet_safetensors_write(w->io, path, &t, 1, &pair, 1, err);
done:
    free(host);
    free(path);
    return status;
}

enum pmet_status pmet_stats_keep(struct pmet_stats_work *w, const struct pmet_model *model,
                                 const struct pmet_stats_options *options, real *const *sum,
                                 const struct pmet_stats *stats, size_t next, struct pmet_error *err)
{
    const double started = pmet_seconds();
    const size_t generation = w->generation + 1;
    json_t *head = NULL;
    enum pmet_status status = PMET_OK;
    if (started - w->ended < SHARE * w->took)
        return PMET_OK;
    for (size_t i = 0; i < stats->n_moment; i++)
        PMET_GO(keep_sum(w, model, generation, i, stats->moment[i].d_in, sum[i], err));
    head = head_of(w, model, options);
    json_object_set_new(head, "generation", json_integer((json_int_t)generation));
    json_object_set_new(head, "next", json_integer((json_int_t)next));
    json_object_set_new(head, "count", json_integer((json_int_t)stats->count));
    json_object_set_new(head, "used", json_integer((json_int_t)stats->n_used));
    PMET_GO(pmet_json_save(w->io, w->state, head, 1, err));
    remove_generation(w, w->generation);
    w->generation = generation;
    w->kept = next;
    w->ended = pmet_seconds();
    w->took = w->ended - started;
done:
    json_decref(head);
    return status;
}

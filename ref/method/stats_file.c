/* SPDX-License-Identifier: MIT
 * Second moments as files.      SPEC §9 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/event.h"
#include "ref/method/stats_find.h"
#include "tensors/checkpoint.h"
#include "tensors/npz.h"

/* l [n, n] on the host becomes its factor. */
static enum pmet_status factor_on(const struct pmet_ops *op, double *l, size_t n, struct pmet_moment *m,
                                  struct pmet_error *err)
{
    const size_t n_bytes = n * n * sizeof *l;
    double *dev = NULL;
    enum pmet_status status;
    if (!op->own_memory)
        return op->cholesky(op, l, n, &m->pivot, &m->value, err);
    PMET_GO(op->alloc(op, n_bytes, &dev, err));
    PMET_GO(op->upload(op, dev, l, n_bytes, err));
    PMET_GO(op->cholesky(op, dev, n, &m->pivot, &m->value, err));
    status = op->download(op, l, dev, n_bytes, err);
done:
    op->release(op, dev);
    return status;
}

/* E70 of a moment; *out stays NULL where it is not positive definite. */
static enum pmet_status factor_moment(const struct pmet_ops *op, struct pmet_moment *m, double **out,
                                      struct pmet_error *err)
{
    const size_t n = m->d_in;
    struct pmet_error failure = {PMET_OK, ""};
    double *l;
    PMET_TRY(pmet_calloc(&l, n * n, sizeof *l, "the factor of second moments", err));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            l[i * n + j] = (double)m->mom2[i * n + j];
    enum pmet_status status = factor_on(op, l, n, m, &failure);
    m->factored = status == PMET_OK;
    if (m->factored)
        *out = l;
    else
        free(l);
    return m->factored || status == PMET_NUMERIC ? PMET_OK : pmet_fail(err, status, "%s", failure.message);
}

enum { MOST_META = 10 }; /* of all moments alike */

static enum pmet_status write_one(const struct pmet_io *io, const char *dir, const struct pmet_model *model,
                                  struct pmet_moment *m, size_t count, bool factor,
                                  const struct pmet_pair *meta, size_t n_meta, struct pmet_error *err)
{
    char name[160], file[180], *path = NULL;
    double *l = NULL;
    enum pmet_status status;
    const int64_t n_token = (int64_t)count;
    struct pmet_pair pairs[MOST_META + 1];
    pmet_module_name(name, sizeof name, model->config.family->module[m->module], m->layer);
    snprintf(file, sizeof file, "%s.safetensors", name);
    memcpy(pairs, meta, n_meta * sizeof *meta);
    pairs[n_meta] = (struct pmet_pair){"module", name};
    if (factor)
        PMET_GO(factor_moment(model->op, m, &l, err));
    struct pmet_tensor tensors[3] = {
        {.name = "mom2", .dtype = PMET_REAL, .n_dim = 2, .shape = {m->d_in, m->d_in}, .data = m->mom2},
        {.name = "count", .dtype = PMET_I64, .n_dim = 1, .shape = {1}, .data = &n_token},
        {.name = "factor", .dtype = PMET_F64, .n_dim = 2, .shape = {m->d_in, m->d_in}, .data = l}};
    for (size_t i = 0; i < 3; i++)
        pmet_tensor_measure(&tensors[i]);
    PMET_GO(pmet_path_join(dir, file, &path, err));
    status = pmet_safetensors_write(io, path, tensors, l ? 3 : 2, pairs, n_meta + 1, err);
done:
    free(path);
    free(l);
    return status;
}

enum pmet_status pmet_stats_write(const struct pmet_io *io, const char *dir, const struct pmet_model *model,
                                  struct pmet_stats *stats, const struct pmet_stats_options *options,
                                  const char *fingerprint, const char *text_sha256,
                                  const struct pmet_listener *listener, struct pmet_error *err)
{
    char samples[32], length[32], seed[32];
    struct pmet_parts parts;
    PMET_TRY(pmet_model_parts(model, &parts, err));
    snprintf(samples, sizeof samples, "%zu", stats->n_used);
    snprintf(length, sizeof length, "%zu", options->max_length ? options->max_length : model->config.n_ctx);
    snprintf(seed, sizeof seed, "%u", options->seed);
    const struct pmet_pair meta[MOST_META] = {{"fingerprint", fingerprint}, {"weights", parts.weights},
                                              {"config", parts.config},     {"tokenizer", parts.tokenizer},
                                              {"text_sha256", text_sha256}, {"samples", samples},
                                              {"max_length", length},       {"seed", seed},
                                              {"device", model->op->kind},  {"version", PMET_VERSION}};
    for (size_t i = 0; i < stats->n_moment; i++) {
        PMET_TRY(pmet_raise_progress(listener, PMET_PHASE_WRITE, i, stats->n_moment, err));
        PMET_TRY(write_one(io, dir, model, &stats->moment[i], stats->count, options->factor, meta,
                           sizeof meta / sizeof *meta, err));
    }
    return pmet_raise_progress(listener, PMET_PHASE_WRITE, stats->n_moment, stats->n_moment, err);
}

/* |c_ij - c_ji| <= 1e-5 sqrt(c_ii c_jj), in tiles: along a column every element is another page. */
static enum pmet_status check_symmetric(const struct pmet_listener *listener, const char *path,
                                        const double *c, size_t d_in, struct pmet_error *err)
{
    const size_t tile = 32, n_tile = (d_in + tile - 1) / tile;
    double *size;
    PMET_TRY(pmet_calloc(&size, d_in, sizeof *size, "second moments", err));
    for (size_t i = 0; i < d_in; i++)
        size[i] = sqrt(fabs(c[i * d_in + i]));
    enum pmet_status status = PMET_OK;
    for (size_t k = 0; k < n_tile * n_tile && status == PMET_OK; k++) {
        const size_t at = k / n_tile * tile, across = k % n_tile * tile;
        if (across == 0)
            status = pmet_raise_poll(listener, err);
        for (size_t i = at; across <= at && i < at + tile && i < d_in; i++)
            for (size_t j = across; j < across + tile && j < i; j++)
                if (!(fabs(c[i * d_in + j] - c[j * d_in + i]) <= 1e-5 * size[i] * size[j]))
                    status = pmet_fail(
                        err, PMET_INPUT,
                        "%s: mom2: elements [%zu,%zu] and [%zu,%zu] differ; expected a symmetric matrix",
                        path, i, j, j, i);
    }
    free(size);
    return status;
}

static enum pmet_status check_shape(const char *path, const struct pmet_tensor *t, size_t d_in,
                                    struct pmet_error *err)
{
    if (t->n_dim != 2 || t->shape[0] != d_in || t->shape[1] != d_in)
        return pmet_fail(err, PMET_INPUT,
                         "%s: mom2: found %zu dimensions, the first of %zu; expected [%zu,%zu]", path,
                         t->n_dim, t->n_dim ? t->shape[0] : 0, d_in, d_in);
    if (t->dtype != PMET_F32 && t->dtype != PMET_F64)
        return pmet_fail(err, PMET_INPUT, "%s: mom2: found dtype %s; expected F32 or F64", path,
                         pmet_dtype_name(t->dtype));
    return PMET_OK;
}

static void read_row(double *row, const struct pmet_tensor *t, size_t i, size_t d_in)
{
    pmet_to_f64(row, (const char *)t->data + i * d_in * pmet_dtype_size(t->dtype), t->dtype, d_in);
}

/* mom2 / divisor as doubles; in the float build rounded to float on the way, as published. */
static enum pmet_status take(const struct pmet_listener *listener, const char *path,
                             const struct pmet_tensor *t, size_t d_in, double divisor, double **out,
                             struct pmet_error *err)
{
    double *c;
    enum pmet_status status;
    PMET_TRY(pmet_calloc(&c, t->n_elem, sizeof *c, "second moments", err));
    for (size_t i = 0; i < d_in; i++) {
        double *row = c + i * d_in;
        PMET_GO(pmet_raise_poll(listener, err));
        read_row(row, t, i, d_in);
        for (size_t j = 0; j < d_in; j++) {
            row[j] = (double)(real)(row[j] / divisor);
            if (!isfinite(row[j]))
                PMET_GO(
                    pmet_fail(err, PMET_NUMERIC, "%s: mom2: element [%zu,%zu] is not finite", path, i, j));
        }
    }
    PMET_GO(check_symmetric(listener, path, c, d_in, err));
    *out = c;
    return PMET_OK;
done:
    free(c);
    return status;
}

/* ---- the two forms ---- */

/* A file of moments, opened: one of the two. */
struct file {
    char *path;
    struct pmet_safetensors *st;
    struct pmet_npz *npz;
};

static void file_close(struct file *f)
{
    pmet_safetensors_close(f->st);
    pmet_npz_close(f->npz);
    free(f->path);
}

static enum pmet_status take_count(const char *path, const char *field, const struct pmet_tensor *t,
                                   size_t *out, struct pmet_error *err)
{
    double tokens;
    pmet_to_f64(&tokens, t->data, t->dtype, 1);
    if (!(tokens > 0) || !pmet_whole(tokens, out))
        return pmet_fail(err, PMET_INPUT, "%s: %s: found %g; expected a whole number above 0", path, field,
                         tokens);
    return PMET_OK;
}

/* By metadata, count and blocks of the matrices. */
static void identify(const struct pmet_safetensors *st, char id[65])
{
    struct pmet_sha256 sha;
    pmet_sha256_begin(&sha);
    for (size_t i = 0; i < st->n_meta; i++) {
        pmet_sha256_add(&sha, st->meta[i].key, strlen(st->meta[i].key) + 1);
        pmet_sha256_add(&sha, st->meta[i].value, strlen(st->meta[i].value) + 1);
    }
    for (size_t i = 0; i < st->all.n; i++)
        pmet_digest_tensor(&sha, &st->all.tensor[i]);
    pmet_sha256_hex(&sha, id);
}

static void take_part(const struct pmet_safetensors *st, const char *key, char part[65])
{
    const char *value = pmet_safetensors_metadata(st, key);
    if (value && strlen(value) == 64)
        memcpy(part, value, 65);
}

/* Whether the moments are of the model, or of one that it was edited from; also where the folder was
 * saved anew since, as long as weights and arithmetic are the same. */
static bool find_origin(const struct pmet_stats_source *from, const struct pmet_safetensors *st,
                        const char *of, struct pmet_stats_info *info)
{
    struct pmet_parts parts = {"", "", ""};
    take_part(st, "weights", parts.weights);
    take_part(st, "config", parts.config);
    take_part(st, "tokenizer", parts.tokenizer);
    for (size_t i = 0; i <= from->n_ancestor; i++) {
        const char *fingerprint = i == 0 ? from->fingerprint : from->ancestor[i - 1];
        const struct pmet_parts *own = i == 0                 ? from->parts
                                       : from->ancestor_parts ? &from->ancestor_parts[i - 1]
                                                              : NULL;
        const bool same = of && strcmp(of, fingerprint) == 0;
        if (!same && !(own && pmet_parts_agree(&parts, own)))
            continue;
        info->origin = i == 0 ? PMET_STATS_VERIFIED : PMET_STATS_OF_BASE;
        info->difference = same ? NULL : pmet_parts_difference(&parts, own);
        return true;
    }
    return false;
}

/* 16 rows spread over the matrix: what is NaN throughout is not found out after hours of
 * optimising. */
static enum pmet_status check_rows(const char *path, const struct pmet_tensor *t, size_t d_in,
                                   struct pmet_error *err)
{
    for (size_t k = 0; k < 16; k++) {
        const size_t row = k * (d_in - 1) / 15;
        const char *data = (const char *)t->data + row * d_in * pmet_dtype_size(t->dtype);
        const size_t i = pmet_first_not_finite(data, t->dtype, d_in);
        if (i < d_in)
            return pmet_fail(err, PMET_NUMERIC, "%s: mom2: element [%zu,%zu] is not finite", path, row, i);
    }
    return PMET_OK;
}

static enum pmet_status look_at_safetensors(const struct pmet_stats_source *from, const struct file *f,
                                            const char *module, size_t d_in, struct pmet_stats_info *info,
                                            struct pmet_error *err)
{
    const struct pmet_safetensors *st = f->st;
    const struct pmet_tensor *mom2 = pmet_tensors_find(&st->all, "mom2"),
                             *n = pmet_tensors_find(&st->all, "count");
    const char *of = pmet_safetensors_metadata(st, "fingerprint"),
               *name = pmet_safetensors_metadata(st, "module");
    if (!mom2 || !n || n->dtype != PMET_I64 || n->n_elem != 1)
        return pmet_fail(err, PMET_INPUT,
                         "%s: found no tensors mom2 and count (one I64); expected what pmet stats writes",
                         f->path);
    PMET_TRY(take_count(f->path, "count", n, &info->count, err));
    if (name && strcmp(name, module) != 0)
        return pmet_fail(err, PMET_INPUT, "%s: holds the moments of \"%s\"; expected \"%s\"", f->path, name,
                         module);
    if (!find_origin(from, st, of, info))
        return pmet_fail(err, PMET_INPUT,
                         "%s: statistics of another model (fingerprint %.16s; this model has %.16s)", f->path,
                         of ? of : "missing", from->fingerprint);
    identify(st, info->id);
    PMET_TRY(check_shape(f->path, mom2, d_in, err));
    return check_rows(f->path, mom2, d_in, err);
}

static enum pmet_status look_at_npz(const struct file *f, size_t d_in, struct pmet_stats_info *info,
                                    struct pmet_error *err)
{
    struct pmet_tensor mom2, n;
    uint32_t crc;
    PMET_TRY(pmet_npz_look(f->npz, "mom2.count", &n, NULL, err));
    if (n.n_elem != 1)
        return pmet_fail(err, PMET_INPUT, "%s: mom2.count: found %zu elements; expected one", f->path,
                         n.n_elem);
    PMET_TRY(pmet_npz_find(f->npz, "mom2.count", &n, err));
    PMET_TRY(take_count(f->path, "mom2.count", &n, &info->count, err));
    PMET_TRY(pmet_npz_look(f->npz, "mom2.mom2", &mom2, &crc, err));
    info->origin = PMET_STATS_UNVERIFIED;
    snprintf(info->id, sizeof info->id, "npz %08lx %zu", (unsigned long)crc, info->count);
    return check_shape(f->path, &mom2, d_in, err);
}

/* The other build's C is not this one's to the bit, nor is its factor. */
static enum pmet_status look_at_factor(const char *path, const struct pmet_safetensors *st, size_t d_in,
                                       bool *has, struct pmet_error *err)
{
    const struct pmet_tensor *mom2 = pmet_tensors_find(&st->all, "mom2"),
                             *l = pmet_tensors_find(&st->all, "factor");
    *has = l && mom2->dtype == PMET_REAL;
    if (*has && (l->dtype != PMET_F64 || l->n_dim != 2 || l->shape[0] != d_in || l->shape[1] != d_in))
        return pmet_fail(err, PMET_INPUT, "%s: factor: found %s of %zu dimensions; expected F64 [%zu,%zu]",
                         path, pmet_dtype_name(l->dtype), l->n_dim, d_in, d_in);
    return PMET_OK;
}

static enum pmet_status file_open(const struct pmet_stats_source *from, const char *module, size_t d_in,
                                  struct file *f, struct pmet_stats_info *info, struct pmet_error *err)
{
    bool published;
    *info = (struct pmet_stats_info){.origin = PMET_STATS_UNVERIFIED};
    PMET_TRY(pmet_stats_find(from, module, &f->path, &published, err));
    if (published) {
        PMET_TRY(pmet_npz_open(from->io, f->path, &f->npz, err));
        return look_at_npz(f, d_in, info, err);
    }
    PMET_TRY(pmet_safetensors_open(from->io, f->path, &f->st, err));
    PMET_TRY(look_at_safetensors(from, f, module, d_in, info, err));
    return look_at_factor(f->path, f->st, d_in, &info->factor, err);
}

enum pmet_status pmet_stats_look(const struct pmet_stats_source *from, const char *module_name, size_t d_in,
                                 struct pmet_stats_info *info, char **path, struct pmet_error *err)
{
    struct file f = {0};
    const enum pmet_status status = file_open(from, module_name, d_in, &f, info, err);
    if (status == PMET_OK && path) {
        *path = f.path;
        f.path = NULL;
    }
    file_close(&f);
    return status;
}

enum pmet_status pmet_stats_load(const struct pmet_stats_source *from, const char *module_name, size_t d_in,
                                 double **out, struct pmet_stats_info *info, struct pmet_error *err)
{
    struct file f = {0};
    struct pmet_tensor sum;
    enum pmet_status status;
    PMET_GO(file_open(from, module_name, d_in, &f, info, err));
    if (f.st) {
        status = take(from->listener, f.path, pmet_tensors_find(&f.st->all, "mom2"), d_in, 1, out, err);
    } else {
        PMET_GO(pmet_npz_find(f.npz, "mom2.mom2", &sum, err));
        status = take(from->listener, f.path, &sum, d_in, (double)info->count, out, err);
    }
done:
    file_close(&f);
    return status;
}

/* ---- the factor ---- */

static enum pmet_status take_factor(const struct pmet_listener *listener, const char *path,
                                    const struct pmet_tensor *t, size_t d_in, double **out,
                                    struct pmet_error *err)
{
    double *l;
    enum pmet_status status;
    PMET_TRY(pmet_calloc(&l, t->n_elem, sizeof *l, "the factor of second moments", err));
    for (size_t i = 0; i < d_in; i++) {
        PMET_GO(pmet_raise_poll(listener, err));
        read_row(l + i * d_in, t, i, d_in);
        for (size_t j = 0; j <= i; j++)
            if (!isfinite(l[i * d_in + j]) || (i == j && !(l[i * d_in + i] > 0)))
                PMET_GO(pmet_fail(
                    err, PMET_NUMERIC,
                    "%s: factor: element [%zu,%zu] is %g; expected a factor of mom2, which is positive on "
                    "the diagonal",
                    path, i, j, l[i * d_in + j]));
    }
    *out = l;
    return PMET_OK;
done:
    free(l);
    return status;
}

enum pmet_status pmet_stats_factor(const struct pmet_stats_source *from, const char *module_name, size_t d_in,
                                   double **out, struct pmet_error *err)
{
    struct file f = {0};
    struct pmet_stats_info info;
    enum pmet_status status;
    PMET_GO(file_open(from, module_name, d_in, &f, &info, err));
    if (info.factor)
        status = take_factor(from->listener, f.path, pmet_tensors_find(&f.st->all, "factor"), d_in, out, err);
done:
    file_close(&f);
    return status;
}

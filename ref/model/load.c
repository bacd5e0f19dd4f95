/* SPDX-License-Identifier: MIT
 * A checkpoint's tensors bound to a model: names by the family's row, shapes by one
 * table.      SPEC §3.8 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/model/load.h"

enum dim { DIM_NONE, DIM_D, DIM_QKV, DIM_FF, DIM_VOCAB };
enum kind { VECTOR, MATRIX };

/* A tensor: offset of its name in struct pmet_tensor_names, its own offset in struct pmet_layer or
 * struct pmet_model, its shape. */
struct field {
    size_t name, offset;
    enum kind kind;
    enum dim n_out, n_in;
};
#define V(type, member, n)                                                                                   \
    {                                                                                                        \
        offsetof(struct pmet_tensor_names, member), offsetof(struct type, member), VECTOR, n, DIM_NONE       \
    }
#define M(type, member, n_out, n_in)                                                                         \
    {                                                                                                        \
        offsetof(struct pmet_tensor_names, member), offsetof(struct type, member), MATRIX, n_out, n_in       \
    }
static const struct field rest_field[] = {
    M(pmet_model, embed, DIM_VOCAB, DIM_D), V(pmet_model, ln_f_gain, DIM_D),
    V(pmet_model, ln_f_bias, DIM_D),        M(pmet_model, head, DIM_VOCAB, DIM_D),
    V(pmet_model, head_bias, DIM_VOCAB),
};
static const struct field layer_field[] = {
    V(pmet_layer, ln1_gain, DIM_D),        V(pmet_layer, ln1_bias, DIM_D),
    V(pmet_layer, ln2_gain, DIM_D),        V(pmet_layer, ln2_bias, DIM_D),
    M(pmet_layer, qkv[0], DIM_QKV, DIM_D), V(pmet_layer, qkv_bias[0], DIM_QKV),
    M(pmet_layer, qkv[1], DIM_QKV, DIM_D), V(pmet_layer, qkv_bias[1], DIM_QKV),
    M(pmet_layer, qkv[2], DIM_QKV, DIM_D), V(pmet_layer, qkv_bias[2], DIM_QKV),
    M(pmet_layer, attn_out, DIM_D, DIM_D), V(pmet_layer, attn_out_bias, DIM_D),
    M(pmet_layer, fc_in, DIM_FF, DIM_D),   V(pmet_layer, fc_in_bias, DIM_FF),
    M(pmet_layer, fc_out, DIM_D, DIM_FF),  V(pmet_layer, fc_out_bias, DIM_D),
};
#undef V
#undef M
enum {
    N_REST_FIELD = sizeof rest_field / sizeof *rest_field,
    N_LAYER_FIELD = sizeof layer_field / sizeof *layer_field
};

/* A field's name in the family; NULL if the family has none. */
static const char *name_of(const struct pmet_model *m, const struct field *f)
{
    const char *name;
    memcpy(&name, (const char *)&m->config.family->tensor + f->name, sizeof name);
    return name;
}

static size_t extent(const struct pmet_config *c, enum dim dim)
{
    switch (dim) {
    case DIM_D:
        return c->d_model;
    case DIM_QKV:
        return 3 * c->d_model / c->family->qkv.n_matrix;
    case DIM_FF:
        return c->d_ff;
    case DIM_VOCAB:
        return c->n_vocab;
    case DIM_NONE:
        break;
    }
    return 1;
}

/* Memory that is released with the model. */
static enum pmet_status model_alloc(struct pmet_model *m, size_t n_bytes, void *out, struct pmet_error *err)
{
    void *p;
    PMET_TRY(m->op->alloc(m->op, n_bytes, &p, err));
    m->owned[m->n_owned++] = p;
    memcpy(out, &p, sizeof p);
    return PMET_OK;
}

static enum pmet_status bind_vector(struct pmet_model *m, const struct pmet_tensor *t, real **out,
                                    struct pmet_error *err)
{
    real *host, *dev;
    PMET_TRY(pmet_calloc(&host, t->n_elem, sizeof(real), t->name, err));
    pmet_will_read(t->data, t->n_bytes);
#ifdef PMET_REAL_DOUBLE
    pmet_to_f64(host, t->data, t->dtype, t->n_elem);
#else
    pmet_to_f32(host, t->data, t->dtype, t->n_elem);
#endif
    enum pmet_status status = model_alloc(m, t->n_elem * sizeof(real), &dev, err);
    if (status == PMET_OK)
        status = m->op->upload(m->op, dev, host, t->n_elem * sizeof(real), err);
    free(host);
    if (status == PMET_OK)
        *out = dev;
    return status;
}

/* Matrices stay where they are mapped, unless their address there is not aligned for their type. */
static enum pmet_status bind_matrix(struct pmet_model *m, const struct pmet_tensor *t,
                                    struct pmet_weight *out, struct pmet_error *err)
{
    struct pmet_weight w = {.dtype = t->dtype, .n_out = t->shape[0], .n_in = t->shape[1]};
    if ((uintptr_t)t->data % pmet_dtype_size(t->dtype) == 0) {
        PMET_TRY(m->op->weight_map(m->op, t->data, t->n_bytes, &w.data, err));
        m->mapped[m->n_mapped++] = w.data;
    } else {
        void *copy;
        PMET_TRY(model_alloc(m, t->n_bytes, &copy, err));
        PMET_TRY(m->op->upload(m->op, copy, t->data, t->n_bytes, err));
        w.data = copy;
    }
    *out = w;
    return PMET_OK;
}

static enum pmet_status check_shape(const struct pmet_model *m, const struct pmet_tensor *t,
                                    const struct field *f, struct pmet_error *err)
{
    const char *file = pmet_checkpoint_file_of(m->checkpoint, t);
    const size_t n_out = extent(&m->config, f->n_out), n_in = extent(&m->config, f->n_in);
    if (!pmet_dtype_is_float(t->dtype))
        return pmet_fail(err, PMET_INPUT, "%s: tensor \"%s\": found dtype %s; expected F64, F32, F16 or BF16",
                         file, t->name, pmet_dtype_name(t->dtype));
    const size_t n_dim = f->kind == MATRIX ? 2 : 1;
    if (t->n_dim == n_dim && t->shape[0] == n_out && (n_dim == 1 || t->shape[1] == n_in))
        return PMET_OK;
    char found[128] = "", want[64];
    for (size_t i = 0, n = 0; i < t->n_dim && n < sizeof found - 24; i++)
        n += (size_t)snprintf(found + n, sizeof found - n, i ? ",%zu" : "%zu", t->shape[i]);
    if (n_dim == 2)
        snprintf(want, sizeof want, "%zu,%zu", n_out, n_in);
    else
        snprintf(want, sizeof want, "%zu", n_out);
    return pmet_fail(err, PMET_INPUT, "%s: tensor \"%s\": found shape [%s]; expected [%s] by config.json",
                     file, t->name, found, want);
}

/* A field's tensor, for a tied head the embedding's; NULL if there is none. */
static const struct pmet_tensor *find(const struct pmet_model *m, const char *name, const struct field *f)
{
    const struct pmet_tensor *t = pmet_checkpoint_find(m->checkpoint, name);
    if (!t && f->name == offsetof(struct pmet_tensor_names, head) && m->config.tied_head)
        t = pmet_checkpoint_find(m->checkpoint, m->config.family->tensor.embed);
    return t;
}

/* Binds a field of the struct at `base`; `weigh`: only adds up what a device with memory of its own
 * would hold of it. */
static enum pmet_status bind(struct pmet_model *m, const char *name, const struct field *f, void *base,
                             bool weigh, struct pmet_error *err)
{
    const struct pmet_tensor *t = find(m, name, f);
    if (weigh) {
        if (t)
            m->weight_bytes += (double)(f->kind == MATRIX ? t->n_bytes : t->n_elem * sizeof(real));
        return PMET_OK;
    }
    if (!t)
        return pmet_fail(err, PMET_INPUT, "%s: tensor \"%s\" is missing; expected it by config.json",
                         m->checkpoint->dir, name);
    PMET_TRY(check_shape(m, t, f, err));
    void *field = (char *)base + f->offset;
    return f->kind == VECTOR ? bind_vector(m, t, field, err) : bind_matrix(m, t, field, err);
}

/* What follows "transformer.h.3." in a tensor's name if the model has that block, else NULL. */
static const char *name_in_block(const struct pmet_model *m, const char *name)
{
    const char *block = m->config.family->tensor.block;
    const size_t n = (size_t)(strstr(block, "{}") - block);
    if (strncmp(name, block, n) != 0 || name[n] < '0' || name[n] > '9')
        return NULL;
    char *end;
    const unsigned long long l = strtoull(name + n, &end, 10);
    return *end == '.' && l < m->config.n_layer ? end + 1 : NULL;
}

/* A tensor of a block that is computed, never read. */
static bool is_buffer(const struct pmet_model *m, const char *name)
{
    const struct pmet_tensor_names *names = &m->config.family->tensor;
    const char *rest = name_in_block(m, name);
    for (size_t i = 0; rest && i < sizeof names->buffer / sizeof *names->buffer; i++)
        if (names->buffer[i] && strcmp(rest, names->buffer[i]) == 0)
            return true;
    return false;
}

static bool is_named(const struct pmet_model *m, const char *name, const struct field *field, size_t n_field)
{
    for (size_t i = 0; i < n_field; i++)
        if (name_of(m, &field[i]) && strcmp(name, name_of(m, &field[i])) == 0)
            return true;
    return false;
}

static bool is_known(const struct pmet_model *m, const char *name)
{
    const char *rest = name_in_block(m, name);
    return is_named(m, name, rest_field, N_REST_FIELD) ||
           (rest && is_named(m, rest, layer_field, N_LAYER_FIELD)) || is_buffer(m, name);
}

/* Each field that the family has. */
static enum pmet_status bind_fields(struct pmet_model *m, bool weigh, struct pmet_error *err)
{
    for (size_t i = 0; i < N_REST_FIELD; i++)
        if (name_of(m, &rest_field[i]))
            PMET_TRY(bind(m, name_of(m, &rest_field[i]), &rest_field[i], m, weigh, err));
    for (size_t l = 0; l < m->config.n_layer; l++)
        for (size_t i = 0; i < N_LAYER_FIELD; i++) {
            char block[64], name[128];
            if (!name_of(m, &layer_field[i]))
                continue;
            pmet_module_name(block, sizeof block, m->config.family->tensor.block, l);
            snprintf(name, sizeof name, "%s.%s", block, name_of(m, &layer_field[i]));
            PMET_TRY(bind(m, name, &layer_field[i], &m->layer[l], weigh, err));
        }
    return PMET_OK;
}

static enum pmet_status bind_all(struct pmet_model *m, struct pmet_error *err)
{
    PMET_TRY(bind_fields(m, true, err));
    PMET_TRY(pmet_capacity_check(m->op, m->checkpoint->dir, m->weight_bytes, err));
    PMET_TRY(bind_fields(m, false, err));
    for (size_t i = 0; i < m->checkpoint->n_tensor; i++) {
        const struct pmet_tensor *t = pmet_checkpoint_at(m->checkpoint, i);
        if (!is_known(m, t->name))
            return pmet_fail(err, PMET_INPUT, "%s: tensor \"%s\" is not one of a %s model of %zu layers",
                             pmet_checkpoint_file_of(m->checkpoint, t), t->name, m->config.family->name,
                             m->config.n_layer);
    }
    return PMET_OK;
}

enum pmet_status pmet_model_open(const struct pmet_checkpoint *ck, const struct pmet_ops *op,
                                 struct pmet_model **out, struct pmet_error *err)
{
    return pmet_model_open_with(ck, op, pmet_families, out, err);
}

enum pmet_status pmet_model_open_with(const struct pmet_checkpoint *ck, const struct pmet_ops *op,
                                      const struct pmet_family *const *families, struct pmet_model **out,
                                      struct pmet_error *err)
{
    struct pmet_model *m = NULL;
    enum pmet_status status;
    char path[4200];
    PMET_GO(pmet_calloc(&m, 1, sizeof *m, "the model", err));
    m->op = op;
    m->checkpoint = ck;
    snprintf(path, sizeof path, "%s/config.json", ck->dir);
    PMET_GO(pmet_config_read(ck->config, path, families, &m->config, err));
    /* No memory is allocated by a layer count from a file before the checkpoint is seen to hold
     * tensors for it. */
    if (m->config.n_layer > ck->n_tensor) {
        status = pmet_fail(err, PMET_INPUT, "%s: %zu layers; the checkpoint holds %zu tensors", path,
                           m->config.n_layer, ck->n_tensor);
        goto done;
    }
    const size_t n_field = m->config.n_layer * N_LAYER_FIELD + N_REST_FIELD;
    PMET_GO(pmet_calloc(&m->layer, m->config.n_layer, sizeof *m->layer, "the layers", err));
    PMET_GO(pmet_calloc(&m->owned, n_field, sizeof *m->owned, "the layers", err));
    PMET_GO(pmet_calloc(&m->mapped, n_field, sizeof *m->mapped, "the layers", err));
    PMET_GO(bind_all(m, err));
    *out = m;
    m = NULL;
done:
    pmet_model_close(m);
    return status;
}

void pmet_model_close(struct pmet_model *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_owned; i++)
        m->op->release(m->op, m->owned[i]);
    for (size_t i = 0; i < m->n_mapped; i++)
        m->op->weight_unmap(m->op, m->mapped[i]);
    free(m->owned);
    free(m->mapped);
    free(m->layer);
    free(m);
}

struct pmet_weight *pmet_model_module(struct pmet_model *m, enum pmet_module module, size_t layer)
{
    return module == PMET_MODULE_MLP ? &m->layer[layer].fc_out : &m->layer[layer].attn_out;
}

enum pmet_status pmet_model_check_finite(const struct pmet_model *m, struct pmet_error *err)
{
    for (size_t i = 0; i < m->checkpoint->n_tensor; i++) {
        const struct pmet_tensor *t = pmet_checkpoint_at(m->checkpoint, i);
        if (!pmet_dtype_is_float(t->dtype) || is_buffer(m, t->name))
            continue;
        const size_t size = pmet_dtype_size(t->dtype);
        for (size_t j = 0; j < t->n_elem; j += 256) {
            double x[256];
            const size_t n = t->n_elem - j < 256 ? t->n_elem - j : 256;
            pmet_to_f64(x, (const char *)t->data + j * size, t->dtype, n);
            for (size_t k = 0; k < n; k++)
                if (!isfinite(x[k]))
                    return pmet_fail(err, PMET_NUMERIC,
                                     "%s: tensor \"%s\": element %zu is %s; expected a finite number",
                                     pmet_checkpoint_file_of(m->checkpoint, t), t->name, j + k,
                                     isnan(x[k]) ? "NaN" : "infinite");
        }
    }
    return PMET_OK;
}

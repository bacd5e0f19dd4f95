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
    MOST_SPELLINGS = 6,
    N_REST_FIELD = sizeof rest_field / sizeof *rest_field,
    N_LAYER_FIELD = sizeof layer_field / sizeof *layer_field
};

static bool is_attn_bias(const struct field *f)
{
    return f->name == offsetof(struct pmet_tensor_names, attn_out_bias) ||
           (f->name >= offsetof(struct pmet_tensor_names, qkv_bias[0]) &&
            f->name <= offsetof(struct pmet_tensor_names, qkv_bias[2]));
}

/* A field's name in the family; NULL if the family has none. */
static const char *name_of(const struct pmet_family *family, const struct field *f)
{
    const char *name;
    memcpy(&name, (const char *)&family->tensor + f->name, sizeof name);
    return name;
}

/* Whether the model has the field. */
static bool has(const struct pmet_model *m, const struct field *f)
{
    return name_of(m->config.family, f) && (m->config.attn_bias || !is_attn_bias(f));
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

/* The i-th spelling of a tensor's name, or NULL past the last. */
static const char *spelling(const struct pmet_family *family, const char *name, size_t i, char full[256])
{
    const char *prefix = family->prefix;
    const size_t n = prefix ? strlen(prefix) : 0;
    if (i == 0)
        return name;
    if (i >= 3 && family->head_alias && strcmp(name, family->tensor.head) == 0)
        return i < 6 ? spelling(family, family->head_alias, i - 3, full) : NULL;
    if (i >= 3 || !prefix)
        return NULL;
    if (i == 1 && strncmp(name, prefix, n) == 0)
        return name + n;
    snprintf(full, 256, "%s%s", prefix, name);
    return full;
}

/* The tensor of that name in the checkpoint, however spelled; NULL if there is none. *other
 * receives a second one, or NULL. */
static const struct pmet_tensor *find(const struct pmet_model *m, const char *name,
                                      const struct pmet_tensor **other)
{
    const struct pmet_tensor *found = NULL;
    char full[256];
    *other = NULL;
    for (size_t i = 0; i < MOST_SPELLINGS; i++) {
        const char *as = spelling(m->config.family, name, i, full);
        const struct pmet_tensor *t = as ? pmet_checkpoint_find(m->checkpoint, as) : NULL;
        if (t && found && t != found)
            *other = t;
        if (t && !found)
            found = t;
    }
    return found;
}

const struct pmet_tensor *pmet_model_tensor(const struct pmet_model *m, const char *name)
{
    const struct pmet_tensor *other;
    return find(m, name, &other);
}

/* A field's tensor. A tied head and embedding stand in for each other. */
static enum pmet_status find_field(const struct pmet_model *m, const char *name, const struct field *f,
                                   const struct pmet_tensor **out, struct pmet_error *err)
{
    const struct pmet_tensor_names *names = &m->config.family->tensor;
    const struct pmet_tensor *other;
    *out = find(m, name, &other);
    if (other)
        return pmet_fail(err, PMET_INPUT, "%s: tensor \"%s\" is there as \"%s\", too; expected one of them",
                         m->checkpoint->dir, (*out)->name, other->name);
    if (!*out && m->config.tied_head && f->name == offsetof(struct pmet_tensor_names, head))
        *out = pmet_model_tensor(m, names->embed);
    if (!*out && m->config.tied_head && f->name == offsetof(struct pmet_tensor_names, embed))
        *out = pmet_model_tensor(m, names->head);
    return PMET_OK;
}

/* A missing bias of the head is zero, as where the source library fills in what a base model has
 * not. */
static enum pmet_status missing(struct pmet_model *m, const char *name, const struct field *f,
                                struct pmet_error *err)
{
    if (f->name == offsetof(struct pmet_tensor_names, head_bias))
        return pmet_notes_add(&m->notes, true, err, "%s: tensor \"%s\" is missing: zeros stand in for it",
                              m->checkpoint->dir, name);
    const bool end = f->name == offsetof(struct pmet_tensor_names, head) ||
                     f->name == offsetof(struct pmet_tensor_names, embed);
    const char *unless = end && !m->config.tied_head ? ", unless tie_word_embeddings is true"
                         : is_attn_bias(f) && m->config.family->config.attn_bias
                             ? ", unless attention_bias is false"
                             : "";
    return pmet_fail(err, PMET_INPUT, "%s: tensor \"%s\" is missing; expected it by config.json%s",
                     m->checkpoint->dir, name, unless);
}

/* Binds a field of the struct at `base`; `weigh`: only adds up what a device with memory of its own
 * would hold of it. */
static enum pmet_status bind(struct pmet_model *m, const char *name, const struct field *f, void *base,
                             bool weigh, struct pmet_error *err)
{
    const struct pmet_tensor *t;
    PMET_TRY(find_field(m, name, f, &t, err));
    if (weigh) {
        if (t)
            m->weight_bytes += (double)(f->kind == MATRIX ? t->n_bytes : t->n_elem * sizeof(real));
        return PMET_OK;
    }
    m->read[m->n_read++] = t;
    if (!t)
        return missing(m, name, f, err);
    PMET_TRY(check_shape(m, t, f, err));
    void *field = (char *)base + f->offset;
    return f->kind == VECTOR ? bind_vector(m, t, field, err) : bind_matrix(m, t, field, err);
}

/* Each field that the model has. */
static enum pmet_status bind_fields(struct pmet_model *m, bool weigh, struct pmet_error *err)
{
    for (size_t i = 0; i < N_REST_FIELD; i++)
        if (has(m, &rest_field[i]))
            PMET_TRY(bind(m, name_of(m->config.family, &rest_field[i]), &rest_field[i], m, weigh, err));
    for (size_t l = 0; l < m->config.n_layer; l++)
        for (size_t i = 0; i < N_LAYER_FIELD; i++) {
            char block[64], name[128];
            if (!has(m, &layer_field[i]))
                continue;
            pmet_module_name(block, sizeof block, m->config.family->tensor.block, l);
            snprintf(name, sizeof name, "%s.%s", block, name_of(m->config.family, &layer_field[i]));
            PMET_TRY(bind(m, name, &layer_field[i], &m->layer[l], weigh, err));
        }
    return PMET_OK;
}

/* ---- tensors that the model does not read ---- */

/* A name without the family's prefix, which may be there twice. */
static const char *bare(const struct pmet_family *family, const char *name)
{
    const size_t n = family->prefix ? strlen(family->prefix) : 0;
    for (size_t i = 0; i < 2 && n > 0 && strncmp(name, family->prefix, n) == 0; i++)
        name += n;
    return name;
}

/* What follows "transformer.h.3." in a tensor's name, and the 3; NULL if it is not of a block. */
static const char *name_in_block(const struct pmet_family *family, const char *name, unsigned long long *l)
{
    const char *block = bare(family, family->tensor.block), *at = bare(family, name);
    const size_t n = (size_t)(strstr(block, "{}") - block);
    if (strncmp(at, block, n) != 0 || at[n] < '0' || at[n] > '9')
        return NULL;
    char *end;
    *l = strtoull(at + n, &end, 10);
    return *end == '.' ? end + 1 : NULL;
}

static const struct field *field_of(const struct pmet_family *family, const char *name,
                                    const struct field *field, size_t n_field)
{
    for (size_t i = 0; i < n_field; i++)
        if (name_of(family, &field[i]) && strcmp(name, bare(family, name_of(family, &field[i]))) == 0)
            return &field[i];
    return NULL;
}

enum role {
    ROLE_READ,
    ROLE_COMPUTED, /* a mask or a table of positions, which the program computes */
    ROLE_LEFT_OUT, /* a bias that config.json says is not used */
    ROLE_EXTRA,    /* no part of the model: a value head, a classifier */
    ROLE_STRANGER  /* inside a block, and unknown: it would have changed the block's arithmetic */
};

/* Of a tensor outside the blocks. */
static enum role role_outside(const struct pmet_family *family, const char *name)
{
    static const char *const computed[] = {"rotary_emb.inv_freq",
                                           "rotary_emb.cos_cached",
                                           "rotary_emb.sin_cached",
                                           "rotary_emb.original_inv_freq",
                                           "rotary_emb.embed_positions",
                                           "embed_positions",
                                           "position_ids",
                                           "masked_bias"};
    const char *at = bare(family, name);
    if (field_of(family, at, rest_field, N_REST_FIELD) ||
        (family->head_alias && strcmp(at, family->head_alias) == 0))
        return ROLE_READ;
    for (size_t i = 0; i < sizeof computed / sizeof *computed; i++)
        if (strcmp(at, computed[i]) == 0)
            return ROLE_COMPUTED;
    return ROLE_EXTRA;
}

static enum role role_of(const struct pmet_model *m, const char *name)
{
    const struct pmet_family *family = m->config.family;
    unsigned long long l;
    const char *rest = name_in_block(family, name, &l);
    if (!rest)
        return role_outside(family, name);
    for (size_t i = 0; i < sizeof family->tensor.buffer / sizeof *family->tensor.buffer; i++)
        if (family->tensor.buffer[i] && strcmp(rest, family->tensor.buffer[i]) == 0)
            return ROLE_COMPUTED;
    const struct field *f = field_of(family, rest, layer_field, N_LAYER_FIELD);
    return !f || l >= m->config.n_layer ? ROLE_STRANGER : has(m, f) ? ROLE_READ : ROLE_LEFT_OUT;
}

/* Refuses strangers, and says what is left out or not part of the model. */
static enum pmet_status check_others(struct pmet_model *m, struct pmet_error *err)
{
    char extra[512] = "";
    size_t n_left_out = 0, n_extra = 0;
    for (size_t i = 0; i < m->checkpoint->n_tensor; i++) {
        const struct pmet_tensor *t = pmet_checkpoint_at(m->checkpoint, i);
        const enum role role = role_of(m, t->name);
        if (role == ROLE_STRANGER)
            return pmet_fail(err, PMET_INPUT, "%s: tensor \"%s\" is not one of a %s model of %zu layers",
                             pmet_checkpoint_file_of(m->checkpoint, t), t->name, m->config.family->name,
                             m->config.n_layer);
        n_left_out += role == ROLE_LEFT_OUT;
        if (role != ROLE_EXTRA)
            continue;
        const size_t at = strlen(extra);
        if (n_extra++ < 8)
            snprintf(extra + at, sizeof extra - at, "%s%s", at ? ", " : "", t->name);
    }
    if (n_extra > 0)
        PMET_TRY(pmet_notes_add(
            &m->notes, true, err, "%s: no part of a %s model, not used and kept as it is: %s%s",
            m->checkpoint->dir, m->config.family->name, extra, n_extra > 8 ? ", ..." : ""));
    if (n_left_out > 0)
        PMET_TRY(pmet_notes_add(&m->notes, true, err,
                                "%s: %zu biases of attention are not used and kept as they are: %s is false",
                                m->checkpoint->dir, n_left_out, m->config.family->config.attn_bias));
    return PMET_OK;
}

/* Whether the tensors differ in 16 places spread over them: a copy of another is one everywhere. */
static bool differ(const struct pmet_tensor *a, const struct pmet_tensor *b)
{
    if (a->dtype != b->dtype || a->n_bytes != b->n_bytes)
        return true;
    for (size_t i = 0; i < 16; i++) {
        const size_t at = a->n_bytes / 16 * i, n = a->n_bytes - at < 4096 ? a->n_bytes - at : 4096;
        if (memcmp((const char *)a->data + at, (const char *)b->data + at, n) != 0)
            return true;
    }
    return false;
}

static enum pmet_status note_names(struct pmet_model *m, struct pmet_error *err)
{
    const struct pmet_tensor_names *names = &m->config.family->tensor;
    const struct pmet_tensor *embed = pmet_model_tensor(m, names->embed),
                             *head = pmet_model_tensor(m, names->head),
                             *norm = pmet_model_tensor(m, names->ln_f_gain);
    if (strcmp(norm->name, names->ln_f_gain) != 0)
        PMET_TRY(pmet_notes_add(&m->notes, false, err, "%s: tensors are named \"%s\" for \"%s\", and so on",
                                m->checkpoint->dir, norm->name, names->ln_f_gain));
    if (m->config.tied_head && embed && head && embed != head && differ(embed, head))
        PMET_TRY(
            pmet_notes_add(&m->notes, true, err,
                           "%s: tie_word_embeddings is true, but head and embedding differ: each is used, as "
                           "transformers 5 does (4 used the embedding for both)",
                           m->checkpoint->dir));
    return PMET_OK;
}

static enum pmet_status bind_all(struct pmet_model *m, struct pmet_error *err)
{
    PMET_TRY(bind_fields(m, true, err));
    PMET_TRY(pmet_capacity_check(m->op, m->checkpoint->dir, m->weight_bytes, err));
    PMET_TRY(bind_fields(m, false, err));
    PMET_TRY(check_others(m, err));
    return note_names(m, err);
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
    PMET_GO(pmet_config_read(ck->config, path, families, &m->config, &m->notes, err));
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
    PMET_GO(pmet_calloc(&m->read, n_field, sizeof *m->read, "the layers", err));
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
    pmet_notes_free(&m->notes);
    free(m->owned);
    free(m->mapped);
    free(m->read);
    free(m->layer);
    free(m);
}

struct pmet_weight *pmet_model_module(struct pmet_model *m, enum pmet_module module, size_t layer)
{
    return module == PMET_MODULE_MLP ? &m->layer[layer].fc_out : &m->layer[layer].attn_out;
}

static enum pmet_status check_finite(const struct pmet_model *m, const struct pmet_tensor *t,
                                     struct pmet_error *err)
{
    const size_t size = pmet_dtype_size(t->dtype);
    double x;
    size_t i = 0;
    for (size_t n, at; i < t->n_elem; i += n) {
        PMET_TRY(pmet_ops_ask(m->op, err));
        n = t->n_elem - i < PMET_FINITE_BLOCK ? t->n_elem - i : PMET_FINITE_BLOCK;
        at = pmet_first_not_finite((const char *)t->data + i * size, t->dtype, n);
        if (at < n) {
            i += at;
            break;
        }
    }
    if (i == t->n_elem)
        return PMET_OK;
    pmet_to_f64(&x, (const char *)t->data + i * pmet_dtype_size(t->dtype), t->dtype, 1);
    return pmet_fail(err, PMET_NUMERIC, "%s: tensor \"%s\": element %zu is %s; expected a finite number",
                     pmet_checkpoint_file_of(m->checkpoint, t), t->name, i, isnan(x) ? "NaN" : "infinite");
}

/* Vectors, embedding and head, or with `matrices` all that the model reads. */
static enum pmet_status check_weights(const struct pmet_model *m, bool matrices, struct pmet_error *err)
{
    unsigned long long l;
    for (size_t i = 0; i < m->checkpoint->n_tensor; i++) {
        const struct pmet_tensor *t = pmet_checkpoint_at(m->checkpoint, i);
        const bool in_block = name_in_block(m->config.family, t->name, &l);
        if ((matrices || !in_block || t->n_dim < 2) && role_of(m, t->name) == ROLE_READ)
            PMET_TRY(check_finite(m, t, err));
    }
    return PMET_OK;
}

enum pmet_status pmet_model_check_ends(const struct pmet_model *m, struct pmet_error *err)
{
    return check_weights(m, false, err);
}

enum pmet_status pmet_model_check_finite(const struct pmet_model *m, struct pmet_error *err)
{
    return check_weights(m, true, err);
}

enum pmet_status pmet_model_not_finite(const struct pmet_model *m, const char *what, struct pmet_error *err)
{
    PMET_TRY(pmet_model_check_finite(m, err));
    return pmet_fail(err, PMET_NUMERIC, "%s: %s not finite, though all weights are", m->checkpoint->dir,
                     what);
}

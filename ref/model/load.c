/* SPDX-License-Identifier: MIT
 * A checkpoint's tensors bound to a model, driven by one table per family: field, name, shape.      SPEC §3.5
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/model/model.h"

enum dim { DIM_NONE, DIM_D, DIM_3D, DIM_FF, DIM_VOCAB };
enum kind { VECTOR, MATRIX };

struct field {
    const char *name; /* after the layer's prefix for layers, whole otherwise */
    enum kind kind;
    size_t offset; /* in struct pmet_layer or struct pmet_model */
    enum dim n_out, n_in;
};

#define L(member) offsetof(struct pmet_layer, member)
#define M(member) offsetof(struct pmet_model, member)

static const struct field gptj_layer[] = {
    {"ln_1.weight", VECTOR, L(ln1_gain), DIM_D, DIM_NONE},
    {"ln_1.bias", VECTOR, L(ln1_bias), DIM_D, DIM_NONE},
    {"attn.q_proj.weight", MATRIX, L(q), DIM_D, DIM_D},
    {"attn.k_proj.weight", MATRIX, L(k), DIM_D, DIM_D},
    {"attn.v_proj.weight", MATRIX, L(v), DIM_D, DIM_D},
    {"attn.out_proj.weight", MATRIX, L(attn_out), DIM_D, DIM_D},
    {"mlp.fc_in.weight", MATRIX, L(fc_in), DIM_FF, DIM_D},
    {"mlp.fc_in.bias", VECTOR, L(fc_in_bias), DIM_FF, DIM_NONE},
    {"mlp.fc_out.weight", MATRIX, L(fc_out), DIM_D, DIM_FF},
    {"mlp.fc_out.bias", VECTOR, L(fc_out_bias), DIM_D, DIM_NONE},
};
static const struct field gptj_rest[] = {
    {"transformer.wte.weight", MATRIX, M(embed), DIM_VOCAB, DIM_D},
    {"transformer.ln_f.weight", VECTOR, M(ln_f_gain), DIM_D, DIM_NONE},
    {"transformer.ln_f.bias", VECTOR, M(ln_f_bias), DIM_D, DIM_NONE},
    {"lm_head.weight", MATRIX, M(head), DIM_VOCAB, DIM_D},
    {"lm_head.bias", VECTOR, M(head_bias), DIM_VOCAB, DIM_NONE},
};
static const struct field neox_layer[] = {
    {"input_layernorm.weight", VECTOR, L(ln1_gain), DIM_D, DIM_NONE},
    {"input_layernorm.bias", VECTOR, L(ln1_bias), DIM_D, DIM_NONE},
    {"post_attention_layernorm.weight", VECTOR, L(ln2_gain), DIM_D, DIM_NONE},
    {"post_attention_layernorm.bias", VECTOR, L(ln2_bias), DIM_D, DIM_NONE},
    {"attention.query_key_value.weight", MATRIX, L(qkv), DIM_3D, DIM_D},
    {"attention.query_key_value.bias", VECTOR, L(qkv_bias), DIM_3D, DIM_NONE},
    {"attention.dense.weight", MATRIX, L(attn_out), DIM_D, DIM_D},
    {"attention.dense.bias", VECTOR, L(attn_out_bias), DIM_D, DIM_NONE},
    {"mlp.dense_h_to_4h.weight", MATRIX, L(fc_in), DIM_FF, DIM_D},
    {"mlp.dense_h_to_4h.bias", VECTOR, L(fc_in_bias), DIM_FF, DIM_NONE},
    {"mlp.dense_4h_to_h.weight", MATRIX, L(fc_out), DIM_D, DIM_FF},
    {"mlp.dense_4h_to_h.bias", VECTOR, L(fc_out_bias), DIM_D, DIM_NONE},
};
static const struct field neox_rest[] = {
    {"gpt_neox.embed_in.weight", MATRIX, M(embed), DIM_VOCAB, DIM_D},
    {"gpt_neox.final_layer_norm.weight", VECTOR, M(ln_f_gain), DIM_D, DIM_NONE},
    {"gpt_neox.final_layer_norm.bias", VECTOR, M(ln_f_bias), DIM_D, DIM_NONE},
    {"embed_out.weight", MATRIX, M(head), DIM_VOCAB, DIM_D},
};
#undef L
#undef M

/* Buffers that older checkpoints carry in each layer; they are computed, never read. */
static const char *const ignored[] = {"attn.bias", "attn.masked_bias", "attention.bias",
                                      "attention.masked_bias", "attention.rotary_emb.inv_freq"};

struct family_names {
    const char *prefix;       /* of a layer */
    const char *embed_prefix; /* of the tensor that stands in for a tied head */
    const struct field *layer, *rest;
    size_t n_layer, n_rest;
    const char *module[2]; /* by enum pmet_module */
};
static const struct family_names families[] = {
    [PMET_GPTJ] = {"transformer.h.",
                   "transformer.wte.weight",
                   gptj_layer,
                   gptj_rest,
                   sizeof gptj_layer / sizeof *gptj_layer,
                   sizeof gptj_rest / sizeof *gptj_rest,
                   {"transformer.h.{}.mlp.fc_out", "transformer.h.{}.attn.out_proj"}},
    [PMET_NEOX] = {"gpt_neox.layers.",
                   "gpt_neox.embed_in.weight",
                   neox_layer,
                   neox_rest,
                   sizeof neox_layer / sizeof *neox_layer,
                   sizeof neox_rest / sizeof *neox_rest,
                   {"gpt_neox.layers.{}.mlp.dense_4h_to_h", "gpt_neox.layers.{}.attention.dense"}},
};

static size_t extent(const struct pmet_config *c, enum dim dim)
{
    switch (dim) {
    case DIM_D:
        return c->d_model;
    case DIM_3D:
        return 3 * c->d_model;
    case DIM_FF:
        return c->d_ff;
    case DIM_VOCAB:
        return c->n_vocab;
    case DIM_NONE:
        break;
    }
    return 1;
}

/* Memory for n reals, released with the model. */
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

/* Matrices stay where they are mapped, unless the file has put them at an address their type does not allow.
 */
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

/* A field's tensor; NULL if there is none. */
static const struct pmet_tensor *find(const struct pmet_model *m, const char *name, const struct field *f)
{
    const struct pmet_tensor *t = pmet_checkpoint_find(m->checkpoint, name);
    if (!t && f->kind == MATRIX && f->offset == offsetof(struct pmet_model, head) && f->n_out == DIM_VOCAB &&
        m->config.tied_head)
        t = pmet_checkpoint_find(m->checkpoint, families[m->config.family].embed_prefix);
    return t;
}

static enum pmet_status bind(struct pmet_model *m, const char *name, const struct field *f, void *base,
                             struct pmet_error *err)
{
    const struct pmet_tensor *t = find(m, name, f);
    if (!t)
        return pmet_fail(err, PMET_INPUT, "%s: tensor \"%s\" is missing; expected it by config.json",
                         pmet_checkpoint_dir(m->checkpoint), name);
    PMET_TRY(check_shape(m, t, f, err));
    char *field = (char *)base + f->offset;
    if (f->kind == VECTOR) {
        real *v;
        PMET_TRY(bind_vector(m, t, &v, err));
        memcpy(field, &v, sizeof v);
        return PMET_OK;
    }
    struct pmet_weight w;
    PMET_TRY(bind_matrix(m, t, &w, err));
    memcpy(field, &w, sizeof w);
    return PMET_OK;
}

/* Layer number and rest of a tensor's name under the family's prefix; false if it has another form. */
static bool split_name(const char *name, const char *prefix, size_t *layer, const char **rest)
{
    const size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0 || name[n] < '0' || name[n] > '9')
        return false;
    char *end;
    const unsigned long long l = strtoull(name + n, &end, 10);
    if (*end != '.' || l > (size_t)1 << 24)
        return false;
    *layer = (size_t)l;
    *rest = end + 1;
    return true;
}

/* A tensor of a layer that is computed, never read. */
static bool is_buffer(const struct pmet_model *m, const char *name)
{
    size_t layer;
    const char *rest;
    if (!split_name(name, families[m->config.family].prefix, &layer, &rest) || layer >= m->config.n_layer)
        return false;
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        if (strcmp(rest, ignored[i]) == 0)
            return true;
    return false;
}

static bool is_known(const struct pmet_model *m, const char *name)
{
    const struct family_names *fam = &families[m->config.family];
    size_t layer;
    const char *rest;
    for (size_t i = 0; i < fam->n_rest; i++)
        if (strcmp(name, fam->rest[i].name) == 0)
            return true;
    if (!split_name(name, fam->prefix, &layer, &rest) || layer >= m->config.n_layer)
        return false;
    for (size_t i = 0; i < fam->n_layer; i++)
        if (strcmp(rest, fam->layer[i].name) == 0)
            return true;
    return is_buffer(m, name);
}

/* Adds up what a device with memory of its own would hold of a field. */
static enum pmet_status weigh(struct pmet_model *m, const char *name, const struct field *f, void *sum,
                              struct pmet_error *err)
{
    const struct pmet_tensor *t = find(m, name, f);
    (void)err;
    if (t)
        *(double *)sum += (double)(f->kind == MATRIX ? t->n_bytes : t->n_elem * sizeof(real));
    return PMET_OK;
}

typedef enum pmet_status visit_fn(struct pmet_model *m, const char *name, const struct field *f, void *base,
                                  struct pmet_error *err);

/* Each field in turn, with its tensor's name; base is `sum`, or, if that is NULL, the struct that the field lies in. */
static enum pmet_status each_field(struct pmet_model *m, visit_fn *visit, void *sum, struct pmet_error *err)
{
    const struct family_names *fam = &families[m->config.family];
    for (size_t i = 0; i < fam->n_rest; i++)
        PMET_TRY(visit(m, fam->rest[i].name, &fam->rest[i], sum ? sum : m, err));
    for (size_t l = 0; l < m->config.n_layer; l++)
        for (size_t i = 0; i < fam->n_layer; i++) {
            char name[128];
            snprintf(name, sizeof name, "%s%zu.%s", fam->prefix, l, fam->layer[i].name);
            PMET_TRY(visit(m, name, &fam->layer[i], sum ? sum : &m->layer[l], err));
        }
    return PMET_OK;
}

static enum pmet_status bind_all(struct pmet_model *m, struct pmet_error *err)
{
    PMET_TRY(each_field(m, weigh, &m->weight_bytes, err));
    PMET_TRY(pmet_capacity_check(m->op, pmet_checkpoint_dir(m->checkpoint), m->weight_bytes, err));
    PMET_TRY(each_field(m, bind, NULL, err));
    for (size_t i = 0; i < pmet_checkpoint_count(m->checkpoint); i++) {
        const struct pmet_tensor *t = pmet_checkpoint_at(m->checkpoint, i);
        if (!is_known(m, t->name))
            return pmet_fail(err, PMET_INPUT, "%s: tensor \"%s\" is not one of a %s model of %zu layers",
                             pmet_checkpoint_file_of(m->checkpoint, t), t->name,
                             pmet_family_name(m->config.family), m->config.n_layer);
    }
    return PMET_OK;
}

enum pmet_status pmet_model_open(const struct pmet_checkpoint *ck, const struct pmet_ops *op,
                                 struct pmet_model **out, struct pmet_error *err)
{
    struct pmet_model *m = NULL;
    enum pmet_status status;
    char path[4200];
    PMET_GO(pmet_calloc(&m, 1, sizeof *m, "the model", err));
    m->op = op;
    m->checkpoint = ck;
    snprintf(path, sizeof path, "%s/config.json", pmet_checkpoint_dir(ck));
    PMET_GO(pmet_config_read(pmet_checkpoint_config(ck), path, &m->config, err));
    /* A layer count from a file buys no memory before the checkpoint is seen to hold tensors for it. */
    if (m->config.n_layer > pmet_checkpoint_count(ck)) {
        status = pmet_fail(err, PMET_INPUT, "%s: %zu layers; the checkpoint holds %zu tensors", path,
                           m->config.n_layer, pmet_checkpoint_count(ck));
        goto done;
    }
    const size_t n_field = m->config.n_layer * sizeof neox_layer / sizeof *neox_layer + 8;
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

const char *pmet_module_template(enum pmet_family family, enum pmet_module module)
{
    return families[family].module[module];
}

struct pmet_weight *pmet_model_module(struct pmet_model *m, enum pmet_module module, size_t layer)
{
    return module == PMET_MODULE_MLP ? &m->layer[layer].fc_out : &m->layer[layer].attn_out;
}

void pmet_module_name(char *name, size_t size, const char *tmpl, size_t layer)
{
    const char *hole = strstr(tmpl, "{}");
    if (!hole)
        snprintf(name, size, "%s", tmpl);
    else
        snprintf(name, size, "%.*s%zu%s", (int)(hole - tmpl), tmpl, layer, hole + 2);
}

enum pmet_status pmet_model_check_finite(const struct pmet_model *m, struct pmet_error *err)
{
    for (size_t i = 0; i < pmet_checkpoint_count(m->checkpoint); i++) {
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

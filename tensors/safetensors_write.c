/* SPDX-License-Identifier: MIT
 * The writer, in the published one's layout: falling alignment, its order of dtypes within one,
 * then name. */
#include "tensors/safetensors.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int layout_order(const void *a, const void *b)
{
    const struct pmet_tensor *const *x = a, *const *y = b;
    static const int place[] = {[PMET_I64] = 0,  [PMET_F64] = 1, [PMET_F32] = 2, [PMET_I32] = 3,
                                [PMET_BF16] = 4, [PMET_F16] = 5, [PMET_U8] = 6,  [PMET_BOOL] = 7};
    const int p = place[(*x)->dtype], q = place[(*y)->dtype];
    if (p != q)
        return p - q;
    return strcmp((*x)->name, (*y)->name);
}

/* {KEY: VALUE, .., "format": "pt"}; NULL if a text is not UTF-8. */
static json_t *metadata_object(const struct pmet_pair *metadata, size_t n)
{
    json_t *meta = json_object();
    bool ok = true;
    for (size_t i = 0; i < n; i++)
        ok = ok && json_object_set_new(meta, metadata[i].key, json_string(metadata[i].value)) == 0;
    if (!json_object_get(meta, "format"))
        ok = ok && json_object_set_new(meta, "format", json_string("pt")) == 0;
    if (ok)
        return meta;
    json_decref(meta);
    return NULL;
}

/* {"dtype":..,"shape":[..],"data_offsets":[begin,end]} */
static json_t *tensor_object(const struct pmet_tensor *t, size_t begin)
{
    json_t *shape = json_array();
    bool ok = true;
    for (size_t i = 0; i < t->n_dim; i++)
        ok = ok && json_array_append_new(shape, json_integer((json_int_t)t->shape[i])) == 0;
    if (ok)
        return json_pack("{s:s, s:o, s:[I,I]}", "dtype", pmet_dtype_name(t->dtype), "shape", shape,
                         "data_offsets", (json_int_t)begin, (json_int_t)(begin + t->n_bytes));
    json_decref(shape);
    return NULL;
}

/* The header's JSON text, padded with spaces to a multiple of 8; free() releases it. */
static enum pmet_status header_text(const char *path, const struct pmet_tensor *const *order, size_t n,
                                    const struct pmet_pair *metadata, size_t n_metadata, char **text,
                                    size_t *n_text, struct pmet_error *err)
{
    json_t *header = json_object(), *meta = metadata_object(metadata, n_metadata);
    char *dump = NULL;
    enum pmet_status status = PMET_OK;
    size_t at = 0;
    if (!header || !meta || json_object_set(header, "__metadata__", meta) != 0)
        status = pmet_fail(err, PMET_INPUT, "%s: metadata that is not UTF-8", path);
    for (size_t i = 0; status == PMET_OK && i < n; i++) {
        if (json_object_get(header, order[i]->name))
            status = pmet_fail(err, PMET_INPUT, "%s: tensor \"%s\" twice", path, order[i]->name);
        else if (json_object_set_new(header, order[i]->name, tensor_object(order[i], at)) != 0)
            status = pmet_fail(err, PMET_INPUT, "%s: tensor \"%s\": a name that is not UTF-8", path,
                               order[i]->name);
        at += order[i]->n_bytes;
    }
    if (status == PMET_OK && !(dump = json_dumps(header, JSON_COMPACT)))
        status = pmet_fail_memory(err, path, 0);
    json_decref(meta);
    json_decref(header);
    PMET_TRY(status);
    const size_t len = strlen(dump), padded = (len + 7) / 8 * 8;
    if (padded > PMET_MAX_HEADER)
        status = pmet_fail(err, PMET_INPUT, "%s: a header of %zu bytes; the format allows %u", path, padded,
                           PMET_MAX_HEADER);
    else
        status = pmet_calloc(text, padded + 1, 1, path, err);
    if (status == PMET_OK) {
        memcpy(*text, dump, len);
        memset(*text + len, ' ', padded - len);
        *n_text = padded;
    }
    free(dump);
    return status;
}

enum pmet_status pmet_safetensors_write(const struct pmet_io *io, const char *path,
                                        const struct pmet_tensor *tensors, size_t n_tensor,
                                        const struct pmet_pair *metadata, size_t n_metadata,
                                        struct pmet_error *err)
{
    const struct pmet_tensor **order = NULL;
    struct pmet_out *out = NULL;
    char *text = NULL;
    size_t n_text = 0;
    unsigned char length[8];
    enum pmet_status status;
    PMET_GO(pmet_calloc(&order, n_tensor, sizeof *order, path, err));
    for (size_t i = 0; i < n_tensor; i++)
        order[i] = &tensors[i];
    qsort(order, n_tensor, sizeof *order, layout_order);
    PMET_GO(header_text(path, order, n_tensor, metadata, n_metadata, &text, &n_text, err));
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)n_text >> 8 * i);
    PMET_GO(pmet_out_open(io, path, &out, err));
    PMET_GO(pmet_out_write(out, length, 8, err));
    PMET_GO(pmet_out_write(out, text, n_text, err));
    for (size_t i = 0; i < n_tensor; i++)
        PMET_GO(pmet_out_write(out, order[i]->data, order[i]->n_bytes, err));
    status = pmet_out_commit(out, err);
    out = NULL;
done:
    pmet_out_discard(out);
    free(text);
    free(order);
    return status;
}

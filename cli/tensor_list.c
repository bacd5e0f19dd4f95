/* SPDX-License-Identifier: MIT */
#include "cli/tensor_list.h"

#include <stdlib.h>
#include <string.h>

static enum pmet_status grow(struct tensor_list *list, struct pmet_error *err)
{
    if (list->n < list->cap)
        return PMET_OK;
    const size_t cap = list->cap ? 2 * list->cap : 64;
    struct pmet_tensor *grown = realloc(list->tensor, cap * sizeof *grown);
    if (!grown)
        return pmet_fail_memory(err, "a trace", cap * sizeof *grown);
    list->tensor = grown;
    list->cap = cap;
    return PMET_OK;
}

enum pmet_status list_add(struct tensor_list *list, const char *name, enum pmet_dtype dtype, size_t n_dim,
                          const size_t *shape, void *data, struct pmet_error *err)
{
    struct pmet_tensor t = {.dtype = dtype, .n_dim = n_dim, .n_elem = 1};
    char *copy = NULL;
    void *elements = NULL;
    enum pmet_status status;
    for (size_t i = 0; i < n_dim; i++) {
        t.shape[i] = shape[i];
        if (!pmet_mul_size(t.n_elem, shape[i], &t.n_elem))
            return pmet_fail_memory(err, name, SIZE_MAX);
    }
    PMET_GO(grow(list, err));
    PMET_GO(pmet_calloc(&copy, strlen(name) + 1, 1, name, err));
    PMET_GO(pmet_calloc(&elements, t.n_elem, pmet_dtype_size(dtype), name, err));
    memcpy(copy, name, strlen(name));
    t.name = copy;
    t.data = elements;
    t.n_bytes = t.n_elem * pmet_dtype_size(dtype);
    list->tensor[list->n++] = t;
    memcpy(data, &elements, sizeof elements);
    return PMET_OK;
done:
    free(copy);
    free(elements);
    return status;
}

enum pmet_status list_copy(struct tensor_list *list, const char *name, enum pmet_dtype dtype, size_t n_dim,
                           const size_t *shape, const void *data, struct pmet_error *err)
{
    void *to = NULL;
    PMET_TRY(list_add(list, name, dtype, n_dim, shape, &to, err));
    if (list->tensor[list->n - 1].n_bytes > 0)
        memcpy(to, data, list->tensor[list->n - 1].n_bytes);
    return PMET_OK;
}

enum pmet_status list_transposed(struct tensor_list *list, const char *name, const real *data, size_t n,
                                 size_t width, struct pmet_error *err)
{
    const size_t shape[2] = {width, n};
    real *to = NULL;
    PMET_TRY(list_add(list, name, PMET_REAL, 2, shape, &to, err));
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < width; k++)
            to[k * n + i] = data[i * width + k];
    return PMET_OK;
}

enum pmet_status list_write(const struct tensor_list *list, const struct pmet_io *io, const char *path,
                            struct pmet_error *err)
{
    const struct pmet_pair version = {"pmet", PMET_VERSION};
    return pmet_safetensors_write(io, path, list->tensor, list->n, &version, 1, err);
}

void list_free(struct tensor_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        void *data, *name;
        memcpy(&data, &list->tensor[i].data, sizeof data); /* ours, const only to readers */
        memcpy(&name, &list->tensor[i].name, sizeof name);
        free(data);
        free(name);
    }
    free(list->tensor);
    *list = (struct tensor_list){NULL, 0, 0};
}

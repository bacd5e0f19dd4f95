/* SPDX-License-Identifier: MIT */
#include "cli/tensor_list.h"

#include <stdlib.h>
#include <string.h>

enum pmet_status list_add(struct tensor_list *list, const char *name, enum pmet_dtype dtype, size_t n_dim,
                          const size_t *shape, void *data, struct pmet_error *err)
{
    struct pmet_tensor t = {.dtype = dtype, .n_dim = n_dim};
    char *copy = NULL;
    void *elements = NULL;
    enum pmet_status status;
    memcpy(t.shape, shape, n_dim * sizeof *shape);
    if (!pmet_tensor_measure(&t))
        return pmet_fail_memory(err, name, SIZE_MAX);
    PMET_GO(pmet_grow(&list->tensor, &list->cap, list->n + 1, sizeof t, "a trace", err));
    PMET_GO(pmet_copy_text(name, &copy, name, err));
    PMET_GO(pmet_calloc(&elements, t.n_bytes, 1, name, err));
    t.name = copy;
    t.data = elements;
    list->tensor[list->n++] = t;
    memcpy(data, &elements, sizeof elements);
    return PMET_OK;
done:
    free(copy);
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

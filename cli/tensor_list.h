/* SPDX-License-Identifier: MIT
 * Tensors gathered one by one for a file of traces. */
#ifndef PMET_CLI_TENSOR_LIST_H
#define PMET_CLI_TENSOR_LIST_H

#include "ref/real.h"
#include "tensors/safetensors.h"

struct tensor_list {
    struct pmet_tensor *tensor;
    size_t n, cap;
};

/* Appends a tensor of the given name and shape; *data, zeroed, is the caller's to fill until the
 * list is freed. */
enum pmet_status list_add(struct tensor_list *list, const char *name, enum pmet_dtype dtype, size_t n_dim,
                          const size_t *shape, void *data, struct pmet_error *err);
/* The same with a copy of data. */
enum pmet_status list_copy(struct tensor_list *list, const char *name, enum pmet_dtype dtype, size_t n_dim,
                           const size_t *shape, const void *data, struct pmet_error *err);
/* The transpose, [width, n], of data [n, width]: columns are facts in the goldens. */
enum pmet_status list_transposed(struct tensor_list *list, const char *name, const real *data, size_t n,
                                 size_t width, struct pmet_error *err);
enum pmet_status list_write(const struct tensor_list *list, const struct pmet_io *io, const char *path,
                            struct pmet_error *err);
void list_free(struct tensor_list *list);

#endif

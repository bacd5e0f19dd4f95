/* SPDX-License-Identifier: MIT
 * What the readers of torch.save's two forms share. */
#ifndef PMET_TENSORS_TORCH_PRIVATE_H
#define PMET_TENSORS_TORCH_PRIVATE_H

#include "tensors/pickle.h"
#include "tensors/safetensors.h"

/* Names that a pickle of tensors may mention, by which it refers to what is not run. */
enum pmet_torch_name {
    PMET_TORCH_ORDERED_DICT,
    PMET_TORCH_REBUILD_TENSOR,    /* (storage, offset, size, stride, requires_grad, hooks) */
    PMET_TORCH_REBUILD_TENSOR_V1, /* (storage, offset, size, stride) */
    PMET_TORCH_REBUILD_PARAMETER, /* (tensor, requires_grad, hooks) */
    PMET_TORCH_STORAGE,           /* + enum pmet_dtype */
    PMET_TORCH_N_NAME = PMET_TORCH_STORAGE + PMET_BOOL + 1
};
extern const struct pmet_pickle_global pmet_torch_names[PMET_TORCH_N_NAME];

/* The persistent id ("storage", type, key, device, length), in old files with a None behind it. */
struct pmet_torch_id {
    const struct pmet_pickle_value *key; /* a STR */
    enum pmet_dtype dtype;
    const struct pmet_pickle_value *length;
};
bool pmet_torch_read_id(const struct pmet_pickle_value *v, struct pmet_torch_id *out);

/* ---- the form of torch before 1.6: tensors/torch_legacy.c ---- */

struct pmet_torch_stored {
    const struct pmet_pickle_value *key;
    enum pmet_dtype dtype;
    size_t n_elem;
    const unsigned char *data;
};
struct pmet_torch_legacy {
    struct pmet_pickle *object, *keys;
    struct pmet_torch_stored *stored; /* [n_stored] by key */
    size_t n_stored;
};

/* Whether a file begins so. */
bool pmet_torch_is_legacy(const unsigned char *data, size_t n);
/* The n bytes at data, which must outlive *out: pickles of a magic number, the protocol, the system,
 * the object and the keys of the storages, then each storage behind its length. `path` begins
 * messages. On failure, too, the caller closes *out, zero at first. */
enum pmet_status pmet_torch_legacy_open(const char *path, const unsigned char *data, size_t n,
                                        struct pmet_torch_legacy *out, struct pmet_error *err);
void pmet_torch_legacy_close(struct pmet_torch_legacy *l);
const struct pmet_torch_stored *pmet_torch_legacy_find(const struct pmet_torch_legacy *l,
                                                       const struct pmet_pickle_value *key); /* or NULL */

#endif

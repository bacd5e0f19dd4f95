/* SPDX-License-Identifier: MIT
 * safetensors files. Reading maps the file; every rule of the format is checked before anything is
 * used, and what breaks one is refused with the file, the byte or the tensor, what was found and
 * what was expected. */
#ifndef PMET_TENSORS_SAFETENSORS_H
#define PMET_TENSORS_SAFETENSORS_H

#include "tensors/dtype.h"
#include "tensors/io.h"

#define PMET_MAX_DIM 8
#define PMET_MAX_HEADER 100000000u /* bytes of JSON, the format's own limit */

struct pmet_tensor {
    const char *name; /* UTF-8, no NUL inside */
    enum pmet_dtype dtype;
    size_t n_dim;
    size_t shape[PMET_MAX_DIM];
    size_t n_elem, n_bytes;
    const void *data; /* little-endian, row-major, possibly unaligned: copy out with pmet_to_f64 or memcpy */
};

/* Sets n_elem and n_bytes from dtype and shape; false if the product overflows, whatever 0 stands
 * beside it. */
bool pmet_tensor_measure(struct pmet_tensor *t);
/* The tensors of a file, in its order and by their names. */
struct pmet_tensors {
    char *path;
    struct pmet_tensor *tensor; /* [n] */
    const struct pmet_tensor **by_name;
    size_t n;
};
/* qsort's order of pointers to tensors by name. */
int pmet_tensor_by_name(const void *a, const void *b);
const struct pmet_tensor *pmet_tensors_find(const struct pmet_tensors *all, const char *name); /* or NULL */

struct pmet_pair {
    const char *key, *value;
};

struct pmet_safetensors {
    struct pmet_tensors all; /* by offset */
    struct pmet_pair *meta;  /* [n_meta] of __metadata__ */
    size_t n_meta;
    const struct pmet_io *io;
    unsigned char *map;
    size_t n_map;
    struct json_t *header; /* names and metadata live in it */
};

enum pmet_status pmet_safetensors_open(const struct pmet_io *io, const char *path,
                                       struct pmet_safetensors **out, struct pmet_error *err);
void pmet_safetensors_close(struct pmet_safetensors *st); /* accepts NULL; tensors of st end with it */
/* Value of a key of __metadata__, or NULL. */
const char *pmet_safetensors_metadata(const struct pmet_safetensors *st, const char *key);

/* Writes the tensors, in the layout of the published writer (by dtype, I64 F64 F32 I32 BF16 F16 U8
 * BOOL, then by name; header padded with spaces to a multiple of 8), atomically. Metadata may be
 * empty; "format": "pt" is added if absent, since transformers insists on it. data of each tensor
 * holds n_bytes in its dtype. */
enum pmet_status pmet_safetensors_write(const struct pmet_io *io, const char *path,
                                        const struct pmet_tensor *tensors, size_t n_tensor,
                                        const struct pmet_pair *metadata, size_t n_metadata,
                                        struct pmet_error *err);

#endif

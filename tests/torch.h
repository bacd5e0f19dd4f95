/* SPDX-License-Identifier: MIT
 * Files in the form of torch.save, whole or wrong on purpose. */
#ifndef PMET_TESTS_TORCH_H
#define PMET_TESTS_TORCH_H

#include "tensors/safetensors.h"
#include "tests/test.h"

struct bytes {
    unsigned char *p;
    size_t n, capacity;
};
void bytes_add(struct bytes *b, const void *p, size_t n);
void bytes_text(struct bytes *b, const char *text); /* without its NUL */

/* A zip archive in the making: each member's data begin at a multiple of 64, as torch has them. */
struct archive {
    struct bytes file, directory;
    size_t n_member;
};
void archive_add(struct archive *a, const char *name, const void *data, size_t n, unsigned method,
                 unsigned flags);
void archive_end(struct archive *a, const char *path); /* writes it and frees all */

/* A file of these tensors, each with a storage of its own. */
void torch_write(const char *path, const struct pmet_tensor *tensors, size_t n);

#endif

/* SPDX-License-Identifier: MIT
 * What the two halves of the store share: store.c (folder, arrays) and store_journal.c. */
#ifndef PMET_REF_STORE_PRIVATE_H
#define PMET_REF_STORE_PRIVATE_H

#include "ref/store/store.h"
#include "tensors/sha256.h"

/* The one text of a JSON value that is hashed and compared. */
enum { PMET_CANONICAL = JSON_COMPACT | JSON_SORT_KEYS };

struct pmet_store {
    const struct pmet_io *io;
    const char *dir;
    int lock;    /* descriptor of DIR/pmet.lock */
    char **left; /* [n_left] temporary files that killed runs had left, removed */
    size_t n_left;
};

#define PMET_WAIT_FOLDER "in this folder: wait for its end, or give another --work"

/* A file, opened and locked for this process; where another has it: "PATH: another process is at
 * work in this folder". */
enum pmet_status pmet_open_locked(const struct pmet_io *io, const char *path, int flags, const char *where,
                                  int *fd, struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * System calls that fail on demand:
 *
 *     struct fault f;
 *     for (size_t k = 0; fault_begin(&f, k, ENOSPC), write_it(&f.io) != PMET_OK || f.fired; k++)
 *         CHECK(...);
 *
 * Call number k (from 0) fails with `err`; all others reach the system. Not counted, and never
 * failing: close, unmap, unlink, rmdir, which are how a failure is cleaned up. */
#ifndef PMET_TESTS_FAULT_H
#define PMET_TESTS_FAULT_H

#include "tensors/io.h"

#define FAULT_NEVER ((size_t)-1)

struct fault {
    struct pmet_io io;  /* hand &io to the code under test */
    size_t k;           /* the call that fails */
    int err;            /* its errno */
    size_t n_call;      /* calls so far */
    bool fired;         /* call k was made */
    const char *call;   /* its name */
    size_t max_bytes;   /* reads, writes and copies move at most this many bytes; 0: as many as asked */
    bool no_copy_range; /* copy_file_range is refused as between two file systems; not counted */
};

void fault_begin(struct fault *f, size_t k, int err); /* FAULT_NEVER: count only */

#endif

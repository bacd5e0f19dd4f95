/* SPDX-License-Identifier: MIT
 * What the tests of checkpoints share: opening them, writing copies, and every call of that failing
 * once. */
#ifndef PMET_TESTS_COPIES_H
#define PMET_TESTS_COPIES_H

#include "tensors/checkpoint.h"
#include "tests/fault.h"
#include "tests/test.h"

struct pmet_checkpoint *open_or_fail(struct test *t,
                                     const char *dir); /* NULL if it failed; closed when the claim ends */

/* The files that a copy has left out; note_skipped is the callback of pmet_checkpoint_write, `user`
 * the struct. */
struct skips {
    size_t n;
    char names[8][64];
};
void note_skipped(void *user, const char *name);

/* A copy with n replacements in the new folder T/NAME, as a claim of its own. Returns what was left
 * out. */
struct skips copy_into(struct test *t, const char *name, const struct pmet_checkpoint *ck,
                       const struct pmet_replacement *r, size_t n, bool link);
/* The same in a folder that appears whole or not at all. */
enum pmet_status write_copy(const struct pmet_io *io, const struct pmet_checkpoint *ck, const char *path,
                            const struct pmet_replacement *r, size_t n, bool link, struct pmet_error *err);

/* Opens dir, failing one call after the other: more than n_call of them. */
void check_opening_fails(struct test *t, const char *dir, size_t n_call);

#endif

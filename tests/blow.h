/* SPDX-License-Identifier: MIT
 * A signal at call k of the system, as a kill -9 or an interruption comes at any time. Counted:
 * open, write (of which only half is done), copy_range, fsync, rename, mkdir, unlink. */
#ifndef PMET_TESTS_BLOW_H
#define PMET_TESTS_BLOW_H

#include "tests/test.h"
#include "tensors/io.h"

/* The system's calls, call k (from 0) of which raises sig first. */
const struct pmet_io *blow_at(int sig, size_t k);
bool blow_raised(void); /* call k was made */
/* Runs "pmet" with the words of `line` in a child that kill -9 ends at call k; false if it came to
 * its end. */
bool blow_kills(struct test *t, const char *line, size_t k);

#endif

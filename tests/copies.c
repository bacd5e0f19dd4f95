/* SPDX-License-Identifier: MIT */
#include "tests/copies.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void close_checkpoint(void *ck)
{
    pmet_checkpoint_close(ck);
}

struct pmet_checkpoint *open_or_fail(struct test *t, const char *dir)
{
    struct pmet_checkpoint *ck = NULL;
    CHECK_DONE(pmet_checkpoint_open(pmet_io_system(), dir, &ck, &t->err));
    return test_own(t, ck, close_checkpoint);
}

void note_skipped(void *user, const char *name)
{
    struct skips *s = user;
    if (s->n < 8)
        snprintf(s->names[s->n], sizeof s->names[0], "%s", name);
    s->n++;
}

struct skips copy_into(struct test *t, const char *name, const struct pmet_checkpoint *ck,
                       const struct pmet_replacement *r, size_t n, bool link)
{
    struct skips skips = {.n = 0};
    const char *dir = test_path("%s", name);
    mkdir(dir, 0777);
    CHECK_DONE(pmet_checkpoint_write(pmet_io_system(), ck, dir, r, n, link, note_skipped, &skips, &t->err));
    return skips;
}

/* The copies of tests replace whatever stands there. */
static enum pmet_status any(const struct pmet_io *io, const char *path, struct pmet_error *err)
{
    (void)io, (void)path, (void)err;
    return PMET_OK;
}

enum pmet_status write_copy(const struct pmet_io *io, const struct pmet_checkpoint *ck, const char *path,
                            const struct pmet_replacement *r, size_t n, bool link, struct pmet_error *err)
{
    struct skips skips = {.n = 0};
    struct pmet_outdir *dir = NULL;
    PMET_TRY(pmet_outdir_begin(io, path, true, any, &dir, err));
    const enum pmet_status status =
        pmet_checkpoint_write(io, ck, pmet_outdir_path(dir), r, n, link, note_skipped, &skips, err);
    if (status == PMET_OK)
        return pmet_outdir_commit(dir, err);
    pmet_outdir_discard(dir);
    return status;
}

void check_opening_fails(struct test *t, const char *dir, size_t n_call)
{
    for (size_t k = 0;; k++) {
        struct fault f;
        struct pmet_error err = {PMET_OK, ""};
        struct pmet_checkpoint *ck = NULL;
        fault_begin(&f, k, EIO);
        const enum pmet_status status = pmet_checkpoint_open(&f.io, dir, &ck, &err);
        if (!f.fired) {
            CHECK(status == PMET_OK && k > n_call);
            pmet_checkpoint_close(ck);
            return;
        }
        CHECK(status == PMET_IO && !ck && strstr(err.message, "Input/output error"));
    }
}

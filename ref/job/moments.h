/* SPDX-License-Identifier: MIT
 * The second moments of an edit: all files of a folder checked once, kept as far as memory allows,
 * else read again. */
#ifndef PMET_REF_JOB_MOMENTS_H
#define PMET_REF_JOB_MOMENTS_H

#include "ref/method/editor.h"
#include "ref/method/stats.h"

struct pmet_moments_entry {
    const char *name; /* of the edited matrix: the update's */
    double *cov;      /* [d_in, d_in]; NULL where it is not kept, or taken */
    enum pmet_stats_origin origin;
    size_t count;  /* tokens */
    uint64_t bits; /* tells files apart */
};
struct pmet_moments {
    struct pmet_stats_source from;
    struct pmet_moments_entry *entry; /* [n_entry] */
    size_t n_entry;
};

/* Reads and checks the moments of all updates, and keeps those that max_bytes holds; *kept are
 * their bytes. The caller has set m->from. Notes say where statistics are not the model's own. */
enum pmet_status pmet_moments_open(struct pmet_moments *m, const struct pmet_update *update, size_t n_update,
                                   size_t max_bytes, const struct pmet_listener *listener, size_t *kept,
                                   struct pmet_error *err);
void pmet_moments_close(struct pmet_moments *m); /* accepts zeros */
/* For an editor. m must stay where it is. */
struct pmet_moment_source pmet_moments_source(struct pmet_moments *m);

#endif

/* SPDX-License-Identifier: MIT
 * The second moments of an edit: files, shapes and counts are checked before the work starts, the
 * matrices when they are used, so that each is read once. */
#ifndef PMET_REF_JOB_MOMENTS_H
#define PMET_REF_JOB_MOMENTS_H

#include "ref/method/editor.h"
#include "ref/method/stats.h"

struct pmet_moments_entry {
    const char *name; /* of the edited matrix: the update's */
    struct pmet_stats_info info;
};
struct pmet_moments {
    struct pmet_stats_source from;
    struct pmet_moments_entry *entry; /* [n_entry] */
    size_t n_entry;
    double seconds; /* spent reading */
};

/* Looks at the moments of all updates. The caller has set m->from. Notes say where statistics are
 * not the model's own, and which published files are taken. */
enum pmet_status pmet_moments_open(struct pmet_moments *m, const struct pmet_update *update, size_t n_update,
                                   const struct pmet_listener *listener, struct pmet_error *err);
void pmet_moments_close(struct pmet_moments *m); /* accepts zeros */
/* For an editor. m must stay where it is. */
struct pmet_moment_source pmet_moments_source(struct pmet_moments *m);

#endif

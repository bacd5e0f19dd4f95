/* SPDX-License-Identifier: MIT */
#include "ref/job/moments.h"

#include <stdlib.h>
#include <string.h>
#include "ref/event.h"

/* FNV-1a over words. */
static uint64_t sum_bits(const double *x, size_t n)
{
    uint64_t sum = 0xcbf29ce484222325;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        sum = (sum ^ bits) * 0x100000001b3;
    }
    return sum;
}

static enum pmet_status open_entry(const struct pmet_moments *m, const struct pmet_update *u,
                                   struct pmet_moments_entry *entry, struct pmet_error *err)
{
    bool has_factor;
    entry->name = u->name;
    PMET_TRY(pmet_stats_load(&m->from, u->name, u->d_in, &entry->cov, &entry->count, &entry->origin, err));
    PMET_TRY(pmet_stats_factor(&m->from, u->name, u->d_in, &has_factor, NULL, err));
    entry->bits =
        sum_bits(entry->cov, u->d_in * u->d_in) + has_factor; /* another way to solve has other bits */
    return PMET_OK;
}

enum pmet_status pmet_moments_open(struct pmet_moments *m, const struct pmet_update *update, size_t n_update,
                                   size_t max_bytes, const struct pmet_listener *listener, size_t *kept,
                                   struct pmet_error *err)
{
    size_t n_base = 0, n_unverified = 0;
    *kept = 0;
    PMET_TRY(pmet_calloc(&m->entry, n_update, sizeof *m->entry, "statistics", err));
    m->n_entry = n_update;
    for (size_t k = 0; k < n_update; k++) {
        struct pmet_moments_entry *entry = &m->entry[k];
        const size_t n_bytes = sizeof(double) * update[k].d_in * update[k].d_in;
        PMET_TRY(pmet_raise_progress(listener, PMET_PHASE_STATS, k, n_update, err));
        PMET_TRY(open_entry(m, &update[k], entry, err));
        n_base += entry->origin == PMET_STATS_OF_BASE;
        n_unverified += entry->origin == PMET_STATS_UNVERIFIED;
        if (*kept + n_bytes > max_bytes) {
            free(entry->cov);
            entry->cov = NULL;
        } else {
            *kept += n_bytes;
        }
    }
    if (n_base > 0)
        pmet_raise_note(listener, false, "%s: statistics of a model that this one was edited from",
                        m->from.dir);
    if (n_unverified > 0)
        pmet_raise_note(listener, true,
                        "%s: %zu of %zu statistics are .npz files, which name no model: unverified",
                        m->from.dir, n_unverified, n_update);
    return PMET_OK;
}

void pmet_moments_close(struct pmet_moments *m)
{
    for (size_t k = 0; m->entry && k < m->n_entry; k++)
        free(m->entry[k].cov);
    free(m->entry);
    memset(m, 0, sizeof *m);
}

static enum pmet_status cov(void *user, const char *name, size_t d_in, double **out, struct pmet_error *err)
{
    struct pmet_moments *m = user;
    enum pmet_stats_origin origin;
    size_t count;
    for (size_t k = 0; k < m->n_entry; k++)
        if (m->entry[k].cov && strcmp(m->entry[k].name, name) == 0) {
            *out = m->entry[k].cov;
            m->entry[k].cov = NULL;
            return PMET_OK;
        }
    return pmet_stats_load(&m->from, name, d_in, out, &count, &origin, err);
}

static enum pmet_status factor(void *user, const char *name, size_t d_in, double **out,
                               struct pmet_error *err)
{
    const struct pmet_moments *m = user;
    bool has;
    *out = NULL;
    return pmet_stats_factor(&m->from, name, d_in, &has, out, err);
}

struct pmet_moment_source pmet_moments_source(struct pmet_moments *m)
{
    return (struct pmet_moment_source){m, cov, factor};
}

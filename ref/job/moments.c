/* SPDX-License-Identifier: MIT */
#include "ref/job/moments.h"

#include <stdlib.h>
#include <string.h>
#include "ref/event.h"

/* Published files of one form: what stands before and behind the module's name in their paths. */
struct form {
    char *path; /* of the first */
    const char *module, *name, *behind;
    size_t n_before, n_file;
};

static bool same_form(const struct form *a, const struct form *b)
{
    return a->n_before == b->n_before && memcmp(a->path, b->path, a->n_before) == 0 &&
           strcmp(a->behind, b->behind) == 0;
}

/* Counts a published file to its form, or begins a new one; takes its path. */
static void count_form(struct form *form, size_t *n_form, char *path, const char *module)
{
    struct form f = {.path = path, .n_file = 1};
    const char *slash = strrchr(path, '/');
    f.name = slash ? slash + 1 : path;
    f.n_before = (size_t)(f.name - path);
    f.behind = f.name + strlen(module);
    for (size_t i = 0; i < *n_form; i++)
        if (same_form(&form[i], &f)) {
            form[i].n_file++;
            free(path);
            return;
        }
    form[(*n_form)++] = f;
}

static void note_forms(const struct pmet_moments *m, const struct form *form, size_t n_form,
                       const struct pmet_listener *listener)
{
    size_t n_base = 0;
    const char *difference = NULL;
    for (size_t k = 0; k < m->n_entry; k++) {
        n_base += m->entry[k].info.origin == PMET_STATS_OF_BASE;
        difference = difference ? difference : m->entry[k].info.difference;
    }
    if (n_base > 0)
        pmet_raise_note(listener, false, "%s: statistics of a model that this one was edited from",
                        m->from.dir);
    if (difference)
        pmet_raise_note(
            listener, false,
            "%s: made before the model's folder was saved anew: %s; weights and arithmetic are the same",
            m->from.dir, difference);
    for (size_t i = 0; i < n_form; i++)
        pmet_raise_note(listener, true,
                        "%.*sMODULE%s: %zu of %zu statistics are these .npz files, which name no model: "
                        "unverified",
                        (int)form[i].n_before, form[i].path, form[i].behind, form[i].n_file, m->n_entry);
}

enum pmet_status pmet_moments_open(struct pmet_moments *m, const struct pmet_update *update, size_t n_update,
                                   const struct pmet_listener *listener, struct pmet_error *err)
{
    struct form *form = NULL;
    size_t n_form = 0;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&form, n_update, sizeof *form, "statistics", err));
    PMET_GO(pmet_calloc(&m->entry, n_update, sizeof *m->entry, "statistics", err));
    m->n_entry = n_update;
    for (size_t k = 0; k < n_update; k++) {
        struct pmet_moments_entry *entry = &m->entry[k];
        char *path;
        entry->name = update[k].name;
        PMET_GO(pmet_raise_progress(listener, PMET_PHASE_STATS, k, n_update, err));
        PMET_GO(pmet_stats_look(&m->from, entry->name, update[k].d_in, &entry->info, &path, err));
        if (entry->info.origin == PMET_STATS_UNVERIFIED)
            count_form(form, &n_form, path, entry->name);
        else
            free(path);
    }
    PMET_GO(pmet_raise_progress(listener, PMET_PHASE_STATS, n_update, n_update, err));
    note_forms(m, form, n_form, listener);
done:
    for (size_t i = 0; i < n_form; i++)
        free(form[i].path);
    free(form);
    return status;
}

void pmet_moments_close(struct pmet_moments *m)
{
    free(m->entry);
    memset(m, 0, sizeof *m);
}

static enum pmet_status cov(void *user, const char *name, size_t d_in, double **out, struct pmet_error *err)
{
    struct pmet_moments *m = user;
    struct pmet_stats_info info;
    const double started = pmet_seconds();
    const enum pmet_status status = pmet_stats_load(&m->from, name, d_in, out, &info, err);
    m->seconds += pmet_seconds() - started;
    return status;
}

static enum pmet_status factor(void *user, const char *name, size_t d_in, double **out,
                               struct pmet_error *err)
{
    struct pmet_moments *m = user;
    const double started = pmet_seconds();
    *out = NULL;
    const enum pmet_status status = pmet_stats_factor(&m->from, name, d_in, out, err);
    m->seconds += pmet_seconds() - started;
    return status;
}

struct pmet_moment_source pmet_moments_source(struct pmet_moments *m)
{
    return (struct pmet_moment_source){m, cov, factor};
}

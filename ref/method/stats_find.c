/* SPDX-License-Identifier: MIT
 * Which file of a folder holds a module's second moments.      SPEC §9.4 */
#include "ref/method/stats_find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tensors/folder.h"

enum { FITS_SIZE = 4, FITS_DATASET = 2, FITS_NAME = 1 };

/* The best candidate so far, and another one that is as good. */
struct search {
    const struct pmet_stats_source *from;
    const char *module;
    int rank;
    char *best, *rival;
};

/* "_100000" of a name's end: the digits are read, *end is what follows them. */
static bool take_number(const char *text, const char *before, const char **end, unsigned long long *n)
{
    const size_t n_before = strlen(before), n_digit = strspn(text + n_before, "0123456789");
    if (strncmp(text, before, n_before) != 0 || n_digit == 0 || n_digit > 18)
        return false;
    *n = strtoull(text + n_before, NULL, 10);
    *end = text + n_before + n_digit;
    return true;
}

/* MODULE_DTYPE_mom2[_tN][_SIZE].npz: the rank by the name alone, or -1. The hyper-parameters name
 * the size and the type; a file of cut texts is another one than they mean. */
static int rank_of_name(const struct search *s, const char *name)
{
    static const char *const dtypes[] = {"_float32_mom2", "_float64_mom2"};
    const size_t n_module = strlen(s->module), n_dtype = strlen(dtypes[0]);
    const char *at = name + n_module;
    unsigned long long number = 0;
    if (strncmp(name, s->module, n_module) != 0 ||
        (strncmp(at, dtypes[0], n_dtype) != 0 && strncmp(at, dtypes[1], n_dtype) != 0))
        return -1;
    const char *dtype = s->from->dtype ? s->from->dtype : "float32";
    const bool own_type = strncmp(at + 1, dtype, strlen(dtype)) == 0;
    at += n_dtype;
    const bool cut = take_number(at, "_t", &at, &number), sized = take_number(at, "_", &at, &number);
    if (strcmp(at, ".npz") != 0)
        return -1;
    if (!sized || number != s->from->n_samples)
        return 0;
    return FITS_SIZE + (own_type && !cut ? FITS_NAME : 0);
}

static enum pmet_status consider(struct search *s, const char *dir, const char *name, bool own_dataset,
                                 struct pmet_error *err)
{
    int rank = rank_of_name(s, name);
    if (rank < 0)
        return PMET_OK;
    rank += own_dataset ? FITS_DATASET : 0;
    if (s->best && (rank < s->rank || (rank == s->rank && s->rival)))
        return PMET_OK;
    if (s->best && rank == s->rank)
        return pmet_path_join(dir, name, &s->rival, err);
    free(s->best);
    free(s->rival);
    s->best = s->rival = NULL;
    s->rank = rank;
    return pmet_path_join(dir, name, &s->best, err);
}

static enum pmet_status search_below(struct search *s, const char *dir, const char *name, int depth,
                                     struct pmet_error *err);

/* The published files of a folder (depth 0), of those in it that are called DATASET_stats (1), of
 * the folders, one for each model, in which these stand (2). */
static enum pmet_status search_in(struct search *s, const char *dir, bool own_dataset, int depth,
                                  struct pmet_error *err)
{
    char **names;
    size_t n;
    enum pmet_status status = PMET_OK;
    PMET_TRY(pmet_list_folder(dir, &names, &n, err));
    for (size_t i = 0; i < n && status == PMET_OK; i++)
        if (depth == 0)
            status = consider(s, dir, names[i], own_dataset, err);
        else if (depth > 1 || pmet_ends_with(names[i], "_stats"))
            status = search_below(s, dir, names[i], depth - 1, err);
    pmet_free_names(names, n);
    return status;
}

/* What is no folder, or may not be read, holds nothing. */
static enum pmet_status search_below(struct search *s, const char *dir, const char *name, int depth,
                                     struct pmet_error *err)
{
    struct pmet_error why = {PMET_OK, ""};
    char own[sizeof "_stats" + sizeof "wikipedia" + 64], *path;
    struct stat st;
    snprintf(own, sizeof own, "%.64s_stats", s->from->dataset ? s->from->dataset : "wikipedia");
    PMET_TRY(pmet_path_join(dir, name, &path, err));
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        search_in(s, path, strcmp(name, own) == 0, depth, &why);
    free(path);
    return why.status == PMET_MEMORY ? pmet_fail(err, why.status, "%s", why.message) : PMET_OK;
}

static enum pmet_status search_published(struct search *s, struct pmet_error *err)
{
    PMET_TRY(search_in(s, s->from->dir, false, 0, err));
    for (int depth = 1; depth <= 2 && !s->best; depth++)
        PMET_TRY(search_in(s, s->from->dir, false, depth, err));
    if (!s->best)
        return pmet_fail(
            err, PMET_INPUT,
            "%s: holds no statistics of \"%s\"; expected this name with .safetensors behind it (pmet stats) "
            "or _float32_mom2[_tN][_SIZE].npz (published), there or in [MODEL/]wikipedia_stats",
            s->from->dir, s->module);
    if (s->rival)
        return pmet_fail(err, PMET_INPUT,
                         "%s: found %s and %s for \"%s\", between which mom2_n_samples (%zu) does not "
                         "decide; expected one "
                         "(--stats with a folder that holds it alone)",
                         s->from->dir, s->best + strlen(s->from->dir), s->rival + strlen(s->from->dir),
                         s->module, s->from->n_samples);
    return PMET_OK;
}

enum pmet_status pmet_stats_find(const struct pmet_stats_source *from, const char *module, char **path,
                                 bool *published, struct pmet_error *err)
{
    static const char *const endings[] = {".safetensors", ".npz"};
    struct search s = {.from = from, .module = module};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char file[256];
        *published = i > 0;
        snprintf(file, sizeof file, "%s%s", module, endings[i]);
        PMET_TRY(pmet_path_join(from->dir, file, path, err));
        if (access(*path, F_OK) == 0)
            return PMET_OK;
        free(*path);
        *path = NULL;
    }
    const enum pmet_status status = search_published(&s, err);
    if (status == PMET_OK)
        *path = s.best;
    else
        free(s.best);
    free(s.rival);
    return status;
}

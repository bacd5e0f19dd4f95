/* SPDX-License-Identifier: MIT */
#include "tensors/folder.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

enum pmet_status pmet_list_folder(const char *path, char ***names, size_t *n, struct pmet_error *err)
{
    char **list = NULL;
    size_t count = 0, cap = 0;
    DIR *d = opendir(path);
    if (!d)
        return pmet_fail_errno(err, path, "open");
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (count == cap) {
            char **grown = realloc(list, (cap = 2 * cap + 16) * sizeof *grown);
            if (!grown)
                goto memory;
            list = grown;
        }
        list[count] = strdup(e->d_name);
        if (!list[count])
            goto memory;
        count++;
    }
    closedir(d);
    if (count > 0)
        qsort(list, count, sizeof *list, compare);
    *names = list;
    *n = count;
    return PMET_OK;
memory:
    closedir(d);
    pmet_free_names(list, count);
    return pmet_fail_memory(err, "a folder's listing", cap * sizeof *list);
}

void pmet_free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

void pmet_remove_tree(const struct pmet_io *io, const char *path)
{
    struct pmet_error ignored = {PMET_OK, ""};
    char **names;
    size_t n;
    if (pmet_list_folder(path, &names, &n, &ignored) == PMET_OK) {
        for (size_t i = 0; i < n; i++) {
            char *child;
            if (pmet_path_join(path, names[i], &child, &ignored) == PMET_OK) {
                if (io->unlink(io->user, child) != 0)
                    pmet_remove_tree(io, child);
                free(child);
            }
        }
        pmet_free_names(names, n);
    }
    io->rmdir(io->user, path);
}

/* SPDX-License-Identifier: MIT */
#include "tensors/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum pmet_status pmet_temp_name(const char *path, const char *kind, unsigned k, char **out,
                                struct pmet_error *err)
{
    const size_t n = strlen(path) + strlen(kind) + 48;
    PMET_TRY(pmet_calloc(out, n, 1, path, err));
    snprintf(*out, n, "%s.%s-%ld-%u", path, kind, (long)getpid(), k);
    return PMET_OK;
}

enum pmet_status pmet_sync_folder(const struct pmet_io *io, const char *folder, struct pmet_error *err)
{
    enum pmet_status status = PMET_OK;
    const int fd = io->open(io->user, folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return pmet_fail_errno(err, folder, "open");
    if (io->fsync(io->user, fd) != 0 && errno != EINVAL) /* EINVAL: a file system that syncs no folders */
        status = pmet_fail_errno(err, folder, "sync");
    io->close(io->user, fd);
    return status;
}

enum pmet_status pmet_sync_folder_of(const struct pmet_io *io, const char *path, struct pmet_error *err)
{
    const char *slash = strrchr(path, '/');
    char *folder;
    PMET_TRY(pmet_calloc(&folder, strlen(path) + 2, 1, path, err));
    if (slash)
        memcpy(folder, path, slash == path ? 1 : (size_t)(slash - path));
    else
        folder[0] = '.';
    const enum pmet_status status = pmet_sync_folder(io, folder, err);
    free(folder);
    return status;
}

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
    for (struct dirent *e; errno = 0, (e = readdir(d));) {
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
    if (errno != 0) {
        pmet_fail_errno(err, path, "list");
        closedir(d);
        pmet_free_names(list, count);
        return PMET_IO;
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

static bool is_folder(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
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
                if (is_folder(child))
                    pmet_remove_tree(io, child);
                else
                    io->unlink(io->user, child);
                free(child);
            }
        }
        pmet_free_names(names, n);
    }
    io->rmdir(io->user, path);
}

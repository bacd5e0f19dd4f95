/* SPDX-License-Identifier: MIT */
#include "tensors/folder.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_NAMES = 100 }; /* tried before one gives up */

/* "PATH.KIND-PID-K": the process is the only one to use names with its id; a name that exists is
 * left over from one with the same id that was killed. */
static enum pmet_status temp_name(const char *path, const char *kind, unsigned k, char **out,
                                  struct pmet_error *err)
{
    const size_t n = strlen(path) + strlen(kind) + 48;
    PMET_TRY(pmet_calloc(out, n, 1, path, err));
    snprintf(*out, n, "%s.%s-%ld-%u", path, kind, (long)getpid(), k);
    return PMET_OK;
}

enum pmet_status pmet_old_name(const char *path, char **out, struct pmet_error *err)
{
    struct stat st;
    for (unsigned k = 0; k < MOST_NAMES; k++) {
        PMET_TRY(temp_name(path, "pmet-old", k, out, err));
        if (lstat(*out, &st) != 0)
            return PMET_OK;
        free(*out);
        *out = NULL;
    }
    errno = EEXIST;
    return PMET_OK;
}

/* Locks the entry t->temp, just made and opened as t->fd (or -1, that having failed). False with
 * errno, and fd closed, where that fails; EWOULDBLOCK where another process was faster: the caller
 * tries the next name. File systems without locks do without. */
static bool hold(struct pmet_temp *t)
{
    int code = errno;
    if (t->fd >= 0) {
        code = t->io->lock(t->io->user, t->fd) == 0 ? 0 : errno;
        if (code == EBADF || code == EINVAL || code == ENOLCK || code == EOPNOTSUPP || code == ENOSYS)
            code = 0;
        if (code == 0 && access(t->temp, F_OK) == 0)
            return true;
        t->io->close(t->io->user, t->fd);
        t->fd = -1;
    }
    errno = code == 0 || code == ENOENT ? EWOULDBLOCK : code;
    return false;
}

enum pmet_status pmet_temp_create(struct pmet_temp *t, bool folder, const char *named, struct pmet_error *err)
{
    const struct pmet_io *io = t->io;
    for (unsigned k = 0; k < MOST_NAMES; k++) {
        free(t->temp);
        t->temp = NULL;
        PMET_TRY(temp_name(t->path, "pmet-tmp", k, &t->temp, err));
        const bool made = !folder || io->mkdir(io->user, t->temp, 0777) == 0;
        if (made)
            t->fd = io->open(io->user, t->temp, folder ? O_RDONLY | O_DIRECTORY : O_WRONLY | O_CREAT | O_EXCL,
                             0666);
        if (made && (folder || t->fd >= 0)) {
            if (hold(t))
                return PMET_OK;
            const int code = errno;
            (folder ? io->rmdir : io->unlink)(io->user, t->temp);
            errno = code;
        }
        if (errno != EEXIST && errno != EWOULDBLOCK)
            break;
    }
    return pmet_fail_errno(err, named, "create");
}

void pmet_temp_free(struct pmet_temp *t)
{
    if (t->fd >= 0)
        t->io->close(t->io->user, t->fd);
    free(t->path);
    free(t->temp);
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

/* The folder that holds `path`, which free() releases. */
static enum pmet_status folder_of(const char *path, char **folder, struct pmet_error *err)
{
    const char *slash = strrchr(path, '/');
    PMET_TRY(pmet_calloc(folder, strlen(path) + 2, 1, path, err));
    if (slash)
        memcpy(*folder, path, slash == path ? 1 : (size_t)(slash - path));
    else
        (*folder)[0] = '.';
    return PMET_OK;
}

enum pmet_status pmet_sync_folder_of(const struct pmet_io *io, const char *path, struct pmet_error *err)
{
    char *folder;
    PMET_TRY(folder_of(path, &folder, err));
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
        return errno == ENOMEM ? pmet_fail_memory(err, "a folder's listing", sizeof(struct dirent))
                               : pmet_fail_errno(err, path, "open");
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

/* From the last name to the first: PMET_UNFINISHED goes last, so that a folder half removed is still
 * known for what it is. */
void pmet_remove_tree(const struct pmet_io *io, const char *path)
{
    struct pmet_error ignored = {PMET_OK, ""};
    char **names;
    size_t n;
    if (pmet_list_folder(path, &names, &n, &ignored) == PMET_OK) {
        for (size_t i = n; i-- > 0;) {
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

/* Whether the text is "PID-K" of a process that is not alive on this machine, or of our own number:
 * then the lock tells. */
static bool may_be_left(const char *text)
{
    char *end;
    errno = 0;
    const long pid = isdigit((unsigned char)*text) ? strtol(text, &end, 10) : 0;
    if (pid <= 0 || pid > INT_MAX || errno || *end != '-' || !end[1] ||
        end[1 + strspn(end + 1, "0123456789")])
        return false;
    return pid == getpid() || (kill((pid_t)pid, 0) != 0 && errno == ESRCH);
}

/* Whether a folder beside `path` is one that a killed run was filling, or was replacing. */
static bool is_ours(const struct pmet_io *io, const char *path, pmet_is_ours *ours)
{
    struct pmet_error ignored = {PMET_OK, ""};
    char **names, *mark;
    size_t n;
    if (pmet_list_folder(path, &names, &n, &ignored) != PMET_OK)
        return false;
    pmet_free_names(names, n);
    if (n == 0)
        return true;
    if (pmet_path_join(path, PMET_UNFINISHED, &mark, &ignored) != PMET_OK)
        return false;
    const bool marked = access(mark, F_OK) == 0;
    free(mark);
    return marked || (ours && ours(io, path, &ignored) == PMET_OK);
}

/* Removes an entry, or gives what was moved aside its name back, unless its process, in another
 * container or on another machine, still holds it: without a lock of our own nothing is touched. */
static bool clear(const struct pmet_io *io, const char *entry, const char *path, bool aside,
                  pmet_is_ours *ours)
{
    struct stat st, now;
    if (lstat(entry, &st) != 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
        return false;
    const int fd = io->open(io->user, entry, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0)
        return false;
    if (io->lock(io->user, fd) == 0) {
        if (aside && lstat(path, &now) != 0)
            io->rename(io->user, entry, path);
        else if (!S_ISDIR(st.st_mode))
            io->unlink(io->user, entry);
        else if (is_ours(io, entry, ours))
            pmet_remove_tree(io, entry);
    }
    io->close(io->user, fd);
    return lstat(entry, &st) != 0;
}

/* Clears an entry of `folder` if its name says that it is the temporary one of `name`, or of any if
 * that is NULL. */
static enum pmet_status clear_entry(const struct pmet_io *io, const char *folder, const char *entry,
                                    const char *name, pmet_is_ours *ours, bool *cleared,
                                    struct pmet_error *err)
{
    static const char *const kind[] = {".pmet-tmp-", ".pmet-old-"};
    const size_t n_kind = strlen(kind[0]);
    const char *at = strstr(entry, ".pmet-");
    char *path = NULL, *whole = NULL;
    enum pmet_status status;
    *cleared = false;
    if (name)
        at = strncmp(entry, name, strlen(name)) == 0 ? entry + strlen(name) : NULL;
    const bool aside = at && strncmp(at, kind[1], n_kind) == 0;
    if (!at || (!aside && strncmp(at, kind[0], n_kind) != 0) || !may_be_left(at + n_kind))
        return PMET_OK;
    PMET_GO(pmet_path_join(folder, entry, &whole, err));
    PMET_GO(pmet_copy_text(whole, &path, folder, err));
    path[strlen(path) - strlen(at)] = '\0';
    *cleared = clear(io, whole, path, aside, ours);
done:
    free(path);
    free(whole);
    return status;
}

static enum pmet_status remove_left(const struct pmet_io *io, const char *folder, const char *name,
                                    pmet_is_ours *ours, char ***names, size_t *n, struct pmet_error *err)
{
    char **all = NULL;
    size_t n_all = 0;
    struct pmet_error why = {PMET_OK, ""};
    enum pmet_status status = pmet_list_folder(folder, &all, &n_all, &why);
    *n = 0;
    for (size_t i = 0; i < n_all; i++) {
        bool cleared = false;
        if (status == PMET_OK)
            status = clear_entry(io, folder, all[i], name, ours, &cleared, &why);
        if (cleared)
            all[(*n)++] = all[i];
        else
            free(all[i]);
    }
    *names = all;
    return status == PMET_MEMORY ? pmet_fail(err, status, "%s", why.message) : PMET_OK;
}

enum pmet_status pmet_remove_left(const struct pmet_io *io, const char *path, pmet_is_ours *ours,
                                  char ***names, size_t *n, struct pmet_error *err)
{
    const char *slash = strrchr(path, '/');
    char *folder;
    PMET_TRY(folder_of(path, &folder, err));
    const enum pmet_status status = remove_left(io, folder, slash ? slash + 1 : path, ours, names, n, err);
    free(folder);
    return status;
}

enum pmet_status pmet_remove_left_in(const struct pmet_io *io, const char *folder, char ***names, size_t *n,
                                     struct pmet_error *err)
{
    return remove_left(io, folder, NULL, NULL, names, n, err);
}

/* SPDX-License-Identifier: MIT
 * Where an output may go. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ref/job/session.h"
#include "tensors/folder.h"

/* The absolute path of something that may not exist yet: of its folder, and its name. False if the
 * folder does not exist either. */
static bool resolve(const char *path, char out[PATH_MAX])
{
    char copy[PATH_MAX], folder[PATH_MAX];
    size_t n = strlen(path);
    if (realpath(path, out))
        return true;
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof copy)
        return false;
    memcpy(copy, path, n);
    copy[n] = '\0';
    char *slash = strrchr(copy, '/');
    const char *name = slash ? slash + 1 : copy, *in = slash ? copy : ".";
    if (slash)
        *slash = '\0';
    if (!realpath(slash == copy ? "/" : in, folder))
        return false;
    return snprintf(out, PATH_MAX, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name) < PATH_MAX;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* How a path that resolve() gave lies to a place: it, inside it, or elsewhere. By the identity of
 * files, since one file can have many paths: links, mounts of the same folder, capital letters on a
 * file system that does not tell them from small ones. */
enum place { ELSEWHERE, SAME, INSIDE };
static enum place place_of(const char *path, const char *other)
{
    struct stat there, st;
    char at[PATH_MAX];
    if (strcmp(path, other) == 0)
        return SAME;
    if (stat(other, &there) != 0)
        return ELSEWHERE;
    if (stat(path, &st) == 0 && same_file(&st, &there))
        return SAME;
    snprintf(at, sizeof at, "%s", path);
    for (char *slash; (slash = strrchr(at, '/')) != NULL;) {
        slash[slash == at] = '\0'; /* "/" is the last one */
        if (stat(at, &st) == 0 && same_file(&st, &there))
            return INSIDE;
        if (slash == at)
            break;
    }
    return ELSEWHERE;
}

/* A folder that is read may hold links into the output, as those of a download cache do. */
static enum pmet_status check_links(const char *out, const char *resolved, const char *read, const char *what,
                                    struct pmet_error *err)
{
    char **names, *path, to[PATH_MAX];
    size_t n;
    struct pmet_error ignored = {PMET_OK, ""};
    enum pmet_status status = PMET_OK;
    if (pmet_list_folder(read, &names, &n, &ignored) != PMET_OK)
        return PMET_OK;
    for (size_t i = 0; status == PMET_OK && i < n; i++) {
        struct stat st;
        if ((status = pmet_path_join(read, names[i], &path, err)) != PMET_OK)
            break;
        if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && realpath(path, to) &&
            place_of(to, resolved) != ELSEWHERE)
            status = pmet_fail(err, PMET_INPUT,
                               "%s: holds what %s links to, used for %s; expected a path apart from it", out,
                               path, what);
        free(path);
    }
    pmet_free_names(names, n);
    return status;
}

enum pmet_status pmet_check_apart(const char *out, const char *read, const char *what, struct pmet_error *err)
{
    char a[PATH_MAX], b[PATH_MAX];
    struct stat st;
    if (!out || !read || !resolve(out, a) || !resolve(read, b))
        return PMET_OK;
    const enum place of_read = place_of(b, a), of_out = place_of(a, b);
    const bool is_folder = stat(b, &st) == 0 && S_ISDIR(st.st_mode);
    if (of_out == SAME)
        return pmet_fail(err, PMET_INPUT, "%s: is used for %s; expected another path", out, what);
    if (of_read == INSIDE)
        return pmet_fail(err, PMET_INPUT, "%s: holds %s, used for %s; expected a path apart from it", out,
                         read, what);
    if (is_folder && of_out == INSIDE)
        return pmet_fail(err, PMET_INPUT, "%s: lies inside %s, used for %s; expected a path apart from it",
                         out, read, what);
    return is_folder ? check_links(out, a, read, what, err) : PMET_OK;
}

enum pmet_status pmet_check_writable(const char *out, struct pmet_error *err)
{
    char full[PATH_MAX];
    errno = ENAMETOOLONG;
    if (!out)
        return PMET_OK;
    if (!resolve(out, full))
        return errno == ENOENT
                   ? pmet_fail(err, PMET_IO, "%s: create: its folder does not exist; make that first", out)
                   : pmet_fail_errno(err, out, "create");
    memcpy(strrchr(full, '/') + 1, ".", 2);
    return access(full, W_OK | X_OK) == 0 ? PMET_OK : pmet_fail_errno(err, out, "create");
}

enum pmet_status pmet_check_movable(const char *out, struct pmet_error *err)
{
    struct stat st, here;
    struct statx x;
    if (stat(out, &st) == 0 && stat(".", &here) == 0 && same_file(&st, &here))
        return pmet_fail(err, PMET_INPUT, "%s: is the current folder; expected a folder in it, or elsewhere",
                         out);
    if (statx(AT_FDCWD, out, 0, STATX_TYPE, &x) == 0 && (x.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) &&
        (x.stx_attributes & STATX_ATTR_MOUNT_ROOT))
        return pmet_fail(err, PMET_INPUT,
                         "%s: is a mount point, which nothing replaces; expected a folder in it", out);
    return PMET_OK;
}

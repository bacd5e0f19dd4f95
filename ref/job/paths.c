/* SPDX-License-Identifier: MIT
 * Where an output may go. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ref/event.h"
#include "ref/job/session.h"

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

/* a is b or lies inside it. */
static bool inside(const char *a, const char *b)
{
    const size_t n = strlen(b);
    return strncmp(a, b, n) == 0 && (a[n] == '\0' || a[n] == '/' || (n > 0 && b[n - 1] == '/'));
}

enum pmet_status pmet_check_apart(const char *out, const char *read, const char *what, struct pmet_error *err)
{
    char a[PATH_MAX], b[PATH_MAX];
    struct stat st;
    if (!out || !read || !resolve(out, a) || !resolve(read, b))
        return PMET_OK;
    if (strcmp(a, b) == 0)
        return pmet_fail(err, PMET_INPUT, "%s: is used for %s; expected another path", out, what);
    if (inside(b, a))
        return pmet_fail(err, PMET_INPUT, "%s: holds %s, used for %s; expected a path apart from it", out,
                         read, what);
    if (stat(b, &st) == 0 && S_ISDIR(st.st_mode) && inside(a, b))
        return pmet_fail(err, PMET_INPUT, "%s: lies inside %s, used for %s; expected a path apart from it",
                         out, read, what);
    return PMET_OK;
}

enum pmet_status pmet_check_writable(const char *out, struct pmet_error *err)
{
    char full[PATH_MAX];
    errno = ENAMETOOLONG;
    if (!out)
        return PMET_OK;
    if (!resolve(out, full))
        return pmet_fail_errno(err, out, "create");
    memcpy(strrchr(full, '/') + 1, ".", 2);
    return access(full, W_OK | X_OK) == 0 ? PMET_OK : pmet_fail_errno(err, out, "create");
}

enum pmet_status pmet_check_new(const char *out, bool force, struct pmet_error *err)
{
    struct stat st;
    if (!force && lstat(out, &st) == 0)
        return pmet_fail(err, PMET_INPUT, "%s: exists; give --force to replace it", out);
    return pmet_check_writable(out, err);
}

enum pmet_status pmet_begin_output(const struct pmet_io *io, const char *out, bool force,
                                   const struct pmet_listener *listener, struct pmet_outdir **dir,
                                   struct pmet_error *err)
{
    const char *left;
    PMET_TRY(pmet_outdir_begin(io, out, force, dir, err));
    for (size_t i = 0; (left = pmet_outdir_left(*dir, i)) != NULL; i++)
        pmet_raise_note(listener, false, "%s: left by a run that was killed; removed", left);
    return PMET_OK;
}

/* SPDX-License-Identifier: MIT
 * pmet_edit.json, and the checks of where an output may go. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/session.h"
#include "tensors/json.h"

static const size_t max_record = (size_t)1 << 30;

static enum pmet_status take_ancestors(struct record *r, const char *path, struct pmet_error *err)
{
    const json_t *list = json_object_get(r->json, "ancestors");
    const char *own;
    PMET_TRY(pmet_json_string(r->json, path, "fingerprint", &own, err));
    if (strlen(own) != 64 || !json_is_array(list))
        return pmet_fail(
            err, PMET_FORMAT,
            "%s: found no fingerprint of 64 digits, or no array of ancestors; expected what pmet "
            "edit writes",
            path);
    memcpy(r->fingerprint, own, 65);
    PMET_TRY(pmet_calloc(&r->ancestor, json_array_size(list), sizeof *r->ancestor, path, err));
    for (; r->n_ancestor < json_array_size(list); r->n_ancestor++) {
        const json_t *v = json_array_get(list, r->n_ancestor);
        if (!json_is_string(v))
            return pmet_fail(err, PMET_FORMAT, "%s: ancestors[%zu]: found %s; expected a fingerprint", path,
                             r->n_ancestor, pmet_json_kind(v));
        r->ancestor[r->n_ancestor] = json_string_value(v);
    }
    return PMET_OK;
}

enum pmet_status record_read(const struct pmet_io *io, const char *dir, struct record *out,
                             struct pmet_error *err)
{
    char *path;
    enum pmet_status status = PMET_OK;
    memset(out, 0, sizeof *out);
    PMET_TRY(pmet_path_join(dir, RECORD_FILE, &path, err));
    if (access(path, F_OK) != 0 && errno == ENOENT)
        goto done;
    PMET_GO(pmet_json_load(io, path, max_record, &out->json, err));
    status = take_ancestors(out, path, err);
done:
    free(path);
    if (status != PMET_OK)
        record_free(out);
    return status;
}

void record_free(struct record *r)
{
    json_decref(r->json);
    free(r->ancestor);
    memset(r, 0, sizeof *r);
}

enum pmet_status json_save(const struct pmet_io *io, const char *dir, const char *file, const json_t *value,
                           struct pmet_error *err)
{
    char *path = NULL, *text = value ? json_dumps(value, JSON_INDENT(1)) : NULL;
    struct pmet_out *out = NULL;
    enum pmet_status status;
    if (!text)
        return pmet_fail(err, PMET_MEMORY, "%s: out of memory, or text that is not UTF-8", file);
    PMET_GO(pmet_path_join(dir, file, &path, err));
    PMET_GO(pmet_out_open(io, path, &out, err));
    PMET_GO(pmet_out_write(out, text, strlen(text), err));
    PMET_GO(pmet_out_write(out, "\n", 1, err));
    status = pmet_out_commit(out, err);
    out = NULL;
done:
    pmet_out_discard(out);
    free(path);
    free(text);
    return status;
}

/* The absolute path of something that may not exist yet: of its folder, and its name. False if the folder
 * does not exist either. */
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

enum pmet_status check_apart(const char *out, const char *read, const char *what, struct pmet_error *err)
{
    char a[PATH_MAX], b[PATH_MAX];
    struct stat st;
    if (!out || !read || !resolve(out, a) || !realpath(read, b))
        return PMET_OK;
    if (strcmp(a, b) == 0)
        return pmet_fail(err, PMET_INPUT, "%s: is what %s reads; expected another path", out, what);
    if (inside(b, a))
        return pmet_fail(err, PMET_INPUT, "%s: holds %s, which %s reads; expected a path apart from it", out,
                         read, what);
    if (stat(b, &st) == 0 && S_ISDIR(st.st_mode) && inside(a, b))
        return pmet_fail(err, PMET_INPUT, "%s: lies inside %s, which %s reads; expected a path apart from it",
                         out, read, what);
    return PMET_OK;
}

enum pmet_status check_new(const char *out, bool force, struct pmet_error *err)
{
    struct stat st;
    if (!force && lstat(out, &st) == 0)
        return pmet_fail(err, PMET_INPUT, "%s: exists; give --force to replace it", out);
    return PMET_OK;
}

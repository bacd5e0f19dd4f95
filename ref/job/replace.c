/* SPDX-License-Identifier: MIT
 * What an output may replace: only what the program has made.      SPEC §9.6 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ref/event.h"
#include "ref/job/edit.h"
#include "tensors/folder.h"
#include "tensors/text.h"

/* ---- folders ---- */

/* What a folder holds, and how it is known. */
struct contents {
    const struct pmet_io *io;
    const char *path;
    struct pmet_record record; /* of an edited folder, or empty */
};

/* What an edited folder may hold whose record, of an earlier version, does not list it. */
static bool is_of_checkpoint(const char *name)
{
    static const char *const names[] = {"config.json",
                                        "generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        PMET_RECORD_FILE,
                                        PMET_FACTS_FILE,
                                        PMET_CONTEXTS_FILE,
                                        "model.safetensors.index.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return strncmp(name, "model", 5) == 0 && pmet_ends_with(name, ".safetensors");
}

static bool is_recorded(const struct contents *c, const char *name)
{
    const json_t *files = c->record.json ? json_object_get(c->record.json, "files") : NULL;
    char shown[10 * NAME_MAX + 1]; /* a name that is not UTF-8 is recorded as pmet_escape shows it */
    snprintf(shown, sizeof shown, "%s", name);
    if (name[pmet_utf8_span(name, strlen(name))] != '\0')
        pmet_escape(shown, sizeof shown, name, strlen(name));
    if (!json_is_array(files))
        return c->record.json && is_of_checkpoint(name);
    for (size_t i = 0; i < json_array_size(files); i++) {
        const char *file = json_string_value(json_array_get(files, i));
        if (file && strcmp(file, shown) == 0)
            return true;
    }
    return false;
}

/* A file of second moments as pmet stats writes it. */
static enum pmet_status is_moment(const struct contents *c, const char *file, bool *out,
                                  struct pmet_error *err)
{
    struct pmet_safetensors *st = NULL;
    struct pmet_error why = {PMET_OK, ""};
    *out = false;
    const enum pmet_status status = pmet_safetensors_open(c->io, file, &st, &why);
    if (status == PMET_MEMORY)
        return pmet_fail(err, status, "%s", why.message);
    const char *module = st ? pmet_safetensors_metadata(st, "module") : NULL;
    if (module && pmet_safetensors_metadata(st, "text_sha256") && pmet_tensors_find(&st->all, "mom2")) {
        const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
        const size_t n = strlen(module);
        *out = strncmp(name, module, n) == 0 && strcmp(name + n, ".safetensors") == 0;
    }
    pmet_safetensors_close(st);
    return PMET_OK;
}

static enum pmet_status is_made(const struct contents *c, const char *name, const char *file, bool *out,
                                struct pmet_error *err)
{
    struct stat st;
    *out = lstat(file, &st) == 0 && S_ISREG(st.st_mode);
    if (!*out || strcmp(name, PMET_UNFINISHED) == 0 || is_recorded(c, name))
        return PMET_OK;
    return is_moment(c, file, out, err);
}

/* A record that cannot be read is none: its file counts as somebody else's. */
static enum pmet_status open_record(struct contents *c, struct pmet_error *err)
{
    struct pmet_error why = {PMET_OK, ""};
    return pmet_record_read(c->io, c->path, &c->record, &why) == PMET_MEMORY
               ? pmet_fail(err, PMET_MEMORY, "%s", why.message)
               : PMET_OK;
}

/* Names the first of the foreign entries; a folder with a slash. */
static enum pmet_status refuse(const struct contents *c, const char *name, const char *file, size_t n_more,
                               struct pmet_error *err)
{
    char more[48] = "";
    struct stat st;
    if (n_more > 0)
        snprintf(more, sizeof more, " and %zu more", n_more);
    return pmet_fail(
        err, PMET_INPUT,
        "%s: holds \"%s%s\"%s, not written by pmet, so that it is not replaced; give another path, "
        "or move what is to stay",
        c->path, name, lstat(file, &st) == 0 && S_ISDIR(st.st_mode) ? "/" : "", more);
}

enum pmet_status pmet_folder_is_ours(const struct pmet_io *io, const char *path, struct pmet_error *err)
{
    struct contents c = {.io = io, .path = path};
    char **names = NULL, *file, *first = NULL;
    const char *first_name = NULL;
    size_t n = 0, n_foreign = 0;
    enum pmet_status status;
    PMET_GO(pmet_list_folder(path, &names, &n, err));
    PMET_GO(open_record(&c, err));
    for (size_t i = 0; i < n; i++) {
        bool made;
        PMET_GO(pmet_path_join(path, names[i], &file, err));
        status = is_made(&c, names[i], file, &made, err);
        n_foreign += status == PMET_OK && !made;
        if (status == PMET_OK && !made && !first) {
            first = file;
            first_name = names[i];
        } else {
            free(file);
        }
        if (status != PMET_OK)
            goto done;
    }
    if (first)
        status = refuse(&c, first_name, first, n_foreign - 1, err);
done:
    free(first);
    pmet_record_free(&c.record);
    pmet_free_names(names, n);
    return status;
}

enum pmet_status pmet_check_new(const struct pmet_io *io, const char *out, bool force, struct pmet_error *err)
{
    struct stat st;
    if (lstat(out, &st) != 0)
        return pmet_check_writable(out, err);
    if (!S_ISDIR(st.st_mode))
        return pmet_fail(err, PMET_INPUT, "%s: found %s; expected the name of a folder", out,
                         S_ISLNK(st.st_mode)   ? "a symbolic link"
                         : S_ISREG(st.st_mode) ? "a file"
                                               : "a pipe or a device");
    PMET_TRY(pmet_check_movable(out, err));
    PMET_TRY(pmet_folder_is_ours(io, out, err));
    return force ? pmet_check_writable(out, err)
                 : pmet_fail(err, PMET_INPUT, "%s: exists; give --force to replace it", out);
}

/* ---- files ---- */

/* Whether a file is the one behind a standard descriptor: what else is printed there would be lost
 * with it. */
static bool is_standard(const struct stat *st)
{
    for (int fd = 0; fd < 3; fd++) {
        struct stat other;
        if (fstat(fd, &other) == 0 && other.st_dev == st->st_dev && other.st_ino == st->st_ino)
            return true;
    }
    return false;
}

bool pmet_is_trace(const struct pmet_io *io, const char *path)
{
    struct pmet_safetensors *st = NULL;
    struct pmet_error ignored = {PMET_OK, ""};
    const bool made =
        pmet_safetensors_open(io, path, &st, &ignored) == PMET_OK && pmet_safetensors_metadata(st, "pmet");
    pmet_safetensors_close(st);
    return made;
}

enum pmet_status pmet_check_new_file(const struct pmet_io *io, const char *out, bool force,
                                     bool (*same)(const struct pmet_io *io, const char *path),
                                     struct pmet_error *err)
{
    struct stat st;
    if (!out)
        return PMET_OK;
    PMET_TRY(pmet_check_writable(out, err));
    if (lstat(out, &st) != 0)
        return PMET_OK;
    if (stat(out, &st) != 0)
        return pmet_fail(err, PMET_INPUT, "%s: found a link to nothing; expected a file or a free name", out);
    if (!S_ISREG(st.st_mode) || is_standard(&st))
        return pmet_fail(err, PMET_INPUT, "%s: found %s; expected the name of a file of its own", out,
                         S_ISDIR(st.st_mode)   ? "a folder"
                         : S_ISREG(st.st_mode) ? "a file that is open as a standard one"
                                               : "a pipe or a device, which is never replaced");
    if (force || (same && same(io, out)))
        return PMET_OK;
    return pmet_fail(err, PMET_INPUT, "%s: exists%s; give --force to replace it", out,
                     same ? ", and is no earlier trace" : "");
}

/* ---- what killed runs have left ---- */

static void note_left(const struct pmet_listener *listener, const char *name)
{
    pmet_raise_note(listener, false, "%s: left by a run that was killed; removed", name);
}

enum pmet_status pmet_clear_left(const struct pmet_io *io, const char *out,
                                 const struct pmet_listener *listener, struct pmet_error *err)
{
    char **names = NULL;
    size_t n = 0;
    const enum pmet_status status =
        out ? pmet_remove_left(io, out, pmet_folder_is_ours, &names, &n, err) : PMET_OK;
    for (size_t i = 0; i < n; i++)
        note_left(listener, names[i]);
    pmet_free_names(names, n);
    return status;
}

enum pmet_status pmet_open_work(const struct pmet_io *io, const char *dir,
                                const struct pmet_listener *listener, struct pmet_store **out,
                                struct pmet_error *err)
{
    const char *left;
    PMET_TRY(pmet_store_open(io, dir, out, err));
    for (size_t i = 0; (left = pmet_store_left(*out, i)) != NULL; i++)
        note_left(listener, left);
    return PMET_OK;
}

enum pmet_status pmet_begin_output(const struct pmet_io *io, const char *out, bool force,
                                   const struct pmet_listener *listener, struct pmet_outdir **dir,
                                   struct pmet_error *err)
{
    const char *left;
    PMET_TRY(pmet_outdir_begin(io, out, force, pmet_folder_is_ours, dir, err));
    for (size_t i = 0; (left = pmet_outdir_left(*dir, i)) != NULL; i++)
        note_left(listener, left);
    return PMET_OK;
}

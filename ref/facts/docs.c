/* SPDX-License-Identifier: MIT
 * Documents of text files, found by offset and read when asked for.      SPEC §7.1 */
#include "ref/facts/docs.h"

#include <stdlib.h>
#include <string.h>
#include "tensors/json.h"
#include "tensors/sha256.h"
#include "tokenizer/unicode.h"

struct file {
    char *path;
    char *map;
    size_t n;
    bool lines; /* JSON lines */
};
struct doc {
    size_t file, at, n, line;
};
struct pmet_docs {
    const struct pmet_io *io;
    struct file *file;
    size_t n_file;
    struct doc *doc;
    size_t n_doc, cap;
    char sha256[65];
};

static enum pmet_status map_file(struct pmet_docs *d, struct file *f, const char *path,
                                 struct pmet_error *err)
{
    void *map;
    PMET_TRY(pmet_copy_text(path, &f->path, path, err));
    PMET_TRY(pmet_map_file(d->io, path, &map, &f->n, err));
    f->map = map;
    return PMET_OK;
}

static enum pmet_status add(struct pmet_docs *d, size_t file, size_t at, size_t n, size_t line,
                            struct pmet_error *err)
{
    if (d->n_doc == (size_t)1 << 31)
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: more than 2^31 documents", d->file[file].path);
    PMET_TRY(pmet_grow(&d->doc, &d->cap, d->n_doc + 1, sizeof *d->doc, "documents", err));
    d->doc[d->n_doc++] = (struct doc){file, at, n, line};
    return PMET_OK;
}

/* Length of the white space at the beginning of n bytes. */
static size_t blanks(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && (p[i] == ' ' || p[i] == '\t' || p[i] == '\r' || p[i] == '\n'))
        i++;
    return i;
}

/* JSON lines, or plain text? What is neither would pass for text: a byte order mark, a JSON array
 * of records. */
static enum pmet_status find_kind(struct file *f, struct pmet_error *err)
{
    const size_t at = blanks(f->map, f->n);
    if (f->n >= 3 && memcmp(f->map, "\xef\xbb\xbf", 3) == 0)
        return pmet_fail(err, PMET_FORMAT, "%s: begins with a byte order mark; expected UTF-8 without one",
                         f->path);
    f->lines = at < f->n && f->map[at] == '{';
    if (at < f->n && f->map[at] == '[') {
        const size_t next = at + 1 + blanks(f->map + at + 1, f->n - at - 1);
        if (next < f->n && f->map[next] == '{')
            return pmet_fail(
                err, PMET_FORMAT,
                "%s: found a JSON array; expected JSON lines, one {\"text\": ...} a line, or plain text",
                f->path);
    }
    return PMET_OK;
}

/* Lines of JSON are documents; of plain text, stretches of lines that are not blank. */
static enum pmet_status find_documents(struct pmet_docs *d, size_t file, struct pmet_error *err)
{
    const struct file *f = &d->file[file];
    size_t start = 0, start_line = 0, last = 0; /* the document in progress, if start_line > 0 */
    for (size_t at = 0, line = 1; at < f->n; line++) {
        const char *stop = memchr(f->map + at, '\n', f->n - at);
        const size_t next = stop ? (size_t)(stop - f->map) + 1 : f->n;
        size_t end = stop ? next - 1 : next;
        end -= end > at && f->map[end - 1] == '\r';
        const bool blank = blanks(f->map + at, end - at) == end - at;
        if (!blank && f->lines)
            PMET_TRY(add(d, file, at, end - at, line, err));
        if (!blank && !f->lines) {
            start = start_line ? start : at;
            start_line = start_line ? start_line : line;
            last = end;
        }
        if (start_line && (blank || next == f->n)) {
            PMET_TRY(add(d, file, start, last - start, start_line, err));
            start_line = 0;
        }
        at = next;
    }
    return PMET_OK;
}

enum pmet_status pmet_docs_open(const struct pmet_io *io, const char *const *paths, size_t n_path,
                                struct pmet_docs **out, struct pmet_error *err)
{
    struct pmet_docs *d = NULL;
    struct pmet_sha256 sha;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&d, 1, sizeof *d, "documents", err));
    d->io = io;
    PMET_GO(pmet_calloc(&d->file, n_path, sizeof *d->file, "documents", err));
    pmet_sha256_begin(&sha);
    for (; d->n_file < n_path; d->n_file++) {
        PMET_GO(map_file(d, &d->file[d->n_file], paths[d->n_file], err));
        pmet_sha256_add(&sha, d->file[d->n_file].map, d->file[d->n_file].n);
        PMET_GO(find_kind(&d->file[d->n_file], err));
        PMET_GO(find_documents(d, d->n_file, err));
    }
    pmet_sha256_hex(&sha, d->sha256);
    if (d->n_doc == 0)
        PMET_GO(pmet_fail(err, PMET_INPUT, "%s: %s", n_path ? paths[0] : "text",
                          n_path > 1    ? "neither this file nor the others hold documents"
                          : n_path == 1 ? "holds no documents"
                                        : "no files are given"));
    *out = d;
    d = NULL;
done:
    if (d && d->n_file < n_path)
        d->n_file++; /* the one in progress */
    pmet_docs_close(d);
    return status;
}

void pmet_docs_close(struct pmet_docs *d)
{
    if (!d)
        return;
    for (size_t i = 0; d->file && i < d->n_file; i++) {
        if (d->file[i].map)
            d->io->unmap(d->io->user, d->file[i].map, d->file[i].n);
        free(d->file[i].path);
    }
    free(d->file);
    free(d->doc);
    free(d);
}

size_t pmet_docs_count(const struct pmet_docs *d)
{
    return d->n_doc;
}

const char *pmet_docs_sha256(const struct pmet_docs *d)
{
    return d->sha256;
}

/* A fresh NUL-terminated string of n bytes. */
static enum pmet_status copy(const char *from, size_t n, char **text, size_t *n_text, struct pmet_error *err)
{
    PMET_TRY(pmet_calloc(text, n + 1, 1, "a document", err));
    memcpy(*text, from, n);
    *n_text = n;
    return PMET_OK;
}

/* Else a compressed file, or any other, would pass for a document. */
static enum pmet_status check_text(const struct file *f, const struct doc *doc, struct pmet_error *err)
{
    const char *text = f->map + doc->at;
    const size_t n = pmet_utf8_span(text, doc->n);
    size_t line = doc->line;
    if (n == doc->n)
        return PMET_OK;
    for (size_t i = 0; i < n; i++)
        line += text[i] == '\n';
    return pmet_fail(err, PMET_FORMAT, "%s: line %zu: found byte 0x%02x; expected text in UTF-8", f->path,
                     line, (unsigned char)text[n]);
}

enum pmet_status pmet_docs_get(const struct pmet_docs *d, size_t i, char **text, size_t *n,
                               struct pmet_error *err)
{
    const struct doc *doc = &d->doc[i];
    const struct file *f = &d->file[doc->file];
    json_t *json;
    enum pmet_status status;
    if (!f->lines) {
        PMET_TRY(check_text(f, doc, err));
        return copy(f->map + doc->at, doc->n, text, n, err);
    }
    PMET_TRY(pmet_json_parse(f->map + doc->at, doc->n, f->path, doc->line - 1, &json, err));
    const json_t *v = json_object_get(json, "text");
    if (!json_is_object(json))
        status = pmet_fail(err, PMET_INPUT, "%s: line %zu: found %s; expected an object with \"text\"",
                           f->path, doc->line, pmet_json_kind(json));
    else if (!json_is_string(v))
        status = pmet_fail(err, PMET_INPUT, "%s: line %zu: text: found %s; expected a string", f->path,
                           doc->line, pmet_json_kind(v));
    else
        status = copy(json_string_value(v), json_string_length(v), text, n, err);
    json_decref(json);
    return status;
}

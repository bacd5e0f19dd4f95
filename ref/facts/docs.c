/* SPDX-License-Identifier: MIT
 * Documents of text files, found by offset and read when asked for.      SPEC §7.1 */
#include "ref/facts/docs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "ref/event.h"
#include "ref/facts/docs_scan.h"
#include "tensors/json.h"
#include "tensors/sha256.h"
#include "tensors/stream.h"
#include "tokenizer/unicode.h"

enum { CHUNK = 1 << 18, MANY_FILES = 16 };

struct file {
    char *path;
    const char *name; /* in messages */
    enum pmet_text_kind kind;
    enum pmet_packing packing;
    size_t first_doc;
    uint64_t n;    /* bytes, unpacked */
    char *map;     /* of a file that is used in place */
    uint64_t base; /* of any other, in the spool */
};
struct pmet_docs {
    const struct pmet_io *io;
    struct file *file;
    size_t n_file;
    struct pmet_doc_span *doc;
    size_t n_doc, cap;
    int spool; /* file descriptor, or -1 */
    uint64_t n_spool;
    char *spooled; /* mapped, once all is read */
    char sha256[65];
};

/* One file on its way in. */
struct reading {
    struct pmet_docs *d;
    struct file *file;
    struct pmet_stream *stream;
    struct pmet_doc_scan scan;
    struct pmet_sha256 *sha;
    char *buf;
    size_t n; /* bytes in buf that are still to be looked at */
    bool ended;
};

/* ---- texts ---- */

/* Lines end in LF; a byte order mark at the beginning of one is left out. */
static enum pmet_status copy_lines(const char *from, size_t n, char **text, size_t *n_text,
                                   struct pmet_error *err)
{
    char *out;
    size_t m = 0;
    PMET_TRY(pmet_calloc(&out, n + 1, 1, "a document", err));
    for (size_t i = 0; i < n; i++) {
        if ((m == 0 || out[m - 1] == '\n') && n - i >= 3 && memcmp(from + i, "\xef\xbb\xbf", 3) == 0)
            i += 2;
        else if (from[i] != '\r')
            out[m++] = from[i];
        else if (i + 1 == n || from[i + 1] != '\n')
            out[m++] = '\n';
    }
    out[m] = '\0';
    *text = out;
    *n_text = m;
    return PMET_OK;
}

/* The string itself; a byte order mark in front is left out. */
static enum pmet_status copy_string(const json_t *v, char **text, size_t *n, struct pmet_error *err)
{
    const char *from = json_string_value(v);
    size_t len = json_string_length(v);
    for (; len >= 3 && memcmp(from, "\xef\xbb\xbf", 3) == 0; len -= 3)
        from += 3;
    PMET_TRY(pmet_calloc(text, len + 1, 1, "a document", err));
    memcpy(*text, from, len);
    *n = len;
    return PMET_OK;
}

static enum pmet_status no_text(const struct file *f, size_t line, json_t *record, const json_t *v,
                                struct pmet_error *err)
{
    char keys[200] = "";
    size_t n = 0, n_key = 0;
    const char *key;
    json_t *ignored;
    if (!json_is_object(record))
        return pmet_fail(err, PMET_INPUT, "%s: line %zu: found %s; expected %s", f->name, line,
                         pmet_json_kind(record),
                         f->kind == PMET_TEXT_JSON_STRING_LINES ? "a string, as in the lines before it"
                                                                : "an object with \"text\"");
    if (v)
        return pmet_fail(err, PMET_INPUT, "%s: line %zu: text: found %s; expected a string%s", f->name, line,
                         pmet_json_kind(v),
                         json_is_array(v) || json_is_object(v) ? ", each text in a record of its own" : "");
    json_object_foreach(record, key, ignored)
    {
        if (n_key++ < 4 && n < sizeof keys)
            n += (size_t)snprintf(keys + n, sizeof keys - n, "%s\"%s\"", n ? ", " : "", key);
    }
    return pmet_fail(err, PMET_INPUT, "%s: line %zu: text: found nothing%s%s%s; expected a string", f->name,
                     line, n ? " beside " : "", keys, n_key > 4 ? ", ..." : "");
}

enum pmet_status pmet_docs_get(const struct pmet_docs *d, size_t i, char **text, size_t *n,
                               struct pmet_error *err)
{
    const struct pmet_doc_span *span = &d->doc[i];
    size_t lo = 0;
    for (size_t hi = d->n_file; hi - lo > 1;) { /* the last file that begins at document i or before */
        const size_t mid = lo + (hi - lo) / 2;
        *(d->file[mid].first_doc <= i ? &lo : &hi) = mid;
    }
    const struct file *f = &d->file[lo];
    const char *at = (f->map ? f->map : d->spooled + f->base) + span->at;
    const bool strings = f->kind == PMET_TEXT_JSON_STRING_LINES || f->kind == PMET_TEXT_JSON_STRING_ARRAY;
    json_t *json;
    if (f->kind >= PMET_TEXT_WIKIEXTRACTOR)
        return copy_lines(at, span->n, text, n, err);
    PMET_TRY(pmet_json_parse(at, span->n, f->name, span->line - 1, &json, err));
    const json_t *v = strings ? json : json_object_get(json, "text");
    const enum pmet_status status = json_is_string(v) ? copy_string(v, text, n, err)
                                                      : no_text(f, span->line, json, strings ? NULL : v, err);
    json_decref(json);
    return status;
}

/* ---- reading ---- */

/* Progress over all files. */
struct course {
    const struct pmet_listener *listener;
    uint64_t before, total; /* bytes of the files before this one; of all, or 0 */
};

static enum pmet_status tick(void *user, uint64_t n_read, uint64_t n_total, struct pmet_error *err)
{
    const struct course *c = user;
    (void)n_total;
    return pmet_raise_progress(c->listener, PMET_PHASE_TEXT, c->before + n_read, c->total, err);
}

static uint64_t size_of_all(const char *const *paths, size_t n_path)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n_path; i++) {
        struct stat st;
        if (strcmp(paths[i], "-") == 0 || stat(paths[i], &st) != 0 || !S_ISREG(st.st_mode))
            return 0;
        sum += (uint64_t)st.st_size;
    }
    return sum;
}

static enum pmet_status add_document(void *user, struct pmet_doc_span span, struct pmet_error *err)
{
    struct pmet_docs *d = user;
    if (d->n_doc == (size_t)1 << 27)
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: line %u: more than 2^27 documents; expected at most that: take a part",
                         d->file[d->n_file - 1].name, span.line);
    PMET_TRY(pmet_grow(&d->doc, &d->cap, d->n_doc + 1, sizeof *d->doc, "documents", err));
    d->doc[d->n_doc++] = span;
    return PMET_OK;
}

static enum pmet_status fill(struct reading *r, size_t enough, struct pmet_error *err)
{
    while (!r->ended && r->n < enough) {
        size_t got;
        PMET_TRY(pmet_stream_read(r->stream, r->buf + r->n, CHUNK - r->n, &got, err));
        r->ended = got == 0;
        r->n += got;
    }
    return PMET_OK;
}

static enum pmet_status not_text(const struct reading *r, unsigned char byte, struct pmet_error *err)
{
    const unsigned long long line = r->scan.line;
    if (byte == 0)
        return pmet_fail(err, PMET_FORMAT, "%s: line %llu: found a NUL byte; expected text", r->file->name,
                         line);
    return pmet_fail(
        err, PMET_FORMAT,
        "%s: line %llu: found byte 0x%02x; expected text in UTF-8: iconv -f ENCODING -t UTF-8 converts it",
        r->file->name, line, byte);
}

/* JSON values that do not end with their line. */
static bool is_over_lines(enum pmet_text_kind kind)
{
    return kind == PMET_TEXT_JSON_OBJECTS || kind == PMET_TEXT_JSON_ARRAY ||
           kind == PMET_TEXT_JSON_STRING_ARRAY;
}

/* Looks at the whole characters in the buffer; what remains of the last one comes to its front. */
static enum pmet_status take(struct reading *r, struct pmet_error *err)
{
    const size_t n = pmet_utf8_span(r->buf, r->n), left = r->n - n;
    const unsigned char next = left > 0 ? (unsigned char)r->buf[n] : 0;
    PMET_TRY(is_over_lines(r->file->kind) ? pmet_doc_scan_json(&r->scan, r->buf, n, err)
                                          : pmet_doc_scan_lines(&r->scan, r->buf, n, err));
    if (left >= 4 || (left > 0 && (r->ended || next < 0xc0)))
        return not_text(r, next, err);
    pmet_sha256_add(r->sha, r->buf, n);
    if (r->d->spool >= 0 && pmet_stream_file(r->stream) < 0) {
        PMET_TRY(pmet_write_all(r->d->io, r->d->spool, r->buf, n, "the text kept meanwhile in TMPDIR", err));
        r->d->n_spool += n;
    }
    r->file->n += n;
    memmove(r->buf, r->buf + n, left);
    r->n = left;
    return PMET_OK;
}

/* The form, a byte order mark apart, which stays in the sums but in no document. */
static enum pmet_status begin(struct reading *r, struct pmet_error *err)
{
    PMET_TRY(fill(r, PMET_TEXT_HEAD, err));
    const size_t mark = r->n >= 3 && memcmp(r->buf, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    const size_t row = pmet_text_form_of(r->buf + mark, r->n - mark);
    if (row >= PMET_TEXT_READ)
        return pmet_text_form_refuse(row, r->file->name, err);
    r->file->kind = (enum pmet_text_kind)row;
    r->file->packing = pmet_stream_packing(r->stream);
    r->scan = (struct pmet_doc_scan){
        .kind = r->file->kind, .name = r->file->name, .user = r->d, .found = add_document};
    pmet_doc_scan_begin(&r->scan);
    if (pmet_stream_file(r->stream) < 0 && r->d->spool < 0)
        PMET_TRY(pmet_spool_open(r->d->io, &r->d->spool, err));
    r->file->base = r->d->n_spool;
    return PMET_OK;
}

static enum pmet_status map(const struct pmet_io *io, int fd, uint64_t n, const char *name, char **out,
                            struct pmet_error *err)
{
    void *p = n > 0 ? io->map(io->user, fd, (size_t)n) : NULL;
    if (n > 0 && (p == NULL || p == (void *)-1))
        return pmet_fail_errno(err, name, "map");
    *out = p;
    return PMET_OK;
}

static enum pmet_status read_file(struct pmet_docs *d, const char *path, struct course *course, char *buf,
                                  struct pmet_sha256 *sha, struct pmet_error *err)
{
    const struct pmet_stream_tick on_tick = {course, tick};
    struct file *f = &d->file[d->n_file++];
    struct reading r = {.d = d, .file = f, .sha = sha, .buf = buf};
    struct stat st;
    enum pmet_status status;
    PMET_TRY(pmet_copy_text(path, &f->path, path, err));
    PMET_TRY(pmet_stream_open(d->io, f->path, &on_tick, &r.stream, err));
    f->name = pmet_stream_name(r.stream);
    f->first_doc = d->n_doc;
    PMET_GO(begin(&r, err));
    do {
        PMET_GO(take(&r, err));
        PMET_GO(fill(&r, r.n + 1, err));
    } while (!r.ended || r.n > 0);
    PMET_GO(is_over_lines(f->kind) ? pmet_doc_scan_json_end(&r.scan, err)
                                   : pmet_doc_scan_lines_end(&r.scan, err));
    if (pmet_stream_file(r.stream) >= 0)
        PMET_GO(map(d->io, pmet_stream_file(r.stream), f->n, f->name, &f->map, err));
    course->before += stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : f->n;
done:
    pmet_stream_close(r.stream);
    return status;
}

static enum pmet_status try_first(const struct pmet_docs *d, size_t file, struct pmet_error *err)
{
    char *text = NULL;
    size_t n;
    if (pmet_docs_file(d, file).n_docs == 0)
        return PMET_OK;
    const enum pmet_status status = pmet_docs_get(d, d->file[file].first_doc, &text, &n, err);
    free(text);
    return status;
}

static void note_forms(const struct pmet_docs *d, const struct pmet_listener *listener)
{
    for (size_t i = 0; d->n_file <= MANY_FILES && i < d->n_file; i++) {
        const struct pmet_docs_file f = pmet_docs_file(d, i);
        pmet_raise_note(listener, false, "%s: %s%s%s, %zu documents", f.name, f.form, *f.packing ? ", " : "",
                        f.packing, f.n_docs);
    }
    char forms[256];
    pmet_docs_forms(d, forms, sizeof forms);
    if (d->n_file > MANY_FILES)
        pmet_raise_note(listener, false, "%zu files: %s, %zu documents", d->n_file, forms, d->n_doc);
}

static enum pmet_status check_paths(const char *const *paths, size_t n_path, struct pmet_error *err)
{
    size_t n_stdin = 0;
    for (size_t i = 0; i < n_path; i++)
        n_stdin += strcmp(paths[i], "-") == 0;
    if (n_path == 0)
        return pmet_fail(err, PMET_INPUT, "text: no files are given");
    return n_stdin > 1 ? pmet_fail(err, PMET_INPUT, "-: standard input is given twice; it can be read once")
                       : PMET_OK;
}

enum pmet_status pmet_docs_open(const struct pmet_io *io, const char *const *paths, size_t n_path,
                                const struct pmet_listener *listener, struct pmet_docs **out,
                                struct pmet_error *err)
{
    struct course course = {listener, 0, size_of_all(paths, n_path)};
    struct pmet_docs *d = NULL;
    struct pmet_sha256 sha;
    char *buf = NULL;
    enum pmet_status status;
    PMET_TRY(check_paths(paths, n_path, err));
    PMET_GO(pmet_calloc(&d, 1, sizeof *d, "documents", err));
    d->io = io;
    d->spool = -1;
    PMET_GO(pmet_calloc(&d->file, n_path, sizeof *d->file, "documents", err));
    PMET_GO(pmet_calloc(&buf, CHUNK, 1, "documents", err));
    pmet_sha256_begin(&sha);
    for (size_t i = 0; i < n_path; i++)
        PMET_GO(read_file(d, paths[i], &course, buf, &sha, err));
    pmet_sha256_hex(&sha, d->sha256);
    if (d->spool >= 0)
        PMET_GO(map(io, d->spool, d->n_spool, "the text kept meanwhile in TMPDIR", &d->spooled, err));
    if (d->n_doc == 0)
        PMET_GO(
            pmet_fail(err, PMET_INPUT, "%s: %s", d->file[0].name,
                      n_path > 1 ? "neither this file nor the others hold documents" : "holds no documents"));
    for (size_t i = 0; i < n_path; i++) /* records of another kind are refused before the work */
        PMET_GO(try_first(d, i, err));
    note_forms(d, listener);
    *out = d;
    d = NULL;
done:
    pmet_docs_close(d);
    free(buf);
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
    if (d->spooled)
        d->io->unmap(d->io->user, d->spooled, d->n_spool);
    if (d->spool >= 0)
        d->io->close(d->io->user, d->spool);
    free(d->file);
    free(d->doc);
    free(d);
}

/* ---- what there is ---- */

size_t pmet_docs_count(const struct pmet_docs *d)
{
    return d->n_doc;
}

const char *pmet_docs_sha256(const struct pmet_docs *d)
{
    return d->sha256;
}

size_t pmet_docs_files(const struct pmet_docs *d)
{
    return d->n_file;
}

struct pmet_docs_file pmet_docs_file(const struct pmet_docs *d, size_t i)
{
    const struct file *f = &d->file[i];
    const size_t end = i + 1 < d->n_file ? f[1].first_doc : d->n_doc;
    return (struct pmet_docs_file){f->name, pmet_text_form(f->kind)->name, pmet_packing_name(f->packing),
                                   end - f->first_doc};
}

void pmet_docs_forms(const struct pmet_docs *d, char *text, size_t size)
{
    bool seen[PMET_TEXT_READ] = {false};
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < d->n_file; i++) {
        const enum pmet_text_kind kind = d->file[i].kind;
        if (!seen[kind] && n < size)
            n += (size_t)snprintf(text + n, size - n, "%s%s", n ? ", " : "", pmet_text_form(kind)->name);
        seen[kind] = true;
    }
}

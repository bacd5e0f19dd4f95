/* SPDX-License-Identifier: MIT */
#include "tensors/elements.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/json_python.h"
#include "tensors/sha256.h"

enum { CHUNK = 65536 };
static const size_t max_record = (size_t)64 << 20;

/* What the last failure was about, for pmet_elements_skip. */
enum fault {
    NO_FAULT,
    FAULT_VALUE,  /* at p stands a value that is no object */
    FAULT_OBJECT, /* the n_fault bytes from p on are no JSON object */
    FAULT_OPEN    /* the object at p does not end in this file, or is too long */
};

struct pmet_elements {
    const struct pmet_io *io;
    char *path, *label; /* "PATH: record N", for the parser's messages */
    size_t label_size;
    int fd;
    char *text; /* [n] of cap bytes: what was read and is not yet passed; p is the next byte */
    size_t p, n, cap;
    size_t line, record;             /* of the byte at p */
    size_t found_line, found_record; /* of the object last looked at */
    enum fault fault;
    size_t n_fault;
    bool begun, array, at_end, hashed; /* at_end: of the file */
    struct pmet_sha256 sha;
    char hex[65];
};

/* More bytes behind those at hand; none at the end of the file. What lies before p is given up. */
static enum pmet_status fill(struct pmet_elements *e, struct pmet_error *err)
{
    ssize_t got;
    if (e->p > 0) {
        memmove(e->text, e->text + e->p, e->n - e->p);
        e->n -= e->p;
        e->p = 0;
    }
    PMET_TRY(pmet_grow(&e->text, &e->cap, e->n + CHUNK, 1, e->path, err));
    do
        got = e->io->read(e->io->user, e->fd, e->text + e->n, CHUNK);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return pmet_fail_errno(err, e->path, "read");
    pmet_sha256_add(&e->sha, e->text + e->n, (size_t)got);
    e->n += (size_t)got;
    e->at_end = got == 0;
    return PMET_OK;
}

static void pass(struct pmet_elements *e, size_t n)
{
    for (size_t end = e->p + n; e->p < end; e->p++)
        e->line += e->text[e->p] == '\n';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* To the next byte that is not white space; *c -1 at the end of the file. */
static enum pmet_status next_byte(struct pmet_elements *e, int *c, struct pmet_error *err)
{
    for (;;) {
        while (e->p < e->n && is_blank(e->text[e->p]))
            pass(e, 1);
        if (e->p < e->n || e->at_end)
            break;
        PMET_TRY(fill(e, err));
    }
    *c = e->p < e->n ? (unsigned char)e->text[e->p] : -1;
    return PMET_OK;
}

static enum pmet_status refuse(const struct pmet_elements *e, int c, const char *expected,
                               struct pmet_error *err)
{
    char found[32] = "the end of the file";
    if (c > ' ' && c < 0x7f)
        snprintf(found, sizeof found, "'%c'", c);
    else if (c >= 0)
        snprintf(found, sizeof found, "byte 0x%02x", (unsigned)c);
    return pmet_fail(err, PMET_FORMAT, "%s: record %zu (line %zu): found %s; expected %s", e->path, e->record,
                     e->line, found, expected);
}

/* Bytes of the object that begins at p: to the brace that closes it, minding strings, or to a line
 * break inside a string or a control byte, which the parser will then refuse. Counting brackets of both kinds alike
 * is enough: where they do not match, the parser sees it. */
static enum pmet_status measure(struct pmet_elements *e, size_t *n, struct pmet_error *err)
{
    size_t depth = 0;
    bool in_string = false, escaped = false;
    e->fault = FAULT_OPEN;
    for (*n = 0;; ++*n) {
        if (*n == max_record)
            return pmet_fail(
                err, PMET_FORMAT,
                "%s: record %zu (line %zu): found more than %zu MiB; expected a record of at most "
                "that",
                e->path, e->record, e->line, max_record >> 20);
        while (e->p + *n == e->n && !e->at_end)
            PMET_TRY(fill(e, err));
        if (e->p + *n == e->n)
            return pmet_fail(err, PMET_FORMAT,
                             "%s: record %zu (line %zu): the file ends before the record does", e->path,
                             e->record, e->line);
        const char c = e->text[e->p + *n];
        bool ends = false;
        if ((unsigned char)c < ' ' && !is_blank(c))
            ends = true;
        else if (escaped)
            escaped = false;
        else if (in_string && c == '\\')
            escaped = true;
        else if (c == '"')
            in_string = !in_string;
        else if (in_string)
            ends = c == '\n';
        else if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            ends = --depth == 0;
        if (ends) {
            ++*n;
            e->fault = NO_FAULT;
            return PMET_OK;
        }
    }
}

static enum pmet_status begin(struct pmet_elements *e, int *c, struct pmet_error *err)
{
    e->begun = true;
    while (e->n < 3 && !e->at_end)
        PMET_TRY(fill(e, err));
    if (e->n >= 2 && (memcmp(e->text, "\xff\xfe", 2) == 0 || memcmp(e->text, "\xfe\xff", 2) == 0))
        return pmet_fail(err, PMET_FORMAT, "%s: found UTF-16; expected UTF-8: save it as that", e->path);
    if (e->n >= 3 && memcmp(e->text, "\xef\xbb\xbf", 3) == 0)
        pass(e, 3);
    PMET_TRY(next_byte(e, c, err));
    e->array = *c == '[';
    if (!e->array)
        return PMET_OK;
    pass(e, 1);
    return next_byte(e, c, err);
}

static enum pmet_status expect_object(struct pmet_elements *e, int c, struct pmet_error *err)
{
    if (c == '{')
        return PMET_OK;
    e->fault = c > ' ' && !strchr("]},:", c) ? FAULT_VALUE : NO_FAULT;
    return refuse(e, c, "an object", err);
}

/* To the first byte of the next object; *c -1 if there is none. */
static enum pmet_status seek(struct pmet_elements *e, int *c, struct pmet_error *err)
{
    if (e->begun)
        PMET_TRY(next_byte(e, c, err));
    else
        PMET_TRY(begin(e, c, err));
    if (!e->array)
        return *c < 0 ? PMET_OK : expect_object(e, *c, err);
    if (*c == ']') {
        pass(e, 1);
        PMET_TRY(next_byte(e, c, err));
        return *c < 0 ? PMET_OK : refuse(e, *c, "nothing after the array", err);
    }
    if (e->record > 0) {
        if (*c != ',')
            return refuse(e, *c, "',' or ']'", err);
        pass(e, 1);
        PMET_TRY(next_byte(e, c, err));
        if (*c == ']')
            return refuse(e, *c, "an object after the comma, or no comma", err);
    }
    return expect_object(e, *c, err);
}

static enum pmet_status parse(struct pmet_elements *e, size_t n, json_t **json, struct pmet_error *err)
{
    const char *text = e->text + e->p;
    char *changed = NULL;
    size_t n_changed;
    enum pmet_status status;
    size_t first = 1;
    while (first < n && is_blank(text[first]))
        first++;
    e->n_fault = n;
    if (first < n && text[first] == '\'') {
        e->fault = FAULT_OBJECT;
        return pmet_fail(
            err, PMET_FORMAT,
            "%s: record %zu (line %zu): found a quote '; expected \", as in JSON: Python's json.dump "
            "writes it, print and str do not",
            e->path, e->record, e->line);
    }
    snprintf(e->label, e->label_size, "%s: record %zu", e->path, e->record);
    PMET_GO(pmet_json_from_python(text, n, &changed, &n_changed, err));
    status =
        pmet_json_parse(changed ? changed : text, changed ? n_changed : n, e->label, e->line - 1, json, err);
done:
    free(changed);
    if (status == PMET_FORMAT)
        e->fault = FAULT_OBJECT;
    return status;
}

enum pmet_status pmet_elements_next(struct pmet_elements *e, json_t **json, bool *more,
                                    struct pmet_error *err)
{
    int c;
    size_t n;
    if (json)
        *json = NULL;
    e->fault = NO_FAULT;
    const enum pmet_status status = seek(e, &c, err);
    e->found_line = e->line;
    e->found_record = e->record;
    PMET_TRY(status);
    if (more)
        *more = c >= 0;
    if (c < 0)
        return PMET_OK;
    PMET_TRY(measure(e, &n, err));
    if (json)
        PMET_TRY(parse(e, n, json, err));
    e->record++;
    pass(e, n);
    return PMET_OK;
}

/* ---- skipping ---- */

/* Passes to the next line that begins with '{'; false at the end of the file. */
static bool pass_to_line(struct pmet_elements *e, struct pmet_error *err)
{
    for (;;) {
        while (e->n - e->p < 2 && !e->at_end)
            if (fill(e, err) != PMET_OK)
                return false;
        if (e->n - e->p < 2)
            return false;
        const bool found = e->text[e->p] == '\n' && e->text[e->p + 1] == '{';
        pass(e, 1);
        if (found)
            return true;
    }
}

/* The same within the n bytes of a record that did not end where it should have; else all of
 * them. */
static void pass_record(struct pmet_elements *e, size_t n)
{
    const char *line = e->array ? NULL : memmem(e->text + e->p, n, "\n{", 2);
    pass(e, line ? (size_t)(line - e->text) + 1 - e->p : n);
}

/* Passes a value of an array that is no object: to the comma or bracket behind it. */
static bool pass_value(struct pmet_elements *e, struct pmet_error *err)
{
    size_t depth = 0;
    bool in_string = false, escaped = false;
    for (size_t i = 0; i < max_record; i++) {
        while (e->p + i == e->n && !e->at_end)
            if (fill(e, err) != PMET_OK)
                return false;
        if (e->p + i == e->n)
            return false;
        const char c = e->text[e->p + i];
        if (!in_string && depth == 0 && (c == ',' || c == ']')) {
            pass(e, i);
            return true;
        }
        depth += !in_string && (c == '[' || c == '{');
        depth -= !in_string && depth > 0 && (c == ']' || c == '}');
        in_string = in_string != (c == '"' && !escaped);
        escaped = in_string && c == '\\' && !escaped;
    }
    return false;
}

bool pmet_elements_skip(struct pmet_elements *e)
{
    struct pmet_error ignored = {PMET_OK, ""};
    const enum fault fault = e->fault;
    e->fault = NO_FAULT;
    if (fault == NO_FAULT || (e->array && fault == FAULT_OPEN))
        return false;
    e->record++;
    if (e->array && fault == FAULT_VALUE)
        return pass_value(e, &ignored);
    if (fault == FAULT_OBJECT) {
        pass_record(e, e->n_fault);
        return true;
    }
    if (!pass_to_line(e, &ignored))
        pass(e, e->n - e->p); /* the rest of the file is one bad record */
    return ignored.status == PMET_OK;
}

size_t pmet_elements_record(const struct pmet_elements *e)
{
    return e->found_record;
}

size_t pmet_elements_line(const struct pmet_elements *e)
{
    return e->found_line;
}

const char *pmet_elements_sha256(struct pmet_elements *e)
{
    if (!e->hashed)
        pmet_sha256_hex(&e->sha, e->hex);
    e->hashed = true;
    return e->hex;
}

enum pmet_status pmet_elements_open(const struct pmet_io *io, const char *path, struct pmet_elements **out,
                                    struct pmet_error *err)
{
    struct pmet_elements *e;
    enum pmet_status status;
    const bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    PMET_TRY(pmet_calloc(&e, 1, sizeof *e, path, err));
    e->io = io;
    e->fd = -1;
    e->line = 1;
    e->label_size = strlen(name) + 40;
    pmet_sha256_begin(&e->sha);
    PMET_GO(pmet_copy_text(name, &e->path, path, err));
    PMET_GO(pmet_calloc(&e->label, e->label_size, 1, path, err));
    PMET_GO(pmet_calloc(&e->text, CHUNK, 1, path, err));
    e->cap = CHUNK;
    e->fd = standard ? 0 : io->open(io->user, path, O_RDONLY, 0);
    if (e->fd < 0)
        PMET_GO(pmet_fail_errno(err, path, "open"));
    *out = e;
    return PMET_OK;
done:
    pmet_elements_close(e);
    return status;
}

void pmet_elements_close(struct pmet_elements *e)
{
    if (!e)
        return;
    if (e->fd > 0)
        e->io->close(e->io->user, e->fd);
    free(e->path);
    free(e->label);
    free(e->text);
    free(e);
}

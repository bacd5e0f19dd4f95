/* SPDX-License-Identifier: MIT
 * Documents of the forms that are made of lines.      SPEC §7.1 */
#include "ref/facts/docs_scan.h"

#include <string.h>

void pmet_doc_scan_begin(struct pmet_doc_scan *s)
{
    const struct pmet_doc_scan given = *s;
    *s = (struct pmet_doc_scan){
        .kind = given.kind, .name = given.name, .user = given.user, .found = given.found};
    s->line = 1;
    s->blank = s->was_blank = true;
}

static enum pmet_status too_long(const struct pmet_doc_scan *s, uint64_t line, struct pmet_error *err)
{
    return pmet_fail(err, PMET_UNSUPPORTED,
                     "%s: line %llu: a document of more than %d MiB begins here; expected shorter ones, %s",
                     s->name, (unsigned long long)line, PMET_DOC_MAX >> 20,
                     s->kind == PMET_TEXT_PLAIN ? "parted by blank lines" : "each in its own record");
}

enum pmet_status pmet_doc_emit(struct pmet_doc_scan *s, uint64_t at, uint64_t stop, uint64_t line,
                               struct pmet_error *err)
{
    if (stop - at > PMET_DOC_MAX)
        return too_long(s, line, err);
    if (line > UINT32_MAX)
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: more than %u lines; expected at most that: split the file", s->name,
                         UINT32_MAX);
    return s->found(s->user, (struct pmet_doc_span){at, (uint32_t)(stop - at), (uint32_t)line}, err);
}

static enum pmet_status close_document(struct pmet_doc_scan *s, struct pmet_error *err)
{
    if (!s->open)
        return PMET_OK;
    s->open = false;
    return pmet_doc_emit(s, s->start, s->stop, s->start_line, err);
}

/* The line of [line_at, end) belongs to the document in progress, or begins one. */
static void extend(struct pmet_doc_scan *s, uint64_t end)
{
    if (!s->open) {
        s->open = true;
        s->start = s->line_at;
        s->start_line = s->line;
    }
    s->stop = end;
}

static enum pmet_status misplaced(const struct pmet_doc_scan *s, const char *found, const char *expected,
                                  struct pmet_error *err)
{
    return pmet_fail(err, PMET_FORMAT, "%s: line %llu: found %s; expected %s", s->name,
                     (unsigned long long)s->line, found, expected);
}

/* <doc ...> and </doc> stand on lines of their own; outside of them nothing does. A document without
 * lines has start = stop. */
static enum pmet_status wikiextractor_line(struct pmet_doc_scan *s, uint64_t end, struct pmet_error *err)
{
    const bool opens = s->n_head >= 5 && memcmp(s->head, "<doc ", 5) == 0,
               closes = s->n_head >= 6 && memcmp(s->head, "</doc>", 6) == 0;
    if (opens && s->open)
        return misplaced(s, "<doc ...> inside a document", "</doc> before it", err);
    if (!opens && !s->open && !s->blank)
        return misplaced(s, closes ? "</doc> outside of a document" : "text outside of a document",
                         "<doc ...> before it", err);
    if (closes)
        return close_document(s, err);
    if (opens) {
        s->open = true;
        s->start = s->stop = end;
        s->start_line = s->line;
    } else if (!s->blank) {
        s->start_line = s->stop == s->start ? s->line : s->start_line;
        s->start = s->stop == s->start ? s->line_at : s->start;
        s->stop = end;
    }
    return PMET_OK;
}

static enum pmet_status end_line(struct pmet_doc_scan *s, uint64_t end, struct pmet_error *err)
{
    switch (s->kind) {
    case PMET_TEXT_JSON_LINES:
    case PMET_TEXT_JSON_STRING_LINES:
        return s->blank ? PMET_OK : pmet_doc_emit(s, s->line_at, end, s->line, err);
    case PMET_TEXT_WIKIEXTRACTOR:
        return wikiextractor_line(s, end, err);
    case PMET_TEXT_WIKITEXT:
        if (s->was_blank && pmet_text_heading(s->head, s->n_head))
            PMET_TRY(close_document(s, err));
        if (!s->blank)
            extend(s, end);
        return PMET_OK;
    default:
        if (s->blank)
            return close_document(s, err);
        extend(s, end);
        return PMET_OK;
    }
}

static void begin_line(struct pmet_doc_scan *s, uint64_t at)
{
    s->was_blank = s->blank;
    s->blank = true;
    s->line_at = at;
    s->n_head = 0;
    s->line++;
}

/* Bytes of a line, none of which ends it. */
static enum pmet_status add_to_line(struct pmet_doc_scan *s, uint64_t at, const char *p, size_t n,
                                    struct pmet_error *err)
{
    while (s->line_at == at && n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        p += 3;
        n -= 3;
        at += 3;
        s->line_at = at;
    }
    for (size_t i = 0; s->blank && i < n; i++)
        s->blank = p[i] == ' ' || p[i] == '\t';
    const size_t more = n < PMET_DOC_LINE - s->n_head ? n : PMET_DOC_LINE - s->n_head;
    memcpy(s->head + s->n_head, p, more);
    s->n_head += more;
    if (!s->blank && at + n - (s->open ? s->start : s->line_at) > PMET_DOC_MAX)
        return too_long(s, s->open ? s->start_line : s->line, err);
    return PMET_OK;
}

enum pmet_status pmet_doc_scan_lines(struct pmet_doc_scan *s, const char *p, size_t n, struct pmet_error *err)
{
    for (size_t i = 0; i < n;) {
        size_t end = i;
        if (s->after_cr && p[i] == '\n') { /* the second half of a line's end */
            s->line_at++;
            s->after_cr = false;
            i++;
            continue;
        }
        s->after_cr = false;
        while (end < n && p[end] != '\n' && p[end] != '\r')
            end++;
        if (end > i)
            PMET_TRY(add_to_line(s, s->at + i, p + i, end - i, err));
        if (end < n) {
            PMET_TRY(end_line(s, s->at + end, err));
            begin_line(s, s->at + end + 1);
            s->after_cr = p[end] == '\r';
            end++;
        }
        i = end;
    }
    s->at += n;
    return PMET_OK;
}

enum pmet_status pmet_doc_scan_lines_end(struct pmet_doc_scan *s, struct pmet_error *err)
{
    if (s->at > s->line_at)
        PMET_TRY(end_line(s, s->at, err));
    if (s->open && s->kind == PMET_TEXT_WIKIEXTRACTOR)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: line %llu: the file ends inside a document; expected </doc>: is it cut off?",
                         s->name, (unsigned long long)s->line);
    return close_document(s, err);
}

/* SPDX-License-Identifier: MIT
 * Where the documents of a text are, found as its bytes pass by.      SPEC §7.1 */
#ifndef PMET_REF_FACTS_DOCS_SCAN_H
#define PMET_REF_FACTS_DOCS_SCAN_H

#include "ref/facts/text_form.h"

enum {
    PMET_DOC_MAX = 1 << 24, /* bytes of a document, or of the JSON value that holds it */
    PMET_DOC_LINE = 512     /* bytes of a line that are looked at */
};

/* A document: n bytes from `at`, first seen in `line`. For plain text and wikitext its lines without
 * the last line's end; for JSON the value. */
struct pmet_doc_span {
    uint64_t at;
    uint32_t n, line;
};

struct pmet_doc_scan {
    enum pmet_text_kind kind;
    const char *name; /* for messages */
    void *user;
    enum pmet_status (*found)(void *user, struct pmet_doc_span span, struct pmet_error *err);
    /* the scan's own */
    uint64_t at, line, line_at; /* bytes so far; lines begun; where the last one began */
    bool after_cr, blank;       /* the line before ended in CR; nothing but blanks in this one so far */
    bool was_blank;             /* the line before, or there is none */
    size_t n_head;
    char head[PMET_DOC_LINE]; /* of this line */
    bool open;                /* a document is in progress */
    uint64_t start, stop, start_line;
    int state; /* of JSON over several lines */
    size_t depth, n_value;
    bool escape;
};

/* Sets what is the scan's own. */
void pmet_doc_scan_begin(struct pmet_doc_scan *s);
/* A document, for `found`, if it is not too long. */
enum pmet_status pmet_doc_emit(struct pmet_doc_scan *s, uint64_t at, uint64_t stop, uint64_t line,
                               struct pmet_error *err);

/* The next n bytes, whole characters of UTF-8, and after the last of them: of the forms of lines
 * (ref/facts/docs_scan.c), and of JSON over several lines (ref/facts/docs_json.c). */
enum pmet_status pmet_doc_scan_lines(struct pmet_doc_scan *s, const char *p, size_t n,
                                     struct pmet_error *err);
enum pmet_status pmet_doc_scan_lines_end(struct pmet_doc_scan *s, struct pmet_error *err);
enum pmet_status pmet_doc_scan_json(struct pmet_doc_scan *s, const char *p, size_t n, struct pmet_error *err);
enum pmet_status pmet_doc_scan_json_end(struct pmet_doc_scan *s, struct pmet_error *err);

#endif

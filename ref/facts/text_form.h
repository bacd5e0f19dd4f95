/* SPDX-License-Identifier: MIT
 * What a file of text is, by its first bytes.      SPEC §7.1 */
#ifndef PMET_REF_FACTS_TEXT_FORM_H
#define PMET_REF_FACTS_TEXT_FORM_H

#include "tensors/status.h"

/* The forms that are read; the first rows of the table. */
enum pmet_text_kind {
    PMET_TEXT_JSON_LINES,
    PMET_TEXT_JSON_STRING_LINES,
    PMET_TEXT_JSON_OBJECTS,
    PMET_TEXT_JSON_ARRAY,
    PMET_TEXT_JSON_STRING_ARRAY,
    PMET_TEXT_WIKIEXTRACTOR,
    PMET_TEXT_WIKITEXT,
    PMET_TEXT_PLAIN,
    PMET_TEXT_READ /* number of them */
};

/* A row: what the form is called; for those that are refused, what to do, with FILE for the path. */
struct pmet_text_form {
    const char *name, *hint;
};
const struct pmet_text_form *pmet_text_form(size_t i); /* the i-th row, or NULL */

enum { PMET_TEXT_HEAD = 1 << 16 };
/* The row for a text that begins with these n bytes: PMET_TEXT_HEAD of them, or all there are. A
 * UTF-8 byte order mark in front must be left out. */
size_t pmet_text_form_of(const char *head, size_t n);
/* Refuses the text, for a row that is not read. */
enum pmet_status pmet_text_form_refuse(size_t row, const char *path, struct pmet_error *err);

/* Bytes of white space at the beginning of n bytes. */
size_t pmet_text_blanks(const char *p, size_t n);
/* A line is a heading of the first level in wikitext: "= Title =". */
bool pmet_text_heading(const char *line, size_t n);

#endif

/* SPDX-License-Identifier: MIT
 * For the readers of snippets files.      SPEC §11.7 */
#ifndef PMET_REF_TEXT_SNIPPETS_PRIVATE_H
#define PMET_REF_TEXT_SNIPPETS_PRIVATE_H

#include "ref/text/snippets.h"

/* One text of the file; the strings are the reader's. */
struct pmet_snippet {
    const char *relation_id, *target_id, *name, *text;
    size_t n; /* bytes of text */
};
typedef enum pmet_status pmet_on_snippet(void *user, const struct pmet_snippet *s, struct pmet_error *err);

/* Calls on_snippet for each text in the file's order. sha256 (65 bytes, or NULL) becomes that of
 * the file. */
enum pmet_status pmet_snippets_each(const struct pmet_io *io, const char *path, pmet_on_snippet *on_snippet,
                                    void *user, char *sha256, struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * Records that are left out because they are bad (--skip-invalid), with their places and why.
 * SPEC §9.1 */
#ifndef PMET_REF_FACTS_SKIPPED_H
#define PMET_REF_FACTS_SKIPPED_H

#include <jansson.h>
#include "tensors/status.h"

struct pmet_skipped {
    struct pmet_skipped_record {
        size_t record, line;
        char *why;
    } * item;
    size_t n, cap;
    size_t n_noted; /* of which there was a warning */
};

/* Whether a failure is that of a record, and not of the machine. */
bool pmet_skipped_may(enum pmet_status status);
/* Adds a record and what was said of it; *err is clear again. */
enum pmet_status pmet_skipped_add(struct pmet_skipped *s, size_t record, size_t line, struct pmet_error *err);
/* A warning for each of which there was none, up to 20, and their number. */
void pmet_skipped_note(struct pmet_skipped *s, const char *path, const struct pmet_listener *listener);
/* An array of {"record", "line", "why"}. */
json_t *pmet_skipped_json(const struct pmet_skipped *s);
void pmet_skipped_free(struct pmet_skipped *s);

#endif

/* SPDX-License-Identifier: MIT
 * pmet_edit.json, the record of an edited folder: what it is, and what it was edited from.
 * SPEC §9.5 */
#ifndef PMET_REF_JOB_RECORD_H
#define PMET_REF_JOB_RECORD_H

#include <jansson.h>
#include "tensors/io.h"

#define PMET_RECORD_FILE "pmet_edit.json"

struct pmet_record {
    json_t *json; /* NULL if the folder has none */
    char fingerprint[65];
    const char **ancestor; /* [n_ancestor] fingerprints of what it was edited from, nearest first; in json */
    size_t n_ancestor;
};
enum pmet_status pmet_record_read(const struct pmet_io *io, const char *dir, struct pmet_record *out,
                                  struct pmet_error *err);
/* The same, but a record that was written for weights of another fingerprint is left out, with a
 * warning. */
enum pmet_status pmet_record_read_of(const struct pmet_io *io, const char *dir, const char *fingerprint,
                                     const struct pmet_listener *listener, struct pmet_record *out,
                                     struct pmet_error *err);
void pmet_record_free(struct pmet_record *r);

#endif

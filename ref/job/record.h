/* SPDX-License-Identifier: MIT
 * pmet_edit.json, the record of an edited folder: what it is, and what it was edited from.
 * SPEC §9.5 */
#ifndef PMET_REF_JOB_RECORD_H
#define PMET_REF_JOB_RECORD_H

#include <jansson.h>
#include "ref/model/parts.h"
#include "tensors/io.h"

#define PMET_RECORD_FILE "pmet_edit.json"

struct pmet_record {
    json_t *json; /* NULL if the folder has none */
    char fingerprint[65];
    const char **ancestor; /* [n_ancestor] fingerprints of what it was edited from, nearest first; in json */
    size_t n_ancestor;
    struct pmet_parts parts, *ancestor_parts; /* [n_ancestor] of the same; "" in records that lack them */
};
enum pmet_status pmet_record_read(const struct pmet_io *io, const char *dir, struct pmet_record *out,
                                  struct pmet_error *err);
/* Whether it was written for the folder of this fingerprint, or for one with the same weights and
 * arithmetic. */
bool pmet_record_fits(const struct pmet_record *r, const char *fingerprint, const struct pmet_parts *parts);
/* The same as pmet_record_read, but a record that does not fit is left out, with a warning. */
enum pmet_status pmet_record_read_of(const struct pmet_io *io, const char *dir, const char *fingerprint,
                                     const struct pmet_parts *parts, const struct pmet_listener *listener,
                                     struct pmet_record *out, struct pmet_error *err);
void pmet_record_free(struct pmet_record *r);

#endif

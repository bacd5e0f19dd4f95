/* SPDX-License-Identifier: MIT */
#ifndef PMET_REF_EDIT_FACTS_RECORD_H
#define PMET_REF_EDIT_FACTS_RECORD_H

#include <jansson.h>
#include "ref/edit/facts.h"

/* One record in any of its forms; f->record and f->line serve messages, strings are the caller's to free,
 * also on failure. */
enum pmet_status pmet_fact_read(const json_t *record, const char *path, bool zsre_alt, struct pmet_fact *f,
                                struct pmet_error *err);

/* Facts with the same prompt and subject but other targets: refused, or all but the first or last dropped.
 * Counts those that share a subject. */
enum pmet_status pmet_facts_settle(struct pmet_facts *facts, enum pmet_conflicts conflicts,
                                   struct pmet_error *err);

#endif

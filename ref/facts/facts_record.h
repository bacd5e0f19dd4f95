/* SPDX-License-Identifier: MIT
 * The parts of reading facts: one record, and the contradictions between the facts of a file.
 * SPEC §4.1 */
#ifndef PMET_REF_FACTS_FACTS_RECORD_H
#define PMET_REF_FACTS_FACTS_RECORD_H

#include <jansson.h>
#include "ref/facts/facts.h"

/* One record, an object, in any of its forms. f->record and f->line serve messages; f->case_id is
 * set if the record has one. The caller frees the strings of f, also after a failure. */
enum pmet_status pmet_fact_read(const json_t *record, const char *path, bool zsre_alt, struct pmet_fact *f,
                                struct pmet_error *err);

/* The prompt with the subject in its (first) "{}", in a fresh string that free() releases. */
enum pmet_status pmet_fact_fill(const struct pmet_fact *f, char **out, struct pmet_error *err);

/* Facts that ask the same (their filled prompts are equal) but have other targets: refused with
 * both places, or all but the first's or last's target dropped. Counts the facts left that share a
 * subject. */
enum pmet_status pmet_facts_resolve(struct pmet_facts *facts, enum pmet_conflicts conflicts,
                                    struct pmet_error *err);

#endif

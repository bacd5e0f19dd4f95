/* SPDX-License-Identifier: MIT
 * The parts of reading facts: one record, and the contradictions between the facts of a file.
 * SPEC §4.1 */
#ifndef PMET_REF_FACTS_FACTS_RECORD_H
#define PMET_REF_FACTS_FACTS_RECORD_H

#include <jansson.h>
#include "ref/facts/facts.h"

/* One record, an object, in any of its forms, all that an edit needs. f->record and f->line serve
 * messages; f->case_id or f->case_name is set if the record has one. The caller frees f with
 * pmet_fact_free, also after a failure. */
enum pmet_status pmet_fact_read(json_t *record, const char *path, bool zsre_alt, struct pmet_fact *f,
                                struct pmet_error *err);

/* For an evaluation also f->target_true, from "target_true" or "ground_truth", if there is one. */
enum pmet_status pmet_fact_read_true(const json_t *record, const char *path, struct pmet_fact *f,
                                     struct pmet_error *err);
json_t *pmet_fact_id(const struct pmet_fact *f); /* its case_id, as the record has it */
void pmet_fact_free(struct pmet_fact *f);

/* A list of one is its element. */
const json_t *pmet_only(const json_t *v);
/* Refuses what is no text: "WHERE: found X; expected Y", Y being what to write instead. */
enum pmet_status pmet_text_check(const json_t *v, const char *where, struct pmet_error *err);

/* The prompt with the subject in its (first) "{}", in a fresh string that free() releases. */
enum pmet_status pmet_fact_fill(const struct pmet_fact *f, char **out, struct pmet_error *err);

/* Facts that ask the same (their filled prompts are equal) but have other targets: refused with
 * both places, or all but the first's or last's target dropped. Counts the facts left that share a
 * subject. */
enum pmet_status pmet_facts_resolve(struct pmet_facts *facts, enum pmet_conflicts conflicts,
                                    struct pmet_error *err);

#endif

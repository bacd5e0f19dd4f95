/* SPDX-License-Identifier: MIT
 * The journal of a work folder: what an edit has finished, so that the same edit, interrupted anywhere, goes on
 * and writes the same bytes.      SPEC §9.11 */
#ifndef PMET_REF_JOB_JOURNAL_H
#define PMET_REF_JOB_JOURNAL_H

#include <jansson.h>
#include "ref/method/pmet_edit.h"
#include "tensors/io.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pmet_fact_journal;

/* Opens dir/facts.journal, making folder and file if they are not there, and locks it: a second process is
 * refused. `head` says what the targets depend on; a journal begun with another is refused, naming the first key
 * that differs. Facts that it holds are put into targets; a torn end, as a kill leaves it, is cut off. A
 * record that is damaged, with others behind it, is refused with its byte. */
enum pmet_status pmet_fact_journal_open(const struct pmet_io *io, const char *dir, json_t *head,
                                        struct pmet_targets *targets, struct pmet_fact_journal **out,
                                        struct pmet_error *err);
/* Appends fact i, as settled. Given to the system at once; to the disk at least once a second. */
enum pmet_status pmet_fact_journal_add(struct pmet_fact_journal *j, const struct pmet_targets *targets,
                                       size_t i, struct pmet_error *err);
void pmet_fact_journal_close(struct pmet_fact_journal *j); /* accepts NULL */

#ifdef __cplusplus
}
#endif
#endif

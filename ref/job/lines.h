/* SPDX-License-Identifier: MIT
 * A file of lines that grows while work goes on, and outlives a kill: until it is complete the lines stand in
 * "PATH.partial", each behind a checksum; PATH appears whole.      SPEC §11.6 */
#ifndef PMET_REF_JOB_LINES_H
#define PMET_REF_JOB_LINES_H

#include "tensors/io.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pmet_lines;

/* Begins with the line `first`, or goes on with what an earlier run left: lines up to the first that is cut short or
 * does not fit its checksum. The first line is then the earlier run's: the caller compares. */
enum pmet_status pmet_lines_open(const struct pmet_io *io, const char *path, const char *first,
                                 struct pmet_lines **out, struct pmet_error *err);
size_t pmet_lines_count(const struct pmet_lines *j); /* of lines, the first included */
/* Line i, NUL-terminated, without its line break; stays until the next append. */
const char *pmet_lines_line(const struct pmet_lines *j, size_t i);
const char *pmet_lines_partial(const struct pmet_lines *j); /* "PATH.partial" */
enum pmet_status pmet_lines_append(struct pmet_lines *j, const char *line, struct pmet_error *err);
/* What was appended so far will be there after a power cut. */
enum pmet_status pmet_lines_sync(struct pmet_lines *j, struct pmet_error *err);
/* Writes PATH, then takes the partial file away. */
enum pmet_status pmet_lines_finish(struct pmet_lines *j, struct pmet_error *err);
void pmet_lines_close(struct pmet_lines *j); /* accepts NULL */

#ifdef __cplusplus
}
#endif
#endif

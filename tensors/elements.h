/* SPDX-License-Identifier: MIT
 * Files of many JSON objects, an array or JSON lines, read one object at a time: what is in memory
 * is one object, however long the file.      SPEC §9.1 */
#ifndef PMET_TENSORS_ELEMENTS_H
#define PMET_TENSORS_ELEMENTS_H

#include "tensors/json.h"

struct pmet_elements;

/* path "-" is standard input. A byte order mark is passed over; UTF-16 is refused. */
enum pmet_status pmet_elements_open(const struct pmet_io *io, const char *path, struct pmet_elements **out,
                                    struct pmet_error *err);
/* The next object in *json, the caller's to json_decref(); NULL at the end of the file. json may be
 * NULL, which walks over the object without parsing it; *more, which may be NULL, says whether
 * there was one. What Python's json writes and JSON does not have is read: NaN and the infinities
 * are null, an integer or number that is too large for JSON's reader is a real or null. Refused: an
 * object above 64 MiB. */
enum pmet_status pmet_elements_next(struct pmet_elements *e, json_t **json, bool *more,
                                    struct pmet_error *err);
/* After a failure of next that is one record's fault (what stands there is no object, or not JSON):
 * passes over that record and returns true. In JSON lines the next record begins in a line that
 * begins with '{'. False: the file cannot be read on. */
bool pmet_elements_skip(struct pmet_elements *e);
size_t pmet_elements_record(const struct pmet_elements *e); /* number of the object last looked at, from 0 */
size_t pmet_elements_line(const struct pmet_elements *e);   /* line where it begins, from 1 */
/* 64 hex digits of the file's bytes, once the end was reached; later calls give the same. */
const char *pmet_elements_sha256(struct pmet_elements *e);
void pmet_elements_close(struct pmet_elements *e); /* accepts NULL */

#endif

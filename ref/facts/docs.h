/* SPDX-License-Identifier: MIT
 * Documents for the second moments, sampled in the published order.      SPEC §7.1 */
#ifndef PMET_REF_FACTS_DOCS_H
#define PMET_REF_FACTS_DOCS_H

#include "tensors/io.h"

/* Documents of all files, in order. JSON lines (a document in each "text") if a file's first byte
 * that is not white space is '{', else plain text with documents parted by blank lines. The files
 * stay mapped: texts are found again by offset, not held, and a line is parsed only when it is
 * asked for. Refused: no documents at all, a byte order mark, a JSON array of objects. */
struct pmet_docs;
enum pmet_status pmet_docs_open(const struct pmet_io *io, const char *const *paths, size_t n_path,
                                struct pmet_docs **out, struct pmet_error *err);
void pmet_docs_close(struct pmet_docs *docs);
size_t pmet_docs_count(const struct pmet_docs *docs);
const char *pmet_docs_sha256(const struct pmet_docs *docs); /* of all files' bytes, in order */
/* Text of document i in a string that free() releases. Refused: what is not JSON, not UTF-8, or
 * holds a NUL. */
enum pmet_status pmet_docs_get(const struct pmet_docs *docs, size_t i, char **text, size_t *n,
                               struct pmet_error *err);

/* order[0..n) = 0..n-1 shuffled as CPython's random.Random(seed).shuffle does (MT19937). */
void pmet_shuffle(size_t *order, size_t n, uint32_t seed);

#endif

/* SPDX-License-Identifier: MIT
 * Documents for the second moments, sampled in the published order.      SPEC §7.1 */
#ifndef PMET_REF_FACTS_DOCS_H
#define PMET_REF_FACTS_DOCS_H

#include "tensors/io.h"

/* Documents of all files, in order: of JSON lines or arrays, wikitext, wikiextractor's output or
 * plain text, as each file's first bytes show (ref/facts/text_form.h). Each is read once, as a
 * stream; then texts are found again by offset in the mapped file, and a record is parsed only when
 * it is asked for. What has no offset ("-", which is standard input, a pipe, gzip, zstd) is kept
 * meanwhile in an unlinked file in $TMPDIR. A note names the form of each file; progress is in bytes
 * (PMET_PHASE_TEXT). Refused: no documents at all; other forms; what is not UTF-8 or holds a NUL; a
 * document of more than 16 MiB. */
struct pmet_docs;
struct pmet_listener;
enum pmet_status pmet_docs_open(const struct pmet_io *io, const char *const *paths, size_t n_path,
                                const struct pmet_listener *listener, struct pmet_docs **out,
                                struct pmet_error *err);
void pmet_docs_close(struct pmet_docs *docs);
size_t pmet_docs_count(const struct pmet_docs *docs);
const char *pmet_docs_sha256(const struct pmet_docs *docs); /* of all files' bytes, unpacked, in order */
/* Text of document i in a string that free() releases. Refused: what is not JSON, or has no "text"
 * (the first record of each file: by pmet_docs_open). */
enum pmet_status pmet_docs_get(const struct pmet_docs *docs, size_t i, char **text, size_t *n,
                               struct pmet_error *err);

/* What file i is. */
struct pmet_docs_file {
    const char *name;    /* its path, or "standard input" */
    const char *form;    /* a name of the table of forms */
    const char *packing; /* "gzip", "zstd" or "" */
    size_t n_docs;
};
size_t pmet_docs_files(const struct pmet_docs *docs);
struct pmet_docs_file pmet_docs_file(const struct pmet_docs *docs, size_t i);
/* The forms of all files, each once: "plain text, JSON lines of records". */
void pmet_docs_forms(const struct pmet_docs *docs, char *text, size_t size);

/* order[0..n) = 0..n-1 shuffled as CPython's random.Random(seed).shuffle does (MT19937). */
void pmet_shuffle(size_t *order, size_t n, uint32_t seed);

#endif

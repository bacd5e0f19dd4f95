/* SPDX-License-Identifier: MIT
 * The store of everything that resumes after a kill, a signal or a failed call.      SPEC §9.11
 *
 *   journal   records, only ever appended, each
 *                 u64 n | n bytes | 64 hex digits, the SHA-256 of both
 *             little-endian. The first is the head: a JSON object that says what the others depend
 *             on. A journal with another head is refused, naming the first key that differs; a torn
 *             end, as a kill or a power cut leaves it, is cut off; a damaged record with whole ones
 *             behind it is refused with its byte.
 *   arrays    DIR/NAME.safetensors, each with the key of what it was computed from (64 hex digits)
 *             and the SHA-256 of its contents in its metadata. An array with another key or with
 *             damaged contents counts as missing. */
#ifndef PMET_REF_STORE_STORE_H
#define PMET_REF_STORE_STORE_H

#include <jansson.h>
#include "tensors/safetensors.h"

struct pmet_store;

/* Makes the folder if there is none and locks it: a second process is refused. `dir` must outlive
 * the store. */
enum pmet_status pmet_store_open(const struct pmet_io *io, const char *dir, struct pmet_store **out,
                                 struct pmet_error *err);
void pmet_store_close(struct pmet_store *s); /* accepts NULL */
/* The i-th temporary file that killed runs had left in the folder, removed when it was opened; or
 * NULL. */
const char *pmet_store_left(const struct pmet_store *s, size_t i);
const char *pmet_store_dir(const struct pmet_store *s);

/* ---- journals (journal of a store, or a file of its own) ---- */

struct pmet_journal;

#define PMET_MAX_RECORD ((size_t)1 << 26) /* bytes; a fact takes some 100 KiB, an evaluation less */

/* Receives every whole record of an earlier run but the head, in order, while the journal is
 * opened. */
typedef enum pmet_status pmet_take_record(void *user, const void *data, size_t n_bytes,
                                          struct pmet_error *err);

/* DIR/NAME.journal of a store, made if there is none. `head` stays the caller's; NULL: out of
 * memory when it was made. `what` names the work in messages: "this edit has". `take` may be NULL
 * where records are not expected. */
enum pmet_status pmet_journal_open(struct pmet_store *s, const char *name, json_t *head, const char *what,
                                   pmet_take_record *take, void *user, struct pmet_journal **out,
                                   struct pmet_error *err);
/* The file `path` as a journal, locked by itself. */
enum pmet_status pmet_journal_open_file(const struct pmet_io *io, const char *path, json_t *head,
                                        const char *what, pmet_take_record *take, void *user,
                                        struct pmet_journal **out, struct pmet_error *err);
/* Given to the system at once; to the disk at least once a second. */
enum pmet_status pmet_journal_append(struct pmet_journal *j, const void *data, size_t n_bytes,
                                     struct pmet_error *err);
/* All that was appended is on the disk. */
enum pmet_status pmet_journal_sync(struct pmet_journal *j, struct pmet_error *err);
const char *pmet_journal_path(const struct pmet_journal *j);
void pmet_journal_close(struct pmet_journal *j); /* accepts NULL */

/* ---- arrays ---- */

/* Writes DIR/NAME.safetensors, atomically and synced. A pair may not be called "key", "sha256" or
 * "format". */
enum pmet_status pmet_store_put(struct pmet_store *s, const char *name, const char key[65],
                                const struct pmet_tensor *tensor, size_t n_tensor,
                                const struct pmet_pair *pair, size_t n_pair, struct pmet_error *err);
/* *out is NULL where there is no array with this key, n_bytes of elements and whole contents. Fails
 * only where the system or memory does. */
enum pmet_status pmet_store_get(struct pmet_store *s, const char *name, const char key[65], size_t n_bytes,
                                struct pmet_safetensors **out, struct pmet_error *err);
/* Removes arrays and journals of the store whose names are `prefix` and numbers ("sum-1-", "stats").
 * What cannot be removed does no harm: it is known by its key. */
void pmet_store_remove(struct pmet_store *s, const char *prefix);

/* SHA-256 of a JSON value in its canonical form (compact, keys sorted), and of n_more bytes behind
 * it. NULL: out of memory when the value was made. */
enum pmet_status pmet_digest_json(const json_t *json, const void *more, size_t n_more, char hex[65],
                                  struct pmet_error *err);

#endif

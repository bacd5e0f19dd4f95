/* SPDX-License-Identifier: MIT
 * Bytes of a file, a pipe or standard input, one after the other; gzip and zstd are undone on the
 * way. */
#ifndef PMET_TENSORS_STREAM_H
#define PMET_TENSORS_STREAM_H

#include "tensors/io.h"
#include "tensors/unpack.h"

struct pmet_stream;

/* Called before each reading, and four times a second while a pipe has nothing: n_read bytes of
 * n_total (0: not known, a pipe). A status that is not PMET_OK ends the reading with it. */
struct pmet_stream_tick {
    void *user;
    enum pmet_status (*tick)(void *user, uint64_t n_read, uint64_t n_total, struct pmet_error *err);
};

/* path "-" is standard input, and reads so in messages. A folder is refused. */
enum pmet_status pmet_stream_open(const struct pmet_io *io, const char *path,
                                  const struct pmet_stream_tick *tick, struct pmet_stream **out,
                                  struct pmet_error *err);
/* The next *got <= n bytes; 0 at the end only. Refused: packed data that is damaged or cut off. */
enum pmet_status pmet_stream_read(struct pmet_stream *s, void *buf, size_t n, size_t *got,
                                  struct pmet_error *err);
enum pmet_packing pmet_stream_packing(const struct pmet_stream *s); /* known after the first read */
/* The descriptor of a file whose bytes from its beginning are those that were read, so that it can
 * be mapped; -1 for all others. Known after the first read. */
int pmet_stream_file(const struct pmet_stream *s);
const char *pmet_stream_name(const struct pmet_stream *s); /* the path, or "standard input" */
void pmet_stream_close(struct pmet_stream *s);             /* accepts NULL */

/* An unlinked file in $TMPDIR, else /tmp, open for reading and writing; close ends it. */
enum pmet_status pmet_spool_open(const struct pmet_io *io, int *fd, struct pmet_error *err);

#endif

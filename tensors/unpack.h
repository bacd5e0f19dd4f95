/* SPDX-License-Identifier: MIT
 * Compressed data undone a piece at a time: gzip (RFC 1952) and zstd (RFC 8878), with any number of
 * members or frames one after the other. */
#ifndef PMET_TENSORS_UNPACK_H
#define PMET_TENSORS_UNPACK_H

#include <stdint.h>
#include "tensors/status.h"

enum pmet_packing { PMET_PACKING_NONE, PMET_PACKING_GZIP, PMET_PACKING_ZSTD };

/* Of data that begins with these n bytes; four of them are enough. */
enum pmet_packing pmet_packing_of(const void *data, size_t n);
const char *pmet_packing_name(enum pmet_packing packing); /* "gzip"; "" for none */

/* A piece of input and how far it is read; a piece of output and how far it is filled. */
struct pmet_piece {
    const unsigned char *in;
    size_t n_in, at_in;
    unsigned char *out;
    size_t n_out, at_out;
};

struct pmet_unpack;
/* `path` serves messages, and must outlive it. */
enum pmet_status pmet_unpack_open(enum pmet_packing packing, const char *path, struct pmet_unpack **out,
                                  struct pmet_error *err);
/* Goes on until the input is read or the output is full. Refused, with the byte of the packed data:
 * damage; more than 256 bytes a packed one beyond the first GiB, which no text gives. Nothing is
 * held but the window of the format, 128 MiB at most. */
enum pmet_status pmet_unpack_step(struct pmet_unpack *u, struct pmet_piece *piece, struct pmet_error *err);
/* After the last input: refused where a member is not complete. */
enum pmet_status pmet_unpack_end(const struct pmet_unpack *u, struct pmet_error *err);
void pmet_unpack_close(struct pmet_unpack *u); /* accepts NULL */

#endif

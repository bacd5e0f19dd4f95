/* SPDX-License-Identifier: MIT
 * Zip archives, mapped: members that are stored are read in place, deflated ones are unpacked. Sizes
 * come from the central directory (writers that stream leave the local ones empty), with ZIP64's
 * wide fields; every number is checked before it is used.      SPEC §9.4 */
#ifndef PMET_TENSORS_ZIP_H
#define PMET_TENSORS_ZIP_H

#include "tensors/io.h"

struct pmet_zip_member {
    const char *name;
    const unsigned char *data; /* in the file, [n_packed]; NULL if `unreadable` */
    size_t n_packed, n_bytes;  /* in the file, and unpacked; equal unless it is deflated */
    uint32_t crc;
    bool deflated;
    const char *unreadable; /* why: "is encrypted", "is compressed by another method than deflate" */
};

struct pmet_zip {
    const struct pmet_io *io;
    char *path;
    unsigned char *map;
    size_t n_map;
    struct pmet_zip_member *member; /* [n_member] by name */
    size_t n_member, n_filled;      /* n_filled: whose names are there, while it is opened */
};

enum pmet_status pmet_zip_open(const struct pmet_io *io, const char *path, struct pmet_zip **out,
                               struct pmet_error *err);
void pmet_zip_close(struct pmet_zip *zip);                                                 /* accepts NULL */
const struct pmet_zip_member *pmet_zip_find(const struct pmet_zip *zip, const char *name); /* or NULL */

/* The first n bytes, at most m->n_bytes, of a deflated member into out[n]. */
enum pmet_status pmet_zip_unpack(const struct pmet_zip *zip, const struct pmet_zip_member *m, void *out,
                                 size_t n, struct pmet_error *err);
/* data, the member's n_bytes unpacked, fit the CRC-32 that the archive gives for them. Reads all of
 * them. */
bool pmet_zip_intact(const struct pmet_zip_member *m, const void *data);

#endif

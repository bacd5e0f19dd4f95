/* SPDX-License-Identifier: MIT
 * What a file or folder is, by its content: for messages, when it is not what was expected, and for
 * pmet inspect.      SPEC §9.13 */
#ifndef PMET_TENSORS_KIND_H
#define PMET_TENSORS_KIND_H

#include "tensors/io.h"

enum pmet_kind {
    PMET_KIND_UNKNOWN,
    PMET_KIND_EMPTY,
    PMET_KIND_MODEL, /* a folder */
    PMET_KIND_STATS, /* a folder */
    PMET_KIND_WORK,  /* a folder */
    PMET_KIND_FOLDER,
    PMET_KIND_TENSORS, /* safetensors */
    PMET_KIND_TORCH,   /* a .bin checkpoint */
    PMET_KIND_MOMENT,  /* a file of second moments, ours or published */
    PMET_KIND_PART,    /* a file of a model's folder, but for its weights */
    PMET_KIND_FACTS,
    PMET_KIND_HPARAMS,
    PMET_KIND_CONTEXTS,
    PMET_KIND_STRINGS, /* a JSON array of strings: prompts */
    PMET_KIND_SNIPPETS,
    PMET_KIND_TEXT,   /* documents, or text of any kind */
    PMET_KIND_RESULT, /* what pmet has written for people and scripts */
    PMET_KIND_FOREIGN /* nothing of the program reads it */
};

struct pmet_found {
    enum pmet_kind kind;
    const char *what; /* "CounterFact records", "an empty file"; never NULL */
    const char *hint; /* how to make of it something that can be read, or NULL */
};

/* Reads no more than the first 64 KiB of a file, and of a folder its names. Pipes and devices are
 * unknown: what is read of them is lost. Fails where there is nothing, or it cannot be opened. */
enum pmet_status pmet_kind_of(const struct pmet_io *io, const char *path, struct pmet_found *out,
                              struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * Facts to edit, read from CounterFact records, zsRE records or the plain form, as a JSON array or
 * JSON lines.      SPEC §4.1 */
#ifndef PMET_REF_FACTS_FACTS_H
#define PMET_REF_FACTS_FACTS_H

#include "ref/facts/skipped.h"
#include "tensors/io.h"

struct pmet_fact {
    char *prompt; /* exactly one "{}" (more only where the published code takes them: refused by rows) */
    char *subject;
    char *target;      /* as in the file: the leading space is added by rows */
    char *target_true; /* of an evaluation's record, or NULL */
    int64_t case_id;   /* the record's, or its number */
    char *case_name;   /* the record's, where it is a string; or NULL */
    size_t record;     /* number in the file, from 0 */
    size_t line;       /* line of the file where it begins, from 1 */
};

struct pmet_facts_options {
    size_t limit; /* the first facts of the file; 0: all */
    enum pmet_conflicts conflicts;
    bool zsre_alt;     /* zsRE: target from "alt" rather than answers[0] */
    bool skip_invalid; /* leave bad records out, and say so in `skipped` */
};

struct pmet_facts {
    struct pmet_fact *fact;
    size_t n_fact;
    size_t n_shared_subject; /* facts whose subject another fact has, too */
    size_t n_dropped;        /* by conflicts first|last */
    struct pmet_skipped skipped;
    char *path;
    char sha256[65]; /* of the file's bytes */
};

enum pmet_status pmet_facts_load(const struct pmet_io *io, const char *path,
                                 struct pmet_facts_options options, struct pmet_facts *out,
                                 struct pmet_error *err);
/* Takes fact i out, for the reason in *err, which is clear again. */
enum pmet_status pmet_facts_skip(struct pmet_facts *facts, size_t i, struct pmet_error *err);
void pmet_facts_free(struct pmet_facts *facts);

#endif

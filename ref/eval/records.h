/* SPDX-License-Identifier: MIT
 * Records to evaluate a model by: CounterFact's and zsRE's, as published, and plain facts with what
 * EasyEdit and KnowEdit put beside them, read one at a time.      SPEC §11.1 */
#ifndef PMET_REF_EVAL_RECORDS_H
#define PMET_REF_EVAL_RECORDS_H

#include "ref/facts/facts.h"
#include "tensors/elements.h"

enum pmet_record_kind { PMET_COUNTERFACT, PMET_ZSRE, PMET_PLAIN };

/* A list of a record; text NULL where the record does not have it. */
struct pmet_prompts {
    const char **text;   /* [n] not empty */
    const char **answer; /* [n] of each prompt its own; NULL: they ask for the fact's targets */
    size_t n;
};

/* Strings that fact does not own belong to json. */
struct pmet_eval_record {
    enum pmet_record_kind kind;
    struct pmet_fact fact;                                    /* what was edited; target_true or NULL */
    char *rewrite;                                            /* the prompt with the subject in it */
    struct pmet_prompts paraphrase, neighborhood, generation; /* zsRE: one, loc + "?", none */
    struct pmet_prompts portability;                          /* what follows from the fact, with answers */
    const char *relation_id, *target_id;                      /* CounterFact, or NULL */
    char *loc;                                                /* owns neighborhood.text[0] of zsRE */
    json_t *json;                                             /* the whole record */
};

/* The file's records, one after the other. limit: the first of the file, 0: all. */
struct pmet_records;
enum pmet_status pmet_records_open(const struct pmet_io *io, const char *path, size_t limit,
                                   bool skip_invalid, struct pmet_records **out, struct pmet_error *err);
/* The next record; *more false at the end. Refused, naming file, record, line and field: neither
 * form, a value of the wrong kind, an empty text, a prompt whose hole is not there once, zsRE's
 * `loc` without "nq question: ". With skip_invalid such records are passed over. */
enum pmet_status pmet_records_next(struct pmet_records *r, struct pmet_eval_record *out, bool *more,
                                   struct pmet_error *err);
/* The records passed over so far, to add to. */
struct pmet_skipped *pmet_records_skipped(struct pmet_records *r);
/* Of the whole file, once the end was reached. */
const char *pmet_records_sha256(struct pmet_records *r);
void pmet_records_close(struct pmet_records *r); /* accepts NULL */
void pmet_eval_record_free(struct pmet_eval_record *record);

#endif

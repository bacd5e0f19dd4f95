/* SPDX-License-Identifier: MIT
 * The three parts of a fingerprint: what a model computes with, how, and on what tokens. They tell
 * whether a folder that was saved anew still holds the same model.      SPEC §9.6 */
#ifndef PMET_REF_MODEL_PARTS_H
#define PMET_REF_MODEL_PARTS_H

#include "ref/model/load.h"

/* SHA-256 in hex; "" where a part is not known, as in files of earlier versions. */
struct pmet_parts {
    char weights[65];   /* of the tensors that the model reads, whatever their names and order */
    char config[65];    /* of what config.json says of the arithmetic, however it is spelled */
    char tokenizer[65]; /* of the bytes of the tokenizer's files */
};

enum pmet_status pmet_model_parts(const struct pmet_model *model, struct pmet_parts *out,
                                  struct pmet_error *err);
/* Weights and arithmetic are known and the same: all that second moments and edits depend on, but
 * for tokens. */
bool pmet_parts_agree(const struct pmet_parts *a, const struct pmet_parts *b);
/* Of two that agree, and whose folders differ: in what. */
const char *pmet_parts_difference(const struct pmet_parts *a, const struct pmet_parts *b);

#endif

/* SPDX-License-Identifier: MIT
 * What EasyEdit's hyper-parameter files hold beside the keys of a method.      SPEC §9.3 */
#ifndef PMET_REF_FACTS_EASYEDIT_H
#define PMET_REF_FACTS_EASYEDIT_H

#include "ref/facts/hparams.h"

/* Whether it is a key of EasyEdit's that the method does not have. */
bool pmet_easyedit_key(const struct pmet_hparam_set *set, const char *name);

/* Takes these keys from a file's object: out->passed_over names those that say nothing of the
 * method, out->batch_size receives that one. Refused: a file of another method, which is named, and
 * values that would change what is computed. */
enum pmet_status pmet_easyedit_take(const json_t *root, const char *path, struct pmet_hparams *out,
                                    struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * The keys of PMET's hyper-parameter files.      SPEC §9.3 */
#ifndef PMET_REF_METHOD_PMET_HPARAMS_H
#define PMET_REF_METHOD_PMET_HPARAMS_H

#include "ref/facts/hparams.h"

extern const struct pmet_hparam_set pmet_hparams_pmet;

#endif

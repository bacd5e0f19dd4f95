/* SPDX-License-Identifier: MIT
 * Models of all families as compositions of operators.      SPEC §3 */
#ifndef PMET_REF_MODEL_MODEL_H
#define PMET_REF_MODEL_MODEL_H

#include "ref/model/backward.h" /* gradients of activations */
#include "ref/model/batch.h"    /* rows, cache, scratch */
#include "ref/model/family.h"   /* what differs between families */
#include "ref/model/forward.h"  /* embedding, blocks, head */
#include "ref/model/load.h"     /* weights */

#endif

/* SPDX-License-Identifier: MIT */
#ifndef PMET_TENSORS_KIND_PRIVATE_H
#define PMET_TENSORS_KIND_PRIVATE_H

#include "tensors/kind.h"

/* Of the beginning of a file, whose first character that is not blank is a bracket of JSON. */
struct pmet_found pmet_kind_of_json(const char *text, size_t n);

#endif

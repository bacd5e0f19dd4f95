/* SPDX-License-Identifier: MIT
 * Values that Python's json module writes and reads, and that JSON does not have.      SPEC §9.1 */
#ifndef PMET_TENSORS_JSON_PYTHON_H
#define PMET_TENSORS_JSON_PYTHON_H

#include "tensors/status.h"

/* A copy of a text in *out, which free() releases, with such values outside strings replaced: NaN,
 * Infinity, -Infinity and numbers beyond a double by null, integers beyond 64 bits by a real. NULL
 * in *out where there are none. */
enum pmet_status pmet_json_from_python(const char *text, size_t n, char **out, size_t *n_out,
                                       struct pmet_error *err);

#endif

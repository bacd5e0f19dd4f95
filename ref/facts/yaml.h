/* SPDX-License-Identifier: MIT
 * Hyper-parameters written as YAML, read through libyaml: one flat map, as PyYAML's safe_load and
 * EasyEdit read it.      SPEC §9.3 */
#ifndef PMET_REF_FACTS_YAML_H
#define PMET_REF_FACTS_YAML_H

#include <jansson.h>
#include "tensors/status.h"

/* n bytes of YAML as an object: names, then scalars or lists of scalars (lists of lists, too). A
 * name that comes twice must have the same value. The caller json_decref()s *out. Refused, with
 * line: what is not YAML, a map inside the map, a second document, merge keys, tags beyond those of
 * scalars, and numbers that YAML 1.1 and 1.2 read differently. `path` serves messages. */
enum pmet_status pmet_yaml_parse(const char *text, size_t n, const char *path, json_t **out,
                                 struct pmet_error *err);

#endif

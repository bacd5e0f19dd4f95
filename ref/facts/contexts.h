/* SPDX-License-Identifier: MIT
 * Context templates, in groups: [["{}"], [five generated templates]]. The nesting sets the weights
 * of the keys.      SPEC §4.2, §6 */
#ifndef PMET_REF_FACTS_CONTEXTS_H
#define PMET_REF_FACTS_CONTEXTS_H

#include <jansson.h>
#include "tensors/io.h"

struct pmet_contexts {
    size_t n_group, n_template;
    size_t *group_start; /* [n_group + 1] into text */
    char **text;         /* [n_template], each with exactly one "{}"; text[0] is "{}" */
};

/* From a nested JSON list as published, or a flat one, which means [["{}"], the rest] ("{}" itself
 * is dropped from the rest if it leads). The first template must be "{}". */
enum pmet_status pmet_contexts_load(const struct pmet_io *io, const char *path, struct pmet_contexts *out,
                                    struct pmet_error *err);
/* Builds [["{}"], texts] from n generated texts: braces become spaces and ". {}" is appended to
 * each. */
enum pmet_status pmet_contexts_from_texts(const char *const *texts, size_t n, struct pmet_contexts *out,
                                          struct pmet_error *err);
/* The nested list; NULL if memory runs out. */
json_t *pmet_contexts_json(const struct pmet_contexts *contexts);
/* Writes the nested JSON list, atomically. Refused: a text that is not UTF-8. */
enum pmet_status pmet_contexts_save(const struct pmet_io *io, const char *path,
                                    const struct pmet_contexts *contexts, struct pmet_error *err);
void pmet_contexts_free(struct pmet_contexts *contexts);

#endif

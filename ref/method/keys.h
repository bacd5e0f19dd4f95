/* SPDX-License-Identifier: MIT
 * Keys (what enters an edited matrix at the lookup index) over the contexts, and current outputs at
 * layer L. SPEC §6, §8.1 */
#ifndef PMET_REF_METHOD_KEYS_H
#define PMET_REF_METHOD_KEYS_H

#include "ref/facts/rows.h"
#include "ref/model/model.h"

/* Rows of all facts, without target tokens, with the weights of their contexts; states below the
 * first edited layer are kept as far as max_bytes allows, since edits never change them. */
struct pmet_key_rows;
enum pmet_status pmet_key_rows_open(const struct pmet_model *model, const struct pmet_fact_rows *rows,
                                    size_t n_fact, const struct pmet_contexts *contexts, size_t first_layer,
                                    size_t max_bytes, struct pmet_key_rows **out, struct pmet_error *err);
void pmet_key_rows_close(struct pmet_key_rows *kr); /* accepts NULL */
/* Bytes of (dev) memory that they take at most. */
double pmet_key_rows_bytes(const struct pmet_model *model);

/* K [n_fact, d_in]: the mean over context groups of the mean over the group's contexts of the key
 * of `module` at `layer`, with the model as edited so far. per_context, if given, receives [n_fact,
 * n_context, d_in]. */
enum pmet_status pmet_keys(struct pmet_key_rows *kr, enum pmet_module module, size_t layer, real *K,
                           real *per_context, struct pmet_error *err);
/* M [n_fact, d_model]: what `site` of `layer` (an output) has at the lookup index of the plain
 * prompt. */
enum pmet_status pmet_current_outputs(struct pmet_key_rows *kr, enum pmet_site site, size_t layer, real *M,
                                      struct pmet_error *err);

#endif

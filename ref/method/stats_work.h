/* SPDX-License-Identifier: MIT
 * Sums of second moments kept while they are collected, so that hours of text are not read twice.    SPEC §9.11 */
#ifndef PMET_REF_METHOD_STATS_WORK_H
#define PMET_REF_METHOD_STATS_WORK_H

#include "ref/method/stats.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pmet_stats_work;

/* A work folder, made if it is not there and locked: a second process is refused. The text is known by its hash.
 * The strings must stay. */
enum pmet_status pmet_stats_work_open(const struct pmet_io *io, const char *dir, const char *fingerprint,
                                      const char *text_sha256, struct pmet_stats_work **out,
                                      struct pmet_error *err);
void pmet_stats_work_close(struct pmet_stats_work *w); /* accepts NULL */
/* The sums are no longer needed: removes them. */
void pmet_stats_work_discard(struct pmet_stats_work *w);
/* Documents that what is kept has seen. */
size_t pmet_stats_work_kept(const struct pmet_stats_work *w);

/* ---- for pmet_stats_collect: sum[i] (dev) is moment i's, out->moment lists them ---- */

/* What was kept of the same collection, if anything: the sums, out's counts, and *next, the first document that
 * they lack. Sums of another collection are refused, naming the first key that differs. */
enum pmet_status pmet_stats_recall(struct pmet_stats_work *w, const struct pmet_model *model,
                                   const struct pmet_stats_options *options, real *const *sum,
                                   struct pmet_stats *out, size_t *next, struct pmet_error *err);
/* Keeps the sums of the documents before `next`, if enough time has passed that writing costs little beside
 * computing. */
enum pmet_status pmet_stats_keep(struct pmet_stats_work *w, const struct pmet_model *model,
                                 const struct pmet_stats_options *options, real *const *sum,
                                 const struct pmet_stats *stats, size_t next, struct pmet_error *err);

#ifdef __cplusplus
}
#endif
#endif

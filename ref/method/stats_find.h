/* SPDX-License-Identifier: MIT
 * Which file of a folder holds a module's second moments.      SPEC §9.4 */
#ifndef PMET_REF_METHOD_STATS_FIND_H
#define PMET_REF_METHOD_STATS_FIND_H

#include "ref/method/stats.h"

/* The first of DIR/MODULE.safetensors, DIR/MODULE.npz, and the published names
 * MODULE_float32_mom2[_tN][_SIZE].npz (also float64) in DIR, else in DIR/DATASET_stats, else in
 * DIR/MODEL/DATASET_stats. Of several published files the one of the hyper-parameters' sample size
 * is taken; where that does not decide, it is refused with both names. free() releases *path;
 * *published: it is an .npz. */
enum pmet_status pmet_stats_find(const struct pmet_stats_source *from, const char *module, char **path,
                                 bool *published, struct pmet_error *err);

#endif

/* SPDX-License-Identifier: MIT
 * Which operator table a session computes on. */
#ifndef PMET_REF_DEVICE_DEVICE_H
#define PMET_REF_DEVICE_DEVICE_H

#include "ref/ops/ops.h"

/* The table of a device; PMET_UNSUPPORTED says what CUDA lacks here. Auto is CUDA where the library
 * and a GPU are there and a trial agrees with the CPU, else the CPU. n_threads 0: as many as the
 * machine has. */
enum pmet_status pmet_ops_open(enum pmet_device device, size_t n_threads, struct pmet_ops **out,
                               struct pmet_error *err);
/* Runs every kind of entry on small inputs. PMET_NUMERIC names the first that is off by more than
 * 1e-4 (in double 1e-9) of the largest number that `cpu` computes. */
enum pmet_status pmet_ops_trial(const struct pmet_ops *op, const struct pmet_ops *cpu,
                                struct pmet_error *err);

#endif

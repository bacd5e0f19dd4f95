/* SPDX-License-Identifier: MIT
 * The machine's memory, for plans. */
#ifndef PMET_REF_API_MEMORY_H
#define PMET_REF_API_MEMORY_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes there are in all; 4 GiB if the system does not say. */
size_t pmet_memory_total(void);
/* Bytes that can be had without swapping, caches of files counted as free; half of all if the system does not say. */
size_t pmet_memory_free(void);

#ifdef __cplusplus
}
#endif
#endif

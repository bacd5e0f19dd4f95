/* SPDX-License-Identifier: MIT
 * Plans for a device whose memory is its own. */
#include "ref/ops/ops.h"

enum { SHARE = 16 }; /* of the device's memory, left for what its kernels themselves need */

enum pmet_status pmet_capacity(const struct pmet_ops *op, size_t on_host, size_t *out, struct pmet_error *err)
{
    size_t n_free, n_all;
    *out = on_host;
    if (!op->own_memory)
        return PMET_OK;
    PMET_TRY(op->memory(op, &n_free, &n_all, err));
    *out = n_free / 2;
    return PMET_OK;
}

enum pmet_status pmet_capacity_check(const struct pmet_ops *op, const char *what, double n_bytes,
                                     struct pmet_error *err)
{
    static const double mib = 1 << 20;
    size_t n_free, n_all;
    if (!op->own_memory)
        return PMET_OK;
    PMET_TRY(op->memory(op, &n_free, &n_all, err));
    const double needed = n_bytes + (double)(n_all / SHARE);
    if (needed <= (double)n_free)
        return PMET_OK;
    return pmet_fail(
        err, PMET_MEMORY,
        "%s: needs %.0f MiB of the device's memory, of which %.0f are for its kernels; found %.0f "
        "of %.0f MiB free",
        what, needed / mib, (double)(n_all / SHARE) / mib, (double)n_free / mib, (double)n_all / mib);
}

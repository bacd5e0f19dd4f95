/* SPDX-License-Identifier: MIT
 * Keys and values of a pass put into the cache.      SPEC §3.3 */
#include <string.h>
#include "ref/ops/store_heads.h"

enum pmet_status pmet_store_heads(const struct pmet_ops *op, real *cache, const size_t *idx, struct pmet_heads x,
                                  size_t n_tok, size_t n_head, size_t d_head, struct pmet_error *err)
{
    (void)op, (void)err;
    for (size_t t = 0; t < n_tok; t++)
        for (size_t e = 0; e < n_head; e++)
            memcpy(cache + (idx[t] * n_head + e) * d_head, x.data + t * x.row_stride + e * x.head_stride,
                   d_head * sizeof(real));
    return PMET_OK;
}

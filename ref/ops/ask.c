/* SPDX-License-Identifier: MIT */
#include "ref/ops/ops.h"

enum pmet_status pmet_ops_ask(const struct pmet_ops *op, struct pmet_error *err)
{
    return op->stopped && op->stopped(op->stopped_user)
               ? pmet_fail(err, PMET_INTERRUPTED, "interrupted; nothing is written")
               : PMET_OK;
}

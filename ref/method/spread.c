/* SPDX-License-Identifier: MIT
 * SPEC §8.1 */
#include "ref/method/spread.h"

#include <stdlib.h>
#include <string.h>

enum pmet_status pmet_spread_alloc(size_t n, size_t d, size_t f, struct pmet_spread *out,
                                   struct pmet_error *err)
{
    enum pmet_status status;
    *out = (struct pmet_spread){.n = n, .d = d, .f = f};
    PMET_GO(pmet_calloc(&out->K, n * f, sizeof *out->K, "keys", err));
    PMET_GO(pmet_calloc(&out->M, n * d, sizeof *out->M, "current outputs", err));
    PMET_GO(pmet_calloc(&out->residual, n * d, sizeof *out->residual, "residuals", err));
    PMET_GO(pmet_calloc(&out->keys, n * f, sizeof *out->keys, "keys", err));
    PMET_GO(pmet_calloc(&out->R, n * d, sizeof *out->R, "residuals", err));
    PMET_GO(pmet_calloc(&out->upd, d * f, sizeof *out->upd, "an update", err));
done:
    if (status != PMET_OK)
        pmet_spread_free(out);
    return status;
}

void pmet_spread_free(struct pmet_spread *s)
{
    free(s->K);
    free(s->M);
    free(s->residual);
    free(s->keys);
    free(s->R);
    free(s->upd);
    memset(s, 0, sizeof *s);
}

void pmet_spread_residual(struct pmet_spread *s, const real *Z, double divisor)
{
    for (size_t i = 0; i < s->n; i++) {
        for (size_t j = 0; j < s->d; j++) {
            s->residual[i * s->d + j] = Z[i * s->d + j] - s->M[i * s->d + j];
            s->R[j * s->n + i] = (double)s->residual[i * s->d + j] / divisor;
        }
        for (size_t j = 0; j < s->f; j++)
            s->keys[j * s->n + i] = (double)s->K[i * s->f + j];
    }
}

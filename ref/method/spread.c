/* SPDX-License-Identifier: MIT
 * SPEC §8.1, §8.2 */
#include "ref/method/spread.h"

#include <stdlib.h>
#include <string.h>

enum pmet_status pmet_spread_alloc(size_t n, size_t d, size_t f, struct pmet_spread *out,
                                   struct pmet_error *err)
{
    enum pmet_status status;
    *out = (struct pmet_spread){.n = n, .d = d, .f = f};
    PMET_GO(pmet_calloc(&out->K, n * (f + 2 * d), sizeof *out->K, "keys and outputs", err));
    PMET_GO(pmet_calloc(&out->keys, n * (f + d) + d * f, sizeof *out->keys, "an update", err));
    out->M = out->K + n * f;
    out->residual = out->M + n * d;
    out->R = out->keys + n * f;
    out->upd = out->R + n * d;
done:
    if (status != PMET_OK)
        pmet_spread_free(out);
    return status;
}

void pmet_spread_free(struct pmet_spread *s)
{
    free(s->K);
    free(s->keys);
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

/* M and R (E67, E68), K (E63), the solve (E69), the update (E75). */
enum pmet_status pmet_spread_update(struct pmet_editor *e, struct pmet_key_rows *rows, size_t n,
                                    const real *Z, const struct pmet_spread_rule *rule, struct pmet_update *u,
                                    struct pmet_error *err)
{
    struct pmet_spread s;
    enum pmet_status status;
    pmet_editor_stage(e, PMET_STAGE_KEYS);
    PMET_TRY(pmet_spread_alloc(n, u->d_out, u->d_in, &s, err));
    PMET_GO(pmet_current_outputs(rows, rule->site, rule->L, s.M, err));
    PMET_GO(pmet_keys(rows, u->module, u->layer, s.K, NULL, err));
    pmet_editor_stage(e, PMET_STAGE_SOLVE);
    pmet_spread_residual(&s, Z, rule->divisor);
    PMET_GO(pmet_editor_solve(e, u, rule->lambda, s.keys, s.R, n, s.upd, err));
    const struct pmet_array array[] = {{"layer_ks", s.K, n, s.f, false},
                                       {"cur_zs", s.M, n, s.d, false},
                                       {"targets", s.residual, n, s.d, false}};
    status = pmet_update_finish(e, u, s.upd, array, 3, err);
done:
    pmet_spread_free(&s);
    return status;
}

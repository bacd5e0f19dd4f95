/* SPDX-License-Identifier: MIT
 * Second moments, ours and published. */
#include "ref/method/stats.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    static const char *const base[] = {"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"};
    static const char module[] = "transformer.h.0.mlp.fc_out";
    const bool zip = n > 1 && memcmp(data, "PK", 2) == 0;
    fuzz_file("transformer.h.0.mlp.fc_out_float32_mom2_100000.npz", data, zip ? n : (size_t)-1);
    fuzz_file("transformer.h.0.mlp.fc_out.safetensors", data, zip ? (size_t)-1 : n);
    const struct pmet_stats_source from = {
        .io = pmet_io_system(), .dir = fuzz_dir(), .fingerprint = base[0], .ancestor = base, .n_ancestor = 1};
    for (size_t d_in = 2; d_in <= 4; d_in += 2) {
        struct pmet_error err = {PMET_OK, ""};
        struct pmet_stats_info info = {0};
        double *cov = NULL, *factor = NULL;
        const enum pmet_status status = pmet_stats_load(&from, module, d_in, &cov, &info, &err);
        fuzz_expect(status, &err);
        if (status == PMET_OK) {
            struct pmet_error inner = {PMET_OK, ""};
            fuzz_touch(cov, d_in * d_in * sizeof *cov);
            fuzz_expect(pmet_stats_factor(&from, module, d_in, &factor, &inner), &inner);
        }
        free(cov);
        free(factor);
    }
}

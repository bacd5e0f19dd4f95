/* SPDX-License-Identifier: MIT
 * One array of numpy's. */
#include "tensors/npy.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_tensor t = {0};
    bool turned = false;
    const enum pmet_status status = pmet_npy_parse(data, n, n, "a.npy", NULL, &t, &turned, &err);
    fuzz_expect(status, &err);
    if (status == PMET_OK && t.data)
        fuzz_touch(t.data, t.n_bytes);
    if (status == PMET_OK && t.data && turned) {
        void *out = malloc(t.n_bytes + 1);
        pmet_npy_turn(&t, out);
        fuzz_touch(out, t.n_bytes);
        free(out);
    }
}

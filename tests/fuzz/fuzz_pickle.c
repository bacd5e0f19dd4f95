/* SPDX-License-Identifier: MIT
 * A pickle by itself. */
#include "tensors/torch_private.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_pickle *p = NULL;
    size_t n_used = 0;
    char *copy = malloc(n + (n == 0)); /* so that one byte too far is seen */
    memcpy(copy, data, n);
    fuzz_expect(pmet_pickle_read(copy, n, "a.pkl", pmet_torch_names, PMET_TORCH_N_NAME, &n_used, &p, &err),
                &err);
    for (size_t i = 0; p && pmet_pickle_at(p, i); i++)
        fuzz_touch(pmet_pickle_found(pmet_pickle_at(p, i)), 1);
    if (p && (n_used == 0 || n_used > n || !pmet_pickle_root(p)))
        abort();
    pmet_pickle_free(p);
    free(copy);
}

/* SPDX-License-Identifier: MIT
 * A pickle by itself. */
#include "tensors/pickle.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    static const struct pmet_pickle_global globals[] = {{"collections OrderedDict", PMET_ROLE_DICT},
                                                        {"torch._utils _rebuild_tensor_v2", PMET_ROLE_CALL},
                                                        {"torch FloatStorage", PMET_ROLE_NAME}};
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_pickle *p = NULL;
    size_t n_used;              /* more may follow, as in the form before torch 1.6 */
    char *copy = malloc(n + 1); /* so that one byte too far is seen */
    memcpy(copy, data, n);
    fuzz_expect(
        pmet_pickle_read(copy, n, "a.pkl", globals, sizeof globals / sizeof *globals, &n_used, &p, &err),
        &err);
    if (p)
        pmet_pickle_found(pmet_pickle_root(p));
    pmet_pickle_free(p);
    free(copy);
}

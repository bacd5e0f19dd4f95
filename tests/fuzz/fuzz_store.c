/* SPDX-License-Identifier: MIT
 * An array of the work folder. */
#include "ref/store/store.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_store *s = NULL;
    struct pmet_safetensors *st = NULL;
    fuzz_file("matrix-0.safetensors", data, n);
    fuzz_expect(pmet_store_open(pmet_io_system(), fuzz_dir(), &s, &err), &err);
    if (s)
        fuzz_expect(pmet_store_get(s, "matrix-0",
                                   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 24,
                                   &st, &err),
                    &err);
    if (st)
        fuzz_touch_all(&st->all);
    pmet_safetensors_close(st);
    pmet_store_close(s);
}

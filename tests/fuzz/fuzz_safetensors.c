/* SPDX-License-Identifier: MIT
 * A file of tensors. */
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_safetensors *st = NULL;
    fuzz_expect(pmet_safetensors_open(pmet_io_system(), fuzz_file("a.safetensors", data, n), &st, &err),
                &err);
    if (st)
        fuzz_touch_all(&st->all);
    pmet_safetensors_close(st);
}

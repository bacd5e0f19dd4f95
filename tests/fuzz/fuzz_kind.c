/* SPDX-License-Identifier: MIT
 * What a file is, by its content. */
#include "tensors/kind.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_found found = {0};
    const enum pmet_status status = pmet_kind_of(pmet_io_system(), fuzz_file("a", data, n), &found, &err);
    fuzz_expect(status, &err);
    if (status == PMET_OK)
        fuzz_touch(found.what, strlen(found.what));
}

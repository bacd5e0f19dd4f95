/* SPDX-License-Identifier: MIT
 * Weights as torch.save writes them, in both of its formats. */
#include "tensors/torch_bin.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_torch_bin *b = NULL;
    fuzz_expect(pmet_torch_bin_open(pmet_io_system(), fuzz_file("a.bin", data, n), &b, &err), &err);
    if (b)
        fuzz_touch_all(pmet_torch_bin_all(b));
    pmet_torch_bin_close(b);
}

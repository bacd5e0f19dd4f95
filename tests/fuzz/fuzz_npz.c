/* SPDX-License-Identifier: MIT
 * An archive of arrays. */
#include "tensors/npz.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    static const char *const names[] = {"mom2.mom2", "mom2.count", "a", "f2", "column_major"};
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_npz *npz = NULL;
    fuzz_expect(pmet_npz_open(pmet_io_system(), fuzz_file("a.npz", data, n), &npz, &err), &err);
    for (size_t i = 0; npz && i < sizeof names / sizeof *names; i++) {
        struct pmet_error look = {PMET_OK, ""}, find = {PMET_OK, ""};
        struct pmet_tensor t = {0};
        uint32_t crc;
        fuzz_expect(pmet_npz_look(npz, names[i], &t, &crc, &look), &look);
        const enum pmet_status status = pmet_npz_find(npz, names[i], &t, &find);
        fuzz_expect(status, &find);
        if (status == PMET_OK)
            fuzz_touch(t.data, t.n_bytes);
    }
    pmet_npz_close(npz);
}

/* SPDX-License-Identifier: MIT
 * An archive, and the members that torch and numpy write. */
#include "tensors/zip.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_zip *zip = NULL;
    fuzz_expect(pmet_zip_open(pmet_io_system(), fuzz_file("a.zip", data, n), &zip, &err), &err);
    for (size_t i = 0; zip && i < zip->n_member; i++) {
        const struct pmet_zip_member *m = pmet_zip_find(zip, zip->member[i].name);
        char out[256];
        if (!m || m->unreadable)
            continue;
        if (!m->deflated) {
            pmet_zip_intact(m, m->data);
            continue;
        }
        struct pmet_error inner = {PMET_OK, ""};
        fuzz_expect(pmet_zip_unpack(zip, m, out, m->n_bytes < sizeof out ? m->n_bytes : sizeof out, &inner),
                    &inner);
    }
    pmet_zip_close(zip);
}

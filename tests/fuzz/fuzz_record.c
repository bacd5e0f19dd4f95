/* SPDX-License-Identifier: MIT
 * pmet_edit.json of an edited folder. */
#include "ref/job/record.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_record record = {0};
    fuzz_file(PMET_RECORD_FILE, data, n);
    const enum pmet_status status = pmet_record_read(pmet_io_system(), fuzz_dir(), &record, &err);
    fuzz_expect(status, &err);
    for (size_t i = 0; status == PMET_OK && i < record.n_ancestor; i++)
        fuzz_touch(record.ancestor[i], strlen(record.ancestor[i]));
    if (status == PMET_OK)
        pmet_record_free(&record);
}

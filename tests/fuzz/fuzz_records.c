/* SPDX-License-Identifier: MIT
 * Records to evaluate a model by. */
#include "ref/eval/records.h"
#include "tests/fuzz/target.h"

static void read_all(const char *path, bool skip_invalid)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_records *r = NULL;
    enum pmet_status status = pmet_records_open(pmet_io_system(), path, 0, skip_invalid, &r, &err);
    for (bool more = status == PMET_OK; more;) {
        struct pmet_eval_record record = {0};
        status = pmet_records_next(r, &record, &more, &err);
        more = more && status == PMET_OK;
        if (more)
            pmet_eval_record_free(&record);
    }
    fuzz_expect(status, &err);
    if (status == PMET_OK)
        pmet_records_sha256(r);
    pmet_records_close(r);
}

void fuzz_one(const char *data, size_t n)
{
    const char *path = fuzz_file("records.json", data, n);
    read_all(path, false);
    read_all(path, true);
}

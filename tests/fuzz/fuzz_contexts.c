/* SPDX-License-Identifier: MIT
 * Context templates. */
#include "ref/facts/contexts.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_contexts c = {0};
    const enum pmet_status status =
        pmet_contexts_load(pmet_io_system(), fuzz_file("contexts.json", data, n), &c, &err);
    fuzz_expect(status, &err);
    if (status == PMET_OK) {
        json_decref(pmet_contexts_json(&c));
        pmet_contexts_free(&c);
    }
}

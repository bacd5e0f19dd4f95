/* SPDX-License-Identifier: MIT
 * Facts in all of their forms. */
#include "ref/facts/facts.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    const char *path = fuzz_file("facts.json", data, n);
    for (int way = 0; way < 2; way++) {
        const struct pmet_facts_options o = {.conflicts = way ? PMET_CONFLICTS_LAST : PMET_CONFLICTS_REFUSE,
                                             .zsre_alt = way,
                                             .skip_invalid = way};
        struct pmet_error err = {PMET_OK, ""};
        struct pmet_facts facts = {0};
        const enum pmet_status status = pmet_facts_load(pmet_io_system(), path, o, &facts, &err);
        fuzz_expect(status, &err);
        if (status == PMET_OK)
            pmet_facts_free(&facts);
    }
}

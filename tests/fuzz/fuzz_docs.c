/* SPDX-License-Identifier: MIT
 * Text in all of its forms, and packed. */
#include "ref/facts/docs.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    const char *path = fuzz_file("text", data, n);
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_docs *docs = NULL;
    fuzz_expect(pmet_docs_open(pmet_io_system(), &path, 1, NULL, &docs, &err), &err);
    for (size_t i = 0; docs && i < pmet_docs_count(docs); i++) {
        struct pmet_error inner = {PMET_OK, ""};
        char *text = NULL;
        size_t len;
        const enum pmet_status status = pmet_docs_get(docs, i, &text, &len, &inner);
        fuzz_expect(status, &inner);
        if (status == PMET_OK)
            fuzz_touch(text, len + 1);
        free(text);
    }
    pmet_docs_close(docs);
}

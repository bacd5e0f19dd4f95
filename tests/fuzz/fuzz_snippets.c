/* SPDX-License-Identifier: MIT
 * Attribute snippets, and the term weights that are made of them. */
#include "ref/text/snippets.h"
#include "ref/text/tfidf.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    static const struct pmet_snippet_query query = {"P36", "Q11633092", "France"};
    const char *path = fuzz_file("snippets.json", data, n);
    struct pmet_error err = {PMET_OK, ""}, inner = {PMET_OK, ""};
    struct pmet_snippets snippets = {0};
    struct pmet_tfidf *tfidf = NULL;
    const enum pmet_status status = pmet_snippets_load(pmet_io_system(), path, &query, 1, &snippets, &err);
    fuzz_expect(status, &err);
    if (status == PMET_OK)
        pmet_snippets_free(&snippets);
    fuzz_expect(pmet_tfidf_build(pmet_io_system(), path, &tfidf, &inner), &inner);
    pmet_tfidf_close(tfidf);
}

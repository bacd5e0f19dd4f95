/* SPDX-License-Identifier: MIT
 * Term weights: idf.npy behind its tfidf_vocab.json. */
#include "ref/text/tfidf.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_tfidf *tfidf = NULL;
    const char *end = n > 0 ? memchr(data, 0xff, n) : NULL; /* the array may hold more of them */
    const size_t len = end ? (size_t)(end - data) : n;
    fuzz_file("tfidf_vocab.json", data, len);
    fuzz_file("idf.npy", data + len + (end != NULL), end ? n - len - 1 : 0);
    fuzz_expect(pmet_tfidf_open(pmet_io_system(), fuzz_dir(), &tfidf, &err), &err);
    if (tfidf) {
        struct pmet_error inner = {PMET_OK, ""};
        double cosine;
        fuzz_expect(pmet_tfidf_cosine(tfidf, "the capital of", 14, "of the town", 11, &cosine, &inner),
                    &inner);
    }
    pmet_tfidf_close(tfidf);
}

/* SPDX-License-Identifier: MIT
 * Context templates written by the model itself (E39, E40).      SPEC §4.2 */
#include <stdlib.h>
#include "ref/facts/contexts.h"
#include "ref/eval/generate.h"

enum { N_TEXT = 5, N_TOKEN = 10, TOP_K = 5 };

enum pmet_status pmet_contexts_generate(const struct pmet_model *model, const struct pmet_tokenizer *tk,
                                        uint64_t seed, struct pmet_contexts *out, struct pmet_error *err)
{
    static const char *const begin[N_TEXT] = {"The", "Therefore", "Because", "I", "You"};
    static const size_t length[N_TEXT] = {3, 9, 7, 1, 3};
    const struct pmet_generate_options options = {.n_total = N_TOKEN, .top_k = TOP_K};
    struct pmet_text text[N_TEXT] = {{0}};
    const char *texts[N_TEXT];
    struct pmet_rng rng;
    struct pmet_ids ids = {0};
    enum pmet_status status;
    pmet_rng_seed(&rng, seed);
    for (size_t i = 0; i < N_TEXT; i++) {
        ids.n = 0;
        PMET_GO(pmet_tokenizer_encode(tk, begin[i], length[i], &ids, err));
        PMET_GO(pmet_generate(model, &ids, 1, &options, &rng, NULL, NULL, err));
        PMET_GO(pmet_generated_text(tk, &ids, &text[i], err));
        texts[i] = text[i].data;
    }
    status = pmet_contexts_from_texts(texts, N_TEXT, out, err);
done:
    for (size_t i = 0; i < N_TEXT; i++)
        free(text[i].data);
    free(ids.id);
    return status;
}

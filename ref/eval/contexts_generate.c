/* SPDX-License-Identifier: MIT
 * Context templates written by the model itself (E39, E40).      SPEC §4.2 */
#include <stdlib.h>
#include <string.h>
#include "ref/eval/generate.h"
#include "ref/event.h"
#include "ref/facts/contexts.h"
#include "tokenizer/unicode.h"

enum { N_TEXT = 5, N_TOKEN = 10, TOP_K = 5 };
static const char *const begin[N_TEXT] = {"The", "Therefore", "Because", "I", "You"};

/* Texts of the five rows. */
static enum pmet_status make_contexts(const struct pmet_tokenizer *tk, const struct pmet_ids *row,
                                      struct pmet_contexts *out, struct pmet_error *err)
{
    struct pmet_text text[N_TEXT] = {{0}};
    const char *texts[N_TEXT];
    enum pmet_status status;
    for (size_t i = 0; i < N_TEXT; i++) {
        PMET_GO(pmet_generated_text(tk, &row[i], &text[i], err));
        texts[i] = text[i].data;
    }
    status = pmet_contexts_from_texts(texts, N_TEXT, out, err);
done:
    for (size_t i = 0; i < N_TEXT; i++)
        free(text[i].data);
    return status;
}

struct progress {
    const struct pmet_listener *listener;
    size_t done, total;
    struct pmet_error *err;
    enum pmet_status status;
};

static int on_token(void *user)
{
    struct progress *p = user;
    p->done = p->done < p->total ? p->done + 1 : p->total;
    p->status = pmet_raise_progress(p->listener, PMET_PHASE_CONTEXTS, p->done, p->total, p->err);
    return p->status != PMET_OK;
}

/* E40: the rows go through the model together, and draw as if they had been written one after the
 * other with one generator: row i begins where row i - 1 ends, each token being one draw. */
enum pmet_status pmet_contexts_generate(const struct pmet_model *model, const struct pmet_tokenizer *tk,
                                        uint64_t seed, const struct pmet_listener *listener,
                                        struct pmet_contexts *out, struct pmet_error *err)
{
    const struct pmet_generate_options options = {.n_total = N_TOKEN, .top_k = TOP_K};
    struct progress p = {.listener = listener, .err = err};
    struct pmet_rng rng[N_TEXT], next;
    struct pmet_ids row[N_TEXT] = {{0}};
    enum pmet_status status;
    pmet_rng_seed(&next, seed);
    for (size_t i = 0; i < N_TEXT; i++) {
        PMET_GO(pmet_tokenizer_encode(tk, begin[i], strlen(begin[i]), &row[i], err));
        rng[i] = next;
        for (size_t k = row[i].n; k < N_TOKEN; k++)
            pmet_rng_next(&next);
        p.total = row[i].n < N_TOKEN && N_TOKEN - row[i].n > p.total ? N_TOKEN - row[i].n : p.total;
    }
    PMET_GO(pmet_raise_progress(listener, PMET_PHASE_CONTEXTS, 0, p.total, err));
    PMET_GO(pmet_generate(model, row, N_TEXT, &options, rng, on_token, &p, err));
    PMET_GO(p.status);
    status = make_contexts(tk, row, out, err);
done:
    for (size_t i = 0; i < N_TEXT; i++)
        free(row[i].id);
    return status;
}

enum pmet_status pmet_contexts_bound(const struct pmet_tokenizer *tk, struct pmet_contexts *out,
                                     struct pmet_error *err)
{
    struct pmet_text text[N_TEXT] = {{0}};
    struct pmet_ids ids = {0};
    const char *texts[N_TEXT];
    enum pmet_status status;
    for (size_t i = 0; i < N_TEXT; i++) {
        PMET_GO(pmet_text_append(&text[i], begin[i], strlen(begin[i]), err));
        do {
            PMET_GO(pmet_text_append(&text[i], " and", 4, err));
            ids.n = 0;
            PMET_GO(pmet_tokenizer_encode(tk, text[i].data, text[i].n, &ids, err));
        } while (ids.n < PMET_CONTEXT_TOKENS);
        texts[i] = text[i].data;
    }
    status = pmet_contexts_from_texts(texts, N_TEXT, out, err);
done:
    for (size_t i = 0; i < N_TEXT; i++)
        free(text[i].data);
    free(ids.id);
    return status;
}

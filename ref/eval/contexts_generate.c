/* SPDX-License-Identifier: MIT
 * Context templates written by the model itself (E39, E40, E134).      SPEC §4.2, §15 */
#include <stdlib.h>
#include <string.h>
#include "ref/eval/generate.h"
#include "ref/event.h"
#include "ref/facts/contexts.h"
#include "ref/facts/hparams.h"
#include "tokenizer/unicode.h"

enum { N_TEXT = 5, N_TOKEN = 10, TOP_K = 5 };

/* Text i begins with these words and is written up to so many tokens: five, or ROME's after nothing but the
 * mark of a text's end (E134). */
struct start {
    const char *words;
    size_t n_token;
};

static size_t count_texts(const struct pmet_hparams *h)
{
    size_t n = 0;
    for (size_t k = 0; k < h->n_length; k++)
        n += h->context_length[k].n_text;
    return h->n_length > 0 ? n : N_TEXT;
}

static struct start start_of(const struct pmet_hparams *h, size_t i)
{
    static const char *const words[N_TEXT] = {"The", "Therefore", "Because", "I", "You"};
    size_t k = 0;
    if (h->n_length == 0)
        return (struct start){words[i], N_TOKEN};
    while (i >= h->context_length[k].n_text)
        i -= h->context_length[k++].n_text;
    return (struct start){"<|endoftext|>", h->context_length[k].n_token};
}

/* ---- the texts of n rows, or stand-ins for them ---- */

struct texts {
    size_t n;
    struct pmet_ids *row;
    struct pmet_rng *rng;
    struct pmet_text *text;
    const char **data; /* of text */
};

static void texts_free(struct texts *t)
{
    for (size_t i = 0; t->row && i < t->n; i++)
        free(t->row[i].id);
    for (size_t i = 0; t->text && i < t->n; i++)
        free(t->text[i].data);
    free(t->row);
    free(t->rng);
    free(t->text);
    free(t->data);
}

static enum pmet_status texts_alloc(struct texts *t, size_t n, struct pmet_error *err)
{
    *t = (struct texts){.n = n};
    PMET_TRY(pmet_calloc(&t->row, n, sizeof *t->row, "contexts", err));
    PMET_TRY(pmet_calloc(&t->rng, n, sizeof *t->rng, "contexts", err));
    PMET_TRY(pmet_calloc(&t->text, n, sizeof *t->text, "contexts", err));
    return pmet_calloc(&t->data, n, sizeof *t->data, "contexts", err);
}

static enum pmet_status make_contexts(struct texts *t, struct pmet_contexts *out, struct pmet_error *err)
{
    for (size_t i = 0; i < t->n; i++)
        t->data[i] = t->text[i].data;
    return pmet_contexts_from_texts(t->data, t->n, out, err);
}

/* ---- progress ---- */

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

/* Up to n_token tokens a row: the rows go through the model together, those of one length. */
static enum pmet_status write_rows(const struct pmet_model *model, struct texts *t, size_t first, size_t n,
                                   size_t n_token, struct progress *p, struct pmet_error *err)
{
    const struct pmet_generate_options options = {.n_total = n_token, .top_k = TOP_K};
    PMET_TRY(pmet_generate(model, t->row + first, n, &options, t->rng + first, on_token, p, err));
    return p->status;
}

/* E40, E134: the rows draw as if they had been written one after the other with one generator: row i
 * begins where row i - 1 ends, each token being one draw. */
enum pmet_status pmet_contexts_generate(const struct pmet_model *model, const struct pmet_tokenizer *tk,
                                        const struct pmet_hparams *h, uint64_t seed,
                                        const struct pmet_listener *listener, struct pmet_contexts *out,
                                        struct pmet_error *err)
{
    struct progress p = {.listener = listener, .err = err};
    struct pmet_rng next;
    struct texts t;
    enum pmet_status status;
    PMET_GO(texts_alloc(&t, count_texts(h), err));
    pmet_rng_seed(&next, seed);
    for (size_t i = 0, longest = 0; i < t.n; i++) {
        const struct start s = start_of(h, i);
        PMET_GO(pmet_tokenizer_encode(tk, s.words, strlen(s.words), &t.row[i], err));
        t.rng[i] = next;
        for (size_t k = t.row[i].n; k < s.n_token; k++)
            pmet_rng_next(&next);
        longest = i > 0 && start_of(h, i - 1).n_token == s.n_token ? longest : 0;
        if (t.row[i].n + longest < s.n_token) {
            p.total += s.n_token - t.row[i].n - longest;
            longest = s.n_token - t.row[i].n;
        }
    }
    PMET_GO(pmet_raise_progress(listener, PMET_PHASE_CONTEXTS, 0, p.total, err));
    for (size_t i = 0, end; i < t.n; i = end) {
        const size_t n_token = start_of(h, i).n_token;
        for (end = i + 1; end < t.n && start_of(h, end).n_token == n_token;)
            end++;
        PMET_GO(write_rows(model, &t, i, end - i, n_token, &p, err));
    }
    for (size_t i = 0; i < t.n; i++)
        PMET_GO(pmet_generated_text(tk, &t.row[i], &t.text[i], err));
    status = make_contexts(&t, out, err);
done:
    texts_free(&t);
    return status;
}

enum pmet_status pmet_contexts_bound(const struct pmet_tokenizer *tk, const struct pmet_hparams *h,
                                     struct pmet_contexts *out, struct pmet_error *err)
{
    struct pmet_ids ids = {0};
    struct texts t;
    enum pmet_status status;
    PMET_GO(texts_alloc(&t, count_texts(h), err));
    PMET_GO(pmet_tokenizer_encode(tk, " and", 4, &ids, err));
    const size_t n_and = ids.n > 0 ? ids.n : 1;
    for (size_t i = 0; i < t.n; i++) {
        const struct start s = start_of(h, i);
        const char *words = h->n_length > 0 ? "" : s.words;
        PMET_GO(pmet_text_append(&t.text[i], words, strlen(words), err));
        for (ids.n = 0; ids.n < PMET_CONTEXT_TOKENS * s.n_token;) {
            for (size_t k = ids.n; k < PMET_CONTEXT_TOKENS * s.n_token; k += n_and)
                PMET_GO(pmet_text_append(&t.text[i], " and", 4, err));
            ids.n = 0;
            PMET_GO(pmet_tokenizer_encode(tk, t.text[i].data, t.text[i].n, &ids, err));
        }
    }
    status = make_contexts(&t, out, err);
done:
    texts_free(&t);
    free(ids.id);
    return status;
}

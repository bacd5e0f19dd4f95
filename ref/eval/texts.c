/* SPDX-License-Identifier: MIT
 * What a model writes after generation prompts, of many records together (E85).      SPEC §11.4 */
#include <stdlib.h>
#include <string.h>
#include "ref/eval/evaluate.h"

enum { TEXT_TOKENS = 100 }; /* of a text, prompt included */

bool pmet_wants_texts(const struct pmet_eval_record *record, const struct pmet_evaluate_options *options)
{
    return record->fact.record < options->n_generate && record->generation.n > 0;
}

struct writing {
    const struct pmet_tokenizer *tk;
    const struct pmet_evaluate_options *options;
    struct pmet_ids *row; /* [n] prompts, then whole texts, record after record */
    struct pmet_rng *rng; /* [n] */
    char ***text;         /* [n] where each goes */
    size_t n;
};

static enum pmet_status finish(struct writing *w, size_t first, struct pmet_error *err)
{
    for (size_t i = first; i < w->n; i++) {
        struct pmet_text text = {0};
        const enum pmet_status status = pmet_generated_text(w->tk, &w->row[i], &text, err);
        *w->text[i] = text.data;
        PMET_TRY(status);
    }
    return PMET_OK;
}

/* The prompts of one record. Where one of them is already as long as a text, the published code
 * writes nothing after any: they are the texts. */
static enum pmet_status take_prompts(struct writing *w, const struct pmet_eval_record *r,
                                     struct pmet_texts *out, struct pmet_error *err)
{
    const size_t first = w->n;
    size_t longest = 0;
    PMET_TRY(pmet_calloc(&out->text, r->generation.n, sizeof *out->text, "texts", err));
    out->n = r->generation.n;
    for (size_t j = 0; j < out->n; j++) {
        const char *prompt = r->generation.text[j];
        struct pmet_ids *row = &w->row[w->n];
        row->n = 0;
        PMET_TRY(pmet_tokenizer_encode(w->tk, prompt, strlen(prompt), row, err));
        if (row->n == 0)
            return pmet_fail(err, PMET_INPUT,
                             "%s: record %zu (line %zu): \"%s\": found no tokens; expected at least one",
                             w->options->path, r->fact.record, r->fact.line, prompt);
        pmet_rng_seed_stream(&w->rng[w->n], w->options->seed, r->fact.record, j);
        w->text[w->n++] = &out->text[j];
        longest = row->n > longest ? row->n : longest;
    }
    if (longest < TEXT_TOKENS)
        return PMET_OK;
    PMET_TRY(finish(w, first, err));
    w->n = first; /* their rows serve the next record */
    return PMET_OK;
}

static enum pmet_status write_all(struct writing *w, const struct pmet_model *model,
                                  const struct pmet_eval_record *record, size_t n, struct pmet_case *out,
                                  struct pmet_error *err)
{
    const struct pmet_generate_options options = {.n_total = TEXT_TOKENS, .top_k = w->options->top_k};
    for (size_t i = 0; i < n; i++)
        if (pmet_wants_texts(&record[i], w->options))
            PMET_TRY(take_prompts(w, &record[i], &out[i].texts, err));
    PMET_TRY(pmet_generate(model, w->row, w->n, &options, w->rng, w->options->stop, w->options->user, err));
    if (w->options->stop && w->options->stop(w->options->user))
        return pmet_fail(err, PMET_INTERRUPTED, "interrupted");
    return finish(w, 0, err);
}

enum pmet_status pmet_write_texts(const struct pmet_model *model, const struct pmet_tokenizer *tk,
                                  const struct pmet_eval_record *record, size_t n,
                                  const struct pmet_evaluate_options *options, struct pmet_case *out,
                                  struct pmet_error *err)
{
    struct writing w = {.tk = tk, .options = options};
    enum pmet_status status;
    size_t n_prompt = 0;
    for (size_t i = 0; i < n; i++)
        n_prompt += pmet_wants_texts(&record[i], options) ? record[i].generation.n : 0;
    PMET_GO(pmet_calloc(&w.row, n_prompt, sizeof *w.row, "texts", err));
    PMET_GO(pmet_calloc(&w.rng, n_prompt, sizeof *w.rng, "texts", err));
    PMET_GO(pmet_calloc(&w.text, n_prompt, sizeof *w.text, "texts", err));
    status = write_all(&w, model, record, n, out, err);
done:
    for (size_t i = 0; w.row && i < n_prompt; i++)
        free(w.row[i].id);
    free(w.row);
    free(w.rng);
    free(w.text);
    return status;
}

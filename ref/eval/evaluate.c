/* SPDX-License-Identifier: MIT */
#include "ref/eval/evaluate.h"

#include <stdlib.h>
#include <string.h>
#include "ref/text/entropy.h"
#include "tokenizer/unicode.h"

static const struct pmet_snippet_answer *answer_of(const struct pmet_eval_record *record,
                                                   const struct pmet_evaluate_options *options)
{
    return pmet_wants_texts(record, options) && record->fact.record < options->n_answer
               ? &options->answer[record->fact.record]
               : NULL;
}

/* E84 of the essence texts, joined by one space. */
static enum pmet_status ask_essence(struct pmet_questions *q, const struct pmet_eval_record *record,
                                    struct pmet_texts *texts, struct pmet_error *err)
{
    struct pmet_text all = {0};
    enum pmet_status status = PMET_OK;
    const char *text = texts->essence;
    for (size_t i = 0; i < texts->n_essence && status == PMET_OK; i++, text += strlen(text) + 1)
        status = pmet_text_join(&all, text, strlen(text), err);
    if (status == PMET_OK)
        status = pmet_ask_perplexity(q, record, all.data, &texts->essence_score, err);
    free(all.data);
    return status;
}

static enum pmet_status ask_all(struct pmet_questions *q, const struct pmet_model *model,
                                const struct pmet_eval_record *record, size_t n,
                                const struct pmet_evaluate_options *options, struct pmet_case *out,
                                struct pmet_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct pmet_snippet_answer *answer = answer_of(&record[i], options);
        struct pmet_texts *texts = &out[i].texts;
        PMET_TRY(pmet_ask(q, &record[i], options->greedy, &out[i].verdict, err));
        if (!answer || !answer->essence)
            continue;
        texts->essence = answer->essence;
        texts->n_essence = answer->n_essence;
        PMET_TRY(ask_essence(q, &record[i], texts, err));
    }
    return pmet_answer(q, model, options->max_bytes, err);
}

static enum pmet_status entropy_of(const char *text, double *out, struct pmet_error *err)
{
    struct pmet_words words;
    enum pmet_status status = pmet_words(text, strlen(text), &words, err);
    if (status == PMET_OK)
        status = pmet_ngram_entropy(&words, out, err);
    pmet_words_free(&words);
    return status;
}

/* E90, E92 of a record's texts. */
static enum pmet_status score_texts(struct pmet_texts *texts, const struct pmet_tfidf *tfidf,
                                    const struct pmet_snippet_answer *answer, struct pmet_error *err)
{
    struct pmet_text all = {0};
    double sum = 0, entropy;
    enum pmet_status status = PMET_OK;
    for (size_t i = 0; i < texts->n; i++) {
        PMET_GO(entropy_of(texts->text[i], &entropy, err));
        PMET_GO(pmet_text_join(&all, texts->text[i], strlen(texts->text[i]), err));
        sum += entropy;
    }
    texts->ngram_entropy = sum / (double)texts->n;
    texts->has_reference = tfidf && answer && answer->reference;
    if (texts->has_reference)
        status = pmet_tfidf_cosine(tfidf, all.data, all.n, answer->reference, strlen(answer->reference),
                                   &texts->reference_score, err);
done:
    free(all.data);
    return status;
}

enum pmet_status pmet_evaluate_records(const struct pmet_model *model, const struct pmet_tokenizer *tk,
                                       const struct pmet_eval_record *record, size_t n,
                                       const struct pmet_evaluate_options *options, struct pmet_case *out,
                                       struct pmet_error *err)
{
    struct pmet_questions q = {.tk = tk, .config = &model->config, .path = options->path};
    memset(out, 0, n * sizeof *out);
    const enum pmet_status status = ask_all(&q, model, record, n, options, out, err);
    pmet_questions_free(&q);
    PMET_TRY(status);
    PMET_TRY(pmet_write_texts(model, tk, record, n, options, out, err));
    for (size_t i = 0; i < n; i++)
        if (out[i].texts.n > 0)
            PMET_TRY(score_texts(&out[i].texts, options->tfidf, answer_of(&record[i], options), err));
    return PMET_OK;
}

void pmet_case_free(struct pmet_case *c)
{
    pmet_verdict_free(&c->verdict);
    for (size_t i = 0; c->texts.text && i < c->texts.n; i++)
        free(c->texts.text[i]);
    free(c->texts.text);
    memset(c, 0, sizeof *c);
}

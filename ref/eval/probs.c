/* SPDX-License-Identifier: MIT
 * Questions and answers (E80 to E84).      SPEC §11.2, §11.3 */
#include "ref/eval/probs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tokenizer/unicode.h"

enum { PERPLEXITY_TOKENS = 100 };

/* Asking about one record: texts and ids in hand. */
struct asking {
    struct pmet_questions *q;
    const struct pmet_fact *fact;
    bool greedy;
    struct pmet_text text;
    struct pmet_ids prompt, target, row;
};

static enum pmet_status refuse(const struct asking *a, const char *text, const char *why,
                               struct pmet_error *err)
{
    return pmet_fail(err, PMET_INPUT, "%s: record %zu (line %zu): \"%s\": %s", a->q->path, a->fact->record,
                     a->fact->line, text, why);
}

/* ids = those of the text, at least one. */
static enum pmet_status encode(const struct asking *a, const char *text, struct pmet_ids *ids,
                               struct pmet_error *err)
{
    ids->n = 0;
    PMET_TRY(pmet_tokenizer_encode(a->q->tk, text, strlen(text), ids, err));
    return ids->n > 0 ? PMET_OK : refuse(a, text, "found no tokens; expected at least one", err);
}

/* a->text = x, then y behind it. */
static enum pmet_status join(struct asking *a, const char *x, const char *y, struct pmet_error *err)
{
    a->text.n = 0;
    PMET_TRY(pmet_text_append(&a->text, x, strlen(x), err));
    return pmet_text_append(&a->text, y, strlen(y), err);
}

static enum pmet_status check_ids(const struct asking *a, const int32_t *id, size_t n, struct pmet_error *err)
{
    for (size_t i = 0; i < n; i++)
        if ((size_t)id[i] >= a->q->config->n_vocab)
            return pmet_fail(err, PMET_INPUT,
                             "%s: record %zu (line %zu): found token id %d; the model has %zu", a->q->path,
                             a->fact->record, a->fact->line, (int)id[i], a->q->config->n_vocab);
    return PMET_OK;
}

/* a->row becomes a row of the readout, and the probabilities of n labels, the first one after token
 * `at`, a question; `to`: where its answers go. */
static enum pmet_status ask_row(struct asking *a, size_t at, const int32_t *label, size_t n,
                                struct pmet_question to, struct pmet_error *err)
{
    struct pmet_questions *q = a->q;
    PMET_TRY(check_ids(a, a->row.id, a->row.n, err));
    if (a->row.n > q->config->n_ctx)
        return pmet_fail(
            err, PMET_INPUT,
            "%s: record %zu (line %zu): found a prompt of %zu tokens; the model takes %zu: shorten "
            "it",
            q->path, a->fact->record, a->fact->line, a->row.n, q->config->n_ctx);
    PMET_TRY(check_ids(a, label, n, err));
    to.first = q->readout.n_place;
    to.n = n;
    PMET_TRY(pmet_readout_row(&q->readout, a->row.id, a->row.n, err));
    for (size_t j = 0; j < n; j++)
        PMET_TRY(pmet_readout_place(&q->readout, at + j, label[j], err));
    PMET_TRY(pmet_grow(&q->question, &q->cap, q->n_question + 1, sizeof *q->question, "questions", err));
    q->question[q->n_question++] = to;
    return PMET_OK;
}

/* E80: the target behind the prompt, tokenised with it; its places are counted on the prompt and
 * the target tokenised apart, as published, whether or not they meet in the row. */
static enum pmet_status ask_target(struct asking *a, const char *prompt, const char *target, double *nll,
                                   bool *correct, struct pmet_error *err)
{
    PMET_TRY(join(a, " ", target, err));
    PMET_TRY(encode(a, a->text.data, &a->target, err));
    PMET_TRY(encode(a, prompt, &a->prompt, err));
    PMET_TRY(join(a, prompt, " ", err));
    PMET_TRY(pmet_text_append(&a->text, target, strlen(target), err));
    PMET_TRY(encode(a, a->text.data, &a->row, err));
    const size_t n = a->prompt.n + a->target.n - 1; /* nothing is read behind the last place */
    if (n > a->row.n)
        return refuse(a, a->text.data, "the target's tokens reach past the end of the row; reword it", err);
    a->row.n = n;
    return ask_row(a, a->prompt.n - 1, a->target.id, a->target.n,
                   (struct pmet_question){.nll = nll, .flag = correct}, err);
}

/* E83: the prompt, then a->target token by token. Being the likeliest token at each of these places
 * is the same as being what greedy decoding writes, since up to the first that is not both have the
 * same tokens before them. */
static enum pmet_status ask_greedy(struct asking *a, const char *prompt, const char *target, bool *flag,
                                   struct pmet_error *err)
{
    PMET_TRY(join(a, " ", target, err));
    PMET_TRY(encode(a, a->text.data, &a->target, err));
    PMET_TRY(encode(a, prompt, &a->row, err));
    const size_t n = a->row.n;
    PMET_TRY(pmet_ids_reserve(&a->row, a->target.n, err));
    memcpy(a->row.id + n, a->target.id, (a->target.n - 1) * sizeof *a->target.id);
    a->row.n += a->target.n - 1; /* nothing is read behind the last token */
    return ask_row(a, n - 1, a->target.id, a->target.n, (struct pmet_question){.flag = flag}, err);
}

/* n_nll: of how many targets the probabilities are wanted. */
static enum pmet_status alloc_answers(struct pmet_answers *out, size_t n, size_t n_prompt, size_t n_nll,
                                      bool greedy, struct pmet_error *err)
{
    out->n = n;
    out->n_prompt = n_prompt;
    PMET_TRY(pmet_calloc(&out->correct, n, sizeof *out->correct, "answers", err));
    if (n_nll > 0)
        PMET_TRY(pmet_calloc(&out->nll_new, n, sizeof *out->nll_new, "answers", err));
    if (n_nll > 1)
        PMET_TRY(pmet_calloc(&out->nll_true, n, sizeof *out->nll_true, "answers", err));
    return greedy ? pmet_calloc(&out->greedy, n_prompt, sizeof *out->greedy, "answers", err) : PMET_OK;
}

/* `aim`: which of the two targets should win, 0 the new one. A fact may lack the true one. */
static enum pmet_status ask_prompts(struct asking *a, const char *const *prompt, size_t n, int aim,
                                    struct pmet_answers *out, struct pmet_error *err)
{
    const char *const target[2] = {a->fact->target, a->fact->target_true};
    if (!target[aim])
        return PMET_OK;
    PMET_TRY(alloc_answers(out, n, n, target[1] ? 2 : 1, a->greedy, err));
    for (size_t i = 0; i < n; i++) {
        bool *correct[2] = {aim == 0 ? &out->correct[i] : NULL, aim == 1 ? &out->correct[i] : NULL};
        PMET_TRY(ask_target(a, prompt[i], target[0], &out->nll_new[i], correct[0], err));
        if (target[1])
            PMET_TRY(ask_target(a, prompt[i], target[1], &out->nll_true[i], correct[1], err));
        if (a->greedy)
            PMET_TRY(ask_greedy(a, prompt[i], target[aim], &out->greedy[i], err));
    }
    return PMET_OK;
}

/* Prompts with answers of their own. */
static enum pmet_status ask_answered(struct asking *a, const struct pmet_prompts *list,
                                     struct pmet_answers *out, struct pmet_error *err)
{
    PMET_TRY(alloc_answers(out, list->n, list->n, 0, a->greedy, err));
    for (size_t i = 0; i < list->n; i++) {
        PMET_TRY(ask_target(a, list->text[i], list->answer[i], NULL, &out->correct[i], err));
        if (a->greedy)
            PMET_TRY(ask_greedy(a, list->text[i], list->answer[i], &out->greedy[i], err));
    }
    return PMET_OK;
}

static enum pmet_status ask_list(struct asking *a, const struct pmet_prompts *list, int aim,
                                 struct pmet_answers *out, struct pmet_error *err)
{
    if (!list->text)
        return PMET_OK;
    return list->answer ? ask_answered(a, list, out, err)
                        : ask_prompts(a, list->text, list->n, aim, out, err);
}

/* E82: token i of the target after the prompt and the text of those before it; the label is what
 * the token's own text begins with when it is tokenised again. */
static enum pmet_status ask_tokens(struct asking *a, const char *prompt, const char *target,
                                   struct pmet_answers *out, struct pmet_error *err)
{
    const struct pmet_tokenizer *tk = a->q->tk;
    PMET_TRY(join(a, " ", target, err));
    PMET_TRY(encode(a, a->text.data, &a->target, err));
    PMET_TRY(alloc_answers(out, a->target.n, 1, 0, a->greedy, err));
    for (size_t i = 0; i < a->target.n; i++) {
        a->text.n = 0;
        PMET_TRY(pmet_tokenizer_decode(tk, &a->target.id[i], 1, PMET_DECODE_CLEANUP, &a->text, err));
        PMET_TRY(encode(a, a->text.data, &a->row, err));
        const int32_t label = a->row.id[0];
        PMET_TRY(join(a, prompt, "", err));
        PMET_TRY(pmet_tokenizer_decode(tk, a->target.id, i, PMET_DECODE_CLEANUP, &a->text, err));
        PMET_TRY(encode(a, a->text.data, &a->row, err));
        PMET_TRY(ask_row(a, a->row.n - 1, &label, 1, (struct pmet_question){.flag = &out->correct[i]}, err));
    }
    return a->greedy ? ask_greedy(a, prompt, target, &out->greedy[0], err) : PMET_OK;
}

static enum pmet_status ask_zsre(struct asking *a, const struct pmet_eval_record *r, struct pmet_verdict *out,
                                 struct pmet_error *err)
{
    PMET_TRY(ask_tokens(a, r->rewrite, a->fact->target, &out->rewrite, err));
    if (r->paraphrase.n > 0)
        PMET_TRY(ask_tokens(a, r->paraphrase.text[0], a->fact->target, &out->paraphrase, err));
    return r->neighborhood.n > 0
               ? ask_tokens(a, r->neighborhood.text[0], r->neighborhood.answer[0], &out->neighborhood, err)
               : PMET_OK;
}

static enum pmet_status ask(struct asking *a, const struct pmet_eval_record *r, struct pmet_verdict *out,
                            struct pmet_error *err)
{
    const char *rewrite = r->rewrite;
    PMET_TRY(ask_list(a, &r->portability, 0, &out->portability, err));
    if (r->kind == PMET_ZSRE)
        return ask_zsre(a, r, out, err);
    PMET_TRY(ask_prompts(a, &rewrite, 1, 0, &out->rewrite, err));
    PMET_TRY(ask_list(a, &r->paraphrase, 0, &out->paraphrase, err));
    return ask_list(a, &r->neighborhood, 1, &out->neighborhood, err);
}

static void stop_asking(struct asking *a)
{
    free(a->text.data);
    free(a->prompt.id);
    free(a->target.id);
    free(a->row.id);
}

enum pmet_status pmet_ask(struct pmet_questions *q, const struct pmet_eval_record *record, bool greedy,
                          struct pmet_verdict *out, struct pmet_error *err)
{
    struct asking a = {.q = q, .fact = &record->fact, .greedy = greedy};
    memset(out, 0, sizeof *out);
    const enum pmet_status status = ask(&a, record, out, err);
    stop_asking(&a);
    return status;
}

enum pmet_status pmet_ask_perplexity(struct pmet_questions *q, const struct pmet_eval_record *record,
                                     const char *text, double *out, struct pmet_error *err)
{
    struct asking a = {.q = q, .fact = &record->fact};
    enum pmet_status status = encode(&a, text, &a.row, err);
    if (a.row.n > PERPLEXITY_TOKENS)
        a.row.n = PERPLEXITY_TOKENS;
    if (status == PMET_OK)
        status = ask_row(&a, 0, a.row.id + 1, a.row.n - 1, (struct pmet_question){.perplexity = out}, err);
    stop_asking(&a);
    return status;
}

enum pmet_status pmet_answer(struct pmet_questions *q, const struct pmet_model *model, size_t max_bytes,
                             struct pmet_error *err)
{
    PMET_TRY(pmet_readout_run(&q->readout, model, max_bytes, err));
    for (size_t i = 0; i < q->n_question; i++) {
        const struct pmet_question *ask = &q->question[i];
        const struct pmet_place *place = q->readout.place + ask->first;
        double sum = 0;
        float cell =
            0; /* the published code adds up, and divides, in a float32 cell whatever the model's type */
        bool all = true;
        for (size_t j = 0; j < ask->n; j++) {
            sum -= place[j].logp;
            cell = (float)((double)cell - place[j].logp);
            all = all && place[j].best == place[j].label;
        }
        if (!isfinite(sum))
            return pmet_model_not_finite(model, "the logits are", err);
        if (ask->nll)
            *ask->nll = (double)(float)((double)cell / (double)ask->n);
        if (ask->perplexity)
            *ask->perplexity = exp(sum / (double)(ask->n + 1));
        if (ask->flag)
            *ask->flag = all;
    }
    pmet_questions_free(q);
    return PMET_OK;
}

void pmet_questions_free(struct pmet_questions *q)
{
    pmet_readout_free(&q->readout);
    free(q->question);
    q->question = NULL;
    q->n_question = q->cap = 0;
}

void pmet_answers_free(struct pmet_answers *a)
{
    free(a->nll_new);
    free(a->nll_true);
    free(a->correct);
    free(a->greedy);
    memset(a, 0, sizeof *a);
}

void pmet_verdict_free(struct pmet_verdict *v)
{
    pmet_answers_free(&v->rewrite);
    pmet_answers_free(&v->paraphrase);
    pmet_answers_free(&v->neighborhood);
    pmet_answers_free(&v->portability);
}

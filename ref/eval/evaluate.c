/* SPDX-License-Identifier: MIT */
#include "ref/eval/evaluate.h"

#include <stdlib.h>
#include <string.h>

static enum pmet_status judge(struct pmet_questions *q, const struct pmet_model *model,
                              const struct pmet_eval_record *record, size_t n,
                              const struct pmet_evaluate_options *options, struct pmet_case *out,
                              struct pmet_error *err)
{
    for (size_t i = 0; i < n; i++)
        PMET_TRY(pmet_ask(q, &record[i], options->greedy, &out[i].verdict, err));
    return pmet_answer(q, model, options->max_bytes, err);
}

enum pmet_status pmet_evaluate_records(const struct pmet_model *model, const struct pmet_tokenizer *tk,
                                       const struct pmet_eval_record *record, size_t n,
                                       const struct pmet_evaluate_options *options, struct pmet_case *out,
                                       struct pmet_error *err)
{
    struct pmet_questions q = {.tk = tk, .config = &model->config, .path = options->path};
    memset(out, 0, n * sizeof *out);
    const enum pmet_status status = judge(&q, model, record, n, options, out, err);
    pmet_questions_free(&q);
    return status ? status : pmet_write_texts(model, tk, record, n, options, out, err);
}

void pmet_case_free(struct pmet_case *c)
{
    pmet_verdict_free(&c->verdict);
    for (size_t i = 0; c->texts.text && i < c->texts.n; i++)
        free(c->texts.text[i]);
    free(c->texts.text);
    memset(c, 0, sizeof *c);
}

/* SPDX-License-Identifier: MIT
 * pmet generate. */
#include <stdlib.h>
#include <string.h>
#include "cli/kinds.h"
#include "cli/lines.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "ref/eval/generate.h"
#include "tensors/json.h"
#include "tokenizer/unicode.h"

struct job {
    const char *model;
    struct texts prompts;
    size_t n_new, top_k;
    bool json;
};

static int should_stop(void *user)
{
    struct progress *p = user;
    return progress_update(p, p->done + 1, p->total);
}

static json_t *as_json(const char *prompt, size_t n_bytes, const struct pmet_ids *ids, size_t n_prompt,
                       const struct pmet_text *text, const struct pmet_text *clean)
{
    return json_pack("{s:s%, s:o, s:I, s:s, s:s}", "prompt", prompt, n_bytes, "ids",
                     pmet_json_ids(ids->id, ids->n), "n_prompt", (json_int_t)n_prompt, "text", text->data,
                     "clean_text", clean->data);
}

/* One prompt: every one starts from the seed, so that its text does not depend on the others. */
static enum pmet_status continue_prompt(const struct cli *c, const struct job *j,
                                        const struct pmet_session *s, const char *prompt, json_t *results,
                                        struct pmet_error *err)
{
    struct pmet_ids ids = {0};
    struct pmet_text text = {0}, clean = {0};
    struct pmet_rng rng;
    struct progress progress = {0};
    enum pmet_status status;
    size_t n_bytes = strlen(prompt);
    line_trim(&prompt, &n_bytes); /* it may be the text of a file */
    const size_t n_text = pmet_utf8_span(prompt, n_bytes);
    if (n_text < n_bytes)
        PMET_GO(pmet_fail(err, PMET_INPUT,
                          "--prompt: found byte 0x%02x after \"%.*s\"; expected text in UTF-8",
                          (unsigned char)prompt[n_text], (int)(n_text < 60 ? n_text : 60), prompt));
    PMET_GO(pmet_tokenizer_encode(s->tk, prompt, n_bytes, &ids, err));
    const size_t n_prompt = ids.n;
    struct pmet_generate_options options = {.top_k = j->top_k};
    if (!pmet_add_size(n_prompt, j->n_new, &options.n_total))
        options.n_total = SIZE_MAX; /* refused, as any other that is too many */
    pmet_rng_seed(&rng, c->seed);
    progress_begin(&progress, c, "writing", "tokens");
    progress_update(&progress, 0, j->n_new);
    PMET_GO(pmet_generate(s->model, &ids, 1, &options, &rng, should_stop, &progress, err));
    progress_drop(&progress);
    PMET_GO(check_stop(err));
    PMET_GO(pmet_tokenizer_decode(s->tk, ids.id, ids.n, 0, &text, err));
    if (j->json) {
        PMET_GO(pmet_generated_text(s->tk, &ids, &clean, err));
        json_array_append_new(results, as_json(prompt, n_bytes, &ids, n_prompt, &text, &clean));
    } else {
        print_exact(text.data, text.n);
        putchar('\n');
        fflush(stdout);
        status = check_stop(err); /* a full disk ends it here, not after the next prompt */
    }
done:
    progress_drop(&progress);
    free(ids.id);
    free(text.data);
    free(clean.data);
    return status;
}

static enum pmet_status generate(const struct cli *c, const struct job *j, struct pmet_session **s,
                                 json_t *results, struct pmet_error *err)
{
    PMET_TRY(check_kind(c, ROLE_MODEL, j->model, err));
    PMET_TRY(session_open(c, j->model, s, err));
    PMET_TRY(pmet_model_check_ends((*s)->model, err));
    for (size_t i = 0; i < j->prompts.n; i++)
        PMET_TRY(continue_prompt(c, j, *s, j->prompts.item[i], results, err));
    return PMET_OK;
}

int run_generate(struct cli *c, const struct command *self, int argc, char **argv)
{
    struct job j = {.n_new = 20, .top_k = 1};
    const struct option_row rows[] = {
        {"model", OPTION_TEXT | REQUIRED, &j.model, "DIR", "the checkpoint"},
        {"prompt", OPTION_TEXTS | REQUIRED, &j.prompts, "TEXT", "what to continue; may be given again"},
        {"max-tokens", OPTION_COUNT, &j.n_new, "N", "tokens to add (default 20)"},
        {"top-k", OPTION_COUNT, &j.top_k, "K", "draw from the K likeliest tokens (default 1: greedy)"},
        {"json", OPTION_FLAG, &j.json, NULL, "one JSON object, with the ids"},
    };
    struct pmet_session *s = NULL;
    struct pmet_error err = {PMET_OK, ""};
    json_t *results = json_array();
    int status = options_parse(c, self, rows, COUNT_OF(rows), argc, argv, NULL);
    if (status < 0 && j.top_k == 0)
        status = say_usage(c, "--top-k: found 0; expected at least 1");
    if (status < 0) {
        const bool done = generate(c, &j, &s, results, &err) == PMET_OK;
        if (done && j.json)
            print_json(json_pack("{s:O}", "results", results));
        status = done ? EXIT_DONE : say_failed(c, &err);
    }
    pmet_session_close(s);
    json_decref(results);
    texts_free(&j.prompts);
    return status;
}

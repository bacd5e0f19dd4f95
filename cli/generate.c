/* SPDX-License-Identifier: MIT */
#include "ref/eval/generate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"

int cli_generate(int argc, char **argv, const struct pmet_io *io)
{
    const char *model = NULL, *max = NULL, *k = NULL, *seed_text = NULL, *threads = NULL, **prompts = NULL;
    size_t n_prompt = 0, n_max = 20, top_k = 1, seed = 0, n_threads = 0;
    const struct cli_option options[] = {
        {"model", &model, NULL, NULL, NULL, true, "DIR   a checkpoint"},
        {"prompt", NULL, NULL, &prompts, &n_prompt, true, "TEXT... what to continue"},
        {"max-tokens", &max, NULL, NULL, NULL, false, "N     new tokens [20]"},
        {"top-k", &k, NULL, NULL, NULL, false, "K     draw among the K best; 1 takes the best [1]"},
        {"seed", &seed_text, NULL, NULL, NULL, false, "N     [0]"},
        {"threads", &threads, NULL, NULL, NULL, false, "N     [all]"},
        {"quiet", NULL, &cli_quiet, NULL, NULL, false, "no progress"}};
    int status = cli_parse(argc, argv, options, sizeof options / sizeof *options,
                           "pmet generate --model DIR --prompt TEXT [options]");
    if (status != 0 || !cli_number("generate", "max-tokens", max, &n_max) ||
        !cli_number("generate", "top-k", k, &top_k) || !cli_number("generate", "seed", seed_text, &seed) ||
        !cli_number("generate", "threads", threads, &n_threads)) {
        free(prompts);
        return status < 0 ? EXIT_OK : EXIT_WRONG_USAGE;
    }
    struct pmet_error err = {PMET_OK, ""};
    struct cli_session s = {0};
    struct pmet_rng rng;
    pmet_rng_seed(&rng, seed);
    enum pmet_status ok = cli_open(io, model, n_threads, &s, &err);
    for (size_t i = 0; i < n_prompt && ok == PMET_OK; i++) {
        struct pmet_ids ids = {0};
        struct pmet_text text = {0};
        ok = pmet_tokenizer_encode(s.tk, prompts[i], strlen(prompts[i]), &ids, &err);
        const struct pmet_generate_options o = {.n_total = ids.n + n_max, .top_k = top_k};
        if (ok == PMET_OK)
            ok = pmet_generate(s.model, &ids, &o, &rng, NULL, NULL, &err);
        /* ids past the tokenizer are legal for the model: they have no text */
        for (size_t t = 0; ok == PMET_OK && t < ids.n; t++)
            if ((size_t)ids.id[t] >= pmet_tokenizer_size(s.tk))
                ids.n = t;
        if (ok == PMET_OK)
            ok = pmet_tokenizer_decode(s.tk, ids.id, ids.n, 0, &text, &err);
        if (ok == PMET_OK)
            printf("%s\n", text.data);
        free(ids.id);
        free(text.data);
    }
    cli_close(&s);
    free(prompts);
    return ok == PMET_OK ? EXIT_OK : cli_fail(&err);
}

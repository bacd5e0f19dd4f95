/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tokenizer/model.h"

enum pmet_status pmet_tokenizer_open(const struct pmet_io *io, const char *dir, struct pmet_tokenizer **out,
                                     struct pmet_error *err)
{
    struct pmet_vocab_builder b = {0};
    struct pmet_settings settings = {0};
    char *path = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&b.tk, 1, sizeof *b.tk, "the tokenizer", err));
    b.tk->unk_id = -1;
    PMET_GO(pmet_path_join(dir, "tokenizer.json", &path, err));
    PMET_GO(pmet_settings_load(io, dir, &settings, err));
    const bool whole_file = access(path, F_OK) == 0;
    if (whole_file)
        PMET_GO(pmet_load_tokenizer_json(&b, io, path, err));
    else
        PMET_GO(pmet_load_vocab_merges(&b, io, dir, err));
    PMET_GO(pmet_settings_apply(&b, &settings, whole_file, err));
    PMET_GO(pmet_build_end(&b, err));
    *out = b.tk;
    b.tk = NULL;
done:
    for (size_t i = 0; i < b.n_added; i++)
        free((char *)(uintptr_t)b.added[i].text);
    free(b.added);
    json_decref(b.vocab);
    json_decref(b.index);
    pmet_settings_free(&settings);
    free(path);
    pmet_tokenizer_close(b.tk);
    return status;
}

static void free_set(struct pmet_added_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        free((char *)(uintptr_t)set->token[i].text);
    free(set->token);
}

void pmet_tokenizer_close(struct pmet_tokenizer *tk)
{
    if (!tk)
        return;
    free_set(&tk->raw);
    free_set(&tk->normal);
    free(tk->strings);
    free(tk->token);
    free(tk->slot);
    free(tk->merge);
    free(tk);
}

size_t pmet_tokenizer_size(const struct pmet_tokenizer *tk)
{
    return tk->n_token;
}

/* SPDX-License-Identifier: MIT
 * vocab.json and merges.txt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tensors/json.h"
#include "tokenizer/model.h"

static enum pmet_status read_merges(struct pmet_vocab_builder *b, const char *text, size_t n,
                                    struct pmet_error *err)
{
    size_t n_line = 0, line = 0;
    for (size_t i = 0; i < n; i++)
        n_line += text[i] == '\n';
    PMET_TRY(pmet_lookup_merges(b->tk, n_line + 1, err));
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        text += 3;
        n -= 3;
    }
    for (const char *p = text, *end = text + n; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p)), *space;
        char where[48];
        stop = stop ? stop : end;
        size_t len = (size_t)(stop - p);
        len -= len > 0 && p[len - 1] == '\r';
        snprintf(where, sizeof where, "line %zu", ++line);
        if (len > 0 && !(line == 1 && len >= 8 && memcmp(p, "#version", 8) == 0)) {
            space = memchr(p, ' ', len);
            if (!space || memchr(space + 1, ' ', len - (size_t)(space + 1 - p)))
                return pmet_fail(err, PMET_FORMAT,
                                 "%s: %s: found \"%.*s\"; expected two tokens with a space between", b->path,
                                 where, (int)(len < 100 ? len : 100), p);
            PMET_TRY(pmet_build_merge(b, p, (size_t)(space - p), space + 1, len - (size_t)(space + 1 - p),
                                      where, err));
        }
        p = stop + 1;
    }
    return PMET_OK;
}

static enum pmet_status load_all(struct pmet_vocab_builder *b, const struct pmet_io *io,
                                 const char *vocab_path, const char *merges_path, struct pmet_error *err)
{
    json_t *vocab = NULL;
    char *merges = NULL;
    size_t n;
    enum pmet_status status;
    b->path = vocab_path;
    PMET_GO(pmet_json_load(io, vocab_path, PMET_MAX_TOKENIZER_FILE, &vocab, err));
    if (!json_is_object(vocab))
        PMET_GO(pmet_fail(err, PMET_FORMAT, "%s: found %s; expected an object", vocab_path,
                          pmet_json_kind(vocab)));
    PMET_GO(pmet_build_vocab(b, vocab, vocab_path, err));
    b->path = merges_path;
    PMET_GO(pmet_read_file(io, merges_path, PMET_MAX_TOKENIZER_FILE, &merges, &n, err));
    status = read_merges(b, merges, n, err);
done:
    json_decref(vocab);
    free(merges);
    return status;
}

enum pmet_status pmet_load_vocab_merges(struct pmet_vocab_builder *b, const struct pmet_io *io,
                                        const char *dir, struct pmet_error *err)
{
    char *vocab = NULL, *merges = NULL;
    enum pmet_status status;
    PMET_GO(pmet_path_join(dir, "vocab.json", &vocab, err));
    if (access(vocab, F_OK) != 0)
        PMET_GO(
            pmet_fail(err, PMET_IO,
                      "%s: found neither tokenizer.json nor vocab.json; expected one of them, copied from "
                      "the folder of the original model",
                      dir));
    PMET_GO(pmet_path_join(dir, "merges.txt", &merges, err));
    b->tk->use_regex = true;
    status = load_all(b, io, vocab, merges, err);
done:
    free(vocab);
    free(merges);
    return status;
}

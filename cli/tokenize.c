/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"

static enum pmet_status encode_line(const struct pmet_tokenizer *tk, const char *line, size_t n,
                                    struct pmet_error *err)
{
    struct pmet_ids ids = {0};
    const enum pmet_status status = pmet_tokenizer_encode(tk, line, n, &ids, err);
    for (size_t i = 0; status == PMET_OK && i < ids.n; i++)
        printf(i ? " %d" : "%d", (int)ids.id[i]);
    if (status == PMET_OK)
        printf("\n");
    free(ids.id);
    return status;
}

static enum pmet_status decode_line(const struct pmet_tokenizer *tk, char *line, struct pmet_error *err)
{
    struct pmet_text text = {0};
    enum pmet_status status = PMET_OK;
    char *end = line;
    for (char *p = line; status == PMET_OK; p = end) {
        while (*p == ' ')
            p++;
        if (!*p)
            break;
        const long v = strtol(p, &end, 10);
        const int32_t id = v < 0 || v > INT32_MAX ? -1 : (int32_t)v;
        if (end == p)
            status = pmet_fail(err, PMET_INPUT, "found \"%.40s\"; expected token ids with spaces between", p);
        else
            status = pmet_tokenizer_decode(tk, &id, 1, PMET_DECODE_BYTES, &text, err);
    }
    if (status == PMET_OK)
        printf("%s\n", text.data ? text.data : "");
    free(text.data);
    return status;
}

int cli_tokenize(int argc, char **argv, const struct pmet_io *io)
{
    const char *model = NULL, **files = NULL;
    size_t n_file = 0, n;
    bool decode = false;
    const struct cli_option options[] = {{"model", &model, NULL, NULL, NULL, true,
                                          "DIR   a folder with tokenizer.json, or vocab.json and merges.txt"},
                                         {"", NULL, NULL, &files, &n_file, false, ""},
                                         {"decode", NULL, &decode, NULL, NULL, false, "ids to text"}};
    int status = cli_parse(argc, argv, options, sizeof options / sizeof *options,
                           "pmet tokenize --model DIR [FILE] [--decode]");
    if (status != 0) {
        free(files);
        return status < 0 ? EXIT_OK : status;
    }
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_tokenizer *tk = NULL;
    char *text = NULL;
    enum pmet_status ok = pmet_tokenizer_open(io, model, &tk, &err);
    if (ok == PMET_OK)
        ok = pmet_read_file(io, n_file ? files[0] : "-", (size_t)1 << 32, &text, &n, &err);
    for (size_t at = 0; ok == PMET_OK && at < n;) {
        char *stop = memchr(text + at, '\n', n - at);
        const size_t end = stop ? (size_t)(stop - text) : n;
        text[end] = '\0';
        ok = decode ? decode_line(tk, text + at, &err) : encode_line(tk, text + at, end - at, &err);
        at = end + 1;
    }
    free(text);
    pmet_tokenizer_close(tk);
    free(files);
    return ok == PMET_OK ? EXIT_OK : cli_fail(&err);
}

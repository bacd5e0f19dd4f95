/* SPDX-License-Identifier: MIT
 * pmet tokenize. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "cli/lines.h"
#include "cli/options.h"
#include "tensors/json.h"
#include "tensors/stream.h"
#include "tokenizer/tokenizer.h"

/* Of a JSON text, which is read whole; of a line. */
static const size_t max_json = (size_t)1 << 28, max_line = (size_t)1 << 24;

struct job {
    const char *model, *file;
    bool decode, json;
    struct pmet_tokenizer *tk;
};

static enum pmet_status encode_line(const struct job *j, const char *line, size_t n, struct pmet_error *err)
{
    struct pmet_ids ids = {0};
    const enum pmet_status status = pmet_tokenizer_encode(j->tk, line, n, &ids, err);
    for (size_t i = 0; status == PMET_OK && i < ids.n; i++)
        printf(i ? " %d" : "%d", (int)ids.id[i]);
    if (status == PMET_OK)
        putchar('\n');
    free(ids.id);
    return status;
}

static enum pmet_status read_id(const char *file, size_t line, const char **at, const char *end, int32_t *id,
                                struct pmet_error *err)
{
    int64_t value = 0;
    const char *p = *at;
    while (p < end && isdigit((unsigned char)*p) && value <= INT32_MAX)
        value = 10 * value + (*p++ - '0');
    if (p == *at || value > INT32_MAX || (p < end && *p != ' ' && *p != '\t' && *p != '\r'))
        return pmet_fail(err, PMET_INPUT, "%s: line %zu: found \"%.*s\"; expected token ids", file, line,
                         (int)(end - *at < 24 ? end - *at : 24), *at);
    *id = (int32_t)value;
    *at = p;
    return PMET_OK;
}

/* Bytes come back as they were, also where they are not UTF-8. */
static enum pmet_status decode_line(const struct job *j, size_t number, const char *line, size_t n,
                                    struct pmet_error *err)
{
    struct pmet_text text = {0};
    const char *end = line + n;
    struct pmet_error inner = {PMET_OK, ""};
    enum pmet_status status = PMET_OK;
    for (;;) {
        int32_t id;
        while (line < end && isspace((unsigned char)*line))
            line++;
        if (line == end)
            break;
        PMET_GO(read_id(j->file, number, &line, end, &id, err));
        status = pmet_tokenizer_decode(j->tk, &id, 1, PMET_DECODE_BYTES, &text, &inner);
        if (status != PMET_OK) {
            pmet_fail(err, status, "%s: line %zu: %s", j->file, number, inner.message);
            goto done;
        }
    }
    print_exact(text.data ? text.data : "", text.n);
    putchar('\n');
done:
    free(text.data);
    return status;
}

/* The part of a file that is read and not yet used, from `at` on. */
struct window {
    char *data;
    size_t at, n, capacity;
};

/* Whether there is a line at w->at: [*n] bytes without the newline; reads on where it has to. */
static enum pmet_status next_line(const struct job *j, struct pmet_stream *s, struct window *w, size_t number,
                                  size_t *n, bool *more, struct pmet_error *err)
{
    size_t seen = 0, got = 1;
    for (;;) {
        const char *newline =
            w->n > w->at + seen ? memchr(w->data + w->at + seen, '\n', w->n - w->at - seen) : NULL;
        seen = newline ? (size_t)(newline - w->data) - w->at : w->n - w->at;
        if (newline || got == 0)
            break;
        if (seen > max_line)
            return pmet_fail(err, PMET_INPUT, "%s: line %zu: more than %zu bytes; expected at most that",
                             j->file, number, max_line);
        if (seen > 0)
            memmove(w->data, w->data + w->at, seen);
        w->at = 0;
        w->n = seen;
        PMET_TRY(pmet_grow(&w->data, &w->capacity, w->n + 65536, 1, "a line", err));
        PMET_TRY(pmet_stream_read(s, w->data + w->n, w->capacity - w->n, &got, err));
        w->n += got;
    }
    *n = seen;
    *more = w->at < w->n;
    return PMET_OK;
}

static enum pmet_status each_line(const struct job *j, const struct pmet_io *io, const char *path,
                                  struct pmet_error *err)
{
    struct pmet_stream *s = NULL;
    struct window w = {.n = 0};
    size_t n = 0;
    bool more = false;
    enum pmet_status status;
    PMET_GO(pmet_stream_open(io, path, NULL, &s, err));
    for (size_t number = 1;; number++) {
        PMET_GO(next_line(j, s, &w, number, &n, &more, err));
        if (!more)
            break;
        const char *line = w.data + w.at;
        size_t n_text = n;
        if (number == 1)
            PMET_GO(check_not_utf16(line, n, j->file, err));
        line_trim(&line, &n_text);
        PMET_GO(j->decode ? decode_line(j, number, line, n_text, err) : encode_line(j, line, n_text, err));
        PMET_GO(check_stop(err));
        w.at += w.at + n < w.n ? n + 1 : n;
    }
done:
    free(w.data);
    pmet_stream_close(s);
    return status;
}

static enum pmet_status encode_json(const struct job *j, size_t i, const json_t *v, json_t *out,
                                    struct pmet_error *err)
{
    struct pmet_ids ids = {0};
    if (!json_is_string(v))
        return pmet_fail(err, PMET_INPUT, "%s: element %zu: found %s; expected a string", j->file, i,
                         pmet_json_kind(v));
    const enum pmet_status status =
        pmet_tokenizer_encode(j->tk, json_string_value(v), json_string_length(v), &ids, err);
    json_array_append_new(out, pmet_json_ids(ids.id, ids.n));
    free(ids.id);
    return status;
}

static enum pmet_status decode_json(const struct job *j, size_t i, const json_t *v, json_t *out,
                                    struct pmet_error *err)
{
    struct pmet_text text = {0};
    int32_t *ids = NULL;
    const size_t n = json_array_size(v);
    struct pmet_error inner = {PMET_OK, ""};
    enum pmet_status status;
    if (!json_is_array(v))
        return pmet_fail(err, PMET_INPUT, "%s: element %zu: found %s; expected an array of ids", j->file, i,
                         pmet_json_kind(v));
    PMET_GO(pmet_calloc(&ids, n, sizeof *ids, "ids", err));
    for (size_t k = 0; k < n; k++) {
        const json_t *id = json_array_get(v, k);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            PMET_GO(pmet_fail(err, PMET_INPUT, "%s: element %zu: id %zu: found %s; expected a token id",
                              j->file, i, k,
                              json_is_integer(id) ? "a number out of range" : pmet_json_kind(id)));
        ids[k] = (int32_t)json_integer_value(id);
    }
    status = pmet_tokenizer_decode(j->tk, ids, n, 0, &text, &inner);
    if (status != PMET_OK) {
        pmet_fail(err, status, "%s: element %zu: %s", j->file, i, inner.message);
        goto done;
    }
    json_array_append_new(out, json_stringn(text.data ? text.data : "", text.n));
done:
    free(ids);
    free(text.data);
    return status;
}

static enum pmet_status whole_json(const struct job *j, const struct pmet_io *io, const char *path,
                                   struct pmet_error *err)
{
    json_t *in = NULL, *out = json_array();
    enum pmet_status status;
    PMET_GO(pmet_json_load(io, path, max_json, &in, err));
    if (!json_is_array(in))
        PMET_GO(pmet_fail(err, PMET_INPUT, "%s: found %s; expected an array of %s", j->file,
                          pmet_json_kind(in), j->decode ? "id arrays" : "strings"));
    for (size_t i = 0; i < json_array_size(in); i++) {
        PMET_GO(check_stop(err));
        PMET_GO(j->decode ? decode_json(j, i, json_array_get(in, i), out, err)
                          : encode_json(j, i, json_array_get(in, i), out, err));
    }
    char *text = json_dumps(out, JSON_COMPACT);
    if (text)
        puts(text);
    else
        status = pmet_fail_memory(err, "the result", 0);
    free(text);
done:
    json_decref(in);
    json_decref(out);
    return status;
}

static enum pmet_status tokenize(const struct cli *c, struct job *j, struct pmet_error *err)
{
    const char *path = j->file;
    PMET_TRY(pmet_tokenizer_open(c->io, j->model, &j->tk, err));
    if (strcmp(path, "-") == 0)
        j->file = "standard input";
    return j->json ? whole_json(j, c->io, path, err) : each_line(j, c->io, path, err);
}

int run_tokenize(struct cli *c, const struct command *self, int argc, char **argv)
{
    struct job j = {.file = "-"};
    struct texts files = {0};
    const struct option_row rows[] = {
        {"model", OPTION_TEXT | REQUIRED, &j.model, "DIR", "where the tokenizer's files are"},
        {"decode", OPTION_FLAG, &j.decode, NULL, "ids to text"},
        {"json", OPTION_FLAG, &j.json, NULL, "JSON in and out rather than lines"},
    };
    struct pmet_error err = {PMET_OK, ""};
    int status = options_parse(c, self, rows, COUNT_OF(rows), argc, argv, &files);
    if (status < 0 && files.n > 1)
        status = say_usage(c, "%s: one argument too many", files.item[1]);
    if (status < 0) {
        if (files.n == 1)
            j.file = files.item[0];
        status = tokenize(c, &j, &err) == PMET_OK ? EXIT_DONE : say_failed(c, &err);
    }
    pmet_tokenizer_close(j.tk);
    texts_free(&files);
    return status;
}

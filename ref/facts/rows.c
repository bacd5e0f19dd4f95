/* SPDX-License-Identifier: MIT
 * Rows of tokens for a fact, as the published code builds them.      SPEC §4.3, §4.4 */
#include "ref/facts/rows.h"

#include <stdlib.h>
#include <string.h>
#include "tokenizer/unicode.h"

/* What building one fact's rows passes around. */
struct maker {
    const struct pmet_tokenizer *tk;
    const struct pmet_fact *fact;
    const struct pmet_rows_options *options;
    struct pmet_fact_rows *out;
    struct pmet_text tail;     /* decoded target tokens but the last */
    struct pmet_text before;   /* text before the subject, in the row in progress */
    struct pmet_text text;     /* the row in progress, filled */
    struct pmet_text word;     /* the subject with one space before it */
    struct pmet_ids ids, some; /* of the row; of a part of it */
};

static enum pmet_status refuse(const struct maker *m, struct pmet_error *err, const char *what)
{
    return pmet_fail(err, PMET_INPUT, "%s: record %zu (line %zu): subject \"%s\": %s", m->options->path,
                     m->fact->record, m->fact->line, m->fact->subject, what);
}

static enum pmet_status count_tokens(struct maker *m, const char *text, size_t n, size_t *count,
                                     struct pmet_error *err)
{
    m->some.n = 0;
    PMET_TRY(pmet_tokenizer_encode(m->tk, text, n, &m->some, err));
    *count = m->some.n;
    return PMET_OK;
}

/* The part of text that Python's strip leaves: without white space (and U+001C to U+001F) at both
 * ends. */
static void strip(const char **text, size_t *n)
{
    int32_t c;
    for (size_t len; *n > 0 && (len = pmet_utf8_next(*text, *n, &c),
                               pmet_char_class(c) == PMET_CHAR_SPACE || (c >= 0x1c && c <= 0x1f));) {
        *text += len;
        *n -= len;
    }
    while (*n > 0) {
        size_t len = 1;
        while (len < *n && len < 4 && ((unsigned char)(*text)[*n - len] & 0xc0) == 0x80)
            len++;
        pmet_utf8_next(*text + *n - len, len, &c);
        if (pmet_char_class(c) != PMET_CHAR_SPACE && !(c >= 0x1c && c <= 0x1f))
            return;
        *n -= len;
    }
}

/* E42. Counted apart on prefix and " subject", as published: |tok(prefix)| + |tok(" " +
 * strip(subject))| - 1, the prefix without its last space; a subject that leads is taken as it
 * stands (X9). */
static enum pmet_status lookup(struct maker *m, size_t *idx, struct pmet_error *err)
{
    size_t n_prefix = 0, n_word, n = strlen(m->fact->subject);
    const char *subject = m->fact->subject;
    if (m->before.n == 0) {
        PMET_TRY(count_tokens(m, subject, n, &n_word, err));
    } else {
        if (m->before.data[m->before.n - 1] != ' ')
            return refuse(m, err,
                          "the text before it does not end in a space; rewrite the prompt so that it does");
        PMET_TRY(count_tokens(m, m->before.data, m->before.n - 1, &n_prefix, err));
        strip(&subject, &n);
        m->word.n = 0;
        PMET_TRY(pmet_text_append(&m->word, " ", 1, err));
        PMET_TRY(pmet_text_append(&m->word, subject, n, err));
        PMET_TRY(count_tokens(m, m->word.data, m->word.n, &n_word, err));
    }
    if (n_prefix + n_word == 0)
        return refuse(m, err, "has no tokens");
    *idx = n_prefix + n_word - 1;
    return PMET_OK;
}

/* E41: m->before and m->text from a template with the prompt in place, cut at the hole; `tail`
 * follows the prompt. */
static enum pmet_status fill(struct maker *m, const char *context, const char *prompt,
                             const struct pmet_text *tail, struct pmet_error *err)
{
    const char *hole = strstr(context, "{}"), *at = strstr(prompt, "{}"), *subject = m->fact->subject;
    m->before.n = m->text.n = 0;
    PMET_TRY(pmet_text_append(&m->before, context, (size_t)(hole - context), err));
    PMET_TRY(pmet_text_append(&m->before, prompt, (size_t)(at - prompt), err));
    PMET_TRY(pmet_text_append(&m->text, m->before.data, m->before.n, err));
    PMET_TRY(pmet_text_append(&m->text, subject, strlen(subject), err));
    PMET_TRY(pmet_text_append(&m->text, at + 2, strlen(at + 2), err));
    PMET_TRY(pmet_text_append(&m->text, hole + 2, strlen(hole + 2), err));
    return tail ? pmet_text_append(&m->text, tail->data, tail->n, err) : PMET_OK;
}

/* E44: is the lookup token the subject's last in the row as tokenised whole? */
static enum pmet_status check_lookup(struct maker *m, const struct pmet_row *row, struct pmet_error *err)
{
    size_t n;
    PMET_TRY(count_tokens(m, m->text.data, m->before.n + strlen(m->fact->subject), &n, err));
    if (n != row->lookup_idx + 1 || memcmp(m->some.id, row->id, n * sizeof *row->id) != 0)
        m->out->odd_lookup = true;
    return PMET_OK;
}

/* E44: do the row's last tokens read target[:-1], after the prompt as tokenised alone (X11)? */
static enum pmet_status check_target(struct maker *m, const struct pmet_row *row, struct pmet_error *err)
{
    size_t n;
    const size_t n_tail = m->out->n_target - 1;
    PMET_TRY(count_tokens(m, m->text.data, m->text.n - m->tail.n, &n, err));
    if (n + n_tail != row->n_tok || memcmp(m->some.id, row->id, n * sizeof *row->id) != 0 ||
        memcmp(m->out->target, row->id + n, n_tail * sizeof *row->id) != 0)
        m->out->odd_target = true;
    return PMET_OK;
}

/* Appends the row that m->text holds. */
static enum pmet_status add_row(struct maker *m, struct pmet_error *err)
{
    struct pmet_row *row = &m->out->row[m->out->n_row];
    m->ids.n = 0;
    PMET_TRY(pmet_tokenizer_encode(m->tk, m->text.data, m->text.n, &m->ids, err));
    if (m->ids.n > m->options->n_ctx)
        return pmet_fail(err, PMET_INPUT,
                         "%s: record %zu (line %zu): row %zu: found %zu tokens; the model takes at most %zu",
                         m->options->path, m->fact->record, m->fact->line, m->out->n_row, m->ids.n,
                         m->options->n_ctx);
    for (size_t t = 0; t < m->ids.n; t++)
        if ((size_t)m->ids.id[t] >= m->options->n_vocab)
            return pmet_fail(
                err, PMET_INPUT,
                "%s: record %zu (line %zu): row %zu: found token id %d; the model's embedding has %zu rows",
                m->options->path, m->fact->record, m->fact->line, m->out->n_row, (int)m->ids.id[t],
                m->options->n_vocab);
    PMET_TRY(lookup(m, &row->lookup_idx, err));
    if (row->lookup_idx >= m->ids.n)
        return pmet_fail(
            err, PMET_INPUT,
            "%s: record %zu (line %zu): row %zu: lookup index %zu is past the row's %zu tokens (\"%s\")",
            m->options->path, m->fact->record, m->fact->line, m->out->n_row, row->lookup_idx, m->ids.n,
            m->text.data);
    if (m->out->target && m->ids.n < m->out->n_target)
        return pmet_fail(
            err, PMET_INPUT, "%s: record %zu (line %zu): row %zu has %zu tokens; the target alone has %zu",
            m->options->path, m->fact->record, m->fact->line, m->out->n_row, m->ids.n, m->out->n_target);
    PMET_TRY(pmet_calloc(&row->id, m->ids.n, sizeof *row->id, "a row", err));
    memcpy(row->id, m->ids.id, m->ids.n * sizeof *row->id);
    row->n_tok = m->ids.n;
    m->out->n_row++;
    return check_lookup(m, row, err);
}

static enum pmet_status check_prompt(const struct maker *m, struct pmet_error *err)
{
    const char *p = m->fact->prompt, *hole = strstr(p, "{}");
    if (!hole)
        return refuse(m, err, "the prompt holds no \"{}\"; expected one, for the subject");
    if (strstr(hole + 2, "{}"))
        return refuse(m, err, "the prompt holds \"{}\" more than once; rewrite it to name the subject once");
    const char *brace = p + strcspn(p, "{}");
    brace = brace < hole ? brace : hole + 2 + strcspn(hole + 2, "{}");
    if (*brace)
        return refuse(m, err,
                      *brace == '{' ? "the prompt holds a '{' besides its \"{}\"; expected no other brace"
                                    : "the prompt holds a '}' besides its \"{}\"; expected no other brace");
    return PMET_OK;
}

/* Target ids with the leading space, and the text of all but the last, cleaned up by decoding
 * (X26). */
static enum pmet_status make_target(struct maker *m, struct pmet_error *err)
{
    const char *target = m->fact->target;
    if (strpbrk(target, "{}"))
        return refuse(m, err, "the target holds a brace; expected none");
    m->text.n = m->ids.n = 0;
    if (*target != ' ')
        PMET_TRY(pmet_text_append(&m->text, " ", 1, err));
    PMET_TRY(pmet_text_append(&m->text, target, strlen(target), err));
    PMET_TRY(pmet_tokenizer_encode(m->tk, m->text.data, m->text.n, &m->ids, err));
    if (m->ids.n == 0)
        return refuse(m, err, "the target has no tokens");
    PMET_TRY(pmet_calloc(&m->out->target, m->ids.n, sizeof *m->out->target, "a target", err));
    memcpy(m->out->target, m->ids.id, m->ids.n * sizeof *m->out->target);
    m->out->n_target = m->ids.n;
    PMET_TRY(pmet_tokenizer_decode(m->tk, m->out->target, m->ids.n - 1, PMET_DECODE_CLEANUP, &m->tail, err));
    for (size_t s = 0; s < m->out->n_target; s++)
        if ((size_t)m->out->target[s] >= m->options->n_vocab)
            return refuse(m, err, "the target has a token past the model's vocabulary");
    return PMET_OK;
}

/* The rows of E41, the KL row last. Labels stand at the end of a row (E43). */
static enum pmet_status make_rows(struct maker *m, const struct pmet_contexts *contexts, bool with_target,
                                  struct pmet_error *err)
{
    if (!*m->fact->subject || (with_target && !*m->fact->target))
        return refuse(m, err,
                      *m->fact->subject ? "the target is empty; expected text" : "is empty; expected text");
    PMET_TRY(check_prompt(m, err));
    if (with_target)
        PMET_TRY(make_target(m, err));
    PMET_TRY(pmet_calloc(&m->out->row, contexts->n_template + 1, sizeof *m->out->row, "rows", err));
    for (size_t j = 0; j < contexts->n_template; j++) {
        PMET_TRY(fill(m, contexts->text[j], m->fact->prompt, with_target ? &m->tail : NULL, err));
        PMET_TRY(add_row(m, err));
        if (with_target)
            PMET_TRY(check_target(m, &m->out->row[j], err));
    }
    if (with_target) {
        struct pmet_fact_rows *out = m->out;
        int32_t *target = out->target;
        PMET_TRY(fill(m, "{}", m->options->kl_prompt, NULL, err));
        out->target = NULL; /* the KL row carries no labels */
        const enum pmet_status status = add_row(m, err);
        out->target = target;
        PMET_TRY(status);
    }
    if (m->options->strict && m->out->odd_lookup)
        return refuse(m, err,
                      "the lookup index is not its last token once the row is tokenised whole (--strict)");
    if (m->options->strict && m->out->odd_target)
        return refuse(m, err, "the target's labels are not where its tokens are (--strict)");
    return PMET_OK;
}

enum pmet_status pmet_rows_build(const struct pmet_tokenizer *tk, const struct pmet_fact *fact,
                                 const struct pmet_contexts *contexts,
                                 const struct pmet_rows_options *options, bool with_target,
                                 struct pmet_fact_rows *out, struct pmet_error *err)
{
    struct maker m = {.tk = tk, .fact = fact, .options = options, .out = out};
    memset(out, 0, sizeof *out);
    enum pmet_status status = pmet_text_append(&m.tail, "", 0, err);
    if (status == PMET_OK)
        status = make_rows(&m, contexts, with_target, err);
    free(m.tail.data);
    free(m.before.data);
    free(m.text.data);
    free(m.word.data);
    free(m.ids.id);
    free(m.some.id);
    if (status != PMET_OK)
        pmet_rows_free(out);
    return status;
}

void pmet_rows_free(struct pmet_fact_rows *rows)
{
    for (size_t j = 0; rows->row && j < rows->n_row; j++)
        free(rows->row[j].id);
    free(rows->row);
    free(rows->target);
    memset(rows, 0, sizeof *rows);
}

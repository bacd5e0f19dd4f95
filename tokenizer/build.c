/* SPDX-License-Identifier: MIT
 * Vocabulary, merges and added tokens put into their tables. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/json.h"
#include "tokenizer/model.h"
#include "tokenizer/unicode.h"

enum { MAX_HOLES = 65536 }; /* unused ids that any vocabulary may have */

/* Ids below n get their places, which no token uses yet. */
static enum pmet_status grow_tokens(struct pmet_tokenizer *tk, size_t n, struct pmet_error *err)
{
    if (n <= tk->n_token)
        return PMET_OK;
    PMET_TRY(pmet_grow(&tk->token, &tk->cap_token, n, sizeof *tk->token, "the vocabulary", err));
    memset(tk->token + tk->n_token, 0, (n - tk->n_token) * sizeof *tk->token);
    tk->n_token = n;
    return PMET_OK;
}

/* Gives id the bytes that `text` decodes to. */
static enum pmet_status set_token(struct pmet_tokenizer *tk, int32_t id, const char *text,
                                  struct pmet_error *err)
{
    struct pmet_token *t = &tk->token[id];
    const size_t n = strlen(text);
    PMET_TRY(pmet_grow(&tk->strings, &tk->cap_strings, tk->n_strings + n + 1, 1, "the vocabulary", err));
    t->used = true;
    t->at = tk->n_strings;
    if (!pmet_from_alphabet(text, n, tk->strings + t->at, &t->n)) {
        memcpy(tk->strings + t->at, text, n);
        t->n = n;
    }
    tk->n_strings += t->n;
    return PMET_OK;
}

static enum pmet_status check_id(const char *path, const char *token, const json_t *v, size_t *id,
                                 struct pmet_error *err)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= PMET_MAX_TOKENS) {
        if (json_is_integer(v))
            return pmet_fail(err, PMET_FORMAT, "%s: token \"%s\": found id %lld; expected 0 to %d", path,
                             token, (long long)json_integer_value(v), PMET_MAX_TOKENS - 1);
        return pmet_fail(err, PMET_FORMAT, "%s: token \"%s\": found %s; expected an integer id", path, token,
                         pmet_json_kind(v));
    }
    *id = (size_t)json_integer_value(v);
    return PMET_OK;
}

enum pmet_status pmet_build_vocab(struct pmet_vocab_builder *b, const json_t *vocab, const char *path,
                                  struct pmet_error *err)
{
    struct pmet_tokenizer *tk = b->tk;
    const size_t n = json_object_size(vocab);
    size_t n_id = 0;
    json_t *object = (json_t *)(uintptr_t)vocab; /* jansson's iteration takes no const; nothing is changed */
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        size_t id = 0;
        PMET_TRY(check_id(path, json_object_iter_key(it), json_object_iter_value(it), &id, err));
        n_id = id + 1 > n_id ? id + 1 : n_id;
    }
    if (n == 0)
        return pmet_fail(err, PMET_FORMAT, "%s: the vocabulary is empty", path);
    if (n_id >
        4 * n + MAX_HOLES) /* unused ids are allowed, but not so many that a small file takes much memory */
        return pmet_fail(err, PMET_FORMAT, "%s: ids up to %zu for %zu tokens; expected fewer holes", path,
                         n_id - 1, n);
    b->vocab = json_incref(object);
    b->index = json_object();
    if (!b->index)
        return pmet_fail_memory(err, "added tokens", SIZE_MAX);
    PMET_TRY(grow_tokens(tk, n_id, err));
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const int32_t id = (int32_t)json_integer_value(json_object_iter_value(it));
        if (tk->token[id].used)
            return pmet_fail(err, PMET_FORMAT, "%s: token \"%s\": id %d belongs to another token, too", path,
                             json_object_iter_key(it), (int)id);
        PMET_TRY(set_token(tk, id, json_object_iter_key(it), err));
    }
    PMET_TRY(pmet_lookup_tokens(tk, n, err));
    for (int c = 0; c < 256; c++) {
        const char byte = (char)(unsigned char)c;
        tk->byte_id[c] = pmet_token_of_bytes(tk, &byte, 1);
    }
    return PMET_OK;
}

enum pmet_status pmet_build_merge(struct pmet_vocab_builder *b, const char *left, size_t n_left,
                                  const char *right, size_t n_right, const char *where,
                                  struct pmet_error *err)
{
    char stack[512], *bytes = stack;
    size_t n, m;
    int32_t id[3] = {-1, -1, -1};
    if (n_left + n_right > sizeof stack)
        PMET_TRY(pmet_calloc(&bytes, n_left + n_right, 1, "a merge", err));
    if (pmet_from_alphabet(left, n_left, bytes, &n) && pmet_from_alphabet(right, n_right, bytes + n, &m)) {
        id[0] = pmet_token_of_bytes(b->tk, bytes, n);
        id[1] = pmet_token_of_bytes(b->tk, bytes + n, m);
        id[2] = pmet_token_of_bytes(b->tk, bytes, n + m);
    }
    if (bytes != stack)
        free(bytes);
    if (id[0] < 0 || id[1] < 0 || id[2] < 0)
        return pmet_fail(err, PMET_FORMAT, "%s: %s: \"%.*s %.*s\": %s is not in the vocabulary", b->path,
                         where, (int)(n_left < 100 ? n_left : 100), left,
                         (int)(n_right < 100 ? n_right : 100), right,
                         id[0] < 0   ? "the first part"
                         : id[1] < 0 ? "the second part"
                                     : "their union");
    /* a pair given twice counts by its last rank, as in the reference */
    pmet_lookup_add_merge(b->tk, &(struct pmet_merge){id[0], id[1], (int32_t)b->n_merge++, id[2]});
    return PMET_OK;
}

/* The id that the library gives the token: what the file says must agree. */
static int32_t id_of_added(const struct pmet_vocab_builder *b, const char *content)
{
    const json_t *in_vocab = json_object_get(b->vocab, content);
    return in_vocab ? (int32_t)json_integer_value(in_vocab)
                    : (int32_t)(json_object_size(b->vocab) + b->n_new);
}

/* A token that is there already: flags that no file has given yet are taken, others must be
 * equal. */
static enum pmet_status check_same(const struct pmet_vocab_builder *b, struct pmet_added *there,
                                   const struct pmet_added *flags, struct pmet_error *err)
{
    if (!flags)
        return PMET_OK;
    if (!there->said) {
        there->lstrip = flags->lstrip;
        there->rstrip = flags->rstrip;
        there->single_word = flags->single_word;
        there->said = true;
    }
    const char *differs = flags->lstrip != there->lstrip             ? "lstrip"
                          : flags->rstrip != there->rstrip           ? "rstrip"
                          : flags->single_word != there->single_word ? "single_word"
                                                                     : NULL;
    if (!differs)
        return PMET_OK;
    return pmet_fail(
        err, PMET_UNSUPPORTED,
        "%s: added token \"%s\": %s differs from what another place says; expected the same, since "
        "versions of transformers disagree which counts",
        b->path, there->text, differs);
}

enum pmet_status pmet_build_added(struct pmet_vocab_builder *b, const char *content, json_int_t id,
                                  const struct pmet_added *flags, bool special, struct pmet_error *err)
{
    const json_t *at = json_object_get(b->index, content);
    struct pmet_added *there = at ? &b->added[json_integer_value(at)] : NULL;
    const int32_t own = there ? there->id : id_of_added(b, content);
    const bool is_new = !there && !json_object_get(b->vocab, content);
    if (!*content)
        return pmet_fail(err, PMET_FORMAT, "%s: added token %lld is empty", b->path, (long long)id);
    if (id >= 0 && id != own)
        return pmet_fail(err, PMET_FORMAT, "%s: added token \"%s\": found id %lld; expected %d, %s", b->path,
                         content, (long long)id, (int)own, is_new ? "the next" : "which it has already");
    if (is_new && (size_t)own < b->tk->n_token && b->tk->token[own].used)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: added token \"%s\": its id, %d, belongs to another token, too: ids of the "
                         "vocabulary have holes",
                         b->path, content, (int)own);
    PMET_TRY(grow_tokens(b->tk, (size_t)own + 1, err));
    b->tk->token[own].added = true;
    b->tk->token[own].special |= special;
    if (there)
        return check_same(b, there, flags, err);
    PMET_TRY(pmet_grow(&b->added, &b->cap_added, b->n_added + 1, sizeof *b->added, "added tokens", err));
    char *text;
    PMET_TRY(pmet_copy_text(content, &text, "an added token", err));
    there = &b->added[b->n_added];
    *there = flags ? *flags : (struct pmet_added){.normalized = !special};
    there->said = flags != NULL;
    there->text = text;
    there->n = strlen(text);
    there->id = own;
    b->n_new += is_new;
    if (json_object_set_new(b->index, content, json_integer((json_int_t)b->n_added++)) != 0)
        return pmet_fail_memory(err, "added tokens", SIZE_MAX);
    return PMET_OK;
}

static int longest_first(const void *a, const void *b)
{
    const struct pmet_added *x = a, *y = b;
    const unsigned char p = (unsigned char)*x->text, q = (unsigned char)*y->text;
    if (p != q)
        return p < q ? -1 : 1;
    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static enum pmet_status end_set(struct pmet_vocab_builder *b, struct pmet_added_set *set, bool normalized,
                                struct pmet_error *err)
{
    PMET_TRY(pmet_calloc(&set->token, b->n_added, sizeof *set->token, "added tokens", err));
    for (size_t i = 0; i < b->n_added; i++) {
        if (b->added[i].normalized != normalized)
            continue;
        struct pmet_text text = {0};
        if (normalized && b->tk->nfc)
            PMET_TRY(pmet_nfc(b->added[i].text, b->added[i].n, &text, err));
        else
            PMET_TRY(pmet_text_append(&text, b->added[i].text, b->added[i].n, err));
        set->token[set->n] = b->added[i];
        set->token[set->n].text = text.data; /* owned by the set */
        set->token[set->n++].n = text.n;
    }
    qsort(set->token, set->n, sizeof *set->token, longest_first);
    for (size_t i = 0; i < set->n; i++) {
        const struct pmet_added *t = &set->token[i];
        const unsigned b0 = (unsigned char)t->text[0];
        set->first[b0 + 1] = i + 1;
        for (unsigned b1 = 0; b1 < 256; b1++)
            if (t->n == 1 || b1 == (unsigned char)t->text[1])
                set->pair[(b0 << 8 | b1) / 8] |= (unsigned char)(1 << b1 % 8);
    }
    for (size_t c = 1; c < 257; c++)
        if (set->first[c] < set->first[c - 1])
            set->first[c] = set->first[c - 1];
    return PMET_OK;
}

/* Words that are tokens need no merging where merging would give that token: each is tried once,
 * here. */
static enum pmet_status mark_whole(struct pmet_tokenizer *tk, struct pmet_error *err)
{
    struct pmet_ids ids = {0};
    enum pmet_status status = PMET_OK;
    for (size_t id = 0; id < tk->n_token && status == PMET_OK; id++) {
        struct pmet_token *t = &tk->token[id];
        const char *bytes = tk->strings + t->at;
        if (!t->used || t->n == 0 || t->n > 256 || pmet_token_of_bytes(tk, bytes, t->n) != (int32_t)id)
            continue;
        ids.n = 0;
        status = pmet_bpe_word(tk, bytes, t->n, &ids, err);
        t->whole = tk->ignore_merges || (ids.n == 1 && ids.id[0] == (int32_t)id);
    }
    free(ids.id);
    return status;
}

enum pmet_status pmet_build_end(struct pmet_vocab_builder *b, struct pmet_error *err)
{
    struct pmet_tokenizer *tk = b->tk;
    PMET_TRY(mark_whole(tk, err));
    for (size_t i = 0; i < b->n_added; i++)
        PMET_TRY(set_token(tk, b->added[i].id, b->added[i].text, err));
    PMET_TRY(end_set(b, &tk->raw, false, err));
    return end_set(b, &tk->normal, true, err);
}

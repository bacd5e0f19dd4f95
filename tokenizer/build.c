/* SPDX-License-Identifier: MIT
 * Vocabulary, merges and added tokens put into their tables. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tensors/json.h"
#include "tokenizer/model.h"
#include "tokenizer/unicode.h"

enum { ROOM = 65536 }; /* unused ids that any vocabulary may have */

static uint64_t hash_bytes(const char *p, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ n;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    uint64_t w = 0;
    for (size_t i = 0; i < n; i++)
        w |= (uint64_t)(unsigned char)p[i] << 8 * i;
    h = (h ^ w) * 0xff51afd7ed558ccdu;
    return h ^ h >> 29;
}

int32_t pmet_token_of_bytes(const struct pmet_tokenizer *tk, const char *p, size_t n)
{
    for (size_t i = hash_bytes(p, n) & (tk->n_slot - 1);; i = (i + 1) & (tk->n_slot - 1)) {
        const int32_t id = tk->slot[i];
        if (id < 0 || (tk->token[id].n == n && memcmp(tk->token[id].bytes, p, n) == 0))
            return id;
    }
}

static size_t merge_slot(const struct pmet_tokenizer *tk, int32_t left, int32_t right)
{
    const uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    return (size_t)(h >> 32) & (tk->n_merge_slot - 1);
}

const struct pmet_merge *pmet_merge_of(const struct pmet_tokenizer *tk, int32_t left, int32_t right)
{
    for (size_t i = merge_slot(tk, left, right);; i = (i + 1) & (tk->n_merge_slot - 1)) {
        const struct pmet_merge *m = &tk->merge[i];
        if (m->left < 0)
            return NULL;
        if (m->left == left && m->right == right)
            return m;
    }
}

static size_t power_of_two(size_t n)
{
    size_t p = 16;
    while (p < n)
        p *= 2;
    return p;
}

static enum pmet_status keep_string(struct pmet_tokenizer *tk, const char *p, size_t n, size_t *at,
                                    struct pmet_error *err)
{
    if (tk->cap_strings - tk->n_strings < n) {
        const size_t cap = 2 * tk->cap_strings + n + 65536;
        char *grown = realloc(tk->strings, cap);
        if (!grown)
            return pmet_fail_memory(err, "the vocabulary", cap);
        tk->strings = grown;
        tk->cap_strings = cap;
    }
    if (n > 0)
        memcpy(tk->strings + tk->n_strings, p, n);
    *at = tk->n_strings;
    tk->n_strings += n;
    return PMET_OK;
}

static enum pmet_status grow_tokens(struct pmet_tokenizer *tk, size_t n, struct pmet_error *err)
{
    if (n <= tk->n_token)
        return PMET_OK;
    struct pmet_token *token = realloc(tk->token, n * sizeof *token);
    if (!token)
        return pmet_fail_memory(err, "the vocabulary", n * sizeof *token);
    tk->token = token;
    size_t *at = realloc(tk->token_at, n * sizeof *at);
    if (!at)
        return pmet_fail_memory(err, "the vocabulary", n * sizeof *at);
    tk->token_at = at;
    memset(token + tk->n_token, 0, (n - tk->n_token) * sizeof *token);
    tk->n_token = n;
    return PMET_OK;
}

/* Gives id the bytes that `text` decodes to; they stay an offset until the strings stop growing. */
static enum pmet_status set_token(struct pmet_tokenizer *tk, int32_t id, const char *text,
                                  struct pmet_error *err)
{
    const size_t n = strlen(text);
    char *bytes;
    size_t n_bytes;
    PMET_TRY(pmet_calloc(&bytes, n + 1, 1, "a token", err));
    const bool mapped = pmet_from_alphabet(text, n, bytes, &n_bytes);
    const enum pmet_status status =
        keep_string(tk, mapped ? bytes : text, mapped ? n_bytes : n, &tk->token_at[id], err);
    free(bytes);
    PMET_TRY(status);
    tk->token[id].n = mapped ? n_bytes : n;
    tk->token[id].bytes = ""; /* taken; the address comes at the end */
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

static void insert_slot(struct pmet_tokenizer *tk, int32_t id)
{
    size_t i = hash_bytes(tk->token[id].bytes, tk->token[id].n) & (tk->n_slot - 1);
    while (tk->slot[i] >= 0)
        i = (i + 1) & (tk->n_slot - 1);
    tk->slot[i] = id;
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
    if (n_id > 4 * n + ROOM) /* holes are allowed, deserts buy memory with nothing */
        return pmet_fail(err, PMET_FORMAT, "%s: ids up to %zu for %zu tokens; expected fewer holes", path,
                         n_id - 1, n);
    PMET_TRY(grow_tokens(tk, n_id, err));
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        const int32_t id = (int32_t)json_integer_value(json_object_iter_value(it));
        if (tk->token[id].bytes)
            return pmet_fail(err, PMET_FORMAT, "%s: token \"%s\": id %d belongs to another token, too", path,
                             json_object_iter_key(it), (int)id);
        PMET_TRY(set_token(tk, id, json_object_iter_key(it), err));
    }
    for (size_t i = 0; i < tk->n_token; i++)
        if (tk->token[i].bytes)
            tk->token[i].bytes = tk->strings + tk->token_at[i];
    tk->n_slot = power_of_two(4 * n);
    PMET_TRY(pmet_calloc(&tk->slot, tk->n_slot, sizeof *tk->slot, "the vocabulary", err));
    memset(tk->slot, 0xff, tk->n_slot * sizeof *tk->slot);
    for (size_t i = 0; i < tk->n_token; i++)
        if (tk->token[i].bytes)
            insert_slot(tk, (int32_t)i);
    for (int c = 0; c < 256; c++) {
        const char byte = (char)(unsigned char)c;
        tk->byte_id[c] = pmet_token_of_bytes(tk, &byte, 1);
    }
    return PMET_OK;
}

enum pmet_status pmet_build_reserve_merges(struct pmet_vocab_builder *b, size_t n, struct pmet_error *err)
{
    b->tk->n_merge_slot = power_of_two(4 * n);
    PMET_TRY(pmet_calloc(&b->tk->merge, b->tk->n_merge_slot, sizeof *b->tk->merge, "the merges", err));
    memset(b->tk->merge, 0xff, b->tk->n_merge_slot * sizeof *b->tk->merge);
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
    const struct pmet_merge m_new = {id[0], id[1], (int32_t)b->n_merge++, id[2]};
    size_t i = merge_slot(b->tk, id[0], id[1]);
    while (b->tk->merge[i].left >= 0 && (b->tk->merge[i].left != id[0] || b->tk->merge[i].right != id[1]))
        i = (i + 1) & (b->tk->n_merge_slot - 1);
    b->tk->merge[i] = m_new; /* a pair given twice counts by its last rank, as in the reference */
    return PMET_OK;
}

enum pmet_status pmet_build_added(struct pmet_vocab_builder *b, const char *content, int32_t id,
                                  struct pmet_added flags, bool special, struct pmet_error *err)
{
    if (b->n_added == b->cap_added) {
        const size_t cap = 2 * b->cap_added + 32;
        struct pmet_added *grown = realloc(b->added, cap * sizeof *grown);
        if (!grown)
            return pmet_fail_memory(err, "added tokens", cap * sizeof *grown);
        b->added = grown;
        b->cap_added = cap;
    }
    if (!*content)
        return pmet_fail(err, PMET_FORMAT, "%s: added token %d is empty", b->path, (int)id);
    if ((size_t)id > 4 * b->tk->n_token + ROOM)
        return pmet_fail(err, PMET_FORMAT,
                         "%s: added token \"%s\": id %d beside %zu tokens; expected fewer holes", b->path,
                         content, (int)id, b->tk->n_token);
    PMET_TRY(grow_tokens(b->tk, (size_t)id + 1, err));
    char *text = strdup(content);
    if (!text)
        return pmet_fail_memory(err, "an added token", strlen(content));
    flags.text = text;
    flags.n = strlen(text);
    flags.id = id;
    b->added[b->n_added++] = flags;
    b->tk->token[id].added = true;
    b->tk->token[id].special |= special; /* once special, also where added_tokens.json names it again */
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

/* Words that are tokens need no merging where merging would give that token; every token is tried once, here.
 */
static enum pmet_status mark_whole(struct pmet_tokenizer *tk, struct pmet_error *err)
{
    struct pmet_ids ids = {0};
    enum pmet_status status = PMET_OK;
    for (size_t id = 0; id < tk->n_token && status == PMET_OK; id++) {
        struct pmet_token *t = &tk->token[id];
        if (!t->bytes || t->n == 0 || t->n > 256 || pmet_token_of_bytes(tk, t->bytes, t->n) != (int32_t)id)
            continue;
        ids.n = 0;
        status = pmet_bpe_word(tk, t->bytes, t->n, &ids, err);
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
    PMET_TRY(end_set(b, &tk->normal, true, err));
    for (size_t i = 0; i < tk->n_token; i++) /* the strings have stopped growing */
        if (tk->token[i].bytes)
            tk->token[i].bytes = tk->strings + tk->token_at[i];
    return PMET_OK;
}

/* SPDX-License-Identifier: MIT
 * Merging inside one word: again and again the neighbours of lowest rank, the leftmost first.
 * SPEC §2.1, E5 */
#include <stdlib.h>
#include <string.h>
#include "tokenizer/model.h"

#define SHORT 48 /* bytes; longer words use a heap */

enum pmet_status pmet_ids_reserve(struct pmet_ids *ids, size_t more, struct pmet_error *err)
{
    size_t need;
    if (ids->cap - ids->n >= more)
        return PMET_OK;
    if (!pmet_add_size(ids->n, more, &need))
        return pmet_fail_memory(err, "token ids", SIZE_MAX);
    return pmet_grow(&ids->id, &ids->cap, need, sizeof *ids->id, "token ids", err);
}

/* Ids of the bytes; one that the vocabulary lacks is the unknown token, or left out. */
static size_t byte_ids(const struct pmet_tokenizer *tk, const char *word, size_t n, int32_t *id)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t b = tk->byte_id[(unsigned char)word[i]];
        if (b >= 0 || tk->unk_id >= 0)
            id[m++] = b >= 0 ? b : tk->unk_id;
    }
    return m;
}

static void merge_short(const struct pmet_tokenizer *tk, const char *word, size_t n, struct pmet_ids *ids)
{
    int32_t *id = ids->id + ids->n;
    const struct pmet_merge *pair[SHORT]; /* of i and i + 1 */
    n = byte_ids(tk, word, n, id);
    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = pmet_merge_of(tk, id[i], id[i + 1]);
    for (;;) {
        size_t best = n;
        for (size_t i = 0; i + 1 < n; i++)
            if (pair[i] && (best == n || pair[i]->rank < pair[best]->rank))
                best = i;
        if (best == n)
            break;
        id[best] = pair[best]->id;
        n--;
        memmove(id + best + 1, id + best + 2, (n - best - 1) * sizeof *id);
        if (best + 1 < n) {
            memmove(pair + best + 1, pair + best + 2, (n - best - 1) * sizeof(*pair));
            pair[best] = pmet_merge_of(tk, id[best], id[best + 1]);
        }
        if (best > 0)
            pair[best - 1] = pmet_merge_of(tk, id[best - 1], id[best]);
    }
    ids->n += n;
}

/* A pair waiting in the heap; it is stale if either side has changed since. */
struct waiting {
    int32_t rank, left, right, id;
    size_t at;
};
struct linked {
    int32_t id;
    size_t before, after;
};

static bool sooner(const struct waiting *a, const struct waiting *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct waiting *heap, size_t *n, struct waiting w)
{
    size_t i = (*n)++;
    for (; i > 0 && sooner(&w, &heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = w;
}

static struct waiting heap_pop(struct waiting *heap, size_t *n)
{
    const struct waiting top = heap[0], last = heap[--*n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < *n; i = child) {
        if (child + 1 < *n && sooner(&heap[child + 1], &heap[child]))
            child++;
        if (!sooner(&heap[child], &last))
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

static void wait_for(const struct pmet_tokenizer *tk, const struct linked *list, size_t at, size_t end,
                     struct waiting *heap, size_t *n)
{
    if (list[at].after >= end)
        return;
    const struct pmet_merge *m = pmet_merge_of(tk, list[at].id, list[list[at].after].id);
    if (m)
        heap_push(heap, n, (struct waiting){m->rank, m->left, m->right, m->id, at});
}

static enum pmet_status merge_long(const struct pmet_tokenizer *tk, const char *word, size_t n,
                                   struct pmet_ids *ids, struct pmet_error *err)
{
    struct linked *list = NULL;
    struct waiting *heap = NULL;
    int32_t *id = ids->id + ids->n;
    size_t n_heap = 0;
    enum pmet_status status;
    n = byte_ids(tk, word, n, id);
    PMET_GO(pmet_calloc(&list, n, sizeof *list, "a long word", err));
    PMET_GO(pmet_calloc(&heap, 3 * n, sizeof *heap, "a long word", err)); /* each merge adds two at most */
    for (size_t i = 0; i < n; i++)
        list[i] = (struct linked){id[i], i == 0 ? n : i - 1, i + 1};
    for (size_t i = 0; i < n; i++)
        wait_for(tk, list, i, n, heap, &n_heap);
    while (n_heap > 0) {
        const struct waiting w = heap_pop(heap, &n_heap);
        struct linked *l = &list[w.at];
        if (l->id != w.left || l->after >= n || list[l->after].id != w.right)
            continue;
        list[l->after].id = -1;
        l->id = w.id;
        l->after = list[l->after].after;
        if (l->after < n)
            list[l->after].before = w.at;
        wait_for(tk, list, w.at, n, heap, &n_heap);
        if (l->before < n)
            wait_for(tk, list, l->before, n, heap, &n_heap);
    }
    for (size_t i = 0; i < n; i = list[i].after)
        ids->id[ids->n++] = list[i].id;
done:
    free(list);
    free(heap);
    return status;
}

enum pmet_status pmet_bpe_word(const struct pmet_tokenizer *tk, const char *word, size_t n,
                               struct pmet_ids *ids, struct pmet_error *err)
{
    PMET_TRY(pmet_ids_reserve(ids, n, err));
    const int32_t whole = pmet_token_of_bytes(tk, word, n);
    if (whole >= 0 && tk->token[whole].whole) {
        ids->id[ids->n++] = whole;
        return PMET_OK;
    }
    if (n > SHORT)
        return merge_long(tk, word, n, ids, err);
    merge_short(tk, word, n, ids);
    return PMET_OK;
}

/* SPDX-License-Identifier: MIT
 * Text to ids: added tokens cut out, the rest normalised, split into words and merged.   SPEC §2 */
#include <stdlib.h>
#include <string.h>
#include "tokenizer/model.h"
#include "tokenizer/unicode.h"

static enum pmet_status push_id(struct pmet_ids *ids, int32_t id, struct pmet_error *err)
{
    PMET_TRY(pmet_ids_reserve(ids, 1, err));
    ids->id[ids->n++] = id;
    return PMET_OK;
}

static enum pmet_status encode_words(const struct pmet_tokenizer *tk, const char *text, size_t n,
                                     struct pmet_ids *ids, struct pmet_error *err)
{
    if (!tk->use_regex)
        return n > 0 ? pmet_bpe_word(tk, text, n, ids, err) : PMET_OK;
    for (size_t i = 0; i < n;) {
        const size_t len = pmet_next_word(text + i, n - i);
        PMET_TRY(pmet_bpe_word(tk, text + i, len, ids, err));
        i += len;
    }
    return PMET_OK;
}

/* A piece without added tokens. */
static enum pmet_status encode_piece(const struct pmet_tokenizer *tk, const char *text, size_t n,
                                     struct pmet_ids *ids, struct pmet_error *err)
{
    if (!tk->add_prefix_space || n == 0 || text[0] == ' ')
        return encode_words(tk, text, n, ids, err);
    struct pmet_text spaced = {0};
    enum pmet_status status = pmet_text_append(&spaced, " ", 1, err);
    if (status == PMET_OK)
        status = pmet_text_append(&spaced, text, n, err);
    if (status == PMET_OK)
        status = encode_words(tk, spaced.data, spaced.n, ids, err);
    free(spaced.data);
    return status;
}

/* Start of the character that ends at text[end), and its code point. */
static size_t before(const char *text, size_t end, int32_t *c)
{
    size_t i = end - 1;
    while (i > 0 && end - i < 4 && ((unsigned char)text[i] & 0xc0) == 0x80)
        i--;
    if (pmet_utf8_next(text + i, end - i, c) == end - i && *c >= 0)
        return i;
    *c = -1;
    return end - 1;
}

static bool is_single_word(const char *text, size_t n, size_t start, size_t stop)
{
    int32_t c;
    if (start > 0 && (before(text, start, &c), pmet_is_word(c)))
        return false;
    return stop == n || (pmet_utf8_next(text + stop, n - stop, &c), !pmet_is_word(c));
}

/* The longest added token at text[i], or NULL. */
static const struct pmet_added *match(const struct pmet_added_set *set, const char *text, size_t n, size_t i)
{
    const unsigned b0 = (unsigned char)text[i], b1 = i + 1 < n ? (unsigned char)text[i + 1] : 0;
    if (!(set->pair[(b0 << 8 | b1) / 8] >> b1 % 8 & 1))
        return NULL;
    for (size_t k = set->first[b0]; k < set->first[b0 + 1]; k++)
        if (set->token[k].n <= n - i && memcmp(set->token[k].text, text + i, set->token[k].n) == 0)
            return &set->token[k];
    return NULL;
}

typedef enum pmet_status piece_fn(const struct pmet_tokenizer *tk, const char *text, size_t n,
                                  struct pmet_ids *ids, struct pmet_error *err);

/* Cuts the set's tokens out of the text; what lies between them goes to `piece`. */
static enum pmet_status cut(const struct pmet_tokenizer *tk, const struct pmet_added_set *set,
                            const char *text, size_t n, piece_fn *piece, struct pmet_ids *ids,
                            struct pmet_error *err)
{
    size_t done = 0;
    for (size_t i = 0; set->n > 0 && i < n;) {
        const struct pmet_added *t = match(set, text, n, i);
        if (!t) {
            i++;
            continue;
        }
        size_t start = i, stop = i + t->n;
        i = stop; /* the search goes on here, also where rstrip takes more */
        if (t->single_word && !is_single_word(text, n, start, stop))
            continue;
        int32_t c;
        for (size_t s; t->lstrip && start > done &&
                       (s = before(text, start, &c), pmet_char_class(c) == PMET_CHAR_SPACE);)
            start = s;
        for (size_t len;
             t->rstrip && stop < n &&
             (len = pmet_utf8_next(text + stop, n - stop, &c), pmet_char_class(c) == PMET_CHAR_SPACE);)
            stop += len;
        start = t->lstrip && start < done ? done : start;
        if (start > done)
            PMET_TRY(piece(tk, text + done, start - done, ids, err));
        if (start < stop) /* else an earlier match has taken all of it */
            PMET_TRY(push_id(ids, t->id, err));
        done = stop;
    }
    return done < n ? piece(tk, text + done, n - done, ids, err) : PMET_OK;
}

static enum pmet_status encode_normalised(const struct pmet_tokenizer *tk, const char *text, size_t n,
                                          struct pmet_ids *ids, struct pmet_error *err)
{
    return cut(tk, &tk->normal, text, n, encode_piece, ids, err);
}

static enum pmet_status normalise(const struct pmet_tokenizer *tk, const char *text, size_t n,
                                  struct pmet_ids *ids, struct pmet_error *err)
{
    if (!tk->nfc)
        return encode_normalised(tk, text, n, ids, err);
    struct pmet_text nfc = {0};
    enum pmet_status status = pmet_nfc(text, n, &nfc, err);
    if (status == PMET_OK)
        status = encode_normalised(tk, nfc.data, nfc.n, ids, err);
    free(nfc.data);
    return status;
}

/* E2, from the outside in: cut raw, normalise (E6), cut normalised, split (E3), merge (E5). */
enum pmet_status pmet_tokenizer_encode(const struct pmet_tokenizer *tk, const char *text, size_t n,
                                       struct pmet_ids *ids, struct pmet_error *err)
{
    PMET_TRY(pmet_ids_reserve(ids, 1, err));
    return n == 0 ? PMET_OK : cut(tk, &tk->raw, text, n, normalise, ids, err);
}

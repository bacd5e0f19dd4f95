/* SPDX-License-Identifier: MIT
 * Ids to text.      SPEC §2.2, E7 */
#include <stdlib.h>
#include "tokenizer/model.h"
#include "tokenizer/unicode.h"

/* Length of the longest prefix of text[0..n) that could still begin a character: the maximal
 * invalid part that one U+FFFD stands for. */
static size_t invalid_part(const unsigned char *p, size_t n)
{
    const unsigned char b = p[0];
    unsigned char low = 0x80, high = 0xbf;
    const size_t len = b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : 2;
    if (b < 0xc2 || b > 0xf4)
        return 1;
    if (b == 0xe0)
        low = 0xa0;
    else if (b == 0xed)
        high = 0x9f;
    else if (b == 0xf0)
        low = 0x90;
    else if (b == 0xf4)
        high = 0x8f;
    size_t i = 1;
    for (; i < len && i < n && p[i] >= low && p[i] <= high; i++) {
        low = 0x80;
        high = 0xbf;
    }
    return i;
}

static enum pmet_status append_valid(const char *bytes, size_t n, struct pmet_text *out,
                                     struct pmet_error *err)
{
    for (size_t i = 0; i < n;) {
        size_t end = i, len;
        int32_t c = 0;
        while (end < n && (len = pmet_utf8_next(bytes + end, n - end, &c), c >= 0))
            end += len;
        PMET_TRY(pmet_text_append(out, bytes + i, end - i, err));
        i = end;
        if (i < n) {
            PMET_TRY(pmet_text_append(out, "\xef\xbf\xbd", 3, err));
            i += invalid_part((const unsigned char *)bytes + i, n - i);
        }
    }
    return pmet_text_append(out, "", 0, err);
}

/* The last step of E7. */
static void clean_up(struct pmet_text *text, size_t from)
{
    static const char *const pair[][2] = {{" .", "."},     {" ?", "?"},     {" !", "!"},   {" ,", ","},
                                          {" ' ", "'"},    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"},
                                          {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
        pmet_text_replace(text, from, pair[i][0], pair[i][1]);
}

enum pmet_status pmet_tokenizer_decode(const struct pmet_tokenizer *tk, const int32_t *ids, size_t n,
                                       int flags, struct pmet_text *text, struct pmet_error *err)
{
    struct pmet_text bytes = {0};
    const size_t from = text->n;
    enum pmet_status status;
    PMET_GO(pmet_text_append(&bytes, "", 0, err));
    for (size_t i = 0; i < n; i++) {
        const size_t n_id = tk->n_row > tk->n_token ? tk->n_row : tk->n_token;
        if (ids[i] < 0 || (size_t)ids[i] >= n_id)
            PMET_GO(
                pmet_fail(err, PMET_INPUT, "found token id %d; expected 0 to %zu", (int)ids[i], n_id - 1));
        const struct pmet_token *t = (size_t)ids[i] < tk->n_token ? &tk->token[ids[i]] : NULL;
        if (t && t->used && !(t->special && (flags & PMET_DECODE_SKIP_SPECIAL)))
            PMET_GO(pmet_text_append(&bytes, tk->strings + t->at, t->n, err));
    }
    status = flags & PMET_DECODE_BYTES ? pmet_text_append(text, bytes.data, bytes.n, err)
                                       : append_valid(bytes.data, bytes.n, text, err);
    if (status == PMET_OK && (flags & PMET_DECODE_CLEANUP) && tk->clean_up)
        clean_up(text, from);
done:
    free(bytes.data);
    return status;
}

/* SPDX-License-Identifier: MIT
 * Words of a sentence by the Penn Treebank's rules, as nltk 3.8.1 has them (E88). Each rule
 * rewrites the whole sentence, most of them by putting spaces around something; in the end it is
 * cut at its spaces. SPEC §11.7 */
#include "ref/text/words.h"

#include <stdlib.h>
#include <string.h>
#include "ref/text/points.h"

/* Appends to `out` what stands for the points of `in` from i on, and returns how many these are; 0:
 * point i stays. */
typedef size_t rule(const struct pmet_points *in, size_t i, struct pmet_points *out);

static bool is_opening(int32_t c) /* « “ ‘ „ */
{
    return c == 0xab || c == 0x201c || c == 0x2018 || c == 0x201e;
}

static bool is_closing(int32_t c) /* » ” ’ */
{
    return c == 0xbb || c == 0x201d || c == 0x2019;
}

static size_t run_of(const struct pmet_points *in, size_t i, int32_t c)
{
    size_t n = 0;
    while (i + n < in->n && in->c[i + n] == c)
        n++;
    return n;
}

static bool at(const struct pmet_points *in, size_t i, const char *word)
{
    const size_t n = strlen(word);
    if (in->n - i < n)
        return false;
    for (size_t k = 0; k < n; k++)
        if (in->c[i + k] != word[k])
            return false;
    return true;
}

static void put_all(struct pmet_points *out, const int32_t *c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pmet_points_put(out, c[i]);
}

static void put_text(struct pmet_points *out, const char *text)
{
    for (; *text; text++)
        pmet_points_put(out, *text);
}

/* Returns n. */
static size_t pad(struct pmet_points *out, const int32_t *c, size_t n)
{
    pmet_points_put(out, ' ');
    put_all(out, c, n);
    pmet_points_put(out, ' ');
    return n;
}

/* Rule 1: opening quotes and runs of backticks stand alone; a double quote that comes first
 * opens. */
static size_t opening_quotes(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    const size_t n = run_of(in, i, '`');
    if (n > 0 || is_opening(in->c[i]))
        return pad(out, in->c + i, n ? n : 1);
    if (i > 0 || in->c[i] != '"')
        return 0;
    put_text(out, "``");
    return 1;
}

static size_t backtick_pairs(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    return at(in, i, "``") ? pad(out, in->c + i, 2) : 0;
}

static size_t quotes_after_openers(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    const size_t n = at(in, i + 1, "\"") ? 1 : at(in, i + 1, "''") ? 2 : 0;
    if (n == 0 || !pmet_is_one_of(in->c[i], " ([{<"))
        return 0;
    pmet_points_put(out, in->c[i]);
    put_text(out, " `` ");
    return 1 + n;
}

/* What patterns that ignore case compare: the points whose other case is an ASCII letter become
 * that letter. */
static int32_t fold(int32_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c + 'a' - 'A';
    return c == 0x17f ? 's' : c == 0x130 || c == 0x131 ? 'i' : c;
}

/* Rule 4: an apostrophe before a single letter that makes no contraction stands alone. */
static size_t apostrophe_letters(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    if (in->c[i] != '\'' || i + 1 == in->n || !pmet_is_wordlike(in->c[i + 1]) ||
        (i + 2 < in->n && pmet_is_wordlike(in->c[i + 2])) || pmet_is_one_of(fold(in->c[i + 1]), "mtsdn"))
        return 0;
    put_text(out, "' ");
    return 1;
}

/* Rule 5: the period that ends the sentence, with what closes after it. */
static size_t final_period(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    size_t end = i + 1;
    if (in->c[i] != '.' || i == 0 || in->c[i - 1] == '.')
        return 0;
    while (end < in->n && (pmet_is_one_of(in->c[end], "])}>\"' ") || is_closing(in->c[end])))
        end++;
    for (size_t rest = end; rest < in->n; rest++)
        if (!pmet_is_blank(in->c[rest]))
            return 0;
    put_text(out, " . ");
    put_all(out, in->c + i + 1, end - i - 1);
    pmet_points_put(out, ' ');
    return in->n - i;
}

/* The point after one is passed, even if it is another colon. */
static size_t inner_colons(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    if (!pmet_is_one_of(in->c[i], ":,") || i + 1 == in->n || pmet_is_decimal(in->c[i + 1]))
        return 0;
    pad(out, in->c + i, 1);
    pmet_points_put(out, in->c[i + 1]);
    return 2;
}

static size_t last_colon(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    return i + 1 == in->n && pmet_is_one_of(in->c[i], ":,") ? pad(out, in->c + i, 1) : 0;
}

/* Rule 8: ellipses and marks. */
static size_t marks(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    const size_t n = run_of(in, i, '.');
    return n > 1 ? pad(out, in->c + i, n) : pmet_is_one_of(in->c[i], ";@#$%&?!") ? pad(out, in->c + i, 1) : 0;
}

static size_t loose_apostrophes(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    if (in->c[i] == '\'' || !at(in, i + 1, "' "))
        return 0;
    pmet_points_put(out, in->c[i]);
    put_text(out, " ' ");
    return 3;
}

static size_t brackets(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    return pmet_is_one_of(in->c[i], "*][(){}<>") ? pad(out, in->c + i, 1) : 0;
}

static size_t dashes(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    return at(in, i, "--") ? pad(out, in->c + i, 2) : 0;
}

/* Rule 12: quotes that close. The spaces at both ends, which belong to it, are put by
 * cut_sentence. */
static size_t closing_quotes(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    if (in->c[i] == '"') {
        put_text(out, " '' ");
        return 1;
    }
    return at(in, i, "''") ? pad(out, in->c + i, 2) : is_closing(in->c[i]) ? pad(out, in->c + i, 1) : 0;
}

/* Rules 13 and 14: a point, one of the endings and a space: the ending is cut off. */
static size_t cut_ending(const struct pmet_points *in, size_t i, struct pmet_points *out,
                         const char *const *ending)
{
    for (; *ending && !pmet_is_one_of(in->c[i], "' "); ending++)
        if (at(in, i + 1, *ending)) {
            pmet_points_put(out, in->c[i]);
            pmet_points_put(out, ' ');
            put_text(out, *ending);
            return 1 + strlen(*ending);
        }
    return 0;
}

static size_t short_endings(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    static const char *const ending[] = {"'s ", "'S ", "'m ", "'M ", "'d ", "'D ", "' ", NULL};
    return cut_ending(in, i, out, ending);
}

static size_t long_endings(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    static const char *const ending[] = {"'ll ", "'LL ", "'re ", "'RE ", "'ve ",
                                         "'VE ", "n't ", "N'T ", NULL};
    return cut_ending(in, i, out, ending);
}

static bool at_folded(const struct pmet_points *in, size_t i, const char *word)
{
    for (; *word; word++, i++)
        if (i >= in->n || fold(in->c[i]) != *word)
            return false;
    return true;
}

struct contraction {
    const char *word;
    size_t first; /* length of its first part */
};

static size_t cut_contraction(const struct pmet_points *in, size_t i, struct pmet_points *out,
                              const struct contraction *known)
{
    for (; known->word; known++) {
        const char begin = known->word[0];
        const size_t n = strlen(known->word), end = i + n;
        if (!at_folded(in, i, known->word) || (begin != ' ' && i > 0 && pmet_is_wordlike(in->c[i - 1])))
            continue;
        if (end < in->n && (begin == 'w' ? !pmet_is_blank(in->c[end]) : pmet_is_wordlike(in->c[end])))
            continue;
        pad(out, in->c + i, known->first);
        put_all(out, in->c + i + known->first, n - known->first);
        pmet_points_put(out, ' ');
        return n;
    }
    return 0;
}

/* Rule 15, whole words; wanna only before a blank. */
static size_t contractions(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    static const struct contraction known[] = {{"cannot", 3}, {"d'ye", 1},  {"gimme", 3},
                                               {"gonna", 3},  {"gotta", 3}, {"lemme", 3},
                                               {"more'n", 4}, {"wanna", 3}, {NULL, 0}};
    return cut_contraction(in, i, out, known);
}

/* Rule 16: these take the space before them, which the rule above may have put there. */
static size_t contractions_of_it(const struct pmet_points *in, size_t i, struct pmet_points *out)
{
    static const struct contraction known[] = {{" 'tis", 3}, {" 'twas", 3}, {NULL, 0}};
    return cut_contraction(in, i, out, known);
}

static rule *const rules[] = {
    opening_quotes, backtick_pairs, quotes_after_openers, apostrophe_letters, final_period, inner_colons,
    last_colon,     marks,          loose_apostrophes,    brackets,           dashes,       closing_quotes,
    short_endings,  long_endings,   contractions,         contractions_of_it};

static void apply(rule *r, const struct pmet_points *in, struct pmet_points *out)
{
    for (size_t i = 0, n; i < in->n; i += n)
        if ((n = r(in, i, out)) == 0) {
            pmet_points_put(out, in->c[i]);
            n = 1;
        }
}

static enum pmet_status cut_at_blanks(const struct pmet_points *in, struct pmet_words *out,
                                      struct pmet_error *err)
{
    for (size_t i = 0, end; i < in->n; i = end + 1) {
        for (end = i; end < in->n && !pmet_is_blank(in->c[end]);)
            end++;
        if (end > i)
            PMET_TRY(pmet_words_add(out, in->c + i, end - i, err));
    }
    return PMET_OK;
}

/* E88: appends the words of one sentence. */
static enum pmet_status cut_sentence(void *user, const int32_t *c, size_t n, struct pmet_error *err)
{
    struct pmet_points in = {0}, out = {0};
    enum pmet_status status;
    put_all(&in, c, n);
    for (size_t r = 0; r < sizeof rules / sizeof *rules && !in.failed; r++) {
        const struct pmet_points swap = in;
        const bool spaces = rules[r] == closing_quotes;
        out.n = 0;
        put_text(&out, spaces ? " " : "");
        apply(rules[r], &in, &out);
        put_text(&out, spaces ? " " : "");
        in = out;
        out = swap;
    }
    status = pmet_points_status(&in, err);
    if (status == PMET_OK)
        status = cut_at_blanks(&in, user, err);
    free(in.c);
    free(out.c);
    return status;
}

static enum pmet_status add_sentence(void *user, const int32_t *c, size_t n, struct pmet_error *err)
{
    return pmet_words_add(user, c, n, err);
}

/* Each sentence of the text, or all of it as one, to on_sentence. */
static enum pmet_status each_sentence(const char *text, size_t n, bool as_one, pmet_on_sentence *on_sentence,
                                      struct pmet_words *out, struct pmet_error *err)
{
    struct pmet_points points = {0};
    memset(out, 0, sizeof *out);
    enum pmet_status status = pmet_points_decode(text, n, &points, err);
    if (status == PMET_OK)
        status =
            as_one ? on_sentence(out, points.c, points.n, err) : pmet_punkt(&points, on_sentence, out, err);
    free(points.c);
    return status;
}

enum pmet_status pmet_words(const char *text, size_t n, struct pmet_words *out, struct pmet_error *err)
{
    return each_sentence(text, n, false, cut_sentence, out, err);
}

enum pmet_status pmet_treebank(const char *text, size_t n, struct pmet_words *out, struct pmet_error *err)
{
    return each_sentence(text, n, true, cut_sentence, out, err);
}

enum pmet_status pmet_sentences(const char *text, size_t n, struct pmet_words *out, struct pmet_error *err)
{
    return each_sentence(text, n, false, add_sentence, out, err);
}

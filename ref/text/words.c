/* SPDX-License-Identifier: MIT
 * Words of a sentence by the Penn Treebank's rules, as nltk 3.8.1 has them (E88). Each rule rewrites the
 * whole sentence, most of them by putting spaces around something; in the end it is cut at its spaces.
 * SPEC §11.7 */
#include "ref/text/words.h"

#include <stdlib.h>
#include <string.h>
#include "ref/text/points.h"

/* Reads `in`, appends to `out`. */
typedef void rule(const struct pmet_points *in, struct pmet_points *out);

static bool is_one_of(int32_t c, const char *set)
{
    return c > 0 && c < 0x80 && strchr(set, (char)c);
}

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

static void pad(struct pmet_points *out, const int32_t *c, size_t n)
{
    pmet_points_put(out, ' ');
    put_all(out, c, n);
    pmet_points_put(out, ' ');
}

/* Rule 1: opening quotes and runs of backticks stand alone; a double quote that comes first opens. */
static void opening_quotes(const struct pmet_points *in, struct pmet_points *out)
{
    for (size_t i = 0, n; i < in->n; i += n) {
        n = run_of(in, i, '`');
        if (n > 0 || is_opening(in->c[i]))
            pad(out, in->c + i, n = n ? n : 1);
        else if (n = 1, i == 0 && in->c[i] == '"')
            put_text(out, "``");
        else
            pmet_points_put(out, in->c[i]);
    }
}

static void backtick_pairs(const struct pmet_points *in, struct pmet_points *out)
{
    for (size_t i = 0; i < in->n; i++)
        if (at(in, i, "``"))
            pad(out, in->c + i++, 2);
        else
            pmet_points_put(out, in->c[i]);
}

static void quotes_after_openers(const struct pmet_points *in, struct pmet_points *out)
{
    for (size_t i = 0; i < in->n; i++) {
        pmet_points_put(out, in->c[i]);
        if (!is_one_of(in->c[i], " ([{<"))
            continue;
        const size_t n = at(in, i + 1, "\"") ? 1 : at(in, i + 1, "''") ? 2 : 0;
        if (n > 0)
            put_text(out, " `` ");
        i += n;
    }
}

/* What patterns that ignore case compare: the points whose other case is an ASCII letter become that
 * letter. */
static int32_t fold(int32_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c + 'a' - 'A';
    return c == 0x17f ? 's' : c == 0x130 || c == 0x131 ? 'i' : c;
}

/* Rule 4: an apostrophe before a single letter that makes no contraction stands alone. */
static void apostrophe_letters(const struct pmet_points *in, struct pmet_points *out)
{
    for (size_t i = 0; i < in->n; i++) {
        pmet_points_put(out, in->c[i]);
        if (in->c[i] == '\'' && i + 1 < in->n && pmet_is_wordlike(in->c[i + 1]) &&
            (i + 2 == in->n || !pmet_is_wordlike(in->c[i + 2])) && !is_one_of(fold(in->c[i + 1]), "mtsdn"))
            pmet_points_put(out, ' ');
    }
}

/* Rule 5: the period that ends the sentence, with what closes after it. */
static void final_period(const struct pmet_points *in, struct pmet_points *out)
{
    size_t dot = in->n, end;
    while (dot > 0 && in->c[dot - 1] != '.')
        dot--;
    for (end = dot; end < in->n && (is_one_of(in->c[end], "])}>\"' ") || is_closing(in->c[end]));)
        end++;
    size_t rest = end;
    while (rest < in->n && pmet_is_blank(in->c[rest]))
        rest++;
    if (dot < 2 || in->c[dot - 2] == '.' || rest < in->n) {
        put_all(out, in->c, in->n);
        return;
    }
    put_all(out, in->c, dot - 1);
    put_text(out, " . ");
    put_all(out, in->c + dot, end - dot);
    pmet_points_put(out, ' ');
}

static void inner_colons(const struct pmet_points *in, struct pmet_points *out)
{
    for (size_t i = 0; i < in->n; i++)
        if (is_one_of(in->c[i], ":,") && i + 1 < in->n && !pmet_is_decimal(in->c[i + 1])) {
            pad(out, in->c + i, 1);
            pmet_points_put(out, in->c[++i]); /* the next point is passed, even if it is another colon */
        } else {
            pmet_points_put(out, in->c[i]);
        }
}

static void last_colon(const struct pmet_points *in, struct pmet_points *out)
{
    for (size_t i = 0; i < in->n; i++)
        if (i + 1 == in->n && is_one_of(in->c[i], ":,"))
            pad(out, in->c + i, 1);
        else
            pmet_points_put(out, in->c[i]);
}

/* Rule 8: ellipses and marks. */
static void marks(const struct pmet_points *in, struct pmet_points *out)
{
    for (size_t i = 0, n; i < in->n; i += n) {
        n = run_of(in, i, '.');
        if (n > 1 || is_one_of(in->c[i], ";@#$%&?!"))
            pad(out, in->c + i, n = n ? n : 1);
        else
            pmet_points_put(out, (n = 1, in->c[i]));
    }
}

static void loose_apostrophes(const struct pmet_points *in, struct pmet_points *out)
{
    for (size_t i = 0; i < in->n; i++) {
        pmet_points_put(out, in->c[i]);
        if (in->c[i] != '\'' && at(in, i + 1, "' ")) {
            put_text(out, " ' ");
            i += 2;
        }
    }
}

static void brackets(const struct pmet_points *in, struct pmet_points *out)
{
    for (size_t i = 0; i < in->n; i++)
        if (is_one_of(in->c[i], "*][(){}<>"))
            pad(out, in->c + i, 1);
        else
            pmet_points_put(out, in->c[i]);
}

static void dashes(const struct pmet_points *in, struct pmet_points *out)
{
    for (size_t i = 0; i < in->n; i++)
        if (at(in, i, "--"))
            pad(out, in->c + i++, 2);
        else
            pmet_points_put(out, in->c[i]);
}

/* Rule 12: spaces at both ends; quotes that close. */
static void closing_quotes(const struct pmet_points *in, struct pmet_points *out)
{
    pmet_points_put(out, ' ');
    for (size_t i = 0; i < in->n; i++) {
        const size_t n = at(in, i, "''") ? 2 : is_closing(in->c[i]) ? 1 : 0;
        if (n > 0)
            pad(out, in->c + i, n);
        else if (in->c[i] == '"')
            put_text(out, " '' ");
        else
            pmet_points_put(out, in->c[i]);
        i += n == 2;
    }
    pmet_points_put(out, ' ');
}

/* Rules 13 and 14: a point, one of the endings and a space: the ending is cut off. */
static void cut_endings(const struct pmet_points *in, struct pmet_points *out, const char *const *ending)
{
    for (size_t i = 0; i < in->n; i++) {
        pmet_points_put(out, in->c[i]);
        if (is_one_of(in->c[i], "' "))
            continue;
        for (const char *const *e = ending; *e; e++)
            if (at(in, i + 1, *e)) {
                pmet_points_put(out, ' ');
                put_text(out, *e);
                i += strlen(*e);
                break;
            }
    }
}

static void short_endings(const struct pmet_points *in, struct pmet_points *out)
{
    static const char *const ending[] = {"'s ", "'S ", "'m ", "'M ", "'d ", "'D ", "' ", NULL};
    cut_endings(in, out, ending);
}

static void long_endings(const struct pmet_points *in, struct pmet_points *out)
{
    static const char *const ending[] = {"'ll ", "'LL ", "'re ", "'RE ", "'ve ",
                                         "'VE ", "n't ", "N'T ", NULL};
    cut_endings(in, out, ending);
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

static size_t contraction_at(const struct pmet_points *in, size_t i, const struct contraction *known,
                             size_t *first)
{
    for (; known->word; known++) {
        const char begin = known->word[0];
        const size_t end = i + strlen(known->word);
        if (!at_folded(in, i, known->word) || (begin != ' ' && i > 0 && pmet_is_wordlike(in->c[i - 1])))
            continue;
        if (end < in->n && (begin == 'w' ? !pmet_is_blank(in->c[end]) : pmet_is_wordlike(in->c[end])))
            continue;
        *first = known->first;
        return end - i;
    }
    return 0;
}

static void cut_contractions(const struct pmet_points *in, struct pmet_points *out,
                             const struct contraction *known)
{
    for (size_t i = 0, n, first; i < in->n; i += n) {
        if ((n = contraction_at(in, i, known, &first)) > 0) {
            pad(out, in->c + i, first);
            put_all(out, in->c + i + first, n - first);
            pmet_points_put(out, ' ');
        } else {
            pmet_points_put(out, in->c[i]);
            n = 1;
        }
    }
}

/* Rule 15, whole words; wanna only before a blank. */
static void contractions(const struct pmet_points *in, struct pmet_points *out)
{
    static const struct contraction known[] = {{"cannot", 3}, {"d'ye", 1},  {"gimme", 3},
                                               {"gonna", 3},  {"gotta", 3}, {"lemme", 3},
                                               {"more'n", 4}, {"wanna", 3}, {NULL, 0}};
    cut_contractions(in, out, known);
}

/* Rule 16: these take the space before them, which the rule above may have put there. */
static void contractions_of_it(const struct pmet_points *in, struct pmet_points *out)
{
    static const struct contraction known[] = {{" 'tis", 3}, {" 'twas", 3}, {NULL, 0}};
    cut_contractions(in, out, known);
}

static rule *const rules[] = {
    opening_quotes, backtick_pairs, quotes_after_openers, apostrophe_letters, final_period, inner_colons,
    last_colon,     marks,          loose_apostrophes,    brackets,           dashes,       closing_quotes,
    short_endings,  long_endings,   contractions,         contractions_of_it};

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
        out.n = 0;
        rules[r](&in, &out);
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

enum pmet_status pmet_treebank(const char *text, size_t n, struct pmet_words *out, struct pmet_error *err)
{
    struct pmet_points points = {0};
    memset(out, 0, sizeof *out);
    enum pmet_status status = pmet_points_decode(text, n, &points, err);
    if (status == PMET_OK)
        status = cut_sentence(out, points.c, points.n, err);
    free(points.c);
    return status;
}

/* Each sentence of the text to on_sentence. */
static enum pmet_status each_sentence(const char *text, size_t n, pmet_on_sentence *on_sentence,
                                      struct pmet_words *out, struct pmet_error *err)
{
    struct pmet_points points = {0};
    memset(out, 0, sizeof *out);
    enum pmet_status status = pmet_points_decode(text, n, &points, err);
    if (status == PMET_OK)
        status = pmet_punkt(&points, on_sentence, out, err);
    free(points.c);
    return status;
}

enum pmet_status pmet_words(const char *text, size_t n, struct pmet_words *out, struct pmet_error *err)
{
    return each_sentence(text, n, cut_sentence, out, err);
}

enum pmet_status pmet_sentences(const char *text, size_t n, struct pmet_words *out, struct pmet_error *err)
{
    return each_sentence(text, n, add_sentence, out, err);
}

/* SPDX-License-Identifier: MIT
 * Sentences by Punkt (Kiss and Strunk 2006), as nltk 3.8.1 applies it to English (E89).
 * SPEC §11.7 */
#include <stdlib.h>
#include <string.h>
#include "punkt_tables.h" /* from golden/punkt/english.txt, which describes the tables */
#include "ref/text/points.h"

/* Words as the tables have them, short and ASCII; longer or other words are in no table and become
 * "". */
enum { MAX_TYPE = 64 };

static bool is_mark(int32_t c)
{
    return pmet_is_one_of(c, ".?!");
}

static bool is_non_word(int32_t c)
{
    return pmet_is_one_of(c, ")\";}]*:@'({[!?");
}

/* ---- tables ---- */

static int compare(const void *key, const void *item)
{
    return strcmp(key, *(const char *const *)item);
}

#define HAS(table, word) (bsearch(word, table, sizeof table / sizeof *table, sizeof *table, compare) != NULL)

/* ---- tokens of a context ---- */

struct token {
    const int32_t *c;
    size_t n;
    bool breaks, abbreviation, ellipsis;
};

static bool period_final(const struct token *t)
{
    return t->c[t->n - 1] == '.';
}

/* One letter or underscore and a period. */
static bool is_initial(const struct token *t)
{
    return t->n == 2 && period_final(t) && pmet_is_wordlike(t->c[0]) && !pmet_is_decimal(t->c[0]);
}

static bool is_number(const struct token *t)
{
    size_t i = 0;
    if (t->c[i] == '-')
        i++;
    if (i < t->n && pmet_is_one_of(t->c[i], ".,"))
        i++;
    if (i == t->n || !pmet_is_decimal(t->c[i]))
        return false;
    while (i < t->n && (pmet_is_decimal(t->c[i]) || pmet_is_one_of(t->c[i], ",.-")))
        i++;
    return i == t->n;
}

/* c[0..n) in lower case, "" if that is no key of the tables. */
static void lower_key(const int32_t *c, size_t n, char *key)
{
    key[0] = '\0';
    if (n >= MAX_TYPE)
        return;
    for (size_t i = 0; i < n; i++) {
        int32_t second;
        const int32_t lower = pmet_lower(c, n, i, &second);
        if (lower >= 0x80 || lower == 0 || second != 0) {
            key[0] = '\0';
            return;
        }
        key[i] = (char)lower;
        key[i + 1] = '\0';
    }
}

/* The token's type, with or without the period that ends it. */
static void type_of(const struct token *t, bool without_period, char *key)
{
    if (is_number(t)) {
        memcpy(key, "##number##", sizeof "##number##");
        return;
    }
    lower_key(t->c, t->n - (without_period && t->n > 1 && period_final(t)), key);
}

/* Its part after the last hyphen counts, too. */
static bool is_abbreviation(const int32_t *c, size_t n)
{
    char key[MAX_TYPE];
    size_t part = n;
    lower_key(c, n, key);
    if (HAS(abbreviation, key))
        return true;
    while (part > 0 && c[part - 1] != '-')
        part--;
    lower_key(c + part, n - part, key);
    return HAS(abbreviation, key);
}

/* Flags that follow from the token alone. */
static void annotate(struct token *t)
{
    size_t dots = 0;
    while (dots < t->n && t->c[dots] == '.')
        dots++;
    if (t->n == 1 && is_mark(t->c[0]))
        t->breaks = true;
    else if (dots == t->n)
        t->ellipsis = true;
    else if (period_final(t) && t->c[t->n - 2] != '.') {
        t->abbreviation = is_abbreviation(t->c, t->n - 1);
        t->breaks = !t->abbreviation;
    }
}

enum start { NO, YES, UNKNOWN };

/* Whether a token looks like the first of a sentence; key is its type. */
static enum start starts_sentence(const struct token *t, const char *key)
{
    if (t->n == 1 && pmet_is_one_of(t->c[0], ";:,.!?"))
        return NO;
    if (pmet_is_upper(t->c[0]) && HAS(lower_only, key))
        return YES;
    if (pmet_is_lower(t->c[0]) && !HAS(never_capital, key))
        return NO;
    return UNKNOWN;
}

/* Corrects the flags of a token that ends in a period by the token after it. */
static void reconsider(struct token *t, const struct token *next)
{
    char key[MAX_TYPE], next_key[MAX_TYPE], pair[2 * MAX_TYPE];
    const bool initial = is_initial(t), number = is_number(t);
    if (!period_final(t))
        return;
    type_of(t, true, key);
    type_of(next, next->breaks, next_key);
    const size_t n = strlen(key);
    memcpy(pair, key, n);
    pair[n] = ' ';
    memcpy(pair + n + 1, next_key, strlen(next_key) + 1);
    if (HAS(collocation, pair)) {
        t->breaks = false;
        t->abbreviation = true;
        return;
    }
    const enum start start = starts_sentence(next, next_key);
    const bool capital = pmet_is_upper(next->c[0]);
    if ((t->abbreviation || t->ellipsis) && !initial && (start == YES || (capital && HAS(starter, next_key))))
        t->breaks = true;
    else if ((initial || number) &&
             (start == NO || (start == UNKNOWN && initial && capital && !HAS(lower_only, next_key) &&
                              !HAS(lower_and_capital, next_key))))
        t->breaks = false;
}

/* ---- cutting a context into tokens ---- */

/* Length of what begins at i and counts as one mark: dashes, dots, or dots with blanks between; 0:
 * none. */
static size_t multi_mark(const int32_t *c, size_t n, size_t i)
{
    size_t k = 0;
    if (c[i] != '-' && c[i] != '.')
        return 0;
    while (i + k < n && c[i + k] == c[i])
        k++;
    if (k > 1 || c[i] == '-')
        return k > 1 ? k : 0;
    for (k = 0; i + k + 1 < n && c[i + k] == '.' && pmet_is_blank(c[i + k + 1]);)
        k += 2;
    if (i + k == n || c[i + k] != '.')
        k -= k > 0 ? 2 : 0; /* then the dot of the last pair is the last dot */
    return k >= 4 ? k + 1 : 0;
}

static bool ends_token(const int32_t *c, size_t n, size_t i)
{
    return i == n || pmet_is_blank(c[i]) || is_non_word(c[i]) || multi_mark(c, n, i) > 0;
}

static size_t token_at(const int32_t *c, size_t n, size_t i)
{
    size_t k = multi_mark(c, n, i);
    if (k > 0 || pmet_is_one_of(c[i], "(\"`{[:;&#*@)}]-,"))
        return k > 0 ? k : 1;
    for (k = 1; !ends_token(c, n, i + k) && !(c[i + k] == ',' && ends_token(c, n, i + k + 1));)
        k++;
    return k;
}

/* Whether a token of the context, but the last, ends a sentence. Patterns see one line at a
 * time. */
static bool holds_break(const int32_t *c, size_t n)
{
    struct token t = {0}, next;
    for (size_t line = 0, end; line < n; line = end + 1) {
        for (end = line; end < n && c[end] != '\n';)
            end++;
        for (size_t i = line; i < end; i += next.n) {
            next = (struct token){.c = c + i, .n = 1};
            if (pmet_is_blank(c[i]))
                continue;
            next.n = token_at(c + line, end - line, i - line);
            annotate(&next);
            if (t.n > 0)
                reconsider(&t, &next);
            if (t.breaks)
                return true;
            t = next;
        }
    }
    return false;
}

/* ---- sentences ---- */

/* A mark that may end a sentence. */
struct candidate {
    size_t context; /* where the word before the mark begins */
    size_t mark;    /* one of . ? ! */
    size_t next,
        stop; /* the next word if a blank is before it, else both are behind the mark; end of the context */
};

static bool candidate_at(const struct pmet_points *t, size_t mark, struct candidate *found)
{
    size_t i = mark + 1;
    found->mark = mark;
    found->next = i;
    found->stop = i + 1;
    if (!is_mark(t->c[mark]) || i == t->n)
        return false;
    if (is_non_word(t->c[i]))
        return true;
    while (i < t->n && pmet_is_blank(t->c[i]))
        i++;
    found->next = i;
    for (found->stop = i; found->stop < t->n && !pmet_is_blank(t->c[found->stop]);)
        found->stop++;
    return i > mark + 1 && found->stop > i;
}

/* Where the word before a mark begins: behind the last blank since the mark before. A blank at
 * `from` itself does not count, as published. */
static size_t word_begin(const struct pmet_points *t, size_t from, size_t context, size_t mark)
{
    for (size_t i = mark; i > from + 1; i--)
        if (pmet_is_one_of(t->c[i - 1], " \t\n\r\v\f"))
            return i;
    return context;
}

/* Hands sentences to the caller; quotes and brackets that open the next one are moved to the one
 * before. */
struct writer {
    const struct pmet_points *text;
    pmet_on_sentence *on_sentence;
    void *user;
    size_t begin, end; /* the sentence that waits for the next */
    bool waits;
};

static enum pmet_status send(struct writer *w, size_t end, struct pmet_error *err)
{
    return end > w->begin ? w->on_sentence(w->user, w->text->c + w->begin, end - w->begin, err) : PMET_OK;
}

static enum pmet_status write_sentence(struct writer *w, size_t begin, size_t end, struct pmet_error *err)
{
    const int32_t *c = w->text->c;
    size_t k = begin, rest;
    if (w->waits) {
        while (k < end && pmet_is_one_of(c[k], "\"')]}"))
            k++;
        for (rest = k; rest < end && pmet_is_blank(c[rest]);)
            rest++;
        if (k > begin && (rest > k || k == end || (end - k > 1 && c[k] == '-' && c[k + 1] == '-'))) {
            PMET_TRY(send(w, k, err));
            begin = rest;
        } else {
            PMET_TRY(send(w, w->end, err));
        }
    }
    w->begin = begin;
    w->end = end;
    w->waits = true;
    return PMET_OK;
}

enum pmet_status pmet_punkt(const struct pmet_points *text, pmet_on_sentence *on_sentence, void *user,
                            struct pmet_error *err)
{
    struct writer w = {.text = text, .on_sentence = on_sentence, .user = user};
    struct candidate last = {0}, found = {0};
    bool any = false;
    size_t begin = 0, end = text->n;
    for (size_t i = 0; i <= text->n; i++) {
        const bool at_end = i == text->n;
        if (!at_end && !candidate_at(text, i, &found))
            continue;
        if (!at_end)
            found.context = word_begin(text, any ? last.mark : 0, any ? last.context : 0, i);
        /* of candidates in one word only the last one counts */
        if (any && (at_end || last.mark <= found.context) &&
            holds_break(text->c + last.context, last.stop - last.context)) {
            PMET_TRY(write_sentence(&w, begin, last.mark + 1, err));
            begin = last.next;
        }
        last = found;
        any = true;
    }
    while (end > begin && pmet_is_blank(text->c[end - 1]))
        end--;
    PMET_TRY(write_sentence(&w, begin, end, err));
    return send(&w, w.end, err);
}

/* SPDX-License-Identifier: MIT
 * Fluency (E90).      SPEC §11.7 */
#include "ref/text/entropy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct word {
    const char *text;
    size_t n, place;
};

static int by_text(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    const int c = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);
    return c ? c : x->n < y->n ? -1 : x->n > y->n;
}

struct gram {
    size_t id[3];
};

static int by_id(const void *a, const void *b)
{
    const struct gram *x = a, *y = b;
    for (size_t k = 0; k < 3; k++)
        if (x->id[k] != y->id[k])
            return x->id[k] < y->id[k] ? -1 : 1;
    return 0;
}

/* id[i]: number of word i among the n words, equal ones having equal numbers. sorted holds n. */
static void number_words(const struct pmet_words *words, struct word *sorted, size_t *id)
{
    for (size_t i = 0; i < words->n; i++)
        sorted[i] = (struct word){words->text.data + words->piece[i].start, words->piece[i].n, i};
    qsort(sorted, words->n, sizeof *sorted, by_text);
    for (size_t i = 0, number = 0; i < words->n; i++) {
        number += i > 0 && by_text(&sorted[i - 1], &sorted[i]) != 0;
        id[sorted[i].place] = number;
    }
}

/* Entropy in bits of the runs of `order` <= 3 ids; gram holds n. */
static double entropy(const size_t *id, size_t n, size_t order, struct gram *gram)
{
    const size_t n_gram = n < order ? 0 : n - order + 1;
    double sum = 0;
    for (size_t i = 0; i < n_gram; i++)
        for (size_t k = 0; k < 3; k++)
            gram[i].id[k] = k < order ? id[i + k] : 0;
    qsort(gram, n_gram, sizeof *gram, by_id);
    for (size_t i = 0, end; i < n_gram; i = end) {
        for (end = i + 1; end < n_gram && by_id(&gram[i], &gram[end]) == 0;)
            end++;
        const double p = (double)(end - i) / (double)n_gram;
        sum -= p * log2(p);
    }
    return sum;
}

enum pmet_status pmet_ngram_entropy(const struct pmet_words *words, double *out, struct pmet_error *err)
{
    struct word *sorted = NULL;
    struct gram *gram = NULL;
    size_t *id = NULL;
    enum pmet_status status;
    PMET_GO(pmet_calloc(&sorted, words->n, sizeof *sorted, "words", err));
    PMET_GO(pmet_calloc(&gram, words->n, sizeof *gram, "words", err));
    PMET_GO(pmet_calloc(&id, words->n, sizeof *id, "words", err));
    number_words(words, sorted, id);
    *out = (entropy(id, words->n, 2, gram) + 2 * entropy(id, words->n, 3, gram)) / 3;
done:
    free(sorted);
    free(gram);
    free(id);
    return status;
}

/* SPDX-License-Identifier: MIT
 * Contradictions and shared subjects.      SPEC §4.1 */
#include "ref/edit/facts_record.h"

#include <stdlib.h>
#include <string.h>

static const char *trimmed(const char *target)
{
    return *target == ' ' ? target + 1 : target; /* the leading space is the method's */
}

static int by_question(const void *a, const void *b)
{
    const struct pmet_fact *const *x = a, *const *y = b;
    int c = strcmp((*x)->subject, (*y)->subject);
    c = c ? c : strcmp((*x)->prompt, (*y)->prompt);
    return c ? c : (*x)->record < (*y)->record ? -1 : (*x)->record > (*y)->record;
}

static bool same_question(const struct pmet_fact *x, const struct pmet_fact *y)
{
    return strcmp(x->subject, y->subject) == 0 && strcmp(x->prompt, y->prompt) == 0;
}

/* Facts sorted[i..end) ask the same; those that lose are marked by an empty prompt. */
static enum pmet_status settle_group(struct pmet_fact **sorted, size_t n, enum pmet_conflicts conflicts,
                                     const char *path, struct pmet_error *err)
{
    const struct pmet_fact *keep = conflicts == PMET_CONFLICTS_LAST ? sorted[n - 1] : sorted[0];
    for (size_t i = 0; i < n; i++) {
        if (strcmp(trimmed(sorted[i]->target), trimmed(keep->target)) == 0)
            continue;
        if (conflicts == PMET_CONFLICTS_REFUSE)
            return pmet_fail(err, PMET_INPUT,
                             "%s: records %zu (line %zu) and %zu (line %zu) contradict each other: \"%s\" "
                             "with subject \"%s\" "
                             "is \"%s\" and \"%s\"; give --conflicts first or last to choose",
                             path, keep->record, keep->line, sorted[i]->record, sorted[i]->line, keep->prompt,
                             keep->subject, trimmed(keep->target), trimmed(sorted[i]->target));
        sorted[i]->prompt[0] = '\0';
    }
    return PMET_OK;
}

static void drop_marked(struct pmet_facts *facts)
{
    size_t kept = 0;
    for (size_t i = 0; i < facts->n_fact; i++) {
        struct pmet_fact *f = &facts->fact[i];
        if (f->prompt[0]) {
            facts->fact[kept++] = *f;
            continue;
        }
        free(f->prompt);
        free(f->subject);
        free(f->target);
        free(f->target_true);
        facts->n_dropped++;
    }
    facts->n_fact = kept;
}

enum pmet_status pmet_facts_settle(struct pmet_facts *facts, enum pmet_conflicts conflicts,
                                   struct pmet_error *err)
{
    struct pmet_fact **sorted;
    const size_t n = facts->n_fact;
    enum pmet_status status = PMET_OK;
    PMET_TRY(pmet_calloc(&sorted, n, sizeof *sorted, "facts", err));
    for (size_t i = 0; i < n; i++)
        sorted[i] = &facts->fact[i];
    qsort(sorted, n, sizeof *sorted, by_question);
    for (size_t i = 0, end; i < n && status == PMET_OK; i = end) {
        for (end = i + 1; end < n && strcmp(sorted[end]->subject, sorted[i]->subject) == 0;)
            end++;
        facts->n_shared_subject += end - i > 1 ? end - i : 0;
        for (size_t from = i, to; from < end && status == PMET_OK; from = to) {
            for (to = from + 1; to < end && same_question(sorted[to], sorted[from]);)
                to++;
            status = settle_group(sorted + from, to - from, conflicts, facts->path, err);
        }
    }
    free(sorted);
    if (status == PMET_OK)
        drop_marked(facts);
    return status;
}

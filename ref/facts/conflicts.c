/* SPDX-License-Identifier: MIT
 * Contradictions and shared subjects, found by sorting.      SPEC §4.1 */
#include "ref/facts/facts_record.h"

#include <stdlib.h>
#include <string.h>

struct question {
    struct pmet_fact *fact;
    char *text; /* the filled prompt */
};

static const char *trimmed(const char *target)
{
    return target + (*target == ' '); /* with or without the leading space, rows makes the same of it */
}

static int by_text(const void *a, const void *b)
{
    const struct question *x = a, *y = b;
    const int c = strcmp(x->text, y->text);
    return c ? c : x->fact->record < y->fact->record ? -1 : x->fact->record > y->fact->record;
}

static int by_string(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* n facts that ask the same, in the file's order. Those to be dropped lose their prompt, which
 * marks them. */
static enum pmet_status resolve_group(const struct question *q, size_t n, enum pmet_conflicts conflicts,
                                      const char *path, struct pmet_error *err)
{
    const struct pmet_fact *keep = q[conflicts == PMET_CONFLICTS_LAST ? n - 1 : 0].fact;
    for (size_t i = 0; i < n; i++) {
        struct pmet_fact *f = q[i].fact;
        if (strcmp(trimmed(f->target), trimmed(keep->target)) == 0)
            continue;
        if (conflicts == PMET_CONFLICTS_REFUSE)
            return pmet_fail(
                err, PMET_INPUT,
                "%s: records %zu (line %zu) and %zu (line %zu) contradict each other: \"%s\" goes on "
                "\"%s\" and \"%s\"; --conflicts first or last chooses",
                path, keep->record, keep->line, f->record, f->line, q[i].text, trimmed(keep->target),
                trimmed(f->target));
        free(f->prompt);
        f->prompt = NULL;
    }
    return PMET_OK;
}

static void drop_marked(struct pmet_facts *facts)
{
    size_t kept = 0;
    for (size_t i = 0; i < facts->n_fact; i++) {
        struct pmet_fact *f = &facts->fact[i];
        if (f->prompt) {
            facts->fact[kept++] = *f;
            continue;
        }
        pmet_fact_free(f);
        facts->n_dropped++;
    }
    facts->n_fact = kept;
}

static enum pmet_status count_shared(struct pmet_facts *facts, struct pmet_error *err)
{
    const size_t n = facts->n_fact;
    const char **subject;
    PMET_TRY(pmet_calloc(&subject, n, sizeof *subject, "subjects", err));
    for (size_t i = 0; i < n; i++)
        subject[i] = facts->fact[i].subject;
    qsort(subject, n, sizeof *subject, by_string);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && strcmp(subject[end], subject[i]) == 0;)
            end++;
        facts->n_shared_subject += end - i > 1 ? end - i : 0;
    }
    free(subject);
    return PMET_OK;
}

enum pmet_status pmet_facts_resolve(struct pmet_facts *facts, enum pmet_conflicts conflicts,
                                    struct pmet_error *err)
{
    struct question *q;
    size_t n = 0;
    enum pmet_status status;
    PMET_TRY(pmet_calloc(&q, facts->n_fact, sizeof *q, "facts", err));
    for (; n < facts->n_fact; n++) {
        q[n].fact = &facts->fact[n];
        PMET_GO(pmet_fact_fill(q[n].fact, &q[n].text, err));
    }
    qsort(q, n, sizeof *q, by_text);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && strcmp(q[end].text, q[i].text) == 0;)
            end++;
        PMET_GO(resolve_group(q + i, end - i, conflicts, facts->path, err));
    }
    drop_marked(facts);
    status = count_shared(facts, err);
done:
    while (n-- > 0)
        free(q[n].text);
    free(q);
    return status;
}

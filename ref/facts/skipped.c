/* SPDX-License-Identifier: MIT */
#include "ref/facts/skipped.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref/event.h"

enum { MOST_NOTES = 20 };

bool pmet_skipped_may(enum pmet_status status)
{
    return status == PMET_INPUT || status == PMET_FORMAT || status == PMET_UNSUPPORTED;
}

/* The message without file, record and line, which stand beside it. */
static const char *reason(const char *message, size_t record)
{
    char place[48];
    snprintf(place, sizeof place, "record %zu", record);
    const char *at = strstr(message, place);
    if (!at)
        return message;
    at += strlen(place);
    return strncmp(at, " (line ", 7) == 0 && strstr(at, "): ") ? strstr(at, "): ") + 3
           : strncmp(at, ": ", 2) == 0                         ? at + 2
                                                               : message;
}

enum pmet_status pmet_skipped_add(struct pmet_skipped *s, size_t record, size_t line, struct pmet_error *err)
{
    const struct pmet_error said = *err;
    *err = (struct pmet_error){PMET_OK, ""};
    PMET_TRY(pmet_grow(&s->item, &s->cap, s->n + 1, sizeof *s->item, "records", err));
    struct pmet_skipped_record *r = &s->item[s->n];
    *r = (struct pmet_skipped_record){.record = record, .line = line};
    PMET_TRY(pmet_copy_text(reason(said.message, record), &r->why, "a record", err));
    s->n++;
    return PMET_OK;
}

void pmet_skipped_note(struct pmet_skipped *s, const char *path, const struct pmet_listener *listener)
{
    if (s->n_noted == s->n)
        return;
    for (size_t i = s->n_noted; i < s->n && i < MOST_NOTES; i++)
        pmet_raise_note(listener, true, "%s: record %zu (line %zu): left out: %s", path, s->item[i].record,
                        s->item[i].line, s->item[i].why);
    s->n_noted = s->n;
    pmet_raise_note(listener, true, "%s: %zu invalid records are left out (--skip-invalid)", path, s->n);
}

json_t *pmet_skipped_json(const struct pmet_skipped *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n; i++)
        json_array_append_new(list, json_pack("{s:I, s:I, s:s}", "record", (json_int_t)s->item[i].record,
                                              "line", (json_int_t)s->item[i].line, "why", s->item[i].why));
    return list;
}

void pmet_skipped_free(struct pmet_skipped *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->item[i].why);
    free(s->item);
    memset(s, 0, sizeof *s);
}

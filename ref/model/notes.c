/* SPDX-License-Identifier: MIT */
#include "ref/model/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum pmet_status pmet_notes_add(struct pmet_notes *notes, bool warning, struct pmet_error *err,
                                const char *fmt, ...)
{
    char *text;
    va_list args;
    PMET_TRY(pmet_grow(&notes->note, &notes->cap, notes->n + 1, sizeof *notes->note, "notes", err));
    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    PMET_TRY(pmet_calloc(&text, (size_t)(n < 0 ? 0 : n) + 1, 1, "notes", err));
    va_start(args, fmt);
    vsnprintf(text, (size_t)(n < 0 ? 0 : n) + 1, fmt, args);
    va_end(args);
    notes->note[notes->n++] = (struct pmet_model_note){warning, text};
    return PMET_OK;
}

void pmet_notes_free(struct pmet_notes *notes)
{
    for (size_t i = 0; i < notes->n; i++)
        free(notes->note[i].text);
    free(notes->note);
    memset(notes, 0, sizeof *notes);
}

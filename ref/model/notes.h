/* SPDX-License-Identifier: MIT
 * What opening a model found worth saying: keys and tensors that were passed over or replaced. Kept
 * until somebody listens. */
#ifndef PMET_REF_MODEL_NOTES_H
#define PMET_REF_MODEL_NOTES_H

#include "tensors/status.h"

struct pmet_model_note {
    bool warning; /* numbers or files may not be what their owner thinks they are */
    char *text;   /* one line */
};
struct pmet_notes {
    struct pmet_model_note *note;
    size_t n, cap;
};

/* Cut at 1000 bytes. */
enum pmet_status pmet_notes_add(struct pmet_notes *notes, bool warning, struct pmet_error *err,
                                const char *fmt, ...) PMET_PRINTF(4, 5);
void pmet_notes_free(struct pmet_notes *notes);

#endif

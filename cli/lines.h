/* SPDX-License-Identifier: MIT
 * Text as users bring it: byte order marks before a line and CR after it are no part of it. */
#ifndef PMET_CLI_LINES_H
#define PMET_CLI_LINES_H

#include "tensors/status.h"

/* Moves *line and *n, a line without its LF, past byte order marks and before CR. */
void line_trim(const char **line, size_t *n);
/* Refuses a text that begins as UTF-16 does; `path` serves the message. */
enum pmet_status check_not_utf16(const char *text, size_t n, const char *path, struct pmet_error *err);

#endif

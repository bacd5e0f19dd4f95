/* SPDX-License-Identifier: MIT */
#include "cli/lines.h"

#include <string.h>

void line_trim(const char **line, size_t *n)
{
    for (; *n >= 3 && memcmp(*line, "\xef\xbb\xbf", 3) == 0; *n -= 3)
        *line += 3;
    while (*n > 0 && (*line)[*n - 1] == '\r')
        --*n;
}

enum pmet_status check_not_utf16(const char *text, size_t n, const char *path, struct pmet_error *err)
{
    if (n < 2 || (memcmp(text, "\xff\xfe", 2) != 0 && memcmp(text, "\xfe\xff", 2) != 0))
        return PMET_OK;
    return pmet_fail(err, PMET_FORMAT,
                     "%s: begins as UTF-16; expected UTF-8: convert it with iconv -f UTF-16 -t UTF-8", path);
}

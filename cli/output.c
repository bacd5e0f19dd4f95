/* SPDX-License-Identifier: MIT */
#include "cli/output.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static FILE *before; /* stdio's stdout, while ours stands in for it */
static int failed;

static ssize_t put(void *user, const char *data, size_t n)
{
    size_t done = 0;
    (void)user;
    while (done < n && !failed) {
        const ssize_t got = write(STDOUT_FILENO, data + done, n - done);
        if (got >= 0)
            done += (size_t)got;
        else if (errno != EINTR)
            failed = errno;
    }
    return failed ? 0 : (ssize_t)n; /* 0: how such a function says that it failed */
}

void output_begin(void)
{
    FILE *ours = fopencookie(NULL, "w", (cookie_io_functions_t){.write = put});
    failed = 0;
    before = NULL;
    if (!ours)
        return;
    if (isatty(STDOUT_FILENO))
        setvbuf(ours, NULL, _IOLBF, 0);
    before = stdout;
    fflush(before);
    stdout = ours;
}

int output_end(void)
{
    const bool whole = fflush(stdout) == 0 && !ferror(stdout);
    if (before) {
        fclose(stdout);
        stdout = before;
    }
    return whole ? 0 : failed ? failed : EIO;
}

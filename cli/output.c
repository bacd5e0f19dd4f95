/* SPDX-License-Identifier: MIT */
#include "cli/output.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdio_ext.h>
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

/* Made once and never closed: a C++ library that is loaded meanwhile (a GPU's driver, a tool of
 * OpenMP) takes stdout for its own stream, and flushes that when the process ends. */
static FILE *stand_in(void)
{
    static FILE *ours;
    if (ours)
        return ours;
    ours = fopencookie(NULL, "w", (cookie_io_functions_t){.write = put});
    if (ours && isatty(STDOUT_FILENO))
        setvbuf(ours, NULL, _IOLBF, 0);
    return ours;
}

void output_begin(void)
{
    FILE *ours = stand_in();
    failed = 0;
    before = NULL;
    if (!ours)
        return;
    before = stdout;
    fflush(before);
    stdout = ours;
}

int output_end(void)
{
    const bool whole = fflush(stdout) == 0 && !ferror(stdout);
    if (before) {
        __fpurge(stdout);
        clearerr(stdout);
        stdout = before;
    }
    return whole ? 0 : failed ? failed : EIO;
}

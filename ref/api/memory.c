/* SPDX-License-Identifier: MIT */
#include "ref/api/memory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

size_t pmet_memory_total(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages * (size_t)size : (size_t)4 << 30;
}

/* Linux counts it, under this name, in KiB. */
size_t pmet_memory_free(void)
{
    static const char key[] = "MemAvailable:";
    char text[4096];
    const int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, key);
    const unsigned long long kib = at ? strtoull(at + strlen(key), NULL, 10) : 0;
    return kib > 0 ? (size_t)kib * 1024 : pmet_memory_total() / 2;
}

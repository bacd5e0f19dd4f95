/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/target.h"

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char dir[512];
static volatile unsigned sum;

static void remove_dir(void)
{
    char line[600];
    snprintf(line, sizeof line, "rm -rf '%s'", dir);
    if (system(line) != 0)
        perror(dir);
}

const char *fuzz_dir(void)
{
    if (!dir[0]) {
        const char *base = getenv("TMPDIR");
        snprintf(dir, sizeof dir, "%s/pmet-fuzz-XXXXXX", base && *base ? base : "/tmp");
        if (!mkdtemp(dir)) {
            perror(dir);
            exit(1);
        }
        atexit(remove_dir);
    }
    return dir;
}

const char *fuzz_file(const char *name, const char *data, size_t n)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", fuzz_dir(), name);
    unlink(path);
    if (n == (size_t)-1)
        return path;
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
    return path;
}

void fuzz_files(const char *data, size_t n, const char *const *names, size_t n_name)
{
    bool there = true;
    for (size_t i = 0; i < n_name; i++) {
        const char *end = n > 0 ? memchr(data, 0xff, n) : NULL;
        const size_t len = end ? (size_t)(end - data) : n;
        fuzz_file(names[i], data, there ? len : (size_t)-1);
        there = end != NULL;
        data += end ? len + 1 : len;
        n -= end ? len + 1 : len;
    }
}

void fuzz_copy(const char *from, const char *name)
{
    char line[1400];
    snprintf(line, sizeof line, "cp '%s' '%s/%s'", from, fuzz_dir(), name);
    if (system(line) != 0)
        exit(1);
}

void fuzz_expect(enum pmet_status status, const struct pmet_error *err)
{
    bool ok = err->status == status && (status == PMET_OK) == (err->message[0] == '\0');
    for (const char *p = err->message; *p; p++)
        ok = ok && (unsigned char)*p >= ' ' && *p != 0x7f;
    if (ok)
        return;
    fprintf(stderr, "status %d, error %d: \"%s\"\n", (int)status, (int)err->status, err->message);
    abort();
}

void fuzz_touch(const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++)
        sum += p[i];
}

void fuzz_touch_all(const struct pmet_tensors *all)
{
    for (size_t i = 0; i < all->n; i++)
        fuzz_touch(all->tensor[i].data, all->tensor[i].n_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_one((const char *)data, n);
    return 0;
}

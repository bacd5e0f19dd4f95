/* SPDX-License-Identifier: MIT */
#include "tests/fuzz.h"

#include <unistd.h>

static size_t below(struct test_rng *r, size_t n)
{
    return (size_t)(test_rng_next(r) % (n + (n == 0)));
}

/* One damage to the *n bytes at p, in a buffer of `capacity`. */
static void damage(struct test_rng *r, char *p, size_t *n, size_t capacity)
{
    static const char telling[] = "\"\"{}[],:\\\n\t 019-.eEnulltrue\0\x7f\x80\xc3\xef\xbb\xbf\xff";
    const size_t at = below(r, *n), len = 1 + below(r, below(r, 8) ? 4 : *n - at),
                 span = len < *n - at ? len : *n - at;
    if (*n == 0)
        return;
    switch (below(r, 16) ? below(r, 5) : 5) {
    case 0:
        p[at] = (char)(p[at] ^ 1 << below(r, 8));
        break;
    case 1:
        p[at] = telling[below(r, sizeof telling - 1)];
        break;
    case 2: /* cut a span */
        memmove(p + at, p + at + span, *n - at - span);
        *n -= span;
        break;
    case 3: /* double a span */
        if (*n + span <= capacity) {
            memmove(p + at + span, p + at, *n - at);
            *n += span;
        }
        break;
    case 4: /* a span over another place */
        memmove(p + below(r, *n - span + 1), p + at, span);
        break;
    default: /* the end is missing */
        *n = at;
        break;
    }
}

static bool is_one_line(const char *message)
{
    if (!*message)
        return false;
    for (; *message; message++)
        if ((unsigned char)*message < 0x20 || *message == 0x7f)
            return false;
    return true;
}

size_t fuzz(struct test *t, const char *text, size_t n, size_t n_round, uint64_t seed,
            enum pmet_status (*load)(const char *path, struct pmet_error *err))
{
    struct test_rng r = {seed};
    const char *path = test_path("damaged");
    const size_t capacity = 2 * n + 16;
    char *p = test_alloc(t, capacity);
    size_t n_taken = 0;
    for (size_t round = 0; round < n_round; round++) {
        struct pmet_error err = {PMET_OK, ""};
        size_t size = n;
        memcpy(p, text, n);
        for (size_t k = 1 + below(&r, 4) / 3; k > 0; k--) /* one; now and then two */
            damage(&r, p, &size, capacity);
        unlink(path); /* a file cut to nothing and written anew makes some file systems wait for the disk */
        test_write_file(path, p, size);
        const enum pmet_status status = load(path, &err);
        t->n_check++;
        n_taken += status == PMET_OK;
        if (status == PMET_OK ? err.status != PMET_OK : err.status != status || !is_one_line(err.message))
            test_fail(t, "round %zu: status %d, error %d: \"%s\"", round, (int)status, (int)err.status,
                      err.message);
    }
    return n_taken;
}

/* SPDX-License-Identifier: MIT */
#include "tensors/json_python.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool is_in(const char *set, char c)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* Length of the number at p if it is to be replaced, and by what: NULL means itself, as a real. */
static size_t large_number(const char *p, size_t left, const char **by)
{
    char copy[512];
    size_t n = 0;
    bool whole = true;
    for (; n < left && is_in("+-.0123456789eE", p[n]); n++)
        whole = whole && !is_in(".eE", p[n]);
    if ((whole && n < 19) || n >= sizeof copy) /* nobody writes 500 digits: the parser refuses them */
        return 0;
    memcpy(copy, p, n);
    copy[n] = '\0';
    *by = isfinite(strtod(copy, NULL)) ? NULL : "null";
    errno = 0;
    if (whole && !*by)
        (void)strtoll(copy, NULL, 10);
    return *by || errno == ERANGE ? n : 0;
}

static size_t foreign_value(const char *p, size_t left, const char **by)
{
    static const char *const word[] = {"NaN", "Infinity", "-Infinity"};
    *by = "null";
    for (size_t i = 0; i < 3; i++)
        if (strlen(word[i]) <= left && memcmp(p, word[i], strlen(word[i])) == 0)
            return strlen(word[i]);
    return is_in("-0123456789", *p) ? large_number(p, left, by) : 0;
}

/* The text being copied, from `from` on. */
struct copying {
    const char *text;
    size_t from;
    char **out;
    size_t n, cap;
};

static enum pmet_status add(struct copying *c, size_t to, const char *more, struct pmet_error *err)
{
    const size_t keep = to - c->from, n_more = strlen(more);
    PMET_TRY(pmet_grow(c->out, &c->cap, c->n + keep + n_more, 1, "a record", err));
    memcpy(*c->out + c->n, c->text + c->from, keep);
    memcpy(*c->out + c->n + keep, more, n_more);
    c->n += keep + n_more;
    c->from = to;
    return PMET_OK;
}

enum pmet_status pmet_json_from_python(const char *text, size_t n, char **out, size_t *n_out,
                                       struct pmet_error *err)
{
    struct copying c = {.text = text, .out = out};
    bool in_string = false;
    const char *by;
    *out = NULL;
    for (size_t i = 0, skip; i < n; i++) {
        if (in_string && text[i] == '\\') {
            i++;
        } else if (text[i] == '"') {
            in_string = !in_string;
        } else if (!in_string && i > 0 && is_in(":,[ \t\r\n", text[i - 1]) &&
                   (skip = foreign_value(text + i, n - i, &by)) > 0) {
            PMET_TRY(add(&c, by ? i : i + skip, by ? by : "e0", err));
            c.from = i + skip;
            i += skip - 1;
        }
    }
    if (*out)
        PMET_TRY(add(&c, n, "", err));
    *n_out = c.n;
    return PMET_OK;
}

/* SPDX-License-Identifier: MIT
 * How every function of the library reports a failure, and sizes that cannot overflow unnoticed. */
#ifndef PMET_TENSORS_STATUS_H
#define PMET_TENSORS_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include "pmet.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PMET_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define PMET_PRINTF(fmt, args)
#endif

/* Records the first failure in *err (a later one leaves it as it is) and returns `status`. The
 * message is made one line that does nothing to a terminal, whatever names from files hold
 * (pmet_escape). It should read "FILE: field or fact: what was found; what was expected". */
enum pmet_status pmet_fail(struct pmet_error *err, enum pmet_status status, const char *fmt, ...)
    PMET_PRINTF(3, 4);

/* The message that pmet_fail makes, for other lines. */
void pmet_line(char *line, size_t size, const char *fmt, va_list args);

/* As pmet_fail with PMET_IO: "PATH: WHAT: strerror(errno)", `what` being a verb such as "open" or
 * "write". */
enum pmet_status pmet_fail_errno(struct pmet_error *err, const char *path, const char *what);

/* As pmet_fail with PMET_MEMORY: "out of memory: WHAT needs N bytes". */
enum pmet_status pmet_fail_memory(struct pmet_error *err, const char *what, size_t n_bytes);

/* Leaves the calling function with the status of a call that failed. */
#define PMET_TRY(call)                                                                                       \
    do {                                                                                                     \
        const enum pmet_status pmet_try_ = (call);                                                           \
        if (pmet_try_ != PMET_OK)                                                                            \
            return pmet_try_;                                                                                \
    } while (0)

/* The same for functions with something to free: sets their `status` and goes to their label
 * `done`. */
#define PMET_GO(call)                                                                                        \
    do {                                                                                                     \
        if ((status = (call)) != PMET_OK)                                                                    \
            goto done;                                                                                       \
    } while (0)

/* The nearest of n names, if it is near: few letters differ, or one begins with the other. Else
 * NULL. */
const char *pmet_nearest(const char *name, const char *const *names, size_t n);

/* *out = a * b (or a + b); false, with *out untouched, if that does not fit. */
bool pmet_mul_size(size_t a, size_t b, size_t *out);
bool pmet_add_size(size_t a, size_t b, size_t *out);
/* *out = x, a number from a file; false, with *out untouched, unless x is whole, not negative and at
 * most 2^53, up to which doubles tell integers apart. */
bool pmet_whole(double x, size_t *out);

/* Zeroed array of n elements of `size` bytes in *p (never NULL on success, even for n = 0); free()
 * releases it. */
enum pmet_status pmet_calloc(void *p, size_t n, size_t size, const char *what, struct pmet_error *err);
/* Makes the array *p of *cap elements of `size` bytes longer if it must be, so that it can hold
 * `need` of them: at least twice as long then. What it held stays; what is new is not zeroed. On
 * failure it is as before. */
enum pmet_status pmet_grow(void *p, size_t *cap, size_t need, size_t size, const char *what,
                           struct pmet_error *err);
/* A copy of a string in *out; free() releases it. `what` as above. */
enum pmet_status pmet_copy_text(const char *text, char **out, const char *what, struct pmet_error *err);
bool pmet_ends_with(const char *text, const char *ending);
/* Asks for large pages under fresh memory of some MiB, where the system has any: a matrix then
 * costs few page faults and few misses of the address cache. A hint; changes nothing else. */
void pmet_large_pages(void *p, size_t n_bytes);

#ifdef __cplusplus
}
#endif
#endif

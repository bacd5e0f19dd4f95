/* SPDX-License-Identifier: MIT
 * pmet: precise model editing in a transformer (PMET, arXiv 2308.08742), in C.
 *
 * The public header. Every function that can fail returns an enum pmet_status and takes, last, a struct pmet_error
 * that receives one line saying which file, which field or fact, what was found and what was expected. The library
 * never prints, never exits and keeps no global state. */
#ifndef PMET_H
#define PMET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PMET_VERSION "0.1.0"

enum pmet_status {
    PMET_OK = 0,
    PMET_IO,          /* the system refused a call: no such file, no space left */
    PMET_FORMAT,      /* a file breaks the rules of its format */
    PMET_INPUT,       /* a well-formed input that cannot be accepted: wrong shape, unknown key, contradictory facts */
    PMET_MEMORY,      /* an allocation failed */
    PMET_NUMERIC,     /* NaN, infinity, a matrix that is not positive definite */
    PMET_UNSUPPORTED, /* understood, but outside what this build does */
    PMET_INTERRUPTED  /* the caller's progress function asked to stop */
};

struct pmet_error {
    enum pmet_status status;
    char message[1024]; /* one line, no newline at its end; empty while status is PMET_OK */
};

/* Element types of tensors in files. */
enum pmet_dtype {
    PMET_F64,
    PMET_F32,
    PMET_F16,
    PMET_BF16,
    PMET_I64,
    PMET_I32,
    PMET_U8,
    PMET_BOOL
};

#ifdef __cplusplus
}
#endif
#endif

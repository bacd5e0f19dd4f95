/* SPDX-License-Identifier: MIT
 * Pickles of data, read and never run. A stack machine that knows the opcodes of a torch.save file
 * builds a tree of plain values. What a pickle would call is written down as a CALL, for the caller
 * to understand; only the names of a table may be mentioned, and all else is refused by name, with
 * its byte. Time and memory are linear in the number of opcodes; nothing recurses.    SPEC §9.12 */
#ifndef PMET_TENSORS_PICKLE_H
#define PMET_TENSORS_PICKLE_H

#include <stdint.h>
#include "tensors/status.h"

#define PMET_MAX_OPCODE ((size_t)1 << 22) /* a tensor takes some 40 */
#define PMET_MAX_STR ((size_t)1 << 20)    /* bytes; names of tensors are short */

enum pmet_pickle_kind {
    PMET_PICKLE_MARK, /* on the stack only, never in the tree */
    PMET_PICKLE_NONE,
    PMET_PICKLE_BOOL,
    PMET_PICKLE_INT,
    PMET_PICKLE_FLOAT, /* its value is not kept */
    PMET_PICKLE_STR,
    PMET_PICKLE_TUPLE,
    PMET_PICKLE_LIST,
    PMET_PICKLE_DICT,
    PMET_PICKLE_GLOBAL,
    PMET_PICKLE_CALL,      /* of a global, with the items of its arguments */
    PMET_PICKLE_PERSISTENT /* an id, the items of its tuple */
};

enum pmet_pickle_role {
    PMET_ROLE_NAME, /* may be mentioned, not called */
    PMET_ROLE_CALL, /* a call of it is a CALL */
    PMET_ROLE_DICT  /* a call of it without arguments is an empty dict */
};

struct pmet_pickle_global {
    const char *name; /* "module name", one blank between */
    enum pmet_pickle_role role;
};

struct pmet_pickle_entry;

struct pmet_pickle_value {
    enum pmet_pickle_kind kind;
    size_t n; /* bytes of a STR; items of a TUPLE, LIST, CALL or PERSISTENT; entries of a DICT */
    union {
        int64_t number;                              /* BOOL, INT */
        const char *text;                            /* STR: in the pickle, UTF-8, no NUL at its end */
        const struct pmet_pickle_value *const *item; /* TUPLE, CALL, PERSISTENT */
        struct pmet_pickle_entry *first;             /* DICT, LIST: in the order of the file */
    };
    struct pmet_pickle_entry *last;
    const struct pmet_pickle_global *global; /* GLOBAL, CALL; a DICT that was called for has its own */
};

struct pmet_pickle_entry {
    const struct pmet_pickle_value *key, *value; /* key: NULL in a LIST */
    struct pmet_pickle_entry *next;
};

struct pmet_pickle;

/* Reads a pickle of protocol 2 to 5 from the n bytes at data, which must outlive *out, as `globals`
 * must. *n_used: where it ends; NULL: with the bytes. A value may contain itself: a reader of the
 * tree looks no deeper than what it knows. `where` begins every message. */
enum pmet_status pmet_pickle_read(const void *data, size_t n, const char *where,
                                  const struct pmet_pickle_global *globals, size_t n_global, size_t *n_used,
                                  struct pmet_pickle **out, struct pmet_error *err);
void pmet_pickle_free(struct pmet_pickle *p); /* accepts NULL */
const struct pmet_pickle_value *pmet_pickle_root(const struct pmet_pickle *p);
/* All values, in the tree or not: the i-th, NULL behind the last. */
const struct pmet_pickle_value *pmet_pickle_at(const struct pmet_pickle *p, size_t i);

bool pmet_pickle_is(const struct pmet_pickle_value *v, const char *text); /* a STR of these bytes */
const char *pmet_pickle_found(const struct pmet_pickle_value *v);         /* "an int", for messages */

#endif
